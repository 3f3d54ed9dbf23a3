//! An issuer without a runtime, for tests: turns on a state, the rows they would write, and the outbox.

use super::{
    Command, Effect, Event, Issuer, IssuerState, Prepared, Refusal, Reply, admin, approval,
    call_out::Attested,
    requests::{self, Fresh},
    status_list::ListBits,
};
use cellspace_cluster::{Agent, Decision, Input, Rejection, RowOf};
use cellspace_schemas::{
    Did, SecretText, Timestamp,
    issuer::{CredentialDefinitionId, CredentialId, HolderPid, IssuerPid},
};
use cellspace_storage::RowKey;
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

/// The issuer under test.
#[derive(Default)]
pub struct World {
    /// Its state.
    pub state: IssuerState,
    /// Its rows.
    pub rows: BTreeMap<RowKey, Event>,
    /// What it would send.
    pub outbox: VecDeque<Arc<Effect>>,
    /// Actions and facts, in order.
    pub log: Vec<String>,
    /// Access token that comes with requests.
    pub token: Option<SecretText>,
    /// Deadlines.
    pub deadlines: BTreeMap<String, Timestamp>,
    now: i64,
    ids: u32,
}

impl World {
    /// An issuer that knows `acme`, a `holder` attestation `registration`, and the definitions `membership` (data model 2.0, rule `signed eq true`,
    /// claim `since`) and `manufacturer` (1.1).
    pub fn seeded() -> Self {
        let mut world = Self::default();
        world.admin(holder("acme", &json!({"signed": true, "since": "2026"}))).unwrap();
        world.admin(attestation("registration")).unwrap();
        world.admin(definition("membership", "vc20-bssl/jwt")).unwrap();
        world.admin(definition("manufacturer", "VC1_0_JWT")).unwrap();
        world
    }

    /// One turn.
    pub fn turn(&mut self, input: &Input<Issuer>) -> Result<Reply, Refusal> {
        self.now += 1_000;
        match Issuer::decide(&self.state, input, Timestamp(self.now)) {
            Ok(decision) => Ok(self.commit(decision)),
            Err(Rejection::Refused(refusal)) => Err(refusal),
            Err(Rejection::Stale) => panic!("an issuer never finds its preparation stale"),
        }
    }

    fn commit(&mut self, decision: Decision<Issuer>) -> Reply {
        assert_eq!(decision.changes(), !decision.action.is_empty(), "a change has a name, and nothing else has");
        if decision.changes() {
            self.log.push(decision.action.to_owned());
        }
        for event in decision.events {
            Issuer::apply(&mut self.state, &event);
            match Issuer::deadline(&event) {
                Some((key, Some(at))) => drop(self.deadlines.insert(key, at)),
                Some((key, None)) => drop(self.deadlines.remove(&key)),
                None => {}
            }
            match Issuer::row(&event) {
                RowOf::Put(key) => drop(self.rows.insert(key, event)),
                RowOf::Delete(key) => drop(self.rows.remove(&key)),
            }
        }
        self.outbox.extend(decision.effects.into_iter().map(|outgoing| Arc::new(outgoing.effect)));
        self.log.extend(decision.facts.into_iter().map(|fact| fact.kind.to_owned()));
        decision.reply
    }

    /// A request of an operator, over its stored form.
    pub fn admin(&mut self, command: admin::Command) -> Result<Reply, Refusal> {
        let stored = serde_json::to_vec(&Command::Admin(command)).unwrap();
        let Command::Admin(command) = serde_json::from_slice(&stored).unwrap() else { panic!("another command") };
        self.turn(&Input::Command(Prepared::Admin(command)))
    }

    /// A request of a holder; answers the `issuerPid`.
    pub fn request(&mut self, holder: &str, pid: &str, credentials: &[&str]) -> Result<IssuerPid, Refusal> {
        self.request_with(holder, pid, credentials, Attested::new())
    }

    /// As [`Self::request`], with what services attested.
    pub fn request_with(&mut self, holder: &str, pid: &str, credentials: &[&str], attested: Attested) -> Result<IssuerPid, Refusal> {
        let mut id = || {
            self.ids += 1;
            format!("{:08}", self.ids)
        };
        let process = IssuerPid::new(id()).unwrap();
        let fresh = credentials.iter().map(|_| fresh(CredentialId::new(id()).unwrap())).collect();
        let request = requests::Prepared {
            holder: did(holder),
            issuer: did("issuer"),
            token: self.token.clone(),
            holder_pid: HolderPid::new(pid).unwrap(),
            credentials: credentials.iter().map(|id| CredentialDefinitionId::new(id).unwrap()).collect(),
            process,
            fresh,
            attested,
        };
        match self.turn(&Input::Command(Prepared::Request(request)))? {
            Reply::Accepted(pid) => Ok(pid),
            Reply::Done => panic!("a request is answered with its process"),
        }
    }

    /// Somebody approves.
    pub fn approve(&mut self, process: &IssuerPid) -> Result<Reply, Refusal> {
        self.approve_with(process, Attested::new())
    }

    /// As [`Self::approve`], with what services attest by then.
    pub fn approve_with(&mut self, process: &IssuerPid, attested: Attested) -> Result<Reply, Refusal> {
        let known = self.state.processes.get(process).into_iter();
        let fresh = known.flat_map(|process| &process.requested).map(|requested| fresh(requested.credential.clone())).collect();
        let (process, issuer) = (process.clone(), did("issuer"));
        let verdict = approval::Prepared::Approve(approval::Approved { process, issuer, fresh, attested });
        self.turn(&Input::Command(Prepared::Verdict(verdict)))
    }

    /// Somebody rejects.
    pub fn reject(&mut self, process: &IssuerPid, reason: Option<&str>) -> Result<Reply, Refusal> {
        let verdict = approval::Prepared::Reject { process: process.clone(), reason: reason.map(str::to_owned) };
        self.turn(&Input::Command(Prepared::Verdict(verdict)))
    }

    /// The time of the last turn.
    pub const fn now(&self) -> Timestamp {
        Timestamp(self.now)
    }

    /// Time goes on, and what is due by then is done.
    pub fn pass(&mut self, time: Duration) {
        self.now += i64::try_from(time.as_millis()).unwrap();
        let due = self.deadlines.iter().filter(|(_, at)| at.0 <= self.now).map(|(key, _)| key.clone()).collect::<Vec<_>>();
        for key in due {
            self.turn(&Input::Due(key)).unwrap();
        }
    }

    /// The oldest row of the outbox has this outcome.
    pub fn sent(&mut self, outcome: Result<(), &str>) -> Result<Reply, Refusal> {
        let effect = self.outbox.pop_front().expect("something to send");
        self.turn(&match outcome {
            Ok(()) => Input::Delivered(effect, ()),
            Err(reason) => Input::Undeliverable(effect, reason.to_owned()),
        })
    }

    /// The state as it is loaded from the rows, over their stored form.
    pub fn reloaded(&self) -> IssuerState {
        let mut state = IssuerState::default();
        for event in self.rows.values() {
            let stored = serde_json::to_vec(event).unwrap();
            state.apply(&serde_json::from_slice(&stored).unwrap());
        }
        state
    }
}

fn fresh(credential: CredentialId) -> Fresh {
    Fresh { credential, index: 7, list_bits: ListBits::default() }
}

/// `did:web:<name>`.
pub fn did(name: &str) -> Did {
    Did::new(format!("did:web:{name}")).unwrap()
}

/// Registers a holder under its name.
pub fn holder(name: &str, properties: &Value) -> admin::Command {
    let body = json!({"holderId": name, "did": did(name), "name": name, "properties": properties});
    admin::Command::CreateHolder(serde_json::from_value(body).unwrap())
}

/// Makes a `holder` attestation.
pub fn attestation(id: &str) -> admin::Command {
    admin::Command::CreateAttestation(serde_json::from_value(json!({"id": id, "attestationType": "holder"})).unwrap())
}

/// Makes a definition with the attestation `registration`.
pub fn definition(id: &str, format: &str) -> admin::Command {
    admin::Command::CreateDefinition(serde_json::from_value(definition_body(id, format)).unwrap())
}

/// Makes one that is open to holders that nobody has registered, with what is to be approved within 100 s where `guarded`.
pub fn open(id: &str, guarded: bool) -> admin::Command {
    let approval = guarded.then(|| json!({"timeout": 100}));
    let body = json!({
        "id": id, "credentialType": format!("{id}Credential"), "format": "vc20-bssl/jwt", "validity": "3600", "anonymousAllowed": true,
        "approval": approval,
    });
    admin::Command::CreateDefinition(serde_json::from_value(body).unwrap())
}

/// Makes one that asks for approval, within 100 s.
pub fn guarded(id: &str, hook: Option<&str>) -> admin::Command {
    let mut body = definition_body(id, "vc20-bssl/jwt");
    body["approval"] = json!({"hook": hook, "timeout": 100});
    admin::Command::CreateDefinition(serde_json::from_value(body).unwrap())
}

fn definition_body(id: &str, format: &str) -> Value {
    json!({
        "id": id, "credentialType": format!("{id}Credential"), "format": format, "validity": "3600", "attestations": ["registration"],
        "rules": [{"type": "expression", "configuration": {"claim": "signed", "operator": "eq", "value": true}}],
        "mappings": [{"input": "since", "output": "credentialSubject.since", "required": "true"}]
    })
}
