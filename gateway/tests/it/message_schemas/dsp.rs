//! Every message of the Dataspace Protocol between participants of the platform.

use super::proxy::{self, Door};
use crate::{
    negotiating::{MANUFACTURER, MEMBER},
    stage::{Answer, Stage, contract_request, dsp},
    support::text,
};
use anyhow::Result;
use bytes::Bytes;
use cellspace_actors::{
    ControlPlane,
    control_plane::transfer::{Act, Command},
    credential_service::CredentialService,
    trust,
};
use cellspace_client::{Client, provider::DATA_SET, sharing, tenants::Participant};
use cellspace_cluster::{Address, Call};
use cellspace_schemas::Did;
use http::Request;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::{net::Ipv4Addr, sync::Arc, time::Duration};
use tokio::net::TcpListener;

/// Versions, and catalogs in pages, with nothing in them, with catalogs within, and with policies of all forms.
pub(super) async fn catalogs(s: &Stage) {
    let own = async |path: &str, kind: &str, body: Value| {
        let made = s.manage(&s.provider, Method::POST, path, Some(Client::typed(kind, body))).await;
        assert_eq!(made.status, 200, "{}", made.body);
    };
    let metadata = json!({"@type": "DataplaneMetadata", "properties": {"source": DATA_SET}});
    let within = json!({"description": "elsewhere", "endpointURL": "https://other.example/dsp", "format": "catalog"});
    own("assets", "CatalogAsset", json!({"@id": "elsewhere", "properties": within})).await;
    own("assets", "Asset", json!({"@id": "described", "properties": {"n": 1, "kind": ["a", "b"]}, "dataplaneMetadata": metadata})).await;
    let member = json!({"leftOperand": MEMBER, "operator": "eq", "rightOperand": "active"});
    let until =
        json!({"leftOperand": "https://w3id.org/edc/v0.0.1/ns/inForceDate", "operator": "lteq", "rightOperand": "contractAgreement+7d"});
    // Numbers and truth values have no meaning by themselves: somebody says what they are compared with.
    let meaning = |operand: &str, wanted: &str| {
        let expression = format!("this.rightOperand == {wanted}");
        Client::typed("CelExpression", json!({"@id": operand, "leftOperand": operand, "expression": expression, "description": "x"}))
    };
    let plain = |operand: &str, right: Value| json!({"leftOperand": operand, "operator": "eq", "rightOperand": right});
    for (operand, wanted) in [("level", "5"), ("share", "0.5"), ("audited", "true")] {
        s.base.must(Method::POST, "/api/mgmt/v5beta/celexpressions", Some(meaning(operand, wanted))).await;
    }
    let numbers = json!({"and": [plain("level", json!(5)), plain("share", json!(0.5)), plain("audited", json!(true))]});
    let either = json!({"or": [member, {"and": [member, until]}, numbers]});
    let policy = json!({"@type": "Set", "permission": [{"action": "use", "constraint": [either, {"xone": [member]}], "duty": [{"action": "use", "constraint": [member]}]}],
        "prohibition": [{"action": "http://www.w3.org/ns/odrl/2/sell"}], "obligation": [{"action": "use"}]});
    own("policydefinitions", "PolicyDefinition", json!({"@id": "of-all-forms", "policy": policy})).await;
    let selected =
        |id: &str| json!([{"@type": "Criterion", "operandLeft": "https://w3id.org/edc/v0.0.1/ns/id", "operator": "=", "operandRight": id}]);
    for (id, asset) in [("elsewhere", "elsewhere"), ("described", "described")] {
        let access = format!("requires-{MEMBER}");
        own(
            "contractdefinitions",
            "ContractDefinition",
            json!({"@id": id, "accessPolicyId": access, "contractPolicyId": "of-all-forms", "assetsSelector": selected(asset)}),
        )
        .await;
    }
    let peer = json!({"counterPartyAddress": s.provider.dsp, "counterPartyId": s.provider.did});
    let ask = async |path: &str, kind: &str, more: Value| {
        let mut body = peer.clone();
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let answer = s.manage(&s.consumer, Method::POST, path, Some(Client::typed(kind, body))).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        answer.body
    };
    let discovery = Client::typed("DiscoveryRequest", json!({"counterPartyId": s.provider.did}));
    let found = s.manage(&s.consumer, Method::POST, "discover/request", Some(discovery)).await;
    assert_eq!(found.status, 200, "{}", found.body);
    let whole = ask(
        "catalog/request",
        "CatalogRequest",
        json!({"additionalScopes": ["org.eclipse.dspace.dcp.vc.type:ManufacturerCredential:read"]}),
    )
    .await;
    assert!(whole["dataset"].as_array().is_some_and(|all| all.len() == 3) && whole["catalog"].is_array(), "{whole}");
    // Our own clients see them as they were written.
    let shown = ask("catalog/dataset/request", "DatasetRequest", json!({"@id": "described"})).await;
    assert_eq!(shown["hasPolicy"][0]["permission"][0]["constraint"][0]["or"][2], numbers, "{shown}");
    let page = ask("catalog/request", "CatalogRequest", json!({"querySpec": {"@type": "QuerySpec", "offset": 0, "limit": 1}})).await;
    assert_eq!(page["dataset"].as_array().map(Vec::len), Some(1), "{page}");
    let nothing = json!([{"@type": "Criterion", "operandLeft": "n", "operator": "=", "operandRight": "nowhere"}]);
    let empty = ask("catalog/request", "CatalogRequest", json!({"querySpec": {"@type": "QuerySpec", "filterExpression": nothing}})).await;
    assert!(empty["dataset"].as_array().is_none_or(Vec::is_empty), "{empty}");
    // The pages after the first are asked for where its links say.
    let filter = json!([{"@type": "QuerySpec", "offset": 0, "limit": 1}]);
    let request = dsp("CatalogRequestMessage", json!({ "filter": filter }));
    let first = s.message(&s.consumer, &s.provider, "/catalog/request", &request).await;
    let link = first.link.unwrap();
    let next = link.split(['<', '>']).nth(1).unwrap().strip_prefix(&s.provider.dsp).unwrap();
    assert_eq!(s.message(&s.consumer, &s.provider, next, &request).await.status, StatusCode::OK);
}

/// Begun by each side, with counter-offers, to an agreement and to an end by each side; those that are refused.
pub(super) async fn negotiations(s: &mut Stage) {
    let (theirs, ours) = s.offered(&s.consumer, &s.terms("first", &[MEMBER, MANUFACTURER])).await;
    s.does(&s.consumer, &ours, "request", Some(s.terms("second", &[]))).await;
    s.reached(&s.provider, &theirs, "REQUESTED").await;
    s.does(&s.provider, &theirs, "offer", Some(s.terms("third", &[MEMBER]))).await;
    s.reached(&s.consumer, &ours, "OFFERED").await;
    s.does(&s.consumer, &ours, "accept", None).await;
    s.agreed(&theirs, &ours, &s.terms("third", &[MEMBER])).await;
    assert_eq!(s.look(&s.consumer, &s.provider, &format!("/negotiations/{theirs}")).await.status, StatusCode::OK);
    assert_eq!(s.look(&s.provider, &s.consumer, &format!("/negotiations/{ours}")).await.status, StatusCode::OK);
    let mut numbers = s.terms("numbers", &[]);
    numbers["permission"][0]["constraint"] = json!([{"leftOperand": "level", "operator": "eq", "rightOperand": 5},
        {"leftOperand": "audited", "operator": "eq", "rightOperand": true}]);
    let (theirs, ours) = s.offered(&s.consumer, &numbers).await;
    s.does(&s.consumer, &ours, "accept", None).await;
    s.agreed(&theirs, &ours, &numbers).await;
    let over = || Some(Client::typed("TerminateNegotiation", json!({"reason": "over"})));
    for by_provider in [true, false] {
        let (theirs, ours) = s.offered(&s.consumer, &s.terms("first", &[])).await;
        let (who, id) = if by_provider { (&s.provider, &theirs) } else { (&s.consumer, &ours) };
        s.does(who, id, "terminate", over()).await;
        s.reached(&s.provider, &theirs, "TERMINATED").await;
        s.reached(&s.consumer, &ours, "TERMINATED").await;
    }
    // Accepted without what is required; refused at once.
    let (theirs, ours) = s.offered(&s.third, &s.terms("first", &[MANUFACTURER])).await;
    s.does(&s.third, &ours, "accept", None).await;
    s.reached(&s.provider, &theirs, "TERMINATED").await;
    let offers = s.offers(&s.third).await;
    let restricted = offers.iter().find(|offer| offer.policy.to_string().contains(MANUFACTURER)).unwrap().clone();
    let made_up = sharing::Offer { id: format!("{}x", restricted.id), ..restricted.clone() };
    for offer in [restricted, made_up] {
        sharing::negotiate(&mut s.client, &s.third, &s.provider, &offer, "TERMINATED").await.unwrap();
    }
}

/// Suspended and resumed by each side; completed, and terminated by each side.
pub(super) async fn transfers(s: &mut Stage) {
    let offer = s.offers(&s.consumer).await.into_iter().find(|offer| offer.asset == DATA_SET).unwrap();
    let (_, _, agreement) = s.agreement(&offer).await;
    for (round, end) in ["completed", "provider", "consumer"].into_iter().enumerate() {
        let pull = sharing::start_pull(&mut s.client, &s.consumer, &s.provider, &agreement).await.unwrap();
        let found = s.manage(&s.provider, Method::POST, "transferprocesses/request", Some(sharing::counterpart(&pull.transfer))).await.body;
        let (theirs, ours) = (text(&found[0], "@id"), pull.transfer);
        let both = [(&s.provider, &theirs), (&s.consumer, &ours)];
        let reached = async |wanted: &str| {
            for (who, id) in both {
                let path = format!("transferprocesses/{id}/state?wait={wanted}&timeout=20s");
                assert_eq!(s.manage(who, Method::GET, &path, None).await.body["state"], wanted);
            }
        };
        let act = async |(who, id): (&Participant, &String), what: &str, kind: &str| {
            let body = (!kind.is_empty()).then(|| Client::typed(kind, json!({"reason": "maintenance"})));
            let done = s.manage(who, Method::POST, &format!("transferprocesses/{id}/{what}"), body).await;
            assert_eq!(done.status, 204, "{what}: {}", done.body);
        };
        if round == 0 {
            for side in both {
                act(side, "suspend", "SuspendTransfer").await;
                reached("SUSPENDED").await;
                act(side, "resume", "").await;
                reached("STARTED").await;
            }
            assert_eq!(s.look(&s.consumer, &s.provider, &format!("/transfers/{theirs}")).await.status, StatusCode::OK);
            assert_eq!(s.look(&s.provider, &s.consumer, &format!("/transfers/{ours}")).await.status, StatusCode::OK);
        }
        match end {
            "completed" => {
                // A step of the participant itself, as its data plane takes it.
                let address = Address::of::<ControlPlane>(&crate::stage::context(&s.provider));
                let command = Command::Act { id: theirs.parse().unwrap(), act: Act::Complete };
                s.node().app.services.cluster.ask::<ControlPlane>(&address, command.into(), Call::by("test")).await.unwrap();
                reached("COMPLETED").await;
            }
            end => {
                act(both[usize::from(end == "consumer")], "terminate", "TerminateTransfer").await;
                reached("TERMINATED").await;
            }
        }
    }
}

/// A data plane that pushes: where it takes data, and that it has begun to send them.
struct Pushing {
    base: String,
}

impl Door for Pushing {
    async fn answer(&self, request: Request<Bytes>) -> Result<proxy::Answer> {
        let property = |name: &str, value: &str| json!({"@type": "EndpointProperty", "name": name, "value": value});
        let address = json!({"@type": "DataAddress", "endpointType": "https://w3id.org/idsa/v4.1/HTTP", "endpoint": format!("{}/sink", self.base),
            "endpointProperties": [property("authorization", "a"), property("authType", "bearer")]});
        let told = match request.uri().path() {
            "/token" => json!({"access_token": "t", "token_type": "Bearer"}),
            "/flows/prepare" => json!({"state": "PREPARED", "dataAddress": address}),
            "/flows/start" => json!({"state": "STARTED"}),
            _ => json!({}),
        };
        Ok(proxy::plain(http::StatusCode::OK, told.to_string()))
    }
}

/// A transfer whose data go where the consumer's data plane takes them.
pub(super) async fn push(s: &mut Stage) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(proxy::serve(Arc::new(Pushing { base: base.clone() }), listener, true));
    let authorization = json!({"type": "oauth2_client_credentials", "tokenEndpoint": format!("{base}/token"), "clientId": "cp", "clientSecret": "s",
        "jwksUri": format!("{base}/jwks")});
    let plane = json!({"dataplaneId": "pushing", "endpoint": format!("{base}/flows"), "profiles": ["HttpData-PUSH"], "authorization": authorization});
    for who in [&s.provider, &s.consumer] {
        let made = s.manage(who, Method::PUT, "dataplanes", Some(plane.clone())).await;
        assert_eq!(made.status, 200, "{}", made.body);
    }
    let asset =
        json!({"@id": "pushed", "properties": {}, "dataplaneMetadata": {"@type": "DataplaneMetadata", "profiles": ["HttpData-PUSH"]}});
    let policy = format!("requires-{MEMBER}");
    let selected =
        json!([{"@type": "Criterion", "operandLeft": "https://w3id.org/edc/v0.0.1/ns/id", "operator": "=", "operandRight": "pushed"}]);
    let definition = json!({"@id": "pushed", "accessPolicyId": policy, "contractPolicyId": policy, "assetsSelector": selected});
    for (path, kind, body) in [("assets", "Asset", asset), ("contractdefinitions", "ContractDefinition", definition)] {
        let made = s.manage(&s.provider, Method::POST, path, Some(Client::typed(kind, body))).await;
        assert_eq!(made.status, 200, "{}", made.body);
    }
    let offer = s.offers(&s.consumer).await.into_iter().find(|offer| offer.asset == "pushed").unwrap();
    let (_, _, agreement) = s.agreement(&offer).await;
    let mut request = sharing::transfer_request(&s.provider, &agreement);
    request["transferType"] = json!("HttpData-PUSH");
    let begun = s.manage(&s.consumer, Method::POST, "transferprocesses", Some(request)).await;
    assert_eq!(begun.status, 200, "{}", begun.body);
    let path = format!("transferprocesses/{}/state?wait=STARTED&timeout=20s", text(&begun.body, "@id"));
    let state = s.manage(&s.consumer, Method::GET, &path, None).await.body;
    let whole = s.manage(&s.consumer, Method::GET, &format!("transferprocesses/{}", text(&begun.body, "@id")), None).await.body;
    assert_eq!(state["state"], "STARTED", "{whole}");
}

/// What of DCP nobody asks for by itself: an offer, the metadata of an issuer, the status of a request.
pub(super) async fn claims(s: &Stage) {
    let services = &s.node().app.services;
    let issuer = &s.platform;
    let offer = json!({"holderId": s.consumer.did, "credentials": ["membership-credential-def"]});
    let path = format!("/api/issuer/admin/participants/{}/credentials/offer", issuer.issuer_context);
    let offered = s.client.exchange(Some(&issuer.issuer), Method::POST, &path, Some(&offer)).await.unwrap();
    assert_eq!(offered.status, 204, "{}", offered.body);
    let holder = crate::stage::context(&s.consumer);
    let address = Address::of::<CredentialService>(&holder);
    let wait = Duration::from_secs(20);
    let kept = |state: &cellspace_actors::credential_service::State| (!state.offers.is_empty()).then_some(());
    services.cluster.wait::<CredentialService, _>(&address, wait, kept).await.unwrap().unwrap();
    let pid = |state: &cellspace_actors::credential_service::State| state.requests.values().find_map(|request| request.issuer_pid.clone());
    let pid = services.cluster.read::<CredentialService, _>(&address, pid).await.unwrap().unwrap();
    let token = trust::self_issued_token(services, &holder, &Did::new(&issuer.issuer_did).unwrap(), &[]).await.unwrap();
    let base = services.urls.issuer_service(&issuer.issuer_context.parse().unwrap());
    for url in [format!("{base}/requests/{pid}"), format!("{base}/metadata")] {
        let answer = s.client.http.get(url).bearer_auth(&token).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
    }
}

/// 400, 401, 404 and 409, as each protocol has them.
pub(super) async fn errors(s: &Stage) {
    let is = |answer: &Answer, status: u16, kind: &str| {
        assert_eq!((answer.status.as_u16(), answer.body["@type"].as_str()), (status, Some(kind)), "{}", answer.text);
    };
    let nobody = "urn:uuid:nobody";
    let pids = json!({"consumerPid": nobody, "providerPid": nobody});
    for (path, of, kind, error) in [
        ("/catalog/request", "/catalog/datasets/nowhere", "CatalogRequestMessage", "CatalogError"),
        ("/negotiations/request", "/negotiations/nowhere", "ContractRequestMessage", "ContractNegotiationError"),
        ("/transfers/request", "/transfers/nowhere", "TransferRequestMessage", "TransferError"),
    ] {
        is(&s.send(None, Method::POST, &s.provider, path, Some(&dsp(kind, pids.clone()))).await, 401, error);
        is(&s.send(Some("rubbish"), Method::GET, &s.provider, of, None).await, 401, error);
        is(&s.message(&s.consumer, &s.provider, path, &json!({"@type": kind})).await, 400, error);
        is(&s.message(&s.consumer, &s.provider, path, &json!([])).await, 400, error);
        is(&s.look(&s.consumer, &s.provider, of).await, 404, error);
    }
    for (path, kind, error) in [
        ("/negotiations/nowhere/termination", "ContractNegotiationTerminationMessage", "ContractNegotiationError"),
        ("/transfers/nowhere/termination", "TransferTerminationMessage", "TransferError"),
    ] {
        is(&s.message(&s.consumer, &s.provider, path, &dsp(kind, pids.clone())).await, 404, error);
    }
    let (sink, mut taken) = crate::stage::callback().await;
    let offers = s.offers(&s.consumer).await;
    let of_data: Vec<&sharing::Offer> = offers.iter().filter(|offer| offer.asset == DATA_SET).collect();
    let first = contract_request("urn:uuid:twice", &sink, of_data[0], &s.provider.did);
    let begun = s.message(&s.consumer, &s.provider, "/negotiations/request", &first).await;
    is(&begun, 201, "ContractNegotiation");
    let (_, agreed) = taken.recv().await.unwrap();
    let other = contract_request("urn:uuid:twice", &sink, of_data[1], &s.provider.did);
    is(&s.message(&s.consumer, &s.provider, "/negotiations/request", &other).await, 409, "ContractNegotiationError");
    // Out of turn.
    let pid = text(&begun.body, "providerPid");
    let own = json!({"consumerPid": "urn:uuid:twice", "providerPid": pid, "eventType": "ACCEPTED"});
    let early =
        s.message(&s.consumer, &s.provider, &format!("/negotiations/{pid}/events"), &dsp("ContractNegotiationEventMessage", own)).await;
    is(&early, 400, "ContractNegotiationError");
    let verification = dsp("ContractAgreementVerificationMessage", json!({"consumerPid": "urn:uuid:twice", "providerPid": pid}));
    is(
        &s.message(&s.consumer, &s.provider, &format!("/negotiations/{pid}/agreement/verification"), &verification).await,
        200,
        "ContractNegotiation",
    );
    assert_eq!(taken.recv().await.unwrap().1["eventType"], "FINALIZED");
    let agreement = text(&agreed["agreement"], "@id");
    s.reached(&s.provider, &pid, "FINALIZED").await;
    let transfer = |format: &str| {
        dsp(
            "TransferRequestMessage",
            json!({"consumerPid": "urn:uuid:twice", "agreementId": agreement, "format": format, "callbackAddress": sink}),
        )
    };
    let begun = s.message(&s.consumer, &s.provider, "/transfers/request", &transfer("HttpData-PULL")).await;
    is(&begun, 201, "TransferProcess");
    is(&s.message(&s.consumer, &s.provider, "/transfers/request", &transfer("Other")).await, 409, "TransferError");
    // No participant: nothing that any of them serves.
    let nowhere = s.provider.dsp.replace(&s.provider.context, "nobody");
    let (place, _) = nowhere.rsplit_once('/').unwrap();
    let versions = s.client.http.get(format!("{place}/.well-known/dspace-version")).send().await.unwrap();
    assert_eq!(versions.status(), StatusCode::NOT_FOUND);
}
