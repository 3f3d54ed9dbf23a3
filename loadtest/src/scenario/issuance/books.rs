//! What both sides must have in their books when all is issued: each request one process, each process one credential, which its holder has.

use super::office::Office;
use crate::{
    http::Connection,
    subject::Subject,
    world::{claims, now},
};
use anyhow::{Result, ensure};
use serde::Deserialize;
use serde_json::Value;
use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};
use tokio::time::{Instant, sleep};

/// Longest time until the issuer has noted the last delivery: the holder knows before it.
const NOTED: Duration = Duration::from_secs(10);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(100);

/// A credential of the VC Data Model 2.0.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Claims {
    id: String,
    issuer: Value,
    #[serde(rename = "type")]
    types: Vec<String>,
    credential_subject: Value,
    credential_status: Vec<Entry>,
    exp: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    status_purpose: String,
    status_list_credential: String,
    status_list_index: String,
}

/// Who issues what.
pub struct Rules<'a> {
    pub issuer: &'a str,
    pub kind: &'a str,
}

/// The books of the holders' side, filled credential by credential.
#[derive(Default)]
pub struct Books {
    ids: HashSet<String>,
    places: HashSet<(String, String)>,
}

impl Books {
    /// Takes in a credential that a holder has, whose signature is good.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn take(&mut self, rules: &Rules<'_>, holder: &str, jwt: &str) -> Result<(), String> {
        let credential: Claims = claims(jwt).ok_or("no credential of the VC Data Model 2.0")?;
        let issuer = credential.issuer["id"].as_str().or_else(|| credential.issuer.as_str());
        let subject = credential.credential_subject.as_array().and_then(|all| all.first()).unwrap_or(&credential.credential_subject);
        let purposes: Vec<&str> = credential.credential_status.iter().map(|entry| entry.status_purpose.as_str()).collect();
        // Its bit for each purpose is nobody else's.
        let mut place = |entry: &Entry| self.places.insert((entry.status_list_credential.clone(), entry.status_list_index.clone()));
        let holds = [
            ("issuer", issuer == Some(rules.issuer)),
            ("type", credential.types.iter().any(|kind| kind == rules.kind)),
            ("credentialSubject", subject["id"] == holder && subject["since"].is_string()),
            ("exp", credential.exp > now()),
            ("credentialStatus", purposes == ["revocation", "suspension"] && credential.credential_status.iter().all(&mut place)),
            ("id", self.ids.insert(credential.id.clone())),
        ];
        match holds.into_iter().find(|(_, holds)| !holds) {
            None => Ok(()),
            Some((rule, _)) => Err(format!("{rule} of the credential {} of {holder} is not as it must be", credential.id)),
        }
    }

    /// What of the issuer's books is not as the holders say: processes by the requests that were made, and credentials.
    pub fn compare(&self, requests: &HashSet<String>, processes: &[Value], credentials: &[Value]) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut made: HashMap<&str, usize> = HashMap::new();
        for process in processes {
            *made.entry(process["holderPid"].as_str().unwrap_or_default()).or_default() += 1;
            if process["state"] != "DELIVERED" {
                wrong.push(format!("the process of {} is {}", process["holderPid"], process["state"]));
            }
        }
        let lost = requests.iter().filter(|pid| made.get(pid.as_str()) != Some(&1));
        wrong.extend(lost.map(|pid| format!("the request {pid} has {} processes", made.get(pid.as_str()).unwrap_or(&0))));
        if made.len() != requests.len() {
            wrong.push(format!("{} requests have processes, {} were made", made.len(), requests.len()));
        }
        let issued: HashSet<&str> = credentials.iter().filter_map(|credential| credential["credential"]["id"].as_str()).collect();
        if issued.len() != credentials.len() || self.ids.len() != issued.len() || !self.ids.iter().all(|id| issued.contains(id.as_str())) {
            wrong.push(format!("{} credentials were issued, {} are held", credentials.len(), self.ids.len()));
        }
        if credentials.len() != processes.len() {
            wrong.push(format!("{} processes issued {} credentials", processes.len(), credentials.len()));
        }
        wrong
    }
}

/// Looks into the books of both sides; answers what is wrong.
///
/// # Errors
/// When the platform does not say.
pub async fn look(office: &Office, subject: &Subject, requests: &HashSet<String>) -> Result<Vec<String>> {
    let mut admin = Connection::new(&subject.admin, None)?;
    let rules = Rules { issuer: &office.platform.issuer_did, kind: office.kind };
    let (mut books, mut wrong) = (Books::default(), Vec::new());
    for holder in &office.holders {
        for jwt in office.held(&mut admin, holder).await? {
            if !office.key.signed(&jwt) {
                wrong.push(format!("{} holds a credential that the issuer did not sign", holder.did));
            }
            wrong.extend(books.take(&rules, &holder.did, &jwt).err());
        }
    }
    let processes = delivered(office, &mut admin).await?;
    let credentials = office.all(&mut admin, "credentials").await?;
    wrong.extend(books.compare(requests, &processes, &credentials));
    Ok(wrong)
}

/// All processes, once the issuer knows of every delivery, or does not in time.
async fn delivered(office: &Office, admin: &mut Connection) -> Result<Vec<Value>> {
    let until = Instant::now() + NOTED;
    loop {
        let processes = office.all(admin, "issuanceprocesses").await?;
        ensure!(!processes.is_empty(), "no issuance processes");
        if processes.iter().all(|process| process["state"] == "DELIVERED") || Instant::now() > until {
            return Ok(processes);
        }
        sleep(LOOK).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::Identity;
    use serde_json::json;

    const RULES: Rules<'_> = Rules { issuer: "did:web:issuer", kind: "MembershipCredential" };

    fn credential(number: usize, change: Value) -> String {
        let entry = |purpose: &str| json!({"statusPurpose": purpose, "statusListCredential": format!("https://list/{purpose}"), "statusListIndex": number.to_string()});
        let mut claims = json!({"id": format!("urn:uuid:{number}"), "issuer": "did:web:issuer", "type": ["VerifiableCredential", "MembershipCredential"],
            "credentialSubject": {"id": "did:web:holder", "since": "2024"}, "credentialStatus": [entry("revocation"), entry("suspension")], "exp": now() + 60});
        claims.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        Identity::new("did:web:issuer".to_owned(), [1; 32]).unwrap().jwt(&claims)
    }

    #[test]
    fn every_credential_is_looked_at() {
        let mut books = Books::default();
        let mut take = |jwt: &str| books.take(&RULES, "did:web:holder", jwt);
        assert_eq!(take(&credential(1, json!({}))), Ok(()));
        for (number, change, rule) in [
            (2, json!({"issuer": {"id": "did:web:other"}}), "issuer"),
            (3, json!({"type": ["VerifiableCredential"]}), "type"),
            (4, json!({"credentialSubject": {"id": "did:web:other", "since": "2024"}}), "credentialSubject"),
            (5, json!({"exp": now()}), "exp"),
            (6, json!({"credentialStatus": []}), "credentialStatus"),
            // The place of another one, and the id of another one.
            (1, json!({"id": "urn:uuid:7"}), "credentialStatus"),
            (8, json!({"id": "urn:uuid:1"}), "id"),
        ] {
            let wrong = take(&credential(number, change.clone())).unwrap_err();
            assert!(wrong.starts_with(rule), "{change}: {wrong}");
        }
        assert!(take("a.b.c").is_err());
    }

    #[test]
    fn both_sides_have_the_same() {
        let mut books = Books::default();
        books.take(&RULES, "did:web:holder", &credential(1, json!({}))).unwrap();
        let requests = HashSet::from(["a".to_owned()]);
        let process = |pid: &str, state: &str| json!({"holderPid": pid, "state": state});
        let issued = |ids: &[&str]| ids.iter().map(|id| json!({"credential": {"id": id}})).collect::<Vec<_>>();
        let good = [process("a", "DELIVERED")];
        assert_eq!(books.compare(&requests, &good, &issued(&["urn:uuid:1"])), [""; 0]);
        // One credential that answers two requests.
        let both = HashSet::from(["a".to_owned(), "b".to_owned()]);
        let twice = [process("a", "DELIVERED"), process("b", "DELIVERED")];
        assert_eq!(books.compare(&both, &twice, &issued(&["urn:uuid:1"])), ["2 processes issued 1 credentials"]);
        for (processes, credentials) in [
            (vec![process("a", "APPROVED")], issued(&["urn:uuid:1"])),
            (vec![], issued(&["urn:uuid:1"])),
            (vec![process("a", "DELIVERED"), process("a", "DELIVERED")], issued(&["urn:uuid:1"])),
            (vec![process("a", "DELIVERED"), process("b", "DELIVERED")], issued(&["urn:uuid:1"])),
            (good.to_vec(), issued(&[])),
            (good.to_vec(), issued(&["urn:uuid:2"])),
            (good.to_vec(), issued(&["urn:uuid:1", "urn:uuid:2"])),
        ] {
            assert!(!books.compare(&requests, &processes, &credentials).is_empty(), "{processes:?} {credentials:?}");
        }
    }
}
