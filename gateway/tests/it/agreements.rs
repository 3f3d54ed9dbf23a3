//! How agreements end, over real sockets: because a party retires them, or as their policy says; and the transfers under them.

use crate::stage::Stage;
use cellspace_client::{
    Client,
    provider::DATA_SET,
    sharing::{self, Pull},
    tenants::Participant,
};
use reqwest::Method;
use serde_json::{Value, json};

impl Stage {
    async fn status(&self, pull: &Pull) -> u16 {
        self.client.http.get(&pull.endpoint).bearer_auth(&pull.token).send().await.unwrap().status().as_u16()
    }

    async fn retire(&self, who: &Participant, agreement: &str, body: Value) -> (u16, Value) {
        let path = format!("contractagreements/{agreement}/retire");
        let answer = self.manage(who, Method::POST, &path, Some(Client::typed("RetireAgreement", body))).await;
        (answer.status, answer.body)
    }

    /// The consumer's transfer once it has ended, and why, as its own API says.
    async fn why_ended(&self, transfer: &str) -> String {
        let path = format!("transferprocesses/{transfer}/state?wait=TERMINATED&timeout=20s");
        assert_eq!(self.manage(&self.consumer, Method::GET, &path, None).await.body["state"], "TERMINATED");
        let shown = self.manage(&self.consumer, Method::GET, &format!("transferprocesses/{transfer}"), None).await.body;
        shown["errorDetail"].as_str().unwrap_or_else(|| panic!("no reason in {shown}")).to_owned()
    }

    async fn pulls(&mut self, agreement: &str) -> Pull {
        let pull = sharing::start_pull(&mut self.client, &self.consumer, &self.provider, agreement).await.unwrap();
        assert_eq!(self.status(&pull).await, 200);
        pull
    }
}

#[tokio::test]
async fn a_retired_agreement_ends_its_transfers_on_both_sides() {
    let mut s = Stage::open().await;
    let offer = s.offers(&s.consumer).await.into_iter().find(|o| o.asset == DATA_SET).unwrap();
    let (_, theirs, agreement) = s.agreement(&offer).await;
    let (_, _, other) = s.agreement(&offer).await;
    let (first, second, kept) = (s.pulls(&agreement).await, s.pulls(&agreement).await, s.pulls(&other).await);

    // Nothing is done for whoever is no party to it, or says what cannot be meant.
    let foreign = s.retire(&s.third, &agreement, json!({"reason": "mine"})).await;
    assert_eq!((foreign.0, &foreign.1[0]["type"]), (404, &json!("ObjectNotFound")));
    assert_eq!(s.retire(&s.provider, &agreement, json!({"reason": 7})).await.0, 400);
    assert_eq!(s.status(&first).await, 200);

    assert_eq!(s.retire(&s.provider, &agreement, json!({"reason": "the licence was sold"})).await.0, 204);
    for pull in [&first, &second] {
        assert!(s.why_ended(&pull.transfer).await.contains("the licence was sold"));
        sharing::transfer_at_provider(&mut s.client, &s.provider, &pull.transfer, "TERMINATED").await.unwrap();
        assert_eq!(s.status(pull).await, 403);
    }
    assert_eq!(s.status(&kept).await, 200, "another agreement");
    let shown = s.manage(&s.provider, Method::GET, &format!("contractagreements/{agreement}"), None).await.body;
    assert_eq!(shown["retirementReason"], "the licence was sold");
    let at = shown["retiredAt"].as_i64().unwrap();
    let by = |path: &str, operator: &str, right: Value| {
        let criterion = json!({"@type": "Criterion", "operandLeft": path, "operator": operator, "operandRight": right});
        Client::typed("QuerySpec", json!({"filterExpression": [criterion]}))
    };
    let found = s.manage(&s.provider, Method::POST, "contractagreements/request", Some(by("retiredAt", "=", json!(at)))).await.body;
    assert_eq!((found.as_array().unwrap().len(), &found[0]["@id"]), (1, &json!(agreement)));
    let negotiation = s.manage(&s.provider, Method::GET, &format!("contractnegotiations/{theirs}"), None).await.body;
    assert_eq!(negotiation["state"], "FINALIZED");

    // The consumer still has it; the provider does not transfer under it.
    let request = sharing::transfer_request(&s.provider, &agreement);
    let begun = s.manage(&s.consumer, Method::POST, "transferprocesses", Some(request.clone())).await;
    assert_eq!(begun.status, 200);
    s.why_ended(begun.body["@id"].as_str().unwrap()).await;
    // Once more is no mistake; and for itself the consumer may retire it too.
    assert_eq!(s.retire(&s.provider, &agreement, json!({})).await.0, 204);
    assert_eq!(s.retire(&s.consumer, &agreement, json!({})).await.0, 204);
    assert_eq!(s.manage(&s.consumer, Method::POST, "transferprocesses", Some(request)).await.status, 400);
    s.close().await;
}

#[tokio::test]
async fn a_policy_ends_its_agreement_on_both_sides() {
    let mut s = Stage::open().await;
    let constraint = json!({"leftOperand": "inForceDate", "operator": "lteq", "rightOperand": "contractAgreement+8s"});
    let policy = json!({"@type": "Set", "permission": [{"action": "use", "constraint": [constraint]}]});
    let criterion = json!({"@type": "Criterion", "operandLeft": "id", "operator": "=", "operandRight": DATA_SET});
    let definition = json!({"@id": "brief", "accessPolicyId": "requires-MembershipCredential", "contractPolicyId": "brief",
        "assetsSelector": [criterion]});
    for (resource, body) in [
        ("policydefinitions", Client::typed("PolicyDefinition", json!({"@id": "brief", "policy": policy}))),
        ("contractdefinitions", Client::typed("ContractDefinition", definition)),
    ] {
        assert_eq!(s.manage(&s.provider, Method::POST, resource, Some(body)).await.status, 200);
    }
    let offer = s.offers(&s.consumer).await.into_iter().find(|o| o.policy.to_string().contains("contractAgreement+8s")).unwrap();
    let (_, _, agreement) = s.agreement(&offer).await;
    let pull = s.pulls(&agreement).await;
    assert!(s.why_ended(&pull.transfer).await.contains("not in force any more"));
    sharing::transfer_at_provider(&mut s.client, &s.provider, &pull.transfer, "TERMINATED").await.unwrap();
    assert_eq!(s.status(&pull).await, 403);
    // Nothing begins under it any more.
    let request = sharing::transfer_request(&s.provider, &agreement);
    assert_eq!(s.manage(&s.consumer, Method::POST, "transferprocesses", Some(request)).await.status, 400);
    s.close().await;
}

/// What is asked of running transfers is asked whenever data begins to flow, and after a date of the policy; who is refused then has its transfer ended.
#[tokio::test]
async fn a_transfer_goes_on_as_long_as_its_policy_lets_it() {
    let mut s = Stage::open().await;
    let expression = |text: &str| {
        let fields =
            json!({"@id": "watched", "leftOperand": "Watched", "expression": text, "description": "x", "scopes": ["policy.monitor"]});
        Some(Client::typed("CelExpression", fields))
    };
    let watched = "ctx.agreement.consumerId == ctx.agent.id && this.rightOperand == 'x'";
    s.base.must(Method::POST, "/api/mgmt/v5beta/celexpressions", expression(watched)).await;
    let watched = json!({"leftOperand": "Watched", "operator": "eq", "rightOperand": "x"});
    let brief = json!({"leftOperand": "inForceDate", "operator": "lteq", "rightOperand": "contractAgreement+10s"});
    let criterion = json!({"@type": "Criterion", "operandLeft": "id", "operator": "=", "operandRight": DATA_SET});
    for (id, constraint) in [("always", watched.clone()), ("after-a-while", json!({"or": [brief, watched]}))] {
        let policy = json!({"@id": id, "policy": {"@type": "Set", "permission": [{"action": "use", "constraint": [constraint]}]}});
        let definition =
            json!({"@id": id, "accessPolicyId": "requires-MembershipCredential", "contractPolicyId": id, "assetsSelector": [criterion]});
        for (resource, body) in [
            ("policydefinitions", Client::typed("PolicyDefinition", policy)),
            ("contractdefinitions", Client::typed("ContractDefinition", definition)),
        ] {
            assert_eq!(s.manage(&s.provider, Method::POST, resource, Some(body)).await.status, 200);
        }
    }
    let offers = s.offers(&s.consumer).await;
    let of = |dated: bool| {
        offers
            .iter()
            .find(|o| o.policy.to_string().contains("Watched") && o.policy.to_string().contains("inForceDate") == dated)
            .unwrap()
            .clone()
    };
    let (_, _, always) = s.agreement(&of(false)).await;
    let (_, _, dated) = s.agreement(&of(true)).await;
    let (resumed, looked_at) = (s.pulls(&always).await, s.pulls(&dated).await);
    s.base.must(Method::PUT, "/api/mgmt/v5beta/celexpressions/watched", expression("false")).await;

    // What runs goes on until somebody asks.
    assert_eq!(s.status(&resumed).await, 200);
    let theirs = s.manage(&s.provider, Method::POST, "transferprocesses/request", Some(sharing::counterpart(&resumed.transfer))).await.body;
    let theirs = theirs[0]["@id"].as_str().unwrap().to_owned();
    let suspend = Some(Client::typed("SuspendTransfer", json!({"reason": "later"})));
    assert_eq!(s.manage(&s.provider, Method::POST, &format!("transferprocesses/{theirs}/suspend"), suspend).await.status, 204);
    let path = format!("transferprocesses/{theirs}/state?wait=SUSPENDED&timeout=20s");
    assert_eq!(s.manage(&s.provider, Method::GET, &path, None).await.body["state"], "SUSPENDED");
    assert_eq!(s.manage(&s.provider, Method::POST, &format!("transferprocesses/{theirs}/resume"), None).await.status, 204);
    for pull in [resumed, looked_at] {
        assert!(s.why_ended(&pull.transfer).await.contains("Watched"));
        sharing::transfer_at_provider(&mut s.client, &s.provider, &pull.transfer, "TERMINATED").await.unwrap();
        assert_eq!(s.status(&pull).await, 403);
    }
    let begun = s.manage(&s.consumer, Method::POST, "transferprocesses", Some(sharing::transfer_request(&s.provider, &always))).await;
    assert!(s.why_ended(begun.body["@id"].as_str().unwrap()).await.contains("Watched"));
    s.close().await;
}
