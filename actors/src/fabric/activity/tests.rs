//! Activity agents against the platform's APIs as a double: which answers pass and which are final, what belongs to whom, and what is left alone.

use super::*;
use crate::fabric::testing::{Asked, Double};
use cellspace_schemas::fabric::{ActivityType, OrchestrationType, TenantId, keys};
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::{collections::BTreeSet, time::Duration};

const PC: &str = "pc-1";
const HOLDERS: &str = "/api/admin/v1beta/participants/issuer/holders";
const CREDENTIALS: &str = "/api/admin/v1beta/participants/issuer/credentials";
const CONTEXT: &str = "/api/identity/v1beta/participants/pc-1";
const TYPES: [&str; 5] = ["registration-activity", "identityhub-activity", "edcv-activity", "onboarding-activity", "siglet-activity"];

fn did_at(host: &str, name: &str) -> String {
    format!("did:web:{}:{name}", host.replace(':', "%3A"))
}

fn did(double: &Double, name: &str) -> String {
    format!("did:web:{}:{name}", double.platform.urls().did_host())
}

/// Processing data of the participant `acme` with credentials of these issuers.
fn data(double: &Double, issuers: &[&str]) -> Properties {
    let spec = |issuer: &&str| json!({"id": "m", "type": "Membership", "issuer": did(double, issuer), "format": "vc20-bssl/jwt"});
    let agents = json!([{"id": "v", "vpaType": "cfm.issuer", "cellId": "c", "externalCellId": "c", "properties": {"since": "2024"}}]);
    let data = json!({keys::PARTICIPANT_ID: did(double, "acme"), keys::VPA_CREDENTIALS: issuers.iter().map(spec).collect::<Vec<_>>(),
        keys::VPA_DATA: agents, keys::PROFILES: ["p"], keys::PARTICIPANT_CONTEXT_ID: PC});
    data.as_object().unwrap().clone()
}

async fn run(double: &Double, activity_type: &str, kind: &str, issuers: &[&str]) -> Result<Properties, ActivityError> {
    let (orchestration, tenant) = (OrchestrationId::new("o-1").unwrap(), TenantId::new("t-1").unwrap());
    let activity = Activity {
        id: "a".parse().unwrap(),
        activity_type: ActivityType::new(activity_type).unwrap(),
        discriminator: OrchestrationType::new(kind).ok(),
        depends_on: Vec::new(),
    };
    let data = data(double, issuers);
    let work = Work { orchestration: &orchestration, activity: &activity, data: &data, tenant: Some(&tenant), trace: None };
    let agent = agents(&double.platform).into_iter().find(|agent| agent.activity_type() == activity_type).unwrap();
    if work.disposes() { agent.dispose(work).await } else { agent.deploy(work).await }
}

async fn deploy(double: &Double, activity_type: &str) -> Result<Properties, ActivityError> {
    run(double, activity_type, keys::DEPLOY, &["issuer"]).await
}

async fn dispose(double: &Double, activity_type: &str) -> Result<Properties, ActivityError> {
    run(double, activity_type, keys::DISPOSE, &["issuer"]).await
}

/// A holder under the DID of `acme`, registered for this participant context.
fn holder(asked: &Asked, context: Option<&str>) -> Value {
    json!({"did": did_at(&asked.host, "acme"), "properties": {"participantContextId": context}})
}

/// Issuers publish their documents, the participant's context owns its DID, everything that is asked for is done.
fn willing(asked: &Asked) -> (u16, Value) {
    let (method, path) = asked.path().split_once(' ').unwrap();
    match (method, path) {
        ("GET", path) if path.ends_with("/did.json") => {
            let issuer = path.trim_start_matches('/').trim_end_matches("/did.json");
            let endpoint = format!("http://{}/api/issuance/v1beta/participants/{issuer}", asked.host);
            (200, json!({"service": [{"type": "Other"}, {"type": "IssuerService", "serviceEndpoint": endpoint}]}))
        }
        ("GET", path) if path.contains("/credentials/request/") => (200, json!({"status": "ISSUED"})),
        ("GET", CONTEXT) => (200, json!({"did": did_at(&asked.host, "acme")})),
        ("GET", path) if path.starts_with(HOLDERS) => (200, holder(asked, Some(PC))),
        ("POST", path) if path.ends_with("/credentials/query") => (200, json!([])),
        _ => (204, Value::Null),
    }
}

/// As `willing`, but for calls of which `other` says something else.
async fn double(other: impl Fn(&Asked) -> Option<(u16, Value)> + Send + Sync + 'static) -> Double {
    Double::new(move |asked| other(asked).unwrap_or_else(|| willing(asked))).await
}

fn is(asked: &Asked, method: &str, path: &str) -> bool {
    asked.path().strip_prefix(method).and_then(|rest| rest.strip_prefix(' ')).is_some_and(|p| p.starts_with(path))
}

/// Whatever call of an attempt fails: passing answers are tried again, final ones end the deployment, and a disposal takes 404 for done.
#[tokio::test]
async fn answers_that_pass_and_answers_that_are_final() {
    let double = double(|_| None).await;
    for activity_type in TYPES {
        for kind in [keys::DEPLOY, keys::DISPOSE] {
            double.reset();
            run(&double, activity_type, kind, &["issuer"]).await.unwrap();
            let calls = double.calls();
            assert!(!calls.is_empty(), "{activity_type} {kind}");
            for call in calls {
                for status in [429, 500, 502, 503] {
                    double.instead(&call, status);
                    let outcome = run(&double, activity_type, kind, &["issuer"]).await;
                    assert!(matches!(outcome, Err(ActivityError::Retry(_))), "{kind} {call} {status}: {outcome:?}");
                }
                double.instead(&call, 400);
                let outcome = run(&double, activity_type, kind, &["issuer"]).await;
                assert!(matches!(outcome, Err(ActivityError::Fatal(_))), "{kind} {call}: {outcome:?}");
                if kind == keys::DISPOSE {
                    double.instead(&call, 404);
                    assert_eq!(run(&double, activity_type, kind, &["issuer"]).await, Ok(Properties::new()), "{call}");
                }
            }
        }
    }
}

/// Each call carries a token for one participant, its activity's scopes, and the least role that goes.
#[tokio::test]
async fn tokens_and_tenants() {
    let double = double(|_| None).await;
    for (activity_type, participant, role) in [
        ("registration-activity", "issuer", "provisioner"),
        ("identityhub-activity", PC, "provisioner"),
        ("edcv-activity", PC, "provisioner"),
        ("onboarding-activity", PC, "participant"),
        ("siglet-activity", PC, "participant"),
    ] {
        deploy(&double, activity_type).await.unwrap();
        let asked = double.asked();
        for asked in asked.iter().filter(|asked| !asked.call.ends_with("/did.json")) {
            assert!(asked.caller.starts_with(&format!("{role} {participant} ")), "{activity_type}: {asked:?}");
        }
        let tenant = match activity_type {
            "identityhub-activity" => Some(&asked[0].body["additionalProperties"]["tenant"]),
            "edcv-activity" => Some(&asked[0].body["properties"]["tenant"]),
            _ => None,
        };
        assert!(tenant.is_none_or(|tenant| tenant == "t-1"), "{activity_type}");
    }
}

#[tokio::test]
async fn what_is_there_is_ours_or_somebody_elses() {
    let conflict = |asked: &Asked| asked.call.starts_with("POST ").then_some((409, Value::Null));
    // (activity, what is found there, whether it is taken for done)
    type Found = fn(&Asked) -> (u16, Value);
    let table: [(&str, Found, bool); 9] = [
        ("identityhub-activity", |a| (200, json!({"did": did_at(&a.host, "acme")})), true),
        ("identityhub-activity", |a| (200, json!({"did": did_at(&a.host, "other")})), false),
        ("identityhub-activity", |_| (404, Value::Null), false),
        ("edcv-activity", |a| (200, json!({"identity": did_at(&a.host, "acme")})), true),
        ("edcv-activity", |a| (200, json!({"identity": did_at(&a.host, "other")})), false),
        ("edcv-activity", |_| (404, Value::Null), false),
        ("registration-activity", |a| (200, holder(a, Some(PC))), true),
        ("registration-activity", |a| (200, holder(a, None)), true),
        ("registration-activity", |a| (200, json!({"did": did_at(&a.host, "other")})), false),
    ];
    for (activity_type, found, done) in table {
        let double = double(move |asked| {
            let get = asked.call.starts_with("GET ") && !asked.call.ends_with("/did.json");
            conflict(asked).or_else(|| get.then(|| found(asked)))
        })
        .await;
        let outcome = deploy(&double, activity_type).await;
        assert_eq!(outcome.is_ok(), done, "{activity_type}: {outcome:?}");
        assert!(done || matches!(outcome, Err(ActivityError::Fatal(_))), "{activity_type}: {outcome:?}");
        let changes = double.calls().into_iter().filter(|call| !call.starts_with("GET ") && !call.starts_with("POST ")).count();
        assert!(done || changes == 0, "{activity_type}: nothing of others is changed");
    }
}

/// A holder that was registered for another participant context is taken over when that one has the DID no more.
#[tokio::test]
async fn a_holder_left_behind_is_taken_over() {
    for (lives, done) in [(true, false), (false, true)] {
        let double = double(move |asked| match () {
            () if is(asked, "POST", HOLDERS) => Some((409, Value::Null)),
            () if is(asked, "GET", HOLDERS) => Some((200, holder(asked, Some("pc-0")))),
            () if is(asked, "GET", "/api/identity/v1beta/participants/pc-0") && lives => {
                Some((200, json!({"did": did_at(&asked.host, "acme")})))
            }
            () if is(asked, "GET", "/api/identity/v1beta/participants/pc-0") => Some((404, Value::Null)),
            () => None,
        })
        .await;
        assert_eq!(deploy(&double, "registration-activity").await.is_ok(), done);
        let put = double.asked().into_iter().find(|asked| is(asked, "PUT", HOLDERS));
        assert_eq!(put.map(|put| put.body["properties"].clone()), done.then(|| json!({"since": "2024", "participantContextId": PC})));
    }
}

/// Another participant has the DID by now: its holder and its credentials stay, whatever the disposal's DID says.
#[tokio::test]
async fn undoing_leaves_alone_what_belongs_to_others() {
    let double = double(|asked| match () {
        () if is(asked, "GET", CONTEXT) => Some((404, Value::Null)),
        () if is(asked, "GET", HOLDERS) => Some((200, holder(asked, Some("pc-2")))),
        () if is(asked, "POST", CREDENTIALS) => Some((200, json!([{"id": "theirs"}]))),
        () => None,
    })
    .await;
    for activity_type in ["onboarding-activity", "registration-activity"] {
        assert_eq!(dispose(&double, activity_type).await, Ok(Properties::new()));
        let calls = double.calls();
        assert!(calls.iter().all(|call| call.starts_with("GET ")), "{calls:?}");
    }
}

/// A participant that is switched off, or an issuer that is, or that is gone: there is nothing to take away.
#[tokio::test]
async fn disposals_get_by_without_those_who_are_gone() {
    for status in [401, 403, 404] {
        let off = double(move |asked| asked.caller.starts_with("participant ").then(|| (status, json!({"message": "off"})))).await;
        for activity_type in ["siglet-activity", "onboarding-activity"] {
            assert_eq!(dispose(&off, activity_type).await, Ok(Properties::new()), "{activity_type} {status}");
            assert!(off.asked().iter().any(|asked| asked.caller.starts_with("participant ")), "it was tried");
        }
        // While something is being made, none of these is a success.
        assert!(deploy(&off, "siglet-activity").await.is_err());
    }
    for document in [(404, Value::Null), (200, json!({"service": []}))] {
        let gone = double(move |asked| asked.call.ends_with("/did.json").then(|| document.clone())).await;
        for activity_type in ["registration-activity", "onboarding-activity"] {
            assert_eq!(dispose(&gone, activity_type).await, Ok(Properties::new()), "{activity_type}");
        }
        assert!(deploy(&gone, "registration-activity").await.is_err());
    }
}

#[tokio::test]
async fn every_credential_is_revoked_page_by_page() {
    const COUNT: usize = 2_500;
    let revoked: Mutex<BTreeSet<usize>> = Mutex::default();
    let double = double(move |asked| {
        let path = asked.path().strip_prefix("POST ")?.strip_prefix(CREDENTIALS)?;
        if path == "/query" {
            let (offset, limit) = (asked.body["offset"].as_u64()? as usize, asked.body["limit"].as_u64()? as usize);
            let revoked = revoked.lock();
            let valid = (0..COUNT).filter(|n| !revoked.contains(n)).skip(offset).take(limit);
            return Some((200, valid.map(|n| json!({ "id": format!("c {n}") })).collect::<Vec<_>>().into()));
        }
        let n: usize = path.strip_prefix("/c ")?.strip_suffix("/revoke")?.parse().ok()?;
        // One that cannot be revoked does not hold up the others.
        if n == 7 {
            return Some((409, Value::Null));
        }
        assert!(revoked.lock().insert(n), "{n} twice");
        Some((204, Value::Null))
    })
    .await;
    assert_eq!(dispose(&double, "onboarding-activity").await, Ok(Properties::new()));
    let revocations: BTreeSet<String> = double.calls().into_iter().filter(|call| call.ends_with("/revoke")).collect();
    assert_eq!(revocations.len(), COUNT);
}

/// An issuer that says it revokes and does not: the attempt ends.
#[tokio::test]
async fn a_credential_that_stays_valid_is_no_endless_loop() {
    let double = double(|asked| asked.path().ends_with("/credentials/query").then(|| (200, json!([{"id": "c"}])))).await;
    assert!(matches!(dispose(&double, "onboarding-activity").await, Err(ActivityError::Retry(_))));
    assert_eq!(double.calls().iter().filter(|call| call.ends_with("/revoke")).count(), 1);
}

/// The double answers no wait before the other issuer is waited for as well.
#[tokio::test]
async fn several_issuers_are_waited_for_at_the_same_time() {
    let both = Arc::new(tokio::sync::Barrier::new(2));
    let double = Double::slow(move |asked| {
        let (answer, waits) = (willing(asked), asked.call.contains("?wait=ISSUED"));
        let both = both.clone();
        Box::pin(async move {
            if waits {
                both.wait().await;
            }
            answer
        })
    })
    .await;
    let onboarding = run(&double, "onboarding-activity", keys::DEPLOY, &["issuer", "second"]);
    let outputs = tokio::time::timeout(Duration::from_secs(10), onboarding).await.unwrap().unwrap();
    assert_eq!(outputs[keys::PARTICIPANT_CONTEXT_ID], PC);
    let requests: Vec<Asked> = double.asked().into_iter().filter(|asked| asked.call.starts_with("POST ")).collect();
    assert_eq!(requests.len(), 2);
    assert_eq!(requests[0].body["holderPid"], outputs[keys::HOLDER_PID], "the first one is named");
}

#[tokio::test]
async fn what_a_credential_request_says() {
    for (answer, fatal) in [
        (json!({"status": "ERROR", "errorDetail": "no such holder"}), Some("no such holder")),
        (json!({"status": "REQUESTED"}), None),
        (json!({}), Some("has no status")),
    ] {
        let double = double(move |asked| asked.call.contains("/credentials/request/").then(|| (200, answer.clone()))).await;
        match (deploy(&double, "onboarding-activity").await, fatal) {
            (Err(ActivityError::Fatal(reason)), Some(detail)) => assert!(reason.contains(detail), "{reason}"),
            (Err(ActivityError::Retry(reason)), None) => assert!(reason.contains("REQUESTED"), "{reason}"),
            (outcome, _) => panic!("{outcome:?}"),
        }
    }
    // What an earlier attempt requested is there already.
    let double = double(|asked| asked.call.starts_with("POST ").then_some((409, Value::Null))).await;
    assert!(deploy(&double, "onboarding-activity").await.is_ok());
}

#[tokio::test]
async fn all_types_are_named() {
    let double = double(|_| None).await;
    let types: Vec<_> = agents(&double.platform).iter().map(|agent| agent.activity_type()).collect();
    assert_eq!(types, super::TYPES);
}
