//! Negotiations and agreements in the form of the Management API.

use super::{Agreement, Negotiation};
use crate::control_plane::dsp::Role;
use cellspace_schemas::{
    management::CallbackAddress,
    odrl::{Policy, PolicyType},
    query_spec::PathRules,
};
use serde_json::{Value, json};

/// Fields of a negotiation that queries may name.
pub const NEGOTIATION_PATHS: PathRules = PathRules {
    fields: &[
        "id",
        "@id",
        "type",
        "state",
        "stateTimestamp",
        "protocol",
        "profile",
        "counterPartyId",
        "counterPartyAddress",
        "correlationId",
        "assetId",
        "contractAgreementId",
        "contractAgreement.id",
        "contractAgreement.@id",
        "contractAgreement.assetId",
        "contractAgreement.providerId",
        "contractAgreement.consumerId",
        "contractAgreement.contractSigningDate",
        "contractAgreement.policy.*",
        "callbackAddresses.*",
        "errorDetail",
        "createdAt",
        "participantContextId",
    ],
    free_properties: false,
};

/// Fields of an agreement that queries may name.
pub const AGREEMENT_PATHS: PathRules = PathRules {
    fields: &[
        "id",
        "@id",
        "agreementId",
        "assetId",
        "providerId",
        "consumerId",
        "contractSigningDate",
        "policy.*",
        "retiredAt",
        "retirementReason",
        "participantContextId",
    ],
    free_properties: false,
};

/// A negotiation, without `@context`. Its `offer` is what is on the table, the ODRL Offer that was last requested or made: by us or by the
/// counterparty, as role and state tell.
#[must_use]
pub fn negotiation(n: &Negotiation) -> Value {
    let mut json = fields(n);
    if let Some(fields) = json.as_object_mut() {
        let mut offer = Policy::from(n.offer.clone());
        // Whatever a provider says about itself, it is the one that offers.
        if n.role == Role::Consumer {
            offer.assigner = Some(n.counterparty.to_string());
        }
        fields.insert("offer".to_owned(), offer.to_plain());
    }
    json
}

fn fields(n: &Negotiation) -> Value {
    let mut json = json!({
        "@type": "ContractNegotiation",
        "@id": n.id.as_str(),
        "type": n.role.name(),
        "state": n.state.name(),
        "stateTimestamp": n.state_at.millis(),
        "protocol": n.profile.as_str(),
        "profile": n.profile.as_str(),
        "counterPartyId": n.counterparty.as_str(),
        "counterPartyAddress": n.address.as_str(),
        "assetId": n.offer.target.as_str(),
        "callbackAddresses": n.callbacks.iter().map(CallbackAddress::to_json).collect::<Vec<_>>(),
        "createdAt": n.created_at.millis(),
    });
    if let Some(fields) = json.as_object_mut() {
        let optional = [
            ("correlationId", n.counterparty_pid.as_ref().map(|pid| pid.as_str())),
            ("contractAgreementId", n.agreement.as_ref().map(|a| a.id.as_str())),
            ("errorDetail", n.finding.as_deref().or(n.error_detail.as_deref())),
        ];
        for (name, value) in optional {
            if let Some(value) = value {
                fields.insert(name.to_owned(), value.into());
            }
        }
    }
    json
}

/// A negotiation as queries compare it: the state by word and by number.
#[must_use]
pub fn negotiation_for_query(n: &Negotiation, participant: &str) -> Value {
    let mut json = fields(n);
    if let Some(fields) = json.as_object_mut() {
        fields.insert("state".to_owned(), json!([n.state.name(), n.state.code()]));
        fields.insert("participantContextId".to_owned(), participant.into());
        if let Some(agreement) = &n.agreement {
            fields.insert("contractAgreement".to_owned(), self::agreement(agreement));
        }
    }
    json
}

/// An agreement, without `@context`; `retiredAt` (milliseconds) and `retirementReason` are there once it is retired.
#[must_use]
pub fn agreement(a: &Agreement) -> Value {
    let policy = Policy {
        kind: PolicyType::Agreement,
        id: Some(a.id.to_string()),
        target: Some(a.asset.to_string()),
        assigner: Some(a.provider.to_string()),
        assignee: Some(a.consumer.to_string()),
        ..a.policy.clone()
    };
    let mut json = json!({
        "@type": "ContractAgreement",
        "@id": a.id.as_str(),
        "assetId": a.asset.as_str(),
        "providerId": a.provider.as_str(),
        "consumerId": a.consumer.as_str(),
        "contractSigningDate": a.signed_at.seconds(),
        "policy": policy.to_plain(),
    });
    if let (Some(fields), Some(retired)) = (json.as_object_mut(), &a.retired) {
        fields.insert("retiredAt".to_owned(), retired.at.millis().into());
        fields.insert("retirementReason".to_owned(), retired.reason.as_str().into());
    }
    json
}

/// An agreement as queries compare it.
#[must_use]
pub fn agreement_for_query(a: &Agreement, participant: &str) -> Value {
    let mut json = agreement(a);
    if let Some(fields) = json.as_object_mut() {
        fields.insert("agreementId".to_owned(), a.id.as_str().into());
        fields.insert("participantContextId".to_owned(), participant.into());
    }
    json
}
