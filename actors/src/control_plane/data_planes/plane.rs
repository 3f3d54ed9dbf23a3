//! Registered data planes, and which of them serves a transfer.

use cellspace_cluster::RowOf;
use cellspace_schemas::{
    DataPlaneId, KeyAlias, Timestamp, TransferType, dps::DataPlaneRegistrationMessage, dsp::BaseUrl, management::DataplaneMetadata,
};
use cellspace_storage::RowKey;
use rpds::RedBlackTreeMapSync;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{
    collections::BTreeSet,
    sync::{Arc, OnceLock},
};
use xxhash_rust::xxh3::xxh3_64;

/// Data planes of one participant at most.
pub const MAX_DATA_PLANES: usize = 64;

/// Table of earlier registrations.
const SUPERSEDED: &str = "data-plane-superseded";

/// A data plane as registered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DataPlane {
    /// Its id.
    pub id: DataPlaneId,
    /// Counts the endpoints it was registered with.
    pub revision: u32,
    /// Base of its data flow endpoints.
    pub endpoint: BaseUrl,
    /// How it can transfer.
    pub transfer_types: Vec<TransferType>,
    /// What else distinguishes it.
    pub labels: Vec<String>,
    /// How we authenticate to it; `None`: by the platform's own tokens, which only planes of this installation get.
    pub authorization: Option<Authorization>,
    /// When it was registered last.
    pub registered_at: Timestamp,
}

/// Which registration of a data plane a transfer runs on: one that moves keeps its earlier endpoint for what was begun there.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PlaneRef {
    /// The data plane.
    pub id: DataPlaneId,
    /// The registration.
    pub revision: u32,
}

/// How the control plane and the data plane authenticate to each other; secrets are in the vault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Authorization {
    /// Tokens by the client credentials grant.
    #[serde(rename_all = "camelCase")]
    ClientCredentials {
        /// Where tokens are made.
        token_endpoint: BaseUrl,
        /// The client.
        client_id: String,
        /// Where its secret lies in the participant's part of the vault.
        secret: KeyAlias,
        /// What the data plane's own tokens verify with; without, it calls back with tokens of this installation.
        keys: Option<CallbackKeys>,
    },
    /// Tokens by exchange at a broker, in both directions.
    #[serde(rename_all = "camelCase")]
    TokenExchange {
        /// Where tokens are exchanged.
        endpoint: BaseUrl,
        /// The `iss` of its tokens.
        issuer: String,
        /// Where its key set is.
        jwks_uri: BaseUrl,
    },
}

/// Keys that tokens of a data plane verify with (RFC 7517).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum CallbackKeys {
    /// As registered.
    Inline(Value),
    /// To be fetched from there.
    At(BaseUrl),
}

impl Authorization {
    /// Where its secret lies, when it has one.
    #[must_use]
    pub const fn secret(&self) -> Option<&KeyAlias> {
        match self {
            Self::ClientCredentials { secret, .. } => Some(secret),
            Self::TokenExchange { .. } => None,
        }
    }
}

impl DataPlane {
    /// Of a registration whose secret is in the vault.
    #[must_use]
    pub fn registered(id: PlaneRef, message: &DataPlaneRegistrationMessage, authorization: Option<Authorization>, now: Timestamp) -> Self {
        Self {
            id: id.id,
            revision: id.revision,
            endpoint: message.endpoint.clone(),
            transfer_types: message.profiles.clone(),
            labels: message.labels.clone(),
            authorization,
            registered_at: now,
        }
    }

    /// This registration.
    #[must_use]
    pub fn reference(&self) -> PlaneRef {
        PlaneRef { id: self.id.clone(), revision: self.revision }
    }

    /// Where the secret of its authorization lies, when there is one.
    #[must_use]
    pub fn secret(&self) -> Option<&KeyAlias> {
        self.authorization.as_ref().and_then(Authorization::secret)
    }

    /// Whether it authenticates its callbacks by keys of its own.
    #[must_use]
    pub const fn has_own_keys(&self) -> bool {
        match &self.authorization {
            Some(Authorization::ClientCredentials { keys, .. }) => keys.is_some(),
            Some(Authorization::TokenExchange { .. }) => true,
            None => false,
        }
    }

    fn serves(&self, transfer_type: &TransferType, labels: &[String]) -> bool {
        self.transfer_types.contains(transfer_type) && labels.iter().all(|label| self.labels.contains(label))
    }
}

/// A change of one data plane's row.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Event {
    /// The data plane as it now is.
    Set(Arc<DataPlane>),
    /// It is gone.
    Deleted(DataPlaneId),
    /// An earlier registration that transfers still run on.
    Superseded(Arc<DataPlane>),
    /// No transfer runs on it any more.
    Released(PlaneRef),
}

/// The data planes of a participant.
#[derive(Debug, Clone, Default)]
pub struct DataPlanes {
    current: RedBlackTreeMapSync<DataPlaneId, Arc<DataPlane>>,
    superseded: RedBlackTreeMapSync<PlaneRef, Arc<DataPlane>>,
    /// What all of the current ones offer together: made by the first that asks after a change.
    offered: OnceLock<Arc<BTreeSet<TransferType>>>,
}

impl DataPlanes {
    /// One of them.
    #[must_use]
    pub fn get(&self, id: &DataPlaneId) -> Option<&Arc<DataPlane>> {
        self.current.get(id)
    }

    /// The registration that a transfer runs on.
    #[must_use]
    pub fn of(&self, bound: &PlaneRef) -> Option<&Arc<DataPlane>> {
        self.current.get(&bound.id).filter(|plane| plane.revision == bound.revision).or_else(|| self.superseded.get(bound))
    }

    /// An earlier registration.
    #[must_use]
    pub fn superseded(&self, bound: &PlaneRef) -> Option<&Arc<DataPlane>> {
        self.superseded.get(bound)
    }

    /// How many earlier registrations are kept.
    #[must_use]
    pub fn superseded_len(&self) -> usize {
        self.superseded.size()
    }

    /// Those that new transfers may run on, by id.
    pub fn current(&self) -> impl Iterator<Item = &Arc<DataPlane>> {
        self.current.values()
    }

    /// All registrations, the earlier ones too.
    pub fn all(&self) -> impl Iterator<Item = &Arc<DataPlane>> {
        self.current.values().chain(self.superseded.values())
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.current.size()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.current.is_empty()
    }

    /// One that transfers so and has all the labels. Several share the transfers evenly: `seed`, the transfer's id, always gets the same one.
    #[must_use]
    pub fn select(&self, transfer_type: &TransferType, labels: &[String], seed: &str) -> Option<&Arc<DataPlane>> {
        let weight = |plane: &DataPlane| xxh3_64(format!("{}\n{seed}", plane.id).as_bytes());
        self.current.values().filter(|plane| plane.serves(transfer_type, labels)).max_by_key(|plane| weight(plane))
    }

    /// How an asset with this metadata can be transferred: what data planes with its labels offer, of the types it names, or all when it names none.
    #[must_use]
    pub fn transfer_types(&self, metadata: Option<&DataplaneMetadata>) -> Arc<BTreeSet<TransferType>> {
        let all = || self.offered.get_or_init(|| Arc::new(self.transfer_types_of(&[], &[]))).clone();
        let asks = metadata.filter(|m| !(m.profiles.is_empty() && m.labels.is_empty()));
        asks.map_or_else(all, |m| Arc::new(self.transfer_types_of(&m.profiles, &m.labels)))
    }

    fn transfer_types_of(&self, named: &[String], labels: &[String]) -> BTreeSet<TransferType> {
        let serving = self.current.values().filter(|plane| labels.iter().all(|label| plane.labels.contains(label)));
        let offered = serving.flat_map(|plane| plane.transfer_types.iter());
        offered.filter(|offer| named.is_empty() || named.iter().any(|name| name == offer.as_str())).cloned().collect()
    }

    /// Folds an event into the state.
    pub fn apply(&mut self, event: &Event) {
        self.offered.take();
        match event {
            Event::Set(plane) => self.current.insert_mut(plane.id.clone(), plane.clone()),
            Event::Deleted(id) => {
                self.current.remove_mut(id);
            }
            Event::Superseded(plane) => self.superseded.insert_mut(plane.reference(), plane.clone()),
            Event::Released(bound) => {
                self.superseded.remove_mut(bound);
            }
        }
    }
}

/// Which row the event writes.
#[must_use]
pub fn row(event: &Event) -> RowOf {
    let earlier = |bound: &PlaneRef| RowKey::new(SUPERSEDED, &format!("{}/{}", bound.id, bound.revision));
    match event {
        Event::Set(plane) => RowOf::Put(RowKey::new(super::TABLE, plane.id.as_str())),
        Event::Deleted(id) => RowOf::Delete(RowKey::new(super::TABLE, id.as_str())),
        Event::Superseded(plane) => RowOf::Put(earlier(&plane.reference())),
        Event::Released(bound) => RowOf::Delete(earlier(bound)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn planes() -> DataPlanes {
        let mut planes = DataPlanes::default();
        for (id, types, labels) in
            [("a", vec!["PULL"], vec!["eu"]), ("b", vec!["PULL", "PUSH"], vec![]), ("c", vec!["PULL"], vec!["eu", "gold"])]
        {
            let message = json!({"dataplaneId": id, "endpoint": "http://x/dataflows", "profiles": types, "labels": labels});
            let message: DataPlaneRegistrationMessage = serde_json::from_value(message).unwrap();
            let reference = PlaneRef { id: message.dataplane_id.clone().unwrap(), revision: 0 };
            let plane = DataPlane::registered(reference, &message, None, Timestamp(1));
            planes.apply(&Event::Set(Arc::new(plane)));
        }
        planes
    }

    fn chosen(planes: &DataPlanes, transfer_type: &str, labels: &[&str], seed: &str) -> Option<String> {
        let labels: Vec<String> = labels.iter().map(|l| (*l).to_owned()).collect();
        planes.select(&TransferType::new(transfer_type).unwrap(), &labels, seed).map(|p| p.id.to_string())
    }

    #[test]
    fn type_and_labels_decide() {
        let planes = planes();
        assert_eq!(chosen(&planes, "PUSH", &[], "t").as_deref(), Some("b"));
        assert_eq!(chosen(&planes, "PULL", &["gold"], "t").as_deref(), Some("c"));
        assert_eq!(chosen(&planes, "PULL", &["red"], "t"), None);
        assert_eq!(chosen(&planes, "S3", &[], "t"), None);
    }

    #[test]
    fn several_share_the_transfers() {
        let planes = planes();
        let of = |n: i32| chosen(&planes, "PULL", &[], &format!("t-{n}")).unwrap();
        assert_eq!(of(1), of(1));
        let distinct: BTreeSet<String> = (0..100).map(of).collect();
        assert_eq!(distinct.len(), 3);
    }

    #[test]
    fn what_an_asset_can_be_transferred_by() {
        let planes = planes();
        let types = |named: &[&str], labels: &[&str]| {
            let own = |list: &[&str]| list.iter().map(|l| (*l).to_owned()).collect::<Vec<_>>();
            let metadata = DataplaneMetadata { labels: own(labels), profiles: own(named), ..DataplaneMetadata::default() };
            planes.transfer_types(Some(&metadata)).iter().cloned().map(String::from).collect::<Vec<_>>()
        };
        assert_eq!(types(&[], &[]), ["PULL", "PUSH"]);
        assert_eq!(types(&["PUSH", "S3"], &[]), ["PUSH"]);
        assert_eq!(types(&[], &["eu"]), ["PULL"]);
    }
}
