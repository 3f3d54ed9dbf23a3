//! What of a view that everybody shares is shown to one participant. Pure.

use crate::{
    control_plane::policy::{Evaluation, ParticipantAgent, PolicyScope, may_be_fulfilled},
    settings::Settings,
};
use cellspace_schemas::{Timestamp, odrl::Policy};
use serde_json::{Map, Value};
use std::collections::HashMap;

/// What a catalog has beside plain values.
const KNOWN: [&str; 6] = ["@context", "service", "distribution", "dataset", "catalog", "hasPolicy"];
/// Catalogs within catalogs that are looked into at most; what lies deeper is not shown.
const MAX_NESTING: usize = 4;

/// Whose view it is.
pub(super) struct Viewer<'a> {
    settings: &'a Settings,
    agent: &'a ParticipantAgent,
    now: Timestamp,
    /// Terms judged before: offers mostly have theirs in common.
    judged: HashMap<String, bool>,
}

impl<'a> Viewer<'a> {
    pub(super) fn new(settings: &'a Settings, agent: &'a ParticipantAgent, now: Timestamp) -> Self {
        Self { settings, agent, now, judged: HashMap::new() }
    }

    /// Takes out of a catalog the offers whose terms the participant could not agree to, and the datasets that none is left of.
    pub(super) fn filter(&mut self, catalog: &mut Value) {
        self.catalog(catalog, 0);
    }

    fn catalog(&mut self, catalog: &mut Value, depth: usize) {
        if let Value::Object(fields) = catalog {
            // Whatever else its target has put there may hold offers, under a name that is not known here.
            fields.retain(|name, value| KNOWN.contains(&name.as_str()) || is_plain(value));
        }
        if let Some(datasets) = list(catalog, "dataset") {
            datasets.retain_mut(|dataset| self.offers(dataset));
        }
        if let Some(catalogs) = list(catalog, "catalog") {
            // One that has offers of its own is shown as a dataset is.
            catalogs.retain_mut(|inner| depth < MAX_NESTING && (inner.get("hasPolicy").is_none() || self.offers(inner)));
            catalogs.iter_mut().for_each(|inner| self.catalog(inner, depth + 1));
        }
    }

    /// Whether an offer is left.
    fn offers(&mut self, dataset: &mut Value) -> bool {
        let Some(offers) = list(dataset, "hasPolicy") else { return false };
        offers.retain(|offer| self.is_open(offer));
        !offers.is_empty()
    }

    fn is_open(&mut self, offer: &Value) -> bool {
        let Value::Object(fields) = offer else { return false };
        let terms: Map<String, Value> = fields.iter().filter(|(name, _)| *name != "@id").map(|(k, v)| (k.clone(), v.clone())).collect();
        let terms = Value::Object(terms);
        let text = terms.to_string();
        if let Some(known) = self.judged.get(&text) {
            return *known;
        }
        // Terms that cannot be read here cannot be judged here.
        let open = Policy::from_json(&terms, "$").map_or(true, |policy| {
            let evaluation = Evaluation::new(PolicyScope::ContractNegotiation, self.settings, self.agent, self.now);
            may_be_fulfilled(&policy, &evaluation)
        });
        self.judged.insert(text, open);
        open
    }
}

/// Whether nothing is in it.
fn is_plain(value: &Value) -> bool {
    let is_flat = |value: &Value| !value.is_object() && !value.is_array();
    is_flat(value) || value.as_array().is_some_and(|items| items.iter().all(is_flat))
}

fn list<'v>(object: &'v mut Value, name: &str) -> Option<&'v mut Vec<Value>> {
    object.get_mut(name).and_then(Value::as_array_mut)
}

/// Puts the datasets of catalogs within a catalog among its own.
pub(super) fn flattened(catalog: &mut Value) {
    let inner = catalog.as_object_mut().and_then(|fields| fields.remove("catalog"));
    let mut found = Vec::new();
    let mut open: Vec<(Value, usize)> = inner.into_iter().map(|inner| (inner, 0)).collect();
    while let Some((catalogs, depth)) = open.pop() {
        let Value::Array(catalogs) = catalogs else { continue };
        for catalog in catalogs {
            let Value::Object(mut catalog) = catalog else { continue };
            if let Some(Value::Array(datasets)) = catalog.remove("dataset") {
                found.extend(datasets);
            }
            if let Some(deeper) = catalog.remove("catalog").filter(|_| depth < MAX_NESTING) {
                open.push((deeper, depth + 1));
            }
        }
    }
    if let Some(datasets) = list(catalog, "dataset") {
        datasets.extend(found);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::CelExpression;
    use cellspace_schemas::Did;
    use serde_json::json;
    use std::collections::BTreeMap;

    fn settings() -> Settings {
        let expression = |kind: &str| {
            let expression = CelExpression {
                id: kind.to_owned(),
                left_operand: kind.to_owned(),
                expression: format!("ctx.agent.claims.vc.withType('{kind}').size() > 0"),
                description: String::new(),
                scopes: vec![],
                actions: vec![],
            };
            (kind.to_owned(), expression)
        };
        Settings::new(1, BTreeMap::from(["Member", "Maker"].map(expression)), BTreeMap::new(), BTreeMap::new())
    }

    fn offer(id: &str, operands: &[&str]) -> Value {
        let constraint: Vec<Value> =
            operands.iter().map(|operand| json!({"leftOperand": operand, "operator": "eq", "rightOperand": "active"})).collect();
        json!({"@type": "Offer", "@id": id, "permission": [{"action": "use", "constraint": constraint}]})
    }

    fn ids(list: &Value) -> Vec<&str> {
        list.as_array().into_iter().flatten().map(|item| item["@id"].as_str().unwrap()).collect()
    }

    #[test]
    fn offers_that_the_participant_could_agree_to() {
        let dataset = |id: &str, offers: Vec<Value>| json!({"@id": id, "@type": "Dataset", "hasPolicy": offers});
        let catalog = json!({"@type": "Catalog", "title": "t", "dcat:dataset": [dataset("elsewhere", vec![offer("o0", &["Maker"])])], "dataset": [
            dataset("open", vec![offer("o1", &[])]),
            dataset("members", vec![offer("o2", &["Member"])]),
            dataset("makers", vec![offer("o3", &["Maker"])]),
            dataset("both", vec![offer("o4", &["Maker"]), offer("o5", &["Member"])]),
            // Whether it holds is for the provider to say; what certainly does not hold is enough.
            dataset("unknown", vec![offer("o6", &["Unheard"])]),
            dataset("unknown-makers", vec![offer("o7", &["Unheard", "Maker"])]),
            dataset("unread", vec![json!({"@type": "Offer", "@id": "o8", "permission": 7})]),
            dataset("forbidden", vec![json!({"@type": "Offer", "@id": "o9", "prohibition": [{"action": "use",
                "constraint": [{"leftOperand": "Member", "operator": "eq", "rightOperand": "active"}]}]})]),
            dataset("none", vec![]),
            json!({"@id": "bare", "@type": "Dataset"}),
            json!("text"),
        ], "catalog": [
            {"@id": "c1", "@type": "Catalog", "dataset": [dataset("inner-open", vec![offer("i1", &[])]), dataset("inner-makers", vec![offer("i2", &["Maker"])])]},
            {"@id": "c2", "@type": "Catalog", "hasPolicy": [offer("i3", &["Maker"])], "dataset": []},
        ]});
        let settings = settings();
        let shown = |credentials: &[&str]| {
            let credentials: Vec<Value> = credentials.iter().map(|kind| json!({"type": ["VerifiableCredential", kind]})).collect();
            let agent = ParticipantAgent::new(Did::new("did:web:c").unwrap(), &credentials);
            let mut shown = catalog.clone();
            Viewer::new(&settings, &agent, Timestamp(0)).filter(&mut shown);
            shown
        };
        let member = shown(&["Member"]);
        assert_eq!((&member["title"], member.get("dcat:dataset")), (&json!("t"), None));
        assert_eq!(ids(&member["dataset"]), ["open", "members", "both", "unknown", "unread"]);
        assert_eq!((ids(&member["dataset"][2]["hasPolicy"]), ids(&member["catalog"])), (vec!["o5"], vec!["c1"]));
        assert_eq!(ids(&member["catalog"][0]["dataset"]), ["inner-open"]);
        assert_eq!(ids(&shown(&[])["dataset"]), ["open", "unknown", "unread", "forbidden"]);
        let maker = shown(&["Maker"]);
        assert_eq!(ids(&maker["dataset"]), ["open", "makers", "both", "unknown", "unknown-makers", "unread", "forbidden"]);
        assert_eq!((ids(&maker["catalog"]), ids(&maker["catalog"][0]["dataset"])), (vec!["c1", "c2"], vec!["inner-open", "inner-makers"]));
    }

    #[test]
    fn a_flat_catalog_has_the_datasets_of_all_within_it() {
        let mut catalog = json!({"@id": "c", "dataset": [{"@id": "a"}], "catalog": [
            {"@id": "c1", "dataset": [{"@id": "b"}], "catalog": [{"@id": "c2", "dataset": [{"@id": "d"}]}]}, {"@id": "c3"}, 7]});
        flattened(&mut catalog);
        let mut found = ids(&catalog["dataset"]);
        found.sort_unstable();
        assert_eq!((found, catalog.get("catalog")), (vec!["a", "b", "d"], None));
        let mut flat = json!({"dataset": []});
        flattened(&mut flat);
        assert_eq!(flat, json!({"dataset": []}));
    }
}
