//! Bodies of the APIs on the admin listener.

use super::{document, json, kept};
use cellspace::routes::openapi::documents::Document;
use cellspace_actors::access::clients::mapping::{Mapping, ScopeMapping};
use cellspace_schemas::{
    CloudEvent, QuerySpec,
    dcp::Service,
    dps::{
        DataAddress, DataFlowResumeMessage, DataFlowStartMessage, DataFlowStatusMessage, DataFlowStatusResponseMessage,
        DataFlowSuspendMessage, DataPlaneRegistrationMessage,
    },
    fabric::{
        Activity, ActivityDefinition, NewCell, NewDataspaceDeployment, NewDataspaceProfile, NewParticipantProfileDeployment, NewTenant,
        OrchestrationManifest, OrchestrationTemplate, Query, TenantPropertiesDiff,
    },
    identity::{CredentialManifest, CredentialRequestDto, DidRequest, KeyDescriptor, OfferRule, ParticipantManifest, RequestedCredential},
    issuer::admin::{AttestationBody, DefinitionBody, HolderBody, OfferBody, ReasonBody},
    management::{
        AssetDraft, CatalogRequest, CelExpression, CelExpressionTestRequest, ContractDefinitionDraft, ContractRequest, DatasetRequest,
        DataspaceProfile, DcpScope, MANAGEMENT_CONTEXT, ParticipantContextBody, ParticipantContextConfig, PolicyDefinitionDraft,
        SecretDraft, TargetNode, TransferRequest, contract_request::counter_offer, envelope,
    },
    odrl::Policy,
    query_spec::{MAX_CRITERIA, MAX_LIMIT, PathRules},
    source::SourceDocument,
};
use serde_json::{Value, json};

/// Bodies of the Management API, each as every type.
pub fn management(data: &[u8]) {
    let Ok(body) = envelope::parse_json(data) else { return };
    assert!(!cellspace_schemas::json::is_too_deep(body.to_string().as_bytes()));
    drop(AssetDraft::from_json(&body).map(|value| kept(&value)));
    drop(PolicyDefinitionDraft::from_json(&body).map(|value| kept(&value)));
    drop(ContractDefinitionDraft::from_json(&body).map(|value| kept(&value)));
    drop(SecretDraft::from_json(body.clone()));
    drop(ParticipantContextBody::from_json(&body).map(|value| kept(&value)));
    drop(ParticipantContextConfig::from_json(&body).map(|value| kept(&value)));
    drop(CatalogRequest::from_json(&body));
    drop(DatasetRequest::from_json(&body));
    drop(CelExpressionTestRequest::from_json(&body));
    if let Ok(request) = ContractRequest::from_json(&body) {
        kept(&request.counter_party_address);
        kept(&request.offer);
        kept(&request.callback_addresses);
    }
    let assigner = body.pointer("/policy/assigner").or_else(|| body.get("assigner")).and_then(Value::as_str);
    if let Some(own) = assigner.and_then(|assigner| assigner.parse().ok()) {
        drop(ContractRequest::offer_from_json(&body, &own).map(|offer| kept(&offer.offer)));
        let target = body["target"].as_str().and_then(|target| target.parse().ok());
        drop(target.map(|target| counter_offer(&body, &own, &target).map(|offer| kept(&offer))));
    }
    if let Ok(request) = TransferRequest::from_json(&body) {
        kept(&request.counter_party_address);
        kept(&request.private_properties);
        kept(&request.dataplane_metadata);
        kept(&request.callback_addresses);
    }
    // What the API shows is what it takes.
    let shown = |mut value: Value| {
        value["@context"] = json!([MANAGEMENT_CONTEXT]);
        value
    };
    if let Ok(expression) = CelExpression::from_json(&body, "fresh") {
        kept(&expression);
        assert_eq!(CelExpression::from_json(&shown(expression.to_json()), "other").as_ref(), Ok(&expression));
    }
    if let Ok(scope) = DcpScope::from_json(&body, "fresh") {
        kept(&scope);
        assert_eq!(DcpScope::from_json(&shown(scope.to_json()), "other").as_ref(), Ok(&scope));
    }
    if let Ok(profile) = DataspaceProfile::from_json(&body) {
        kept(&profile);
        assert_eq!(DataspaceProfile::from_json(&shown(profile.to_json())).as_ref(), Ok(&profile));
    }
    if let Ok(node) = TargetNode::from_json(&body) {
        kept(&node);
        assert_eq!(TargetNode::from_json(&shown(node.to_json())).as_ref(), Ok(&node));
    }
}

/// ODRL policies.
pub fn policies(data: &[u8]) {
    let Some(value) = json(data) else { return };
    let Ok(policy) = Policy::from_json(&value, "$") else { return };
    kept(&policy);
    assert_eq!(Policy::from_json(&policy.to_json(), "$").as_ref(), Ok(&policy));
}

fn id<'e>(entity: &'e &Value) -> &'e str {
    entity["@id"].as_str().or_else(|| entity["id"].as_str()).unwrap_or_default()
}

/// Queries, and what they say about any entity.
pub fn queries(data: &[u8]) {
    let Some(value) = json(data) else { return };
    let rules = PathRules { fields: &["id", "@id", "properties.*", "policy.*"], free_properties: true };
    if let Ok(query) = QuerySpec::from_json(&value, "$", &rules) {
        assert!(query.limit <= MAX_LIMIT && query.filter.len() <= MAX_CRITERIA);
        for criterion in &query.filter {
            let again = QuerySpec::criteria_from_json(&json!([criterion.to_json()]), "$", &rules);
            assert_eq!(again.as_deref(), Ok(std::slice::from_ref(criterion)));
        }
        let entities = [json!({"id": "a", "properties": {"n": 1}}), json!({"@id": "b", "policy": [{"x": "y"}]}), value.clone()];
        let page = query.page(entities.iter(), |entity| (*entity).clone(), id);
        assert!(page.items.len() <= query.limit && page.total.is_some_and(|total| total >= page.items.len()));
        if let Some(next) = page.next {
            let rest = query.clone().after(&next.token(&query)).map(|query| query.page(entities.iter(), |entity| (*entity).clone(), id));
            assert!(rest.is_ok_and(|rest| !rest.items.is_empty() || query.sort.is_none()));
        }
    }
    if let Ok(query) = serde_json::from_value::<Query>(value.clone())
        && let Ok((predicate, page)) = query.parse()
    {
        let _ = predicate.matches(&value);
        assert_eq!(predicate.to_string().parse().as_ref(), Ok(&predicate));
        assert!(page.limit > 0 && page.links("/x", usize::try_from(page.offset).unwrap_or(0)).contains("rel=\"first\""));
    }
}

/// Bodies of the Tenant and Provision Manager APIs, and events.
pub fn fabric(data: &[u8]) {
    document::<Activity>(data);
    document::<ActivityDefinition>(data);
    document::<OrchestrationTemplate>(data);
    document::<OrchestrationManifest>(data);
    document::<NewTenant>(data);
    document::<NewCell>(data);
    document::<NewDataspaceProfile>(data);
    document::<NewDataspaceDeployment>(data);
    document::<TenantPropertiesDiff>(data);
    document::<NewParticipantProfileDeployment>(data);
    if let Ok(event) = CloudEvent::parse(data) {
        kept(&event);
    }
}

/// Bodies of the Identity, Issuer Admin and token service APIs; and whatever is documented, each by the reader that its handler has.
pub fn admin(data: &[u8]) {
    document::<HolderBody>(data);
    document::<AttestationBody>(data);
    document::<DefinitionBody>(data);
    document::<RequestedCredential>(data);
    document::<SourceDocument>(data);
    document::<ReasonBody>(data);
    document::<Service>(data);
    document::<Mapping>(data);
    document::<ScopeMapping>(data);
    if let Some(rules) = document::<Vec<OfferRule>>(data) {
        let _ = OfferRule::are_good(&rules);
    }
    let read = cellspace_schemas::json::from_slice::<Value>(data);
    let Ok(value) = read else { return };
    for reads in Document::all().filter_map(|document| document.reads) {
        let _ = reads(&value);
    }
    drop(serde_json::from_value::<ParticipantManifest>(value.clone()));
    drop(serde_json::from_value::<KeyDescriptor>(value.clone()));
    drop(serde_json::from_value::<CredentialManifest>(value.clone()));
    drop(serde_json::from_value::<CredentialRequestDto>(value.clone()));
    drop(serde_json::from_value::<DidRequest>(value.clone()));
    drop(serde_json::from_value::<OfferBody>(value));
}

/// Data plane signaling, data addresses among it.
pub fn data_planes(data: &[u8]) {
    document::<DataAddress>(data);
    document::<DataPlaneRegistrationMessage>(data);
    document::<DataFlowStartMessage>(data);
    document::<DataFlowStatusMessage>(data);
    document::<DataFlowStatusResponseMessage>(data);
    document::<DataFlowSuspendMessage>(data);
    document::<DataFlowResumeMessage>(data);
}
