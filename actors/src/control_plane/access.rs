//! What a consumer that wants a dataset, whatever that takes, has already, or may ask for.

use super::{
    ControlPlaneState,
    archive::{
        AGREED, Field, Sought,
        list::{self, Asked, CREATED, ListError},
    },
    dsp::Role,
    negotiation::{Agreement, Negotiation, State},
};
use cellspace_cluster::{Address, Cluster};
use cellspace_schemas::{
    AgreementId, AssetId, Did, OfferId, ProfileId, QuerySpec, Timestamp,
    dsp::negotiation::MessageOffer,
    odrl::{Policy, PolicyType},
    query_spec::SortOrder,
};
use cellspace_storage::StoreError;
use serde_json::{Map, Value};
use std::sync::Arc;

/// A dataset that is wanted.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Of whom.
    pub provider: Did,
    /// In which dataspace profile.
    pub profile: ProfileId,
    /// Which.
    pub dataset: AssetId,
}

impl Wanted {
    /// The agreement that a negotiation has led to, when it is one on the dataset, in force, with this participant as consumer.
    fn usable<'a>(&self, n: &'a Negotiation, now: Timestamp) -> Option<&'a Arc<Agreement>> {
        let of_theirs = n.role == Role::Consumer && n.counterparty == self.provider && n.profile == self.profile;
        let agreement = n.agreement_in_force().filter(|agreement| of_theirs && agreement.asset == self.dataset)?;
        agreement.ends_at().is_none_or(|ends| ends > now).then_some(agreement)
    }

    fn newest<'a>(&self, negotiations: impl Iterator<Item = &'a Arc<Negotiation>>, now: Timestamp) -> Option<AgreementId> {
        negotiations.filter_map(|n| self.usable(n, now)).max_by_key(|agreement| agreement.signed_at).map(|agreement| agreement.id.clone())
    }

    /// What marks the archived negotiations among which there may be one.
    fn marks(&self) -> Vec<Sought> {
        let one = |field, value: &str| Sought { field, values: vec![value.to_owned()] };
        vec![
            one(Field::Counterparty, self.provider.as_str()),
            one(Field::Asset, self.dataset.as_str()),
            one(Field::State, State::Finalized.name()),
            one(Field::Role, Role::Consumer.name()),
            one(Field::Agreed, AGREED),
        ]
    }
}

/// The newest agreement that is in force with this participant as consumer, for this dataset of this provider: of those in the state, and only when there
/// is none of those in the archive. What would take more looking than a list may is not found.
///
/// # Errors
/// When the archive cannot be read.
pub async fn usable_agreement(
    cluster: &Cluster,
    address: &Address,
    state: &Arc<ControlPlaneState>,
    wanted: Wanted,
    now: Timestamp,
) -> Result<Option<AgreementId>, StoreError> {
    if let Some(live) = wanted.newest(state.negotiations.iter(), now) {
        return Ok(Some(live));
    }
    let query = QuerySpec { limit: 1, sort: CREATED.parse().ok(), order: SortOrder::Desc, ..QuerySpec::default() };
    let is_usable = {
        let wanted = wanted.clone();
        move |n: &Negotiation| wanted.usable(n, now).map_or(Value::Null, |_| Value::Object(Map::new()))
    };
    let asked = Asked { query, sought: wanted.marks(), judged: false, fields: Box::new(is_usable) };
    match list::all(cluster, address, state, &Arc::new(asked)).await {
        Ok(listed) => Ok(wanted.newest(listed.found.iter(), now)),
        Err(ListError::TooMany) => Ok(None),
        Err(ListError::Store(error)) => Err(error),
    }
}

/// The offer of this id in a dataset that its provider has shown, or its first one.
///
/// # Errors
/// Why there is none.
pub fn offer_of(dataset: &Value, id: &AssetId, provider: &Did, wanted: Option<&OfferId>) -> Result<MessageOffer, String> {
    let offers = match dataset.get("hasPolicy") {
        Some(Value::Array(offers)) => offers.as_slice(),
        Some(one) => std::slice::from_ref(one),
        None => &[],
    };
    let named = |offer: &&Value| wanted.is_none_or(|wanted| offer.get("@id").and_then(Value::as_str) == Some(wanted.as_str()));
    let offer = offers.iter().find(named).ok_or_else(|| match wanted {
        Some(wanted) => format!("the provider shows no offer {wanted} of dataset {id}"),
        None => format!("the provider shows no offer of dataset {id}"),
    })?;
    let unreadable = |why: String| format!("the provider's offer of dataset {id} cannot be read: {why}");
    let mut policy = Policy::from_json(offer, "$.hasPolicy")
        .map_err(|found| unreadable(found.iter().map(|violation| violation.message.as_str()).collect::<Vec<_>>().join("; ")))?;
    policy.kind = PolicyType::Offer;
    policy.assigner = Some(provider.to_string());
    policy.target = Some(id.to_string());
    MessageOffer::try_from(policy).map_err(unreadable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control_plane::{
        negotiation::{self, tests::negotiation},
        testing::{self, NOW, offer, own, peer, profile},
    };
    use serde_json::json;

    #[test]
    fn the_newest_agreement_in_force_is_used() {
        let mut state = testing::state();
        let wanted = Wanted { provider: peer(), profile: profile(), dataset: "open".parse().unwrap() };
        let mut add = |id: &str, role, at, signed, constraint: Value, change: fn(&mut Negotiation)| {
            let agreed = Agreement::on(&offer("open", 9), id.parse().unwrap(), peer(), own(), Timestamp(signed));
            let policy = json!({"@type": "Agreement", "permission": [{"action": "use", "constraint": constraint}]});
            let agreed = Agreement { policy: serde_json::from_value(policy).unwrap(), ..agreed };
            let (profile, offer) = (profile(), offer("open", 9));
            let mut n = Negotiation { id: id.parse().unwrap(), profile, counterparty: peer(), offer, ..negotiation(at, role) };
            n.counterparty_pid = Some(id.parse().unwrap());
            n.agreement = Some(Arc::new(agreed));
            change(&mut n);
            state.negotiations.apply(&negotiation::Event::Set(Arc::new(n)));
            // What is found by the marks is all there is.
            let marked = state.negotiations.iter().filter(|n| wanted.marks().iter().all(|sought| sought.admits(&***n)));
            let found = wanted.newest(state.negotiations.iter(), NOW);
            assert_eq!(wanted.newest(marked, NOW), found);
            found.map(|id| id.to_string())
        };
        let (any, over) = (json!([]), json!([{"leftOperand": "inForceDate", "operator": "lteq", "rightOperand": "contractAgreement+1s"}]));
        let old = NOW.0 - 60_000;
        let mut found = vec![
            add("provided", Role::Provider, State::Finalized, old, any.clone(), |_| {}),
            add("terminated", Role::Consumer, State::Terminated, old, any.clone(), |_| {}),
            add("verifying", Role::Consumer, State::Verifying, old, any.clone(), |_| {}),
            add("ended", Role::Consumer, State::Finalized, old, over.clone(), |_| {}),
            add("of-another", Role::Consumer, State::Finalized, old, any.clone(), |n| n.counterparty = own()),
            add("elsewhere", Role::Consumer, State::Finalized, old, any.clone(), |n| n.profile = "other".parse().unwrap()),
        ];
        assert!(found.iter().all(Option::is_none), "{found:?}");
        found = vec![
            add("first", Role::Consumer, State::Finalized, old, any.clone(), |_| {}),
            add("newer", Role::Consumer, State::Finalized, old + 2, any.clone(), |_| {}),
            add("older", Role::Consumer, State::Finalized, old + 1, any, |_| {}),
            add("brief", Role::Consumer, State::Finalized, NOW.0, over, |_| {}),
        ];
        assert_eq!(found.iter().flatten().collect::<Vec<_>>(), ["first", "newer", "newer", "brief"]);
    }

    #[test]
    fn offers_of_a_dataset() {
        let dataset: AssetId = "d".parse().unwrap();
        let offer = |id: &str| json!({"@type": "Offer", "@id": id, "permission": [{"action": "use"}]});
        let of = |shown: Value, wanted: Option<&str>| {
            let wanted = wanted.map(|id| id.parse().unwrap());
            offer_of(&json!({"@id": "d", "hasPolicy": shown}), &dataset, &peer(), wanted.as_ref()).map(|offer| offer.id.to_string())
        };
        assert_eq!(of(json!([offer("a"), offer("b")]), None).as_deref(), Ok("a"));
        assert_eq!(of(json!([offer("a"), offer("b")]), Some("b")).as_deref(), Ok("b"));
        assert_eq!(of(offer("a"), Some("a")).as_deref(), Ok("a"));
        for (shown, wanted) in [
            (json!([]), None),
            (json!([offer("a")]), Some("b")),
            (json!([{"@type": "Offer", "permission": []}]), None),
            (json!([{"@type": "Offer", "@id": "a", "permission": 7}]), None),
            (json!("a"), None),
        ] {
            assert!(of(shown.clone(), wanted).is_err(), "{shown}");
        }
        let read = offer_of(&json!({"hasPolicy": offer("a")}), &dataset, &peer(), None).unwrap();
        assert_eq!((read.target, read.policy.assigner.as_deref()), (dataset, Some(peer().as_str())));
    }
}
