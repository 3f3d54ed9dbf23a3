//! The fabric over HTTP: the whole life of a participant, and what tenant manager and provision manager answer.

use super::support::{DRAIN, Platform, read, text};
use cellspace_client::{
    Caller, Client, Silent,
    operator::{self, prepare},
    tenants::{self, Participant},
};
use reqwest::{Method, Response, StatusCode, header};
use serde_json::{Value, json};

const TENANTS: &str = "/api/tm/tenants";
const CELLS: &str = "/api/tm/cells";
const DATASPACES: &str = "/api/tm/dataspace-profiles";
const ORCHESTRATIONS: &str = "/api/pm/orchestrations";

/// An operator at work: the platform, its public client, and what it has prepared.
struct Operator {
    platform: Platform,
    client: Client,
    prepared: operator::Platform,
}

impl Operator {
    async fn new() -> Self {
        let platform = Platform::temporary(|_| {}).await;
        let urls = &platform.node.urls;
        let mut client = Client::new(platform.http.clone(), urls.admin(""), urls.public(""), Box::new(Silent));
        let admin = Caller { name: "admin".into(), token: platform.token.clone() };
        let prepared = prepare(&mut client, admin, &urls.did_host()).await.unwrap();
        Self { platform, client, prepared }
    }

    async fn onboard(&mut self, name: &str) -> Participant {
        let host = self.platform.node.urls.did_host();
        tenants::onboard(&mut self.client, &self.prepared, name, &host, true).await.unwrap()
    }

    /// Path of the live participant profile with this DID, and its tenant.
    async fn profile_of(&self, did: &str) -> (String, String) {
        let query = json!({ "predicate": format!("identifier = '{did}' AND vpas.state != 'disposed'") });
        let found = self.platform.must(Method::POST, "/api/tm/participant-profiles/query", Some(query)).await;
        assert_eq!(found.as_array().unwrap().len(), 1, "{found}");
        let tenant = text(&found[0], "tenantId");
        (format!("{TENANTS}/{tenant}/participant-profiles/{}", text(&found[0], "id")), tenant)
    }

    async fn dispose(&self, profile: &str) {
        let (status, disposing) = self.platform.call(Method::DELETE, profile, None).await;
        assert_eq!((status, &disposing["vpas"][0]["state"]), (StatusCode::ACCEPTED, &json!("disposing")));
        let disposed = self.platform.must(Method::GET, &format!("{profile}?wait=disposed&timeout=30s"), None).await;
        assert_eq!(states(&disposed), ["disposed"; 4], "{disposed}");
    }

    /// Ids of the holder's credentials that have not been revoked.
    async fn valid_credentials(&self, did: &str) -> usize {
        let criteria = json!([
            {"operandLeft": "holderId", "operator": "=", "operandRight": did},
            {"operandLeft": "status", "operator": "!=", "operandRight": "revoked"},
        ]);
        let path = "/api/admin/v1beta/participants/issuer/credentials/query";
        let found = self.platform.must(Method::POST, path, Some(json!({ "filterExpression": criteria }))).await;
        found.as_array().unwrap().len()
    }

    async fn holders(&self, did: &str) -> Vec<Value> {
        let criteria = json!([{"operandLeft": "did", "operator": "=", "operandRight": did}]);
        let path = "/api/admin/v1beta/participants/issuer/holders/query";
        let found = self.platform.must(Method::POST, path, Some(json!({ "filterExpression": criteria }))).await;
        found.as_array().unwrap().clone()
    }
}

fn states(profile: &Value) -> Vec<&str> {
    profile["vpas"].as_array().unwrap().iter().map(|vpa| vpa["state"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn onboarded_deactivated_disposed_of_and_onboarded_again() {
    let mut operator = Operator::new().await;
    let first = operator.onboard("acme").await;
    let (profile, tenant) = operator.profile_of(&first.did).await;
    let p = &operator.platform;

    // A profile that is deployed once more keeps its scopes, and stays active.
    let scopes = p.must(Method::POST, "/api/mgmt/v5beta/dcpscopes/request", Some(query_spec())).await;
    let dataspace = &operator.prepared.dataspace;
    let deployment = json!({"profileId": dataspace, "cellId": operator.prepared.cell});
    let (status, _) = p.call(Method::POST, &format!("{DATASPACES}/{dataspace}/deployments"), Some(deployment)).await;
    assert_eq!(status, StatusCode::ACCEPTED);
    let deployed = p.must(Method::GET, &format!("{DATASPACES}/{dataspace}?wait=active&timeout=30s"), None).await;
    let deployment = &deployed["deployments"][0];
    assert_eq!((&deployment["state"], &deployment["properties"]), (&json!("active"), &json!({})));
    assert_eq!(deployment["version"], 3, "pending and active, twice");
    assert_eq!(p.must(Method::POST, "/api/mgmt/v5beta/dcpscopes/request", Some(query_spec())).await, scopes);

    // Rows and logs of both contexts know the tenant; the issuer knows for whom it registered the holder.
    let management = format!("/api/mgmt/v5beta/participants/{}", first.context);
    assert_eq!(p.must(Method::GET, &management, None).await["properties"]["tenant"], json!(tenant));
    let identity = format!("/api/identity/v1beta/participants/{}", first.context);
    assert_eq!(p.must(Method::GET, &identity, None).await["properties"]["tenant"], json!(tenant));
    assert_eq!(operator.holders(&first.did).await[0]["properties"]["participantContextId"], json!(first.context));
    assert_eq!(operator.valid_credentials(&first.did).await, 2);

    // Switched off everywhere, then disposed of: nothing is left, and nobody is in the way.
    let off = Client::typed("ParticipantContext", json!({"@id": first.context, "identity": first.did, "state": "DEACTIVATED"}));
    p.must(Method::PUT, &management, Some(off)).await;
    p.must(Method::POST, &format!("{identity}/state?isActive=false"), None).await;
    operator.dispose(&profile).await;
    assert_eq!(operator.valid_credentials(&first.did).await, 0);
    assert!(operator.holders(&first.did).await.is_empty());
    for gone in [management, identity] {
        assert_eq!(operator.platform.call(Method::GET, &gone, None).await.0, StatusCode::NOT_FOUND, "{gone}");
    }

    // The DID is free again; the tenant that had it can go without taking it away from the one that has it now.
    let second = operator.onboard("acme").await;
    assert_eq!(second.did, first.did);
    assert_ne!(second.context, first.context);
    let (status, _) = operator.platform.call(Method::DELETE, &format!("{TENANTS}/{tenant}"), None).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(operator.valid_credentials(&second.did).await, 2);
    let (second_profile, second_tenant) = operator.profile_of(&second.did).await;
    let again = json!({"identifier": second.did, "dataspaceProfileIds": [operator.prepared.dataspace]});
    let path = format!("{TENANTS}/{second_tenant}/participant-profiles");
    assert_eq!(refused(&operator.platform, Method::POST, &path, again).await.0, 409);

    // A tenant that is deleted as soon as its participant is disposed of takes the row of the DID with it.
    operator.dispose(&second_profile).await;
    operator.platform.must(Method::DELETE, &format!("{TENANTS}/{second_tenant}"), None).await;
    operator.onboard("acme").await;
    operator.platform.node.drain(DRAIN).await;
}

#[tokio::test]
async fn an_issuer_that_is_gone_does_not_hold_up_a_disposal() {
    let mut operator = Operator::new().await;
    let participant = operator.onboard("acme").await;
    let (profile, _) = operator.profile_of(&participant.did).await;
    operator.platform.must(Method::POST, "/api/identity/v1beta/participants/issuer/state?isActive=false", None).await;
    operator.dispose(&profile).await;
    operator.platform.node.drain(DRAIN).await;
}

fn query_spec() -> Value {
    json!({"@context": [cellspace_client::client::MANAGEMENT_CONTEXT], "@type": "QuerySpec", "sortField": "id"})
}

/// Status and message of a refusal in the fabric's form.
async fn refused(platform: &Platform, method: Method, path: &str, body: Value) -> (u16, String) {
    error(platform.admin(method, path).json(&body).send().await.unwrap()).await
}

async fn error(response: Response) -> (u16, String) {
    let (status, body) = read(response).await;
    assert_eq!(body["code"], json!(status.as_u16()), "{body}");
    assert_eq!(body["error"], json!(status.canonical_reason()), "{body}");
    assert_eq!(body.as_object().unwrap().len(), 3, "{body}");
    (status.as_u16(), text(&body, "message"))
}

#[tokio::test]
async fn tenants_are_made_changed_listed_and_found() {
    let p = Platform::temporary(|_| {}).await;
    let mut ids = Vec::new();
    for n in 0..5 {
        // What only the platform says is ignored.
        let body =
            json!({"id": "mine", "version": 7, "properties": {"name": format!("T{n}"), "location": if n < 3 { "eu" } else { "us" }}});
        let (status, tenant) = p.call(Method::POST, TENANTS, Some(body)).await;
        assert_eq!((status, &tenant["version"]), (StatusCode::CREATED, &json!(0)));
        ids.push(text(&tenant, "id"));
    }
    assert!(!ids.contains(&"mine".to_owned()));

    // Every change raises the version, in the object and in lists.
    let one = format!("{TENANTS}/{}", ids[0]);
    let diff = json!({"properties": {"tier": "gold"}, "removed": ["location"]});
    let changed = p.must(Method::PATCH, &one, Some(diff)).await;
    assert_eq!((&changed["version"], &changed["properties"]), (&json!(1), &json!({"name": "T0", "tier": "gold"})));
    assert_eq!(p.must(Method::GET, &one, None).await, changed);

    let page = p.admin(Method::GET, &format!("{TENANTS}?offset=2&limit=2")).send().await.unwrap();
    assert_eq!(page.headers()["x-total-count"], "5");
    let links = page.headers()[header::LINK].to_str().unwrap().to_owned();
    for (offset, rel) in [(2, "self"), (4, "next"), (0, "prev"), (0, "first"), (4, "last")] {
        assert!(links.contains(&format!("{TENANTS}?offset={offset}&limit=2>; rel=\"{rel}\"")), "{rel} in {links}");
    }
    let listed: Vec<Value> = page.json().await.unwrap();
    assert_eq!(listed.iter().map(|t| text(t, "id")).collect::<Vec<_>>(), ids[2..4], "oldest first");

    // The list is brought up to date by the tenant's outbox, so it is asked for until it is.
    let found = |predicate: &str| {
        let body = json!({ "predicate": predicate });
        let query = p.admin(Method::POST, &format!("{TENANTS}/query")).json(&body);
        async move { query.send().await.unwrap() }
    };
    let deadline = std::time::Instant::now() + DRAIN;
    while read(found("properties.tier = 'gold'").await).await.1 != json!([changed]) {
        assert!(std::time::Instant::now() < deadline, "the change does not show in lists");
    }
    for (predicate, expected) in [
        ("true", 5),
        ("properties.location = 'eu'", 2),
        ("properties.name LIKE 'T%' AND properties.location NOT IN ('eu')", 2),
        ("properties.location IN ('us')", 2),
        ("properties.location IS NULL", 1),
        ("properties.name = 'T1' OR properties.name = 'T4'", 2),
    ] {
        let response = found(predicate).await;
        assert_eq!(response.headers()["x-total-count"], expected.to_string(), "{predicate}");
        assert_eq!(read(response).await.1.as_array().unwrap().len(), expected, "{predicate}");
    }

    for (method, path, body, status) in [
        (Method::POST, TENANTS.to_owned(), json!({"properties": 1}), 400),
        (Method::POST, format!("{TENANTS}/query"), json!({"predicate": "name ="}), 400),
        (Method::POST, format!("{TENANTS}/query"), json!({"predicate": "true", "offset": -1}), 400),
        (Method::GET, format!("{TENANTS}?limit=many"), json!(null), 400),
        (Method::GET, format!("{TENANTS}/nobody"), json!(null), 404),
        (Method::PATCH, format!("{TENANTS}/nobody"), json!({}), 404),
        (Method::DELETE, format!("{TENANTS}/nobody"), json!(null), 404),
        (Method::GET, format!("{TENANTS}/nobody/participant-profiles"), json!(null), 404),
        (Method::GET, format!("{one}/participant-profiles/nobody"), json!(null), 404),
        (Method::PUT, one.clone(), json!({}), 405),
        (Method::PATCH, one.clone(), json!({"properties": {"x": "x".repeat(70_000)}}), 400),
    ] {
        assert_eq!(refused(&p, method.clone(), &path, body).await.0, status, "{method} {path}");
    }
    assert_eq!(p.must(Method::GET, &one, None).await, changed, "what is refused changes nothing");
    assert_eq!(error(p.bare(Method::GET, TENANTS).send().await.unwrap()).await.0, 401);

    p.must(Method::DELETE, &one, None).await;
    assert_eq!(refused(&p, Method::GET, &one, json!(null)).await.0, 404);
    p.node.drain(DRAIN).await;
}

#[tokio::test]
async fn cells_and_dataspaces_must_fit_a_participant() {
    let p = Platform::temporary(|_| {}).await;
    let tenant = text(&p.must(Method::POST, TENANTS, Some(json!({"properties": {}}))).await, "id");
    let profiles = format!("{TENANTS}/{tenant}/participant-profiles");
    let deploy = |more: Value| {
        let mut body = json!({"identifier": p.did("acme"), "properties": {}});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let (status, why) = refused(&p, Method::POST, &profiles, deploy(json!({}))).await;
    assert_eq!((status, why.as_str()), (400, "no active cell is registered"));
    assert_eq!(refused(&p, Method::POST, CELLS, json!({"externalId": "elsewhere"})).await.0, 400);
    let cell = text(&p.must(Method::POST, CELLS, Some(json!({"state": "active"}))).await, "id");
    let locked = text(&p.must(Method::POST, CELLS, Some(json!({"state": "locked"}))).await, "id");

    // A dataspace that was not brought to the cell cannot be taken part in, and nothing is reserved for the attempt.
    let dataspace = text(&p.must(Method::POST, DATASPACES, Some(json!({"properties": {"name": "d"}}))).await, "id");
    for body in [json!({}), json!({"dataspaceProfileIds": [dataspace]}), json!({"dataspaceProfileIds": ["nothing"]})] {
        assert_eq!(refused(&p, Method::POST, &profiles, deploy(body.clone())).await.0, 400, "{body}");
    }
    assert_eq!(refused(&p, Method::POST, &profiles, deploy(json!({"cellId": locked}))).await.0, 400);
    assert_eq!(refused(&p, Method::POST, &profiles, json!({"identifier": "acme"})).await.0, 400);
    assert_eq!(refused(&p, Method::POST, &format!("{TENANTS}/nobody/participant-profiles"), deploy(json!({}))).await.0, 404);
    let (status, body) = p.call(Method::POST, "/api/tm/participant-profiles/query", Some(json!({"predicate": "true"}))).await;
    assert_eq!((status, body), (StatusCode::OK, json!([])));

    let deployment = json!({"profileId": dataspace, "cellId": cell});
    p.must(Method::POST, &format!("{DATASPACES}/{dataspace}/deployments"), Some(deployment)).await;
    p.must(Method::GET, &format!("{DATASPACES}/{dataspace}?wait=active&timeout=30s"), None).await;
    // Nothing defines the orchestration: the profile is made, and ends in error.
    let (status, made) =
        p.call(Method::POST, &profiles, Some(deploy(json!({"properties": {"cfm.vpa.state": {"participantContextId": "x"}}})))).await;
    assert_eq!((status, states(&made)), (StatusCode::ACCEPTED, vec!["pending"; 4]));
    assert_eq!(made["properties"], json!({}), "no client's word");
    let profile = format!("{profiles}/{}", text(&made, "id"));
    let failed = p.must(Method::GET, &format!("{profile}?wait=error&timeout=30s"), None).await;
    assert_eq!((&failed["error"], states(&failed)), (&json!(true), vec!["error"; 4]));

    // A cell with participants stays as it was, one without goes.
    let cells = p.must(Method::GET, CELLS, None).await;
    assert_eq!(refused(&p, Method::DELETE, &format!("{CELLS}/{cell}"), json!(null)).await.0, 409);
    let after = p.must(Method::GET, CELLS, None).await;
    let state_of = |list: &Value, id: &str| list.as_array().unwrap().iter().find(|c| c["id"] == id).unwrap()["state"].clone();
    assert_eq!((state_of(&after, &cell), state_of(&after, &locked)), (state_of(&cells, &cell), json!("locked")));
    assert_eq!(p.call(Method::DELETE, &format!("{CELLS}/{locked}"), None).await.0, StatusCode::OK);
    assert_eq!(refused(&p, Method::DELETE, &format!("{CELLS}/{locked}"), json!(null)).await.0, 404);
    assert_eq!(refused(&p, Method::DELETE, &format!("{TENANTS}/{tenant}"), json!(null)).await.0, 400);
    assert_eq!(refused(&p, Method::DELETE, &format!("{DATASPACES}/{dataspace}"), json!(null)).await.0, 409);
    p.node.drain(DRAIN).await;
}

#[tokio::test]
async fn orchestrations_are_asked_for_directly() {
    let p = Platform::temporary(|_| {}).await;
    let (activities, definitions) = ("/api/pm/activity-definitions", "/api/pm/orchestration-definitions");
    let activity = json!({"type": "jwtlet-activity", "description": "token"});
    assert_eq!(p.call(Method::POST, activities, Some(activity.clone())).await.0, StatusCode::CREATED);
    let template = json!({"id": "t", "description": "d", "activities": {"audit": [{"id": "a", "type": "jwtlet-activity"}]}});
    let (status, made) = p.call(Method::POST, definitions, Some(template.clone())).await;
    assert_eq!((status, made), (StatusCode::CREATED, json!({"id": "t", "description": "d"})));
    assert_eq!(p.must(Method::GET, &format!("{definitions}/t"), None).await[0]["type"], "audit");

    let secret = p
        .client(json!({"id": "ops", "role": "provisioner", "scopes": ["provision-manager-api:read", "provision-manager-api:write"]}))
        .await;
    let token = p.token_of("ops", &secret).await;
    let start = |body: &Value| p.bare(Method::POST, ORCHESTRATIONS).bearer_auth(&token).json(body).send();
    let manifest = |payload: Value| json!({"id": "o-1", "correlationId": "c-1", "orchestrationType": "audit", "payload": payload});
    // Agents act for the participant context that the payload names: that is not for a provisioner to say.
    for key in ["participantContextId", "cfm.vpa.state"] {
        let (status, why) = error(start(&manifest(json!({key: "somebody-elses"}))).await.unwrap()).await;
        assert!(status == 400 && why.contains(key), "{status} {why}");
    }
    assert_eq!(refused(&p, Method::GET, &format!("{ORCHESTRATIONS}/o-1"), json!(null)).await.0, 404);
    let (status, started) = read(start(&manifest(json!({"x": 1}))).await.unwrap()).await;
    assert_eq!((status, &started["correlationId"]), (StatusCode::ACCEPTED, &json!("c-1")));
    let admins = json!({"correlationId": "c-2", "orchestrationType": "audit", "payload": {"participantContextId": "p"}});
    let (status, started) = p.call(Method::POST, ORCHESTRATIONS, Some(admins)).await;
    assert_eq!(status, StatusCode::ACCEPTED);

    for (method, path, body, status) in [
        (Method::POST, activities.to_owned(), activity, 409),
        (Method::POST, activities.to_owned(), json!({"type": "a/b"}), 400),
        (Method::DELETE, format!("{activities}/jwtlet-activity"), json!(null), 400),
        (Method::DELETE, format!("{activities}/nothing"), json!(null), 404),
        (Method::POST, definitions.to_owned(), template, 409),
        (Method::POST, definitions.to_owned(), json!({"activities": {"x": [{"id": "a", "type": "nothing"}]}}), 400),
        (Method::GET, format!("{definitions}/nothing"), json!(null), 404),
        (Method::DELETE, format!("{definitions}/nothing"), json!(null), 404),
        (Method::DELETE, format!("{definitions}/t"), json!(null), 400),
        (Method::POST, ORCHESTRATIONS.to_owned(), json!({"orchestrationType": "nothing"}), 400),
        (Method::POST, ORCHESTRATIONS.to_owned(), json!({"payload": {}}), 400),
        (Method::POST, format!("{ORCHESTRATIONS}/query"), json!({"predicate": "("}), 400),
    ] {
        assert_eq!(refused(&p, method.clone(), &path, body).await.0, status, "{method} {path}");
    }
    let query = json!({"predicate": "correlationId = 'c-2'"});
    let found = p.must(Method::POST, &format!("{ORCHESTRATIONS}/query"), Some(query)).await;
    assert_eq!(found[0]["id"], started["id"]);
    p.node.drain(DRAIN).await;
}
