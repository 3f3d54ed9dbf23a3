//! What was accepted once is kept: written as a row and read again it is accepted and the same. A row that cannot be read again would stop the
//! agent that it belongs to, so whoever may send a document must not be able to choose one that does.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use cellspace_schemas::{
    AssetId, CloudEvent, Did, OfferId, Pid, TraceContext,
    dcp::DidDocument,
    dps::{DataFlowStartMessage, DataFlowStatusMessage, DataFlowSuspendMessage, DataPlaneRegistrationMessage},
    dsp::{
        BaseUrl, DataAddress,
        negotiation::{ContractAgreementMessage, ContractNegotiationTerminationMessage, ContractOfferMessage, ContractRequestMessage},
        transfer::{TransferRequestMessage, TransferStartMessage},
    },
    fabric::{
        Activity, ActivityDefinition, NewCell, NewDataspaceProfile, NewParticipantProfileDeployment, NewTenant, OrchestrationManifest,
        OrchestrationTemplate,
    },
    identity::RequestedCredential,
    issuer::admin::{AttestationBody, DefinitionBody, HolderBody},
    management::{
        AssetDraft, CelExpression, ContractDefinitionDraft, ContractRequest, DataspaceProfile, DcpScope, MANAGEMENT_CONTEXT,
        ParticipantContextBody, ParticipantContextConfig, PolicyDefinitionDraft, TargetNode, TransferRequest,
    },
    odrl::Policy,
    source::SourceDocument,
};
use proptest::prelude::*;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use std::fmt::Debug;

/// Whether the value is read again as what it is; panics when it is not.
fn kept<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T) {
    let row = serde_json::to_vec(value).unwrap();
    let again: T = serde_json::from_slice(&row).unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&row)));
    assert_eq!(&again, value);
}

/// Reads the document and checks that it is kept; whether it was accepted.
fn document<T: Serialize + DeserializeOwned + PartialEq + Debug>(document: &Value) -> bool {
    serde_json::from_value::<T>(document.clone()).map(|value| kept(&value)).is_ok()
}

/// As [`document`], for types with a reader of their own.
fn read<T: Serialize + DeserializeOwned + PartialEq + Debug, E>(value: Result<T, E>) -> bool {
    value.map(|value| kept(&value)).is_ok()
}

fn contract_request(body: &Value) -> bool {
    ContractRequest::from_json(body)
        .map(|request| {
            kept(&request.counter_party_address);
            kept(&request.offer);
            kept(&request.callback_addresses);
        })
        .is_ok()
}

fn transfer_request(body: &Value) -> bool {
    TransferRequest::from_json(body)
        .map(|request| {
            kept(&request.counter_party_address);
            kept(&request.private_properties);
            kept(&request.dataplane_metadata);
            kept(&request.callback_addresses);
        })
        .is_ok()
}

fn policy(kind: &str) -> Value {
    json!({"@type": kind, "@id": "o-1", "target": "a-1", "assigner": "did:web:p", "assignee": "did:web:c",
        "timestamp": "2026-01-01T00:00:00+01:00", "profile": "p", "obligation": {"action": {"odrl:type": "odrl:compensate"}},
        "odrl:prohibition": [{"action": {"@id": "odrl:sell"}, "constraint": {"odrl:or": [{"leftOperand": {"@id": "odrl:spatial"},
            "operator": "odrl:eq", "rightOperand": {"@value": {"@value": 0.1}}}]}}],
        "permission": [{"action": "use", "duty": {"action": "inform"}, "constraint": [
            {"leftOperand": "odrl:odrl:a", "operator": "isAnyOf", "rightOperand": {"@list": ["x", {"@id": "y"}, 1.5]}},
            {"and": {"leftOperand": "b", "operator": "lt", "rightOperand": {"@value": "z", "@type": "xsd:string"}}}]}]})
}

fn address() -> Value {
    json!({"endpointType": "t", "endpoint": "https://x", "endpointProperties": [{"name": "authorization", "value": "s"}]})
}

fn flow() -> Value {
    json!({"messageId": "m", "participantId": "did:web:p", "counterPartyId": "did:web:c", "dataspaceContext": "d", "processId": "t",
        "agreementId": "a", "datasetId": "s", "profile": "HttpData-PULL", "claims": {"vc": [{"level": 0.1}]}, "metadata": {"source": "x"},
        "labels": ["l"], "dataAddress": address()})
}

fn managed(kind: &str, fields: &Value) -> Value {
    let mut body = json!({"@context": [MANAGEMENT_CONTEXT], "@type": kind});
    body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    body
}

/// Every type that rows hold, with a document that it accepts.
fn types() -> Vec<(&'static str, fn(&Value) -> bool, Value)> {
    let pids = |more: Value| {
        let mut message = json!({"providerPid": "p", "consumerPid": "c"});
        message.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        message
    };
    let callback =
        json!([{"uri": "https://x.example/a", "events": ["contract"], "transactional": false, "authKey": "k", "authCodeId": "i"}]);
    let metadata = json!({"labels": ["l"], "profiles": ["p"], "properties": {"source": "s", "n": 0.1}});
    let activity = json!({"id": "a", "type": "t", "discriminator": "", "dependsOn": null});
    vec![
        ("BaseUrl", document::<BaseUrl>, json!("https://x.example/dsp")),
        ("Did", document::<Did>, json!("did:web:x")),
        ("AssetId", document::<AssetId>, json!("a")),
        ("OfferId", document::<OfferId>, json!("o")),
        ("Pid", document::<Pid>, json!("urn:uuid:1")),
        ("TraceContext", document::<TraceContext>, json!("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")),
        ("Policy", document::<Policy>, policy("Set")),
        (
            "ContractRequestMessage",
            document::<ContractRequestMessage>,
            pids(json!({"offer": policy("Offer"), "callbackAddress": "https://x"})),
        ),
        ("ContractOfferMessage", document::<ContractOfferMessage>, pids(json!({"offer": policy("Offer"), "callbackAddress": "https://x"}))),
        ("ContractAgreementMessage", document::<ContractAgreementMessage>, pids(json!({"agreement": policy("Agreement")}))),
        (
            "ContractNegotiationTerminationMessage",
            document::<ContractNegotiationTerminationMessage>,
            pids(json!({"code": "1", "reason": ["a", {"@value": "b"}]})),
        ),
        (
            "TransferRequestMessage",
            document::<TransferRequestMessage>,
            json!({"consumerPid": "c", "agreementId": "a", "format": "f", "dataAddress": address(), "callbackAddress": "https://x"}),
        ),
        ("TransferStartMessage", document::<TransferStartMessage>, pids(json!({"dataAddress": address()}))),
        ("DataAddress", document::<DataAddress>, address()),
        ("DataFlowStartMessage", document::<DataFlowStartMessage>, flow()),
        (
            "DataFlowStatusMessage",
            document::<DataFlowStatusMessage>,
            json!({"messageId": "m", "dataFlowId": "f", "state": "STARTED", "dataAddress": address(), "error": "e\n"}),
        ),
        ("DataFlowSuspendMessage", document::<DataFlowSuspendMessage>, json!({"messageId": "m", "reason": "r\n"})),
        (
            "DataPlaneRegistrationMessage",
            document::<DataPlaneRegistrationMessage>,
            json!({"id": "d", "endpoint": "https://x", "profiles": ["p"], "transferTypes": ["q"], "labels": ["l"], "authorization":
                {"type": "oauth2_client_credentials", "tokenEndpoint": "https://x/token", "clientId": "c", "clientSecret": "s",
                "jwks": {"keys": [{"kty": "OKP", "n": 0.1}]}}}),
        ),
        (
            "DataPlaneRegistrationMessage of a broker",
            document::<DataPlaneRegistrationMessage>,
            json!({"dataplaneId": "d", "endpoint": "https://x", "profiles": ["p"], "authorization": {"type": "oauth2_token_exchange",
                "tokenExchangeEndpoint": "https://x/token", "issuer": "i", "jwksUri": "https://x/keys"}}),
        ),
        (
            "DidDocument",
            document::<DidDocument>,
            json!({"@context": ["https://www.w3.org/ns/did/v1"], "id": "did:web:x", "verificationMethod": [{"id": "#k", "type": "JsonWebKey2020",
                "controller": "did:web:x", "publicKeyJwk": {"kty": "OKP"}, "publicKeyMultibase": "z6"}], "authentication": ["#k", {"id": "#j",
                "type": "Multikey"}], "service": [{"id": "#s", "type": ["CredentialService"], "serviceEndpoint": "https://x"}]}),
        ),
        (
            "SourceDocument",
            document::<SourceDocument>,
            json!({"name": "n", "baseUrl": "https://x/a", "methods": ["GET"], "pathPrefixes": ["/"], "allowQuery": true,
                "authorization": {"vaultAlias": "a", "header": "h", "secret": "s"}}),
        ),
        ("HolderBody", document::<HolderBody>, json!({"holderId": "h", "did": "did:web:x", "holderName": "n", "properties": {"a": 0.1}})),
        ("AttestationBody", document::<AttestationBody>, json!({"id": "a", "attestationType": "holder", "configuration": {"a": 0.1}})),
        (
            "DefinitionBody",
            document::<DefinitionBody>,
            json!({"id": "d", "credentialType": "T", "format": "VC2_0_JOSE", "validity": "7", "jsonSchema": "{}", "jsonSchemaUrl": "https://x",
                "additionalContext": null, "attestations": ["a"], "rules": [{"type": "expression", "configuration": {"value": 0.1}}],
                "mappings": [{"input": "a", "output": "b", "required": "true"}]}),
        ),
        ("RequestedCredential", document::<RequestedCredential>, json!({"format": "VC1_0_JWT", "credentialType": "T", "id": "d"})),
        (
            "CloudEvent",
            document::<CloudEvent>,
            json!({"specversion": "1.0", "id": "s#1.2", "source": "s", "type": "t", "time": "2026-01-01T00:00:00Z", "subject": "x",
                "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "data": {"n": 0.1}}),
        ),
        ("Activity", document::<Activity>, activity.clone()),
        ("ActivityDefinition", document::<ActivityDefinition>, json!({"type": "t", "description": null, "inputSchema": {"n": 0.1}})),
        (
            "OrchestrationTemplate",
            document::<OrchestrationTemplate>,
            json!({"id": "", "description": "d", "schema": {"n": 0.1}, "activities": {"x.deploy": [activity]}}),
        ),
        (
            "OrchestrationManifest",
            document::<OrchestrationManifest>,
            json!({"id": "o", "correlationId": null, "orchestrationType": "x.deploy", "payload": {"n": 0.1}, "tenantId": ""}),
        ),
        ("NewTenant", document::<NewTenant>, json!({"properties": {"n": 0.1}})),
        ("NewCell", document::<NewCell>, json!({"externalId": "", "state": "active", "properties": {"n": 0.1}})),
        (
            "NewDataspaceProfile",
            document::<NewDataspaceProfile>,
            json!({"dataspaceSpec": {"protocolStack": ["p"], "credentialSpecs": [{"id": "c", "type": "T", "issuer": "did:web:i", "format": "f",
                "role": ""}]}, "artifacts": null, "properties": {"n": 0.1}}),
        ),
        (
            "NewParticipantProfileDeployment",
            document::<NewParticipantProfileDeployment>,
            json!({"identifier": "did:web:x", "cellId": "", "dataspaceProfileIds": ["d"], "participantRoles": {"d": ["r"]},
                "vpaProperties": {"cfm.connector": {"n": 0.1}}, "properties": null}),
        ),
        (
            "AssetDraft",
            |body| read(AssetDraft::from_json(body)),
            managed(
                "Asset",
                &json!({"@id": "a", "properties": {"n": 0.1}, "privateProperties": {"p": [null]}, "dataplaneMetadata": metadata}),
            ),
        ),
        (
            "PolicyDefinitionDraft",
            |body| read(PolicyDefinitionDraft::from_json(body)),
            managed("PolicyDefinition", &json!({"@id": "p", "policy": policy("Set"), "privateProperties": {"n": 0.1}})),
        ),
        (
            "ContractDefinitionDraft",
            |body| read(ContractDefinitionDraft::from_json(body)),
            managed(
                "ContractDefinition",
                &json!({"@id": "c", "accessPolicyId": "a", "contractPolicyId": "b", "assetsSelector": [{"@type": "Criterion",
                    "operandLeft": "properties.'x y'[0]", "operator": " NOT IN ", "operandRight": [0.1]}]}),
            ),
        ),
        (
            "ParticipantContextBody",
            |body| read(ParticipantContextBody::from_json(body)),
            managed("ParticipantContext", &json!({"@id": "p", "identity": "did:web:x", "state": "ACTIVATED", "properties": {"n": 0.1}})),
        ),
        (
            "ParticipantContextConfig",
            |body| read(ParticipantContextConfig::from_json(body)),
            managed("ParticipantContextConfig", &json!({"entries": {"a": 0.1}, "privateEntries": {"b": "c"}})),
        ),
        (
            "CelExpression",
            |body| read(CelExpression::from_json(body, "fresh")),
            managed(
                "CelExpression",
                &json!({"leftOperand": "l", "expression": "true", "description": "", "scopes": ["s"], "actions": ["a"]}),
            ),
        ),
        (
            "DcpScope",
            |body| read(DcpScope::from_json(body, "fresh")),
            managed("DcpScope", &json!({"@id": "s", "type": "POLICY", "value": "v", "profile": "p", "prefixMapping": "m"})),
        ),
        (
            "DataspaceProfile",
            |body| read(DataspaceProfile::from_json(body)),
            managed(
                "DataspaceProfile",
                &json!({"name": "n", "protocol": {"version": "2025-1", "binding": "HTTPS", "namespace": "x"}, "jsonLdContextsUrl": ["c"],
                    "trustedIssuers": [{"@id": "did:web:i", "supportedTypes": ["*"]}], "crawledBy": "c"}),
            ),
        ),
        (
            "TargetNode",
            |body| read(TargetNode::from_json(body)),
            managed("TargetNode", &json!({"@id": "did:web:x", "name": "n", "url": "https://x", "supportedProtocols": ["p"]})),
        ),
        (
            "ContractRequest",
            contract_request,
            managed(
                "ContractRequest",
                &json!({"@id": "n", "counterPartyAddress": "https://x", "protocol": "p", "policy": policy("Offer"), "callbackAddresses": callback}),
            ),
        ),
        (
            "TransferRequest",
            transfer_request,
            managed(
                "TransferRequest",
                &json!({"@id": "t", "counterPartyAddress": "https://x", "protocol": "p", "contractId": "c", "transferType": "HttpData-PULL",
                    "privateProperties": {"n": 0.1}, "dataplaneMetadata": metadata, "callbackAddresses": callback}),
            ),
        ),
    ]
}

/// Texts that readers change, cut, or count otherwise than they keep them.
fn text() -> impl Strategy<Value = String> {
    let parts = [
        "odrl:",
        "http://www.w3.org/ns/odrl/2/",
        "edc:",
        "x",
        "\u{e9}",
        "%",
        "/",
        "..",
        "https://",
        "did:web:",
        "[0]",
        ".",
        "'",
        " ",
        "\n",
        "=",
    ];
    prop_oneof![
        prop::collection::vec(prop::sample::select(parts.to_vec()), 0..5).prop_map(|parts| parts.concat()),
        prop::sample::select(vec!["x", "\u{e9}", "/\u{1f600}", "odrl:", "a."]).prop_flat_map(|part| {
            let ends = [200, 255, 256, 257, 700, 1_024, 2_030, 2_048, 4_096, 4_100];
            prop::sample::select(ends.to_vec()).prop_map(move |times| part.repeat(times / part.len() + 1))
        }),
        (prop::sample::select(vec!["https://x.example/", "http://", "did:web:"]), "\\PC{0,40}")
            .prop_map(|(start, rest)| format!("{start}{rest}")),
        prop::sample::select(vec![
            "0000-01-01T00:00:00+23:59",
            "9999-12-31T23:59:59.9999999999-01:00",
            "1969-12-31T23:59:59.9996Z",
            "2016-12-31T23:59:60Z"
        ])
        .prop_map(str::to_owned),
        any::<String>(),
    ]
}

/// Values in the wrappings of JSON-LD.
fn value() -> impl Strategy<Value = Value> {
    let key = prop_oneof![prop::sample::select(vec!["@value", "@id", "@list", "@type", "odrl:type"]).prop_map(str::to_owned), text()];
    cellspace_schemas::testkit::json(text(), key.boxed())
}

/// Every place in a document.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    match value {
        Value::Array(items) => items.iter().enumerate().for_each(|(n, item)| places(item, &format!("{at}/{n}"), found)),
        Value::Object(fields) => {
            for (name, field) in fields {
                places(field, &format!("{at}/{}", name.replace('~', "~0").replace('/', "~1")), found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn every_document_is_accepted_and_kept() {
    for (name, check, document) in types() {
        assert!(check(&document), "{name}: {document}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, ..cellspace_schemas::testkit::proptest_config() })]

    /// One or two places of an accepted document hold something else.
    #[test]
    fn what_is_accepted_is_kept(kind in 0..types().len(), changes in prop::collection::vec((any::<prop::sample::Index>(), value()), 1..3)) {
        let (_, check, mut document) = types().swap_remove(kind);
        for (place, value) in changes {
            let mut found = Vec::new();
            places(&document, "", &mut found);
            let place: &String = place.get(&found);
            *document.pointer_mut(place).unwrap() = value;
        }
        check(&document);
    }
}
