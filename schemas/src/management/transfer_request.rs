//! Requests about transfer processes (Management API `TransferRequest`).

use super::{CallbackAddress, DataplaneMetadata, Reader, requested_profile};
use crate::{AgreementId, ProfileId, TransferId, TransferType, dsp::BaseUrl, violation::Violation};
use serde_json::{Map, Value};

/// Private properties of one transfer at most.
pub const MAX_PROPERTIES: usize = 64;
/// Longest request in its JSON form, in bytes.
pub const MAX_REQUEST_BYTES: usize = 64 << 10;

/// `TransferRequest`: transfer what was agreed on, as consumer. What it says about a data destination is ignored: data planes know their own.
#[derive(Debug, Clone, PartialEq)]
pub struct TransferRequest {
    /// The id that the client wants the transfer to have.
    pub id: Option<TransferId>,
    /// In which profile; may be left out by participants with exactly one.
    pub profile: Option<ProfileId>,
    /// DSP base of the provider.
    pub counter_party_address: BaseUrl,
    /// The agreement.
    pub contract_id: AgreementId,
    /// How.
    pub transfer_type: TransferType,
    /// The client's own properties.
    pub private_properties: Map<String, Value>,
    /// What the data plane is told.
    pub dataplane_metadata: DataplaneMetadata,
    /// Whom the client wants to be told.
    pub callback_addresses: Vec<CallbackAddress>,
}

impl TransferRequest {
    /// Reads a body.
    ///
    /// # Errors
    /// Every violated rule.
    pub fn from_json(body: &Value) -> Result<Self, Vec<Violation>> {
        let mut r = Reader::open(body, &["TransferRequest"])?;
        let (id, profile) = (r.parsed("@id"), requested_profile(&mut r));
        let address = r.required_parsed("counterPartyAddress");
        let (contract_id, transfer_type) = (r.required_parsed("contractId"), r.required_parsed("transferType"));
        let private_properties = r.object("privateProperties");
        if private_properties.len() > MAX_PROPERTIES {
            r.note_all(vec![Violation::new(r.path("privateProperties"), format!("at most {MAX_PROPERTIES} properties"))]);
        }
        let dataplane_metadata = DataplaneMetadata::read(&mut r).unwrap_or_default();
        let callback_addresses = CallbackAddress::read_all(&mut r);
        if body.to_string().len() > MAX_REQUEST_BYTES {
            r.note_all(vec![Violation::new("$", format!("a transfer request has at most {MAX_REQUEST_BYTES} bytes"))]);
        }
        r.finish(|| {
            Some(Self {
                id,
                profile,
                counter_party_address: address?,
                contract_id: contract_id?,
                transfer_type: transfer_type?,
                private_properties,
                dataplane_metadata,
                callback_addresses,
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::MANAGEMENT_CONTEXT;
    use super::*;
    use serde_json::json;

    fn body() -> Value {
        json!({"@context": [MANAGEMENT_CONTEXT], "@type": "TransferRequest", "protocol": "p", "counterPartyAddress": "https://cp.example/dsp",
            "contractId": "ag", "transferType": "HttpData-PULL", "dataDestination": {"type": "HttpProxy"},
            "privateProperties": {"a": 1}, "dataplaneMetadata": {"@type": "DataplaneMetadata", "labels": ["eu"]}})
    }

    #[test]
    fn what_clients_send() {
        let request = TransferRequest::from_json(&body()).unwrap();
        assert_eq!((request.contract_id.as_str(), request.transfer_type.as_str()), ("ag", "HttpData-PULL"));
        assert_eq!(request.dataplane_metadata.labels, ["eu"]);
        assert_eq!(request.private_properties.len(), 1);
    }

    #[test]
    fn what_is_refused() {
        for (at, value) in [
            ("/@type", json!("ContractRequest")),
            ("/counterPartyAddress", json!("x")),
            ("/contractId", json!("")),
            ("/transferType", json!(null)),
            ("/privateProperties", json!([])),
            ("/dataplaneMetadata", json!({"labels": "eu"})),
            ("/privateProperties", json!({"long": "x".repeat(MAX_REQUEST_BYTES)})),
        ] {
            let mut body = body();
            *body.pointer_mut(at).unwrap() = value;
            assert!(TransferRequest::from_json(&body).is_err(), "{at}");
        }
    }
}
