//! Identity, issuance and proof over real sockets: participants of one node that deal with each other like strangers.

use crate::support::{DRAIN, IDENTITY, ISSUER_ADMIN, PATIENCE, Platform, config, id_of, read};
use cellspace_actors::{
    CredentialService, DcpOptions,
    credential_service::{self, listing, questions::Listed},
    issuer,
    settings::TrustedIssuer,
    trust::{PeerError, TrustOptions, VerifiedPeer, VerifyRequest, self_issued_token, signing_key, verify_peer},
};
use cellspace_cluster::Address;
use cellspace_schemas::{
    dcp::{CredentialFormat, DCP_CONTEXT},
    fabric::Page,
    identity::key_pair::KeyUsage,
    issuer::CredentialId,
};
use cellspace_storage::VaultPath;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::time::Duration;

const MEMBERSHIP: &str = "org.eclipse.dspace.dcp.vc.type:MembershipCredential:read";
const MANUFACTURER: &str = "org.eclipse.dspace.dcp.vc.type:ManufacturerCredential:read";

/// Nothing is believed without asking again, so that what was changed is seen at once.
async fn start() -> Platform {
    let trust = TrustOptions { did_document_age: Duration::ZERO, ..TrustOptions::default() };
    Platform::temporary(|config| (config.trust, config.status_list_age) = (trust, Duration::ZERO)).await
}

/// What others have spent of a participant's budget does not make a list of all fail.
#[tokio::test]
async fn lists_of_all_wait_for_room_in_a_budget() {
    let dir = tempfile::tempdir().unwrap();
    let first = Platform::start(config(dir.path())).await;
    first.participant("p1").await;
    first.node.drain(DRAIN).await;
    let mut one = config(dir.path());
    one.cluster.owner_inbox = 1;
    let again = Platform::start(one).await;
    let services = &again.node.app.services;
    let list = || listing::contexts(services, Page { offset: 0, limit: 10 }, Listed::Context);
    // Neither the directory nor the participant is in memory, and each takes one request at a time.
    let lists = futures::future::join_all((0..4).map(|_| list())).await;
    assert!(lists.iter().all(|list| list.as_ref().is_ok_and(|found| found.len() == 1)), "{lists:?}");
    again.node.drain(DRAIN).await;
}

impl Platform {
    /// An issuer with two credential definitions, and holders that get what is listed.
    async fn issuer_with(&self, holders: &[(&str, &[&str])]) {
        self.participant("issuer").await;
        let attestation = json!({"id": "att", "attestationType": "holder", "configuration": {}});
        self.must(Method::POST, &format!("{ISSUER_ADMIN}/attestations"), Some(attestation)).await;
        for (id, name, format) in
            [("membership", "MembershipCredential", "vc20-bssl/jwt"), ("manufacturer", "ManufacturerCredential", "vc11-sl2021/jwt")]
        {
            let definition = json!({"id": id, "credentialType": name, "format": format, "validity": "604800", "jsonSchema": "{}",
                "jsonSchemaUrl": "https://example.com/schema.json", "attestations": ["att"], "rules": [],
                "mappings": [{"input": "level", "output": "credentialSubject.level", "required": "true"}]});
            self.must(Method::POST, &format!("{ISSUER_ADMIN}/credentialdefinitions"), Some(definition)).await;
        }
        for (holder, wanted) in holders {
            let body = json!({"holderId": self.did(holder), "did": self.did(holder), "name": holder, "properties": {"level": "full"}});
            self.must(Method::POST, &format!("{ISSUER_ADMIN}/holders"), Some(body)).await;
            self.request_credentials(holder, "hp-1", wanted).await;
        }
    }

    async fn request_credentials(&self, holder: &str, holder_pid: &str, wanted: &[&str]) {
        let name = |id: &str| if id == "membership" { "MembershipCredential" } else { "ManufacturerCredential" };
        let credentials: Vec<Value> = wanted.iter().map(|id| json!({"format": "vc20-bssl/jwt", "type": name(id), "id": id})).collect();
        let path = format!("{IDENTITY}/participants/{holder}/credentials/request");
        let body = json!({"issuerDid": self.did("issuer"), "holderPid": holder_pid, "credentials": credentials});
        self.must(Method::POST, &path, Some(body)).await;
        let request = self.must(Method::GET, &format!("{path}/{holder_pid}?wait=ISSUED&timeout=20s"), None).await;
        assert_eq!(request["status"], "ISSUED", "{request}");
    }

    /// `to` verifies a message of `from`.
    async fn verify(&self, from: &str, to: &str, optional: &[&str]) -> Result<VerifiedPeer, PeerError> {
        let services = &self.node.app.services;
        let scopes = [MEMBERSHIP.to_owned(), MANUFACTURER.to_owned()];
        let token = self_issued_token(services, &id_of(from), &self.did(to), &scopes).await.unwrap();
        self.verify_token(to, &token, optional).await
    }

    async fn verify_token(&self, to: &str, token: &str, optional: &[&str]) -> Result<VerifiedPeer, PeerError> {
        let optional: Vec<String> = optional.iter().map(|scope| (*scope).to_owned()).collect();
        let request = VerifyRequest {
            participant: &id_of(to),
            own_did: &self.did(to),
            token,
            call: None,
            required: &[MEMBERSHIP.to_owned()],
            named: &[],
            optional: &optional,
            trusted_issuers: &[TrustedIssuer { id: self.did("issuer"), supported_types: vec!["*".to_owned()] }],
            slot: None,
            believe_absence: true,
        };
        verify_peer(&self.node.app.services, request).await
    }

    /// Queries the credential service of `holder` with a token of `sender`.
    async fn query_presentations(&self, holder: &str, token: &str, scopes: &[&str]) -> (StatusCode, Value) {
        let body = json!({"@context": [DCP_CONTEXT], "type": "PresentationQueryMessage", "scope": scopes});
        let url = format!("{}/presentations/query", self.node.urls.credential_service(&id_of(holder)));
        read(self.http.post(url).bearer_auth(token).json(&body).send().await.unwrap()).await
    }
}

fn types(peer: &VerifiedPeer) -> Vec<String> {
    let mut types: Vec<String> = peer.credentials.iter().map(|c| c.json()["type"][1].as_str().unwrap().to_owned()).collect();
    types.sort();
    types
}

fn rule(error: &PeerError) -> String {
    assert!(matches!(error, PeerError::Refused(_)), "{error:?}");
    error.to_string()
}

#[tokio::test]
async fn names_belong_to_one_participant() {
    let platform = start().await;
    let create = format!("{IDENTITY}/participants");
    platform.participant("acme").await;
    for path in ["/acme/did.json", "/acme/.well-known/did.json", "/acme"] {
        let (status, document) = platform.public(path).await;
        assert_eq!((status, &document["id"]), (StatusCode::OK, &json!(platform.did("acme"))));
        assert_eq!(document["verificationMethod"][0]["id"], format!("{}#key1", platform.did("acme")));
        assert_eq!(document["capabilityInvocation"][0], document["verificationMethod"][0]["id"]);
    }
    for path in ["/other/did.json", "/.well-known/did.json", "/acme/other/did.json", "/other", "/acme/other", "/api/dsp", "/did.json"] {
        assert_eq!(platform.public(path).await.0, StatusCode::NOT_FOUND, "{path}");
    }
    // In use, and used up as an id.
    assert_eq!(platform.call(Method::POST, &create, Some(platform.manifest("other", "acme"))).await.0, StatusCode::CONFLICT);
    assert_eq!(platform.call(Method::POST, &create, Some(platform.manifest("acme", "other"))).await.0, StatusCode::CONFLICT);
    assert_eq!(platform.call(Method::GET, &format!("{create}/other"), None).await.0, StatusCode::NOT_FOUND);
    // Not of this installation.
    for did in ["did:web:example.com:acme", "did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK"] {
        let mut manifest = platform.manifest("other", "other");
        manifest["did"] = json!(did);
        assert_eq!(platform.call(Method::POST, &create, Some(manifest)).await.0, StatusCode::BAD_REQUEST);
    }
    // Under a race one wins.
    let racers = (0..8).map(|n| {
        let manifest = platform.manifest(&format!("racer-{n}"), "race");
        let platform = &platform;
        let create = &create;
        async move { platform.call(Method::POST, create, Some(manifest)).await.0 }
    });
    let statuses = futures::future::join_all(racers).await;
    assert_eq!(statuses.iter().filter(|s| **s == StatusCode::OK).count(), 1, "{statuses:?}");
    assert!(statuses.iter().all(|s| *s == StatusCode::OK || *s == StatusCode::CONFLICT), "{statuses:?}");
    // Where no document could be served, and ids that do not stand in URLs.
    for (id, name) in
        [("other", "api"), ("other", "keys:a"), ("other", "a:did.json"), ("a/b", "other"), ("..", "other"), ("a%2Fb", "other")]
    {
        let answer = platform.call(Method::POST, &create, Some(platform.manifest(id, name))).await;
        assert_eq!(answer.0, StatusCode::BAD_REQUEST, "{id} {name}: {}", answer.1);
    }
    // Deleted: gone for everybody. The DID is free at once, the id never again.
    platform.must(Method::DELETE, &format!("{create}/acme"), None).await;
    assert_eq!(platform.public("/acme/did.json").await.0, StatusCode::NOT_FOUND);
    assert_eq!(platform.call(Method::GET, &format!("{create}/acme"), None).await.0, StatusCode::NOT_FOUND);
    assert_eq!(platform.call(Method::POST, &create, Some(platform.manifest("acme", "acme"))).await.0, StatusCode::CONFLICT);
    platform.must(Method::POST, &create, Some(platform.manifest("acme-2", "acme"))).await;
    assert_eq!(platform.public("/acme/did.json").await.0, StatusCode::OK);
    platform.node.drain(DRAIN).await;
}

#[tokio::test]
async fn a_refused_create_leaves_its_name_to_others() {
    let platform = start().await;
    let create = format!("{IDENTITY}/participants");
    let mut manifest = platform.manifest("first", "acme");
    let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
    manifest["key"] = json!({"keyId": "k", "privateKeyAlias": "not-there", "publicKeyJwk": jwk});
    assert_eq!(platform.call(Method::POST, &create, Some(manifest.clone())).await.0, StatusCode::BAD_REQUEST);
    manifest["key"] = json!([{"keyId": "k", "privateKeyAlias": "one"}, {"keyId": "l", "privateKeyAlias": "one"}]);
    assert_eq!(platform.call(Method::POST, &create, Some(manifest)).await.0, StatusCode::CONFLICT);
    platform.must(Method::POST, &create, Some(platform.manifest("second", "acme"))).await;
    platform.node.drain(DRAIN).await;
}

#[tokio::test]
async fn a_deleted_issuer_is_inherited_by_nobody() {
    let platform = start().await;
    platform.participant("holder").await;
    platform.issuer_with(&[("holder", &["membership"])]).await;
    let holders = format!("{ISSUER_ADMIN}/holders");
    let query = format!("{holders}/query");
    assert_eq!(platform.must(Method::POST, &query, Some(json!({}))).await.as_array().unwrap().len(), 1);
    platform.must(Method::DELETE, &format!("{IDENTITY}/participants/issuer"), None).await;
    let body = json!({"holderId": "h", "did": "did:web:h.example", "name": "h", "properties": {}});
    for (method, path, body) in [
        (Method::POST, query.clone(), Some(json!({}))),
        (Method::POST, format!("{ISSUER_ADMIN}/credentials/query"), Some(json!({}))),
        (Method::GET, format!("{ISSUER_ADMIN}/credentialdefinitions/membership"), None),
        (Method::DELETE, format!("{ISSUER_ADMIN}/credentialdefinitions/membership"), None),
        (Method::PUT, holders.clone(), Some(body.clone())),
        (Method::POST, holders.clone(), Some(body)),
    ] {
        assert_eq!(platform.call(method.clone(), &path, body).await.0, StatusCode::NOT_FOUND, "{method} {path}");
    }
    let again = platform.manifest("issuer", "another");
    assert_eq!(platform.call(Method::POST, &format!("{IDENTITY}/participants"), Some(again)).await.0, StatusCode::CONFLICT);
    platform.node.drain(DRAIN).await;
}

#[tokio::test]
async fn secrets_end_with_the_last_context_of_their_owner() {
    let platform = start().await;
    let vault = platform.node.app.services.vault.clone();
    let at = |owner: &str, alias: &str| VaultPath { owner: (&id_of(owner)).into(), alias: alias.parse().unwrap() };
    let management = "/api/mgmt/v5beta/participants";
    for id in ["first", "second"] {
        platform.participant(id).await;
        let body = json!({"@context": ["https://w3id.org/edc/connector/management/v2"], "@type": "ParticipantContext", "@id": id,
            "identity": platform.did(id), "state": "ACTIVATED", "properties": {}});
        platform.must(Method::POST, management, Some(body)).await;
        vault.put_secret(&at(id, "backend"), "s3cret".to_owned().into()).await.unwrap();
        // A key pair is a name of its own, whatever else lies there.
        let pairs = format!("{IDENTITY}/participants/{id}/keypairs");
        platform.must(Method::PUT, &pairs, Some(json!({"keyId": "b", "privateKeyAlias": "backend"}))).await;
        assert!(vault.public_key(&at(id, "keypair/backend")).await.is_ok());
    }
    platform.must(Method::DELETE, &format!("{IDENTITY}/participants/first"), None).await;
    assert!(vault.public_key(&at("first", "keypair/alias1")).await.is_err());
    assert!(vault.secret(&at("first", "backend")).await.is_ok(), "the other context of that id still has it");
    // Whichever of the two goes last. The end is a row of the outbox, which nobody waits for.
    platform.must(Method::DELETE, &format!("{management}/first"), None).await;
    platform.must(Method::DELETE, &format!("{management}/second"), None).await;
    platform.must(Method::DELETE, &format!("{IDENTITY}/participants/second"), None).await;
    let gone = async {
        while vault.secret(&at("first", "backend")).await.is_ok() || vault.secret(&at("second", "backend")).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.unwrap();
    platform.node.drain(DRAIN).await;
}

#[tokio::test]
async fn keys_are_made_for_commands_that_are_taken() {
    let platform = start().await;
    platform.participant("acme").await;
    let vault = platform.node.app.services.vault.clone();
    let pairs = format!("{IDENTITY}/participants/acme/keypairs");
    let next = json!({"keyId": "next", "privateKeyAlias": "next"});
    assert_eq!(platform.call(Method::POST, &format!("{pairs}/nope/rotate"), Some(next.clone())).await.0, StatusCode::NOT_FOUND);
    let path = VaultPath { owner: (&id_of("acme")).into(), alias: "keypair/next".parse().unwrap() };
    assert!(vault.public_key(&path).await.is_err(), "nothing was made");
    // What lies there is of another type.
    vault.put_secret(&path, "s3cret".to_owned().into()).await.unwrap();
    assert_eq!(platform.call(Method::PUT, &pairs, Some(next)).await.0, StatusCode::CONFLICT);
    platform.node.drain(DRAIN).await;
}

#[tokio::test]
async fn lists_over_all_participants() {
    let platform = start().await;
    for id in ["consumer", "provider", "gone"] {
        platform.participant(id).await;
    }
    platform.issuer_with(&[("consumer", &["membership", "manufacturer"]), ("provider", &["membership"])]).await;
    platform.must(Method::DELETE, &format!("{IDENTITY}/participants/gone"), None).await;
    let list = |path: &'static str| {
        let platform = &platform;
        async move { platform.must(Method::GET, &format!("{IDENTITY}{path}"), None).await.as_array().unwrap().clone() }
    };
    let ids = |all: &[Value]| all.iter().map(|one| one["participantContextId"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(ids(&list("/participants").await), ["consumer", "provider", "issuer"]);
    assert_eq!(ids(&list("/participants?offset=1&limit=1").await), ["provider"]);
    assert_eq!(list("/dids?offset=2").await[0]["id"], json!(platform.did("issuer")));
    assert_eq!(ids(&list("/keypairs").await), ["consumer", "provider", "issuer"]);
    assert_eq!(ids(&list("/credentials").await), ["consumer", "consumer", "provider"]);
    assert_eq!(ids(&list("/credentials?offset=1&limit=2").await), ["consumer", "provider"]);
    assert_eq!(ids(&list("/credentials?offset=3").await), Vec::<String>::new());
    for bad in ["/participants?limit=0", "/keypairs?offset=x", "/credentials?limit=1001"] {
        assert_eq!(platform.call(Method::GET, &format!("{IDENTITY}{bad}"), None).await.0, StatusCode::BAD_REQUEST, "{bad}");
    }
    platform.node.drain(DRAIN).await;
}

#[tokio::test]
async fn offers_are_kept() {
    let platform = start().await;
    platform.participant("acme").await;
    platform.issuer_with(&[]).await;
    let body = json!({"holderId": "acme", "did": platform.did("acme"), "name": "acme", "properties": {}});
    platform.must(Method::POST, &format!("{ISSUER_ADMIN}/holders"), Some(body)).await;
    let offer = json!({"holderId": "acme", "credentials": ["membership"], "offerReason": "proof-key-revocation"});
    platform.must(Method::POST, &format!("{ISSUER_ADMIN}/credentials/offer"), Some(offer)).await;
    let address = Address::of::<CredentialService>(&id_of("acme"));
    let offered = |state: &credential_service::State| (!state.offers.is_empty()).then_some(());
    let waited = platform.node.app.services.cluster.wait::<CredentialService, _>(&address, PATIENCE, offered).await.unwrap();
    assert!(waited.is_some());
    let offers = platform.must(Method::GET, &format!("{IDENTITY}/participants/acme/credentials/offers"), None).await;
    assert_eq!((&offers[0]["issuer"], &offers[0]["credentials"]), (&json!(platform.did("issuer")), &json!(["membership"])));
    let object = json!({"id": "membership", "credentialType": "MembershipCredential", "profile": "vc20-bssl/jwt", "offerReason": "proof-key-revocation"});
    assert_eq!(offers[0]["objects"], json!([object]));
    platform.node.drain(DRAIN).await;
}

#[tokio::test]
async fn an_offer_is_followed_where_a_rule_says_so() {
    let platform = start().await;
    platform.participant("acme").await;
    platform.issuer_with(&[]).await;
    let body = json!({"holderId": "acme", "did": platform.did("acme"), "name": "acme", "properties": {"level": "full"}});
    platform.must(Method::POST, &format!("{ISSUER_ADMIN}/holders"), Some(body)).await;
    let rules = format!("{IDENTITY}/participants/acme/credentials/offers/rules");
    assert_eq!(platform.must(Method::GET, &rules, None).await, json!([]));
    let issuer = platform.did("issuer");
    for bad in [
        json!([{"issuer": issuer, "types": []}]),
        json!([{"issuer": issuer, "types": [""]}]),
        json!([{"issuer": "issuer", "types": ["*"]}]),
        json!({}),
    ] {
        assert_eq!(platform.call(Method::PUT, &rules, Some(bad.clone())).await.0, StatusCode::BAD_REQUEST, "{bad}");
    }
    let rule = json!([{"issuer": issuer, "types": ["MembershipCredential"]}]);
    platform.must(Method::PUT, &rules, Some(rule.clone())).await;
    assert_eq!(platform.must(Method::GET, &rules, None).await, rule);
    // Of what is offered the rule means one; the format is what the issuer's metadata says.
    let offer = json!({"holderId": "acme", "credentials": ["membership", "manufacturer"]});
    platform.must(Method::POST, &format!("{ISSUER_ADMIN}/credentials/offer"), Some(offer)).await;
    let address = Address::of::<CredentialService>(&id_of("acme"));
    let held = |state: &credential_service::State| {
        let types = |held: &credential_service::credential::StoredCredential| held.types.last().cloned();
        state.credentials.values().next().map(|first| (types(first), state.credentials.size(), state.requests.size(), state.offers.size()))
    };
    let found = platform.node.app.services.cluster.wait::<CredentialService, _>(&address, DRAIN, held).await.unwrap().unwrap();
    assert_eq!(found, (Some("MembershipCredential".to_owned()), 1, 1, 1));
    platform.node.drain(DRAIN).await;
}

#[tokio::test]
async fn each_signature_takes_a_key_of_its_usage() {
    let platform = start().await;
    platform.participant("verifier").await;
    let mut manifest = platform.manifest("acme", "acme");
    let key = |name: &str, usage: &str| json!({"keyId": name, "privateKeyAlias": name, "usage": [usage]});
    manifest["key"] = json!(null);
    manifest["keys"] = json!([key("shows", "sign_presentation"), key("issues", "sign_credentials")]);
    platform.must(Method::POST, &format!("{IDENTITY}/participants"), Some(manifest)).await;
    let document = platform.public("/acme/did.json").await.1;
    let kid = |name: &str| json!([format!("{}#{name}", platform.did("acme"))]);
    assert_eq!(
        (&document["assertionMethod"], &document["authentication"], &document["capabilityInvocation"]),
        (&kid("issues"), &kid("shows"), &json!([]))
    );
    // No key signs tokens: said clearly, and nothing else is taken for one.
    // Nor can it ask others for their credentials, which is nobody's business but its own.
    let unasked = platform.verify("verifier", "acme", &[]).await.unwrap_err();
    assert_eq!(unasked.to_string(), "the sender cannot be verified now, try again later");
    let token = async || self_issued_token(&platform.node.app.services, &id_of("acme"), &platform.did("verifier"), &[]).await;
    assert_eq!(token().await.unwrap_err().to_string(), "participant context acme has no active key with the usage sign_token");
    platform.must(Method::PUT, &format!("{IDENTITY}/participants/acme/keypairs"), Some(key("tokens", "sign_token"))).await;
    let query = async |token: &str| platform.query_presentations("verifier", token, &[MEMBERSHIP]).await;
    // Its signature is believed: what is missing is the access token that should be in it.
    let (status, body) = query(&token().await.unwrap()).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert!(body.to_string().contains("token claim"), "{body}");
    assert_eq!(platform.public("/acme/did.json").await.1["capabilityInvocation"], kid("tokens"));
    let unknown = platform.call(Method::PUT, &format!("{IDENTITY}/participants/acme/keypairs"), Some(key("other", "sign"))).await;
    assert_eq!(unknown.0, StatusCode::BAD_REQUEST, "{}", unknown.1);
    platform.node.drain(DRAIN).await;
}

#[tokio::test]
async fn only_published_documents_are_found() {
    let platform = start().await;
    let mut manifest = platform.manifest("acme", "acme");
    manifest["active"] = json!(false);
    platform.must(Method::POST, &format!("{IDENTITY}/participants"), Some(manifest)).await;
    let base = format!("{IDENTITY}/participants/acme");
    let did = json!({"did": platform.did("acme")});
    let state = || async { platform.must(Method::POST, &format!("{base}/dids/state"), Some(did.clone())).await };
    let found = || async { platform.public("/acme/did.json").await.0 };
    assert_eq!((state().await, found().await), (json!("GENERATED"), StatusCode::NOT_FOUND));
    assert_eq!(platform.call(Method::POST, &format!("{base}/dids/publish"), Some(did.clone())).await.0, StatusCode::CONFLICT);
    platform.must(Method::POST, &format!("{base}/state?isActive=true"), None).await;
    assert_eq!((state().await, found().await), (json!("PUBLISHED"), StatusCode::OK));
    platform.must(Method::POST, &format!("{base}/dids/unpublish"), Some(did.clone())).await;
    assert_eq!((state().await, found().await), (json!("UNPUBLISHED"), StatusCode::NOT_FOUND));
    platform.must(Method::POST, &format!("{base}/dids/publish"), Some(did.clone())).await;
    let endpoints = format!(
        "{base}/dids/{}/endpoints",
        url::form_urlencoded::byte_serialize(platform.did("acme").as_str().as_bytes()).collect::<String>()
    );
    let service = json!({"id": "x", "type": "DataService", "serviceEndpoint": "https://example.com"});
    platform.must(Method::POST, &endpoints, Some(service.clone())).await;
    assert_eq!(platform.call(Method::POST, &endpoints, Some(service)).await.0, StatusCode::CONFLICT);
    let documents = platform.must(Method::POST, &format!("{base}/dids/query"), Some(json!({}))).await;
    assert_eq!(documents[0]["service"].as_array().unwrap().last().unwrap()["id"], "x");
    platform.must(Method::DELETE, &format!("{endpoints}?serviceId=x"), None).await;
    assert_eq!(platform.call(Method::DELETE, &format!("{endpoints}?serviceId=x"), None).await.0, StatusCode::NOT_FOUND);
    platform.must(Method::POST, &format!("{base}/state?isActive=false"), None).await;
    assert_eq!(found().await, StatusCode::NOT_FOUND);
    let (status, _) = platform.query_presentations("acme", "x", &[MEMBERSHIP]).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    platform.node.drain(DRAIN).await;
}

#[tokio::test]
async fn credentials_are_issued_presented_and_revoked() {
    let platform = start().await;
    for id in ["consumer", "provider", "stranger"] {
        platform.participant(id).await;
    }
    platform.issuer_with(&[("consumer", &["membership", "manufacturer"]), ("provider", &["membership"])]).await;

    // As the holder sees them.
    let held = platform.must(Method::GET, &format!("{IDENTITY}/participants/consumer/credentials?type=MembershipCredential"), None).await;
    assert_eq!(held.as_array().unwrap().len(), 1);
    assert_eq!((&held[0]["state"], &held[0]["issuerId"]), (&json!(500), &json!(platform.did("issuer"))));
    assert_eq!(held[0]["verifiableCredential"]["format"], "VC2_0_JOSE");
    assert_eq!(held[0]["verifiableCredential"]["credential"]["credentialSubject"][0]["level"], "full");
    let all = platform.must(Method::GET, &format!("{IDENTITY}/participants/consumer/credentials"), None).await;
    assert_eq!(all.as_array().unwrap().len(), 2);

    // As a verifier sees them: two formats, two presentations.
    let peer = platform.verify("consumer", "provider", &[MANUFACTURER]).await.unwrap();
    assert_eq!(peer.did, platform.did("consumer"));
    assert_eq!(types(&peer), ["ManufacturerCredential", "MembershipCredential"]);
    let peer = platform.verify("consumer", "provider", &[]).await.unwrap();
    assert_eq!(types(&peer), ["MembershipCredential"]);
    // A missing optional credential does not refuse, a missing required one does.
    let peer = platform.verify("provider", "consumer", &[MANUFACTURER]).await.unwrap();
    assert_eq!(types(&peer), ["MembershipCredential"]);
    let error = platform.verify("stranger", "provider", &[]).await.unwrap_err();
    assert!(rule(&error).contains("MembershipCredential"), "{error}");

    // The token: for one receiver, once, of its own signer.
    let services = &platform.node.app.services;
    let token = self_issued_token(services, &id_of("consumer"), &platform.did("provider"), &[MEMBERSHIP.to_owned()]).await.unwrap();
    let error = platform.verify_token("stranger", &token, &[]).await.unwrap_err();
    assert!(rule(&error).contains("aud"), "{error}");
    platform.verify_token("provider", &token, &[]).await.unwrap();
    let error = platform.verify_token("provider", &token, &[]).await.unwrap_err();
    assert!(rule(&error).contains("jti"), "{error}");
    let bare = self_issued_token(services, &id_of("consumer"), &platform.did("provider"), &[]).await.unwrap();
    let error = platform.verify_token("provider", &bare, &[]).await.unwrap_err();
    assert!(rule(&error).contains("token claim"), "{error}");

    // Revoked: refused as soon as the status list is read again, by what the list says alone.
    let issued = platform.must(Method::POST, &format!("{ISSUER_ADMIN}/credentials/query"), Some(json!({"limit": 100}))).await;
    let consumer = platform.did("consumer");
    let of = |name: &str| {
        let found = issued.as_array().unwrap().iter().find(|c| {
            let text = c.to_string();
            text.contains(name) && text.contains(consumer.as_str())
        });
        found.unwrap_or_else(|| panic!("{name} in {issued}"))["id"].as_str().unwrap().to_owned()
    };
    let revoke = |id: String| {
        let platform = &platform;
        async move { platform.must(Method::POST, &format!("{ISSUER_ADMIN}/credentials/{id}/revoke"), None).await }
    };
    revoke(of("ManufacturerCredential")).await;
    let peer = platform.verify("consumer", "provider", &[MANUFACTURER]).await.unwrap();
    assert_eq!(types(&peer), ["MembershipCredential"]);
    revoke(of("MembershipCredential")).await;
    let error = platform.verify("consumer", "provider", &[]).await.unwrap_err();
    assert!(rule(&error).contains("revoked"), "{error}");

    // The holder looks at what it stores: it shows what the list says, and does not present it.
    let path = format!("{IDENTITY}/participants/consumer/credentials");
    let stored = json!({"id": held[0]["id"], "verifiableCredentialContainer": {"rawVc": held[0]["verifiableCredential"]["rawVc"]}});
    platform.must(Method::PUT, &path, Some(stored)).await;
    let id: CredentialId = serde_json::from_value(held[0]["id"].clone()).unwrap();
    let revoked = |state: &credential_service::State| {
        state.credentials.get(&id).is_some_and(|held| held.status == credential_service::watch::HeldStatus::Revoked).then_some(())
    };
    let address = Address::of::<CredentialService>(&id_of("consumer"));
    assert_eq!(services.cluster.wait::<CredentialService, _>(&address, DRAIN, revoked).await.unwrap(), Some(()));
    let shown = platform.must(Method::GET, &format!("{path}/{id}"), None).await;
    assert_eq!(shown["state"], 600, "{shown}");
    let error = platform.verify("consumer", "provider", &[]).await.unwrap_err();
    assert!(rule(&error).contains("MembershipCredential") && !rule(&error).contains("revoked"), "{error}");
    platform.node.drain(DRAIN).await;
}

#[tokio::test]
async fn keys_are_rotated_and_revoked() {
    let platform = start().await;
    for id in ["consumer", "provider"] {
        platform.participant(id).await;
    }
    platform.issuer_with(&[("consumer", &["membership"])]).await;
    platform.verify("consumer", "provider", &[]).await.unwrap();
    let pairs = format!("{IDENTITY}/participants/consumer/keypairs");
    let listed = || async { platform.must(Method::GET, &pairs, None).await.as_array().unwrap().clone() };
    let old = listed().await[0]["id"].as_str().unwrap().to_owned();
    let key_id = format!("{}#second", platform.did("consumer"));
    let descriptor = json!({"keyId": key_id, "privateKeyAlias": "alias2", "keyGeneratorParams": {"algorithm": "EC", "curve": "secp256r1"}});
    platform.must(Method::POST, &format!("{pairs}/{old}/rotate"), Some(descriptor.clone())).await;
    let after = listed().await;
    let state = |id: &str| after.iter().find(|k| k["id"] == *id || k["keyId"] == *id).unwrap()["state"].clone();
    assert_eq!((after.len(), state(&old), state(&key_id)), (2, json!(300), json!(200)));
    // Neither twice, nor under the same names, nor by one that does not sign.
    let (status, answer) = platform.call(Method::POST, &format!("{pairs}/{old}/rotate"), Some(json!({"active": false}))).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
    assert_eq!(platform.call(Method::POST, &format!("{pairs}/{old}/rotate"), None).await.0, StatusCode::CONFLICT);
    assert_eq!(platform.call(Method::PUT, &pairs, Some(descriptor)).await.0, StatusCode::CONFLICT);
    assert_eq!(platform.public("/consumer/did.json").await.1["verificationMethod"].as_array().unwrap().len(), 2);
    platform.verify("consumer", "provider", &[]).await.unwrap();
    platform.must(Method::POST, &format!("{pairs}/{old}/revoke"), None).await;
    assert_eq!(platform.public("/consumer/did.json").await.1["verificationMethod"].as_array().unwrap().len(), 1);
    platform.verify("consumer", "provider", &[]).await.unwrap();
    // A revoked issuer key makes its credentials worthless.
    let pairs = format!("{IDENTITY}/participants/issuer/keypairs");
    let id = platform.must(Method::GET, &pairs, None).await[0]["id"].as_str().unwrap().to_owned();
    platform.must(Method::POST, &format!("{pairs}/{id}/revoke"), Some(json!({"keyId": "next"}))).await;
    let error = platform.verify("consumer", "provider", &[]).await.unwrap_err();
    assert!(rule(&error).contains("signing key"), "{error}");
    platform.node.drain(DRAIN).await;
}

#[tokio::test]
async fn a_holder_presents_what_was_granted_to_whom() {
    let platform = start().await;
    for id in ["consumer", "provider", "stranger"] {
        platform.participant(id).await;
    }
    platform.issuer_with(&[("consumer", &["membership", "manufacturer"])]).await;
    let services = &platform.node.app.services;
    // What the consumer's message to the provider carries.
    let message = self_issued_token(services, &id_of("consumer"), &platform.did("provider"), &[MEMBERSHIP.to_owned()]).await.unwrap();
    let access = claims(&message)["token"].as_str().unwrap().to_owned();
    let token = |sender: &'static str, access: Option<String>| {
        let (services, holder) = (services.clone(), platform.did("consumer"));
        async move { cellspace_actors::trust::token_with_access(&services, &id_of(sender), &holder, access.as_deref()).await.unwrap() }
    };
    let count = |answer: &Value| answer["presentation"].as_array().unwrap_or_else(|| panic!("{answer}")).len();
    let (status, answer) = platform.query_presentations("consumer", &token("provider", Some(access.clone())).await, &[MEMBERSHIP]).await;
    assert_eq!((status, count(&answer)), (StatusCode::OK, 1), "{answer}");
    assert_eq!(claims(answer["presentation"][0].as_str().unwrap())["aud"], json!(platform.did("provider")));
    // Two parts are as good as three, and more than was granted is answered by less.
    let scopes = ["org.eclipse.dspace.dcp.vc.type:MembershipCredential", MANUFACTURER];
    let (status, answer) = platform.query_presentations("consumer", &token("provider", Some(access.clone())).await, &scopes).await;
    assert_eq!((status, count(&answer)), (StatusCode::OK, 1), "{answer}");
    let (status, answer) = platform.query_presentations("consumer", &token("provider", Some(access.clone())).await, &[MANUFACTURER]).await;
    assert_eq!((status, count(&answer)), (StatusCode::OK, 0), "{answer}");
    // Refused: passed on, missing, forged, used twice.
    let once = token("provider", Some(access.clone())).await;
    assert_eq!(platform.query_presentations("consumer", &once, &[MEMBERSHIP]).await.0, StatusCode::OK);
    for bad in [
        token("stranger", Some(access.clone())).await,
        token("provider", None).await,
        token("provider", Some(format!("{access}x"))).await,
        token("provider", Some(message.clone())).await,
        once,
        message,
        "x".to_owned(),
    ] {
        let (status, answer) = platform.query_presentations("consumer", &bad, &[MEMBERSHIP]).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{answer}");
        assert_eq!(answer[0]["type"], "AuthenticationFailed");
    }
    let ask = async |body: &Value| {
        let url = format!("{}/presentations/query", platform.node.urls.credential_service(&id_of("consumer")));
        let request = platform.http.post(url).bearer_auth(token("provider", Some(access.clone())).await).json(body);
        read(request.send().await.unwrap()).await
    };
    for bad in [json!({"scope": []}), json!({}), json!({"scope": [MEMBERSHIP], "presentationDefinition": {}}), json!({"scope": ["Member"]})]
    {
        let mut body = json!({"@context": [DCP_CONTEXT], "type": "PresentationQueryMessage"});
        body.as_object_mut().unwrap().extend(bad.as_object().unwrap().clone());
        assert_eq!(ask(&body).await.0, StatusCode::BAD_REQUEST, "{bad}");
    }
    // In another form of JSON-LD it is the same query; what is not known is named.
    let dcp = "https://w3id.org/dspace-dcp/v1.0/";
    let (kind, scope) = (format!("{dcp}PresentationQueryMessage"), format!("{dcp}scope"));
    for body in [
        json!([{"@type": [kind], scope: [{"@value": MEMBERSHIP}]}]),
        json!({"@context": {"d": dcp}, "@type": "d:PresentationQueryMessage", "d:scope": MEMBERSHIP}),
    ] {
        let (status, answer) = ask(&body).await;
        assert_eq!((status, answer["presentation"].as_array().map(Vec::len)), (StatusCode::OK, Some(1)), "{body}: {answer}");
    }
    let unknown = json!({"@context": [{"d": dcp}, "https://x.example/c"], "@type": "d:PresentationQueryMessage", "d:scope": MEMBERSHIP});
    let (status, answer) = ask(&unknown).await;
    assert!(status == StatusCode::BAD_REQUEST && answer.to_string().contains("https://x.example/c"), "{answer}");
    platform.node.drain(DRAIN).await;
}

#[tokio::test]
async fn an_earlier_level_is_spoken_where_that_is_chosen() {
    let dcp = DcpOptions { format_names: true, refuse_beyond_grant: true, single_status: true };
    let platform = Platform::temporary(|config| config.dcp = dcp).await;
    for id in ["consumer", "provider"] {
        platform.participant(id).await;
    }
    // The holder understands the names.
    platform.issuer_with(&[("consumer", &["membership", "manufacturer"])]).await;
    let services = &platform.node.app.services;
    let message = self_issued_token(services, &id_of("consumer"), &platform.did("provider"), &[MANUFACTURER.to_owned()]).await.unwrap();
    let access = claims(&message)["token"].as_str().unwrap().to_owned();
    let ask = async |scopes: &[&str]| {
        let holder = platform.did("consumer");
        let token = cellspace_actors::trust::token_with_access(services, &id_of("provider"), &holder, Some(&access)).await.unwrap();
        platform.query_presentations("consumer", &token, scopes).await
    };
    let (status, answer) = ask(&[MANUFACTURER]).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let presentation = claims(answer["presentation"][0].as_str().unwrap());
    let credential = claims(presentation["vp"]["verifiableCredential"][0].as_str().unwrap());
    assert_eq!(credential["vc"]["credentialStatus"]["statusPurpose"], "revocation");
    for more in [&[MANUFACTURER, MEMBERSHIP][..], &[MEMBERSHIP]] {
        assert_eq!(ask(more).await.0, StatusCode::FORBIDDEN, "{more:?}");
    }
    platform.node.drain(DRAIN).await;
}

#[tokio::test]
async fn a_token_from_before_a_restart_is_to_be_signed_anew() {
    let dir = tempfile::tempdir().unwrap();
    let platform = Platform::start(config(dir.path())).await;
    for id in ["consumer", "provider"] {
        platform.participant(id).await;
    }
    let token = self_issued_token(&platform.node.app.services, &id_of("provider"), &platform.did("consumer"), &[]).await.unwrap();
    let ask = async |platform: &Platform| {
        let url = format!("{}/presentations/query", platform.node.urls.credential_service(&id_of("consumer")));
        let body = json!({"@context": [DCP_CONTEXT], "type": "PresentationQueryMessage", "scope": [MEMBERSHIP]});
        platform.http.post(url).bearer_auth(&token).json(&body).send().await.unwrap()
    };
    // It is used up, although it grants nothing.
    assert_eq!(ask(&platform).await.status(), StatusCode::UNAUTHORIZED);
    platform.node.drain(DRAIN).await;
    // Whether it was used is not known any more: neither accepted nor refused for good.
    let again = Platform::start(config(dir.path())).await;
    let answer = ask(&again).await;
    assert_eq!((answer.status(), answer.headers()["retry-after"].to_str().unwrap()), (StatusCode::SERVICE_UNAVAILABLE, "1"));
    again.node.drain(DRAIN).await;
}

#[tokio::test]
async fn deliveries_answer_requests_of_their_issuer() {
    let platform = start().await;
    for id in ["consumer", "thief"] {
        platform.participant(id).await;
    }
    platform.issuer_with(&[("consumer", &["membership"]), ("thief", &["membership"])]).await;
    let services = &platform.node.app.services;
    let raw = |holder: &'static str| {
        let platform = &platform;
        async move {
            let all = platform.must(Method::GET, &format!("{IDENTITY}/participants/{holder}/credentials"), None).await;
            all[0]["verifiableCredential"]["rawVc"].as_str().unwrap().to_owned()
        }
    };
    let deliver = |sender: &'static str, holder_pid: &'static str, status: &'static str, payload: String, format: &'static str| {
        let platform = &platform;
        async move {
            let token = self_issued_token(services, &id_of(sender), &platform.did("consumer"), &[]).await.unwrap();
            let body = json!({"@context": [DCP_CONTEXT], "type": "CredentialMessage", "issuerPid": "x", "holderPid": holder_pid, "status": status,
                "credentials": [{"credentialType": "MembershipCredential", "format": format, "payload": payload}]});
            let url = format!("{}/credentials", platform.node.urls.credential_service(&id_of("consumer")));
            read(platform.http.post(url).bearer_auth(token).json(&body).send().await.unwrap()).await
        }
    };
    let (mine, others) = (raw("consumer").await, raw("thief").await);
    let jose = "vc20-bssl/jwt";
    let table = [
        ("thief", "hp-1", "ISSUED", mine.clone(), jose, 404),
        ("issuer", "hp-2", "ISSUED", mine.clone(), jose, 404),
        ("issuer", "hp-1", "ISSUED", others, jose, 400),
        ("issuer", "hp-1", "ISSUED", mine.clone(), "vc11-sl2021/jwt", 400),
        ("issuer", "hp-1", "ISSUED", format!("{mine}x"), jose, 400),
        ("issuer", "hp-1", "OTHER", mine.clone(), jose, 400),
        // The same again is answered again, and a late rejection changes nothing.
        ("issuer", "hp-1", "ISSUED", mine.clone(), "VC2_0_JOSE", 200),
        ("issuer", "hp-1", "REJECTED", mine.clone(), jose, 200),
    ];
    for (sender, holder_pid, status, payload, format, expected) in table {
        let (answered, body) = deliver(sender, holder_pid, status, payload, format).await;
        assert_eq!(answered.as_u16(), expected, "{sender} {holder_pid} {status}: {body}");
    }
    let path = format!("{IDENTITY}/participants/consumer/credentials");
    let held = platform.must(Method::GET, &path, None).await;
    assert_eq!(held.as_array().unwrap().len(), 1);
    // One that has expired is not taken, whoever brings it; one that is not valid yet is held until then, unless a valid one would go for it.
    let signed = |from: &'static str, until: &'static str| {
        let mut changed = claims(&mine);
        let (platform, object) = (&platform, changed.as_object_mut().unwrap());
        ["iat", "nbf", "exp"].iter().for_each(|name| drop(object.remove(*name)));
        object.extend([("validFrom".to_owned(), json!(from)), ("validUntil".to_owned(), json!(until))]);
        async move {
            let key = signing_key(services, &id_of("issuer"), KeyUsage::Credentials).await.unwrap();
            let object = changed.as_object().unwrap();
            issuer::signing::sign(platform.node.app.services.vault.as_ref(), &key, CredentialFormat::Vc2Jose, object).await.unwrap()
        }
    };
    let (expired, to_come) =
        (signed("2020-01-01T00:00:00Z", "2021-01-01T00:00:00Z").await, signed("2100-01-01T00:00:00Z", "2101-01-01T00:00:00Z").await);
    for (payload, expected, rule) in [(&expired, 400, "must not be expired"), (&to_come, 400, "must not take the place")] {
        let (answered, body) = deliver("issuer", "hp-1", "ISSUED", payload.clone(), jose).await;
        assert!(answered.as_u16() == expected && body.to_string().contains(rule), "{body}");
    }
    let manifest = |id: &str, raw: &str| json!({"id": id, "verifiableCredentialContainer": {"rawVc": raw}});
    assert_eq!(platform.call(Method::POST, &path, Some(manifest("c-1", &expired))).await.0, StatusCode::BAD_REQUEST);
    platform.must(Method::POST, &path, Some(manifest("c-2", &to_come))).await;
    assert_eq!(platform.must(Method::GET, &format!("{path}/c-2"), None).await["state"], 900);
    platform.verify("consumer", "thief", &[]).await.unwrap();
    platform.must(Method::DELETE, &format!("{path}/{}", held[0]["id"].as_str().unwrap()), None).await;
    assert!(platform.verify("consumer", "issuer", &[]).await.is_err(), "what is not valid yet is not presented");
    platform.must(Method::DELETE, &format!("{path}/c-2"), None).await;
    let (answered, body) = deliver("issuer", "hp-1", "ISSUED", to_come, jose).await;
    assert!(answered.is_success(), "{body}");
    let held = platform.must(Method::GET, &path, None).await;
    assert_eq!((held.as_array().unwrap().len(), &held[0]["state"]), (1, &json!(900)));
    let request = platform.must(Method::GET, &format!("{path}/request/hp-1"), None).await;
    assert_eq!(request["status"], "ISSUED");
    // A second request under the same id is refused; one for what the issuer does not have ends in an error.
    let path = format!("{IDENTITY}/participants/consumer/credentials/request");
    let body = |pid: &str, id: &str| json!({"issuerDid": platform.did("issuer"), "holderPid": pid, "credentials": [{"format": jose, "type": "T", "id": id}]});
    assert_eq!(platform.call(Method::POST, &path, Some(body("hp-1", "membership"))).await.0, StatusCode::CONFLICT);
    let mut twice = body("hp-4", "membership");
    twice["credentials"] = json!([twice["credentials"][0], twice["credentials"][0]]);
    assert_eq!(platform.call(Method::POST, &path, Some(twice)).await.0, StatusCode::BAD_REQUEST);
    platform.must(Method::POST, &path, Some(body("hp-3", "nothing"))).await;
    let failed = platform.must(Method::GET, &format!("{path}/hp-3?wait=ISSUED&timeout=20s"), None).await;
    assert_eq!(failed["status"], "ERROR", "{failed}");
    assert_eq!(platform.call(Method::GET, &format!("{path}/hp-9"), None).await.0, StatusCode::NOT_FOUND);
    platform.node.drain(DRAIN).await;
}

#[tokio::test]
async fn clients_get_tokens_from_the_sts() {
    let platform = start().await;
    let mut manifest = platform.manifest("acme", "acme");
    manifest["provisionStsAccount"] = json!(true);
    let secrets = platform.must(Method::POST, &format!("{IDENTITY}/participants"), Some(manifest)).await;
    let secret = secrets["clientSecret"].as_str().unwrap();
    let audience = platform.did("other");
    let form = |secret: &str| {
        let form = [
            ("grant_type", "client_credentials".to_owned()),
            ("client_id", "acme".to_owned()),
            ("client_secret", secret.to_owned()),
            ("audience", audience.to_string()),
            ("bearer_access_scope", MEMBERSHIP.to_owned()),
        ];
        let platform = &platform;
        async move {
            let form: Vec<(&str, &str)> = form.iter().map(|(name, value)| (*name, value.as_str())).collect();
            read(platform.form("/api/sts/token", &form).await).await
        }
    };
    let (status, answer) = form(secret).await;
    assert_eq!((status, &answer["token_type"]), (StatusCode::OK, &json!("Bearer")));
    let token = claims(answer["access_token"].as_str().unwrap());
    assert_eq!((&token["iss"], &token["aud"]), (&json!(platform.did("acme")), &json!(audience)));
    assert_eq!(claims(token["token"].as_str().unwrap())["sub"], json!(audience));
    let (status, answer) = form("wrong").await;
    assert_eq!((status, &answer["error"]), (StatusCode::UNAUTHORIZED, &json!("invalid_client")));
    platform.node.drain(DRAIN).await;
}

/// Claims of a JWT, unverified.
pub fn claims(token: &str) -> Value {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap()).unwrap()
}
