//! The request to get at a dataset in one call, whatever that takes (`DatasetAccessRequest`, an addition to the Management API).

use super::{DataplaneMetadata, DatasetRequest, Reader};
use crate::{OfferId, TransferType, violation::Violation};
use serde_json::Value;

/// How data is transferred when the request does not say.
const PULL: &str = "HttpData-PULL";

/// `DatasetAccessRequest`: `datasetId`, `counterPartyId` and `counterPartyAddress` are required.
#[derive(Debug, Clone, PartialEq)]
pub struct DatasetAccessRequest {
    /// The dataset and its provider.
    pub dataset: DatasetRequest,
    /// The offer to be agreed on; the first one of the dataset when left out.
    pub offer: Option<OfferId>,
    /// How, by a pull.
    pub transfer_type: TransferType,
    /// What the data plane is told.
    pub dataplane_metadata: DataplaneMetadata,
}

impl DatasetAccessRequest {
    /// Reads a body.
    ///
    /// # Errors
    /// Every violated rule.
    pub fn from_json(body: &Value) -> Result<Self, Vec<Violation>> {
        let mut r = Reader::open(body, &["DatasetAccessRequest"])?;
        let dataset = DatasetRequest::read(&mut r, "datasetId");
        let (offer, chosen): (_, Option<TransferType>) = (r.parsed("offerId"), r.parsed("transferType"));
        let transfer_type = chosen.or_else(|| PULL.parse().ok());
        if transfer_type.as_ref().is_some_and(TransferType::is_push) {
            r.note("transferType", "must be a pull: a push gives no access");
        }
        let dataplane_metadata = DataplaneMetadata::read(&mut r).unwrap_or_default();
        r.finish(|| Some(Self { dataset: dataset?, offer, transfer_type: transfer_type?, dataplane_metadata }))
    }
}

#[cfg(test)]
mod tests {
    use super::super::MANAGEMENT_CONTEXT;
    use super::*;
    use serde_json::json;

    fn read(more: &Value) -> Result<DatasetAccessRequest, Vec<Violation>> {
        let mut body = json!({"@context": [MANAGEMENT_CONTEXT], "@type": "DatasetAccessRequest", "datasetId": "a-77", "profile": "p",
            "counterPartyAddress": "https://cp.example/dsp", "counterPartyId": "did:web:provider"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        DatasetAccessRequest::from_json(&body)
    }

    #[test]
    fn what_clients_send() {
        let least = read(&json!({})).unwrap();
        assert_eq!((least.dataset.id.as_str(), least.transfer_type.as_str(), &least.offer), ("a-77", PULL, &None));
        let most = read(&json!({"offerId": "o", "transferType": "S3-PULL", "additionalScopes": ["s"],
            "dataplaneMetadata": {"@type": "DataplaneMetadata", "labels": ["eu"]}}));
        let most = most.unwrap();
        assert_eq!((most.offer.unwrap().as_str(), most.transfer_type.as_str()), ("o", "S3-PULL"));
        assert_eq!((most.dataset.additional_scopes, most.dataplane_metadata.labels), (vec!["s".to_owned()], vec!["eu".to_owned()]));
    }

    #[test]
    fn what_is_refused() {
        for (member, value) in [
            ("@type", json!("DatasetRequest")),
            ("datasetId", json!(null)),
            ("datasetId", json!(7)),
            ("counterPartyAddress", json!("ftp://x")),
            ("counterPartyId", json!(null)),
            ("protocol", json!("p")),
            ("offerId", json!("")),
            ("transferType", json!("HttpData-PUSH")),
            ("additionalScopes", json!(["a b"])),
        ] {
            let found = read(&json!({member: value})).unwrap_err();
            assert_eq!(found.iter().map(|v| v.path.as_str()).collect::<Vec<_>>(), [format!("$.{member}")], "{member} {value}");
        }
    }
}
