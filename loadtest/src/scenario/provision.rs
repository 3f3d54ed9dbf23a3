//! Tenants that come in: each by two calls, until its four agents are active and its two credentials are issued.

use super::{
    members,
    play::{self, check, exchange, text},
};
use crate::{
    drive::{Verdict, Worker},
    http::{Call, Connection},
    measure::calibration::Sizes,
    options::Common,
    report::Report,
    subject::Subject,
};
use anyhow::Result;
use cellspace_client::{
    operator::{self, CREDENTIALS, Platform},
    tenants::{self, AGENTS},
};
use http::Method;
use serde_json::{Value, json};
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// Length of the answer to a wait.
const ANSWER: usize = 1_500;

/// What all newcomers have in common.
struct Place {
    platform: Platform,
    did_host: String,
    suffix: String,
    next: AtomicUsize,
}

impl Place {
    fn call(&self, method: Method, path: impl Into<String>, body: &Value) -> Call {
        Call::json(method, path, &self.platform.provisioner.token, body.to_string())
    }

    fn get(&self, path: impl Into<String>) -> Call {
        Call::get(path, &self.platform.admin.token)
    }
}

/// A participant that came in.
struct Newcomer {
    did: String,
    context: String,
}

struct Operator {
    place: Arc<Place>,
    admin: Connection,
    done: Option<Newcomer>,
}

impl Operator {
    async fn provision(&mut self) -> Result<Newcomer, Verdict> {
        let (place, admin) = (&self.place, &mut self.admin);
        let name = format!("member-{}{}", place.next.fetch_add(1, Ordering::Relaxed), place.suffix);
        let tenant = exchange(admin, place.call(Method::POST, "/api/tm/tenants", &tenants::tenant(&name))).await?;
        let profiles = format!("/api/tm/tenants/{}/participant-profiles", text(&tenant, "id")?);
        let did = format!("did:web:{}:{name}", place.did_host);
        let profile = exchange(admin, place.call(Method::POST, &profiles, &tenants::profile(&place.platform, &did, true))).await?;
        let path = format!("{profiles}/{}?wait=active&timeout=25s", text(&profile, "id")?);
        let profile = exchange(admin, Call::get(path, &place.platform.provisioner.token)).await?;
        let active = tenants::active_agents(&profile);
        check(active == AGENTS, || format!("only {active:?} are active: {profile}"))?;
        let state = &profile["properties"]["cfm.vpa.state"];
        let (context, holder_pid) = (text(state, "participantContextId")?.to_owned(), text(state, "holderPid")?);
        let path = format!("/api/identity/v1beta/participants/{context}/credentials/request/{holder_pid}?wait=ISSUED&timeout=20s");
        let request = exchange(admin, place.get(path)).await?;
        check(request["status"] == "ISSUED", || format!("the credential request is {request}"))?;
        Ok(Newcomer { did, context })
    }

    /// The holder has its credentials, and the issuer knows the holder.
    async fn both_sides(&mut self) -> Result<(), Verdict> {
        let new = self.done.take().ok_or_else(|| Verdict::Wrong("nobody came in".to_owned()))?;
        let (place, admin) = (&self.place, &mut self.admin);
        let held = exchange(admin, place.get(format!("/api/identity/v1beta/participants/{}/credentials", new.context))).await?;
        let of = |kind: &str| {
            let credentials = held.as_array().map(Vec::as_slice).unwrap_or_default();
            let is = |credential: &&Value| {
                let types = &credential["verifiableCredential"]["credential"]["type"];
                credential["issuerId"] == *place.platform.issuer_did
                    && types.as_array().is_some_and(|types| types.iter().any(|t| t == kind))
            };
            credentials.iter().filter(is).count()
        };
        let counts = CREDENTIALS.map(|(_, kind, _)| of(kind));
        check(counts == [1; CREDENTIALS.len()], || format!("{} holds {held}", new.did))?;
        let path = format!("/api/issuer/admin/participants/{}/holders/query", place.platform.issuer_context);
        let query = json!({ "filterExpression": [{ "operandLeft": "did", "operator": "=", "operandRight": new.did }] });
        let found = exchange(admin, Call::json(Method::POST, path, &place.platform.issuer.token, query.to_string())).await?;
        check(found.as_array().is_some_and(|found| found.len() == 1 && found[0]["did"] == *new.did), || {
            format!("the issuer's holders of {} are {found}", new.did)
        })
    }
}

impl Worker for Operator {
    async fn operate(&mut self) -> Verdict {
        match self.provision().await {
            Ok(new) => {
                self.done = Some(new);
                Verdict::Good
            }
            Err(verdict) => verdict,
        }
    }

    async fn check(&mut self) -> Verdict {
        self.both_sides().await.err().unwrap_or(Verdict::Good)
    }
}

/// Plays the scenario.
pub async fn run(common: &Common) -> Result<Report> {
    let subject = Subject::open(common, &[]).await?;
    let (mut client, admin) = subject.client().await?;
    let (did_host, suffix) = (subject.did_host(), members::suffix());
    let platform = operator::prepare_once_more(&mut client, admin, &did_host, &suffix).await?;
    let place = Arc::new(Place { platform, did_host, suffix, next: AtomicUsize::new(0) });
    let workers = common.workers(1);
    let operator = |_| Ok(Operator { place: place.clone(), admin: Connection::new(&subject.admin, subject.tape.clone())?, done: None });
    let operators = (0..workers).map(operator).collect::<Result<Vec<_>>>()?;
    let (_, outcome, mut report) = play::window("provision", &subject, common, operators, std::future::ready(Ok(()))).await?;
    play::per_operation(&mut report, &outcome, "participant");
    let request = tenants::profile(&place.platform, &format!("did:web:{}:member", place.did_host), true).to_string().len();
    let sizes = Sizes { request, token: place.platform.provisioner.token.len(), answer: ANSWER, connections: workers };
    play::conclude(report, outcome, &subject, common, sizes).await
}
