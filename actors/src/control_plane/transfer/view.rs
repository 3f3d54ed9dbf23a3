//! Transfers in the form of the Management API.

use super::Transfer;
use cellspace_schemas::{management::CallbackAddress, query_spec::PathRules};
use serde_json::{Value, json};

/// Fields of a transfer that queries may name.
pub const TRANSFER_PATHS: PathRules = PathRules {
    fields: &[
        "id",
        "@id",
        "type",
        "state",
        "stateTimestamp",
        "correlationId",
        "counterPartyId",
        "counterPartyAddress",
        "profile",
        "protocol",
        "assetId",
        "contractId",
        "transferType",
        "dataPlaneId",
        "callbackAddresses.*",
        "privateProperties.*",
        "dataplaneMetadata.labels",
        "dataplaneMetadata.profiles",
        "dataplaneMetadata.properties.*",
        "errorDetail",
        "createdAt",
        "participantContextId",
    ],
    free_properties: false,
};

/// A transfer, without `@context`.
#[must_use]
pub fn transfer(t: &Transfer) -> Value {
    let mut json = json!({
        "@type": "TransferProcess",
        "@id": t.id.as_str(),
        "type": t.role.name(),
        "state": t.state.name(),
        "stateTimestamp": t.state_at.millis(),
        "protocol": t.profile.as_str(),
        "profile": t.profile.as_str(),
        "counterPartyId": t.counterparty.as_str(),
        "assetId": t.asset.as_str(),
        "contractId": t.agreement.as_str(),
        "transferType": t.transfer_type.as_str(),
        "callbackAddresses": t.callbacks.iter().map(CallbackAddress::to_json).collect::<Vec<_>>(),
        "privateProperties": t.private_properties,
        "dataplaneMetadata": t.metadata.to_json(),
        "createdAt": t.created_at.millis(),
    });
    if let Some(fields) = json.as_object_mut() {
        let optional = [
            ("correlationId", t.counterparty_pid.as_ref().map(|pid| pid.as_str())),
            ("errorDetail", t.error_detail.as_deref()),
            ("dataPlaneId", t.data_plane.as_ref().map(|plane| plane.id.as_str())),
        ];
        for (name, value) in optional {
            if let Some(value) = value {
                fields.insert(name.to_owned(), value.into());
            }
        }
    }
    json
}

/// A transfer as queries compare it: the state by word and by number.
#[must_use]
pub fn transfer_for_query(t: &Transfer, participant: &str) -> Value {
    let mut json = transfer(t);
    if let Some(fields) = json.as_object_mut() {
        fields.insert("state".to_owned(), json!([t.state.name(), t.state.code()]));
        fields.insert("counterPartyAddress".to_owned(), t.address.as_str().into());
        fields.insert("participantContextId".to_owned(), participant.into());
    }
    json
}
