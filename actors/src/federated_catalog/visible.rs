//! What of a view that everybody shares is shown to one participant. Pure.

use crate::{
    control_plane::policy::{Evaluation, ParticipantAgent, PolicyScope, may_be_fulfilled},
    settings::Settings,
};
use cellspace_schemas::{Timestamp, odrl::Policy};
use serde_json::{Map, Value};
use std::collections::HashMap;

/// Parts of parts that are looked into at most: catalogs within catalogs, their datasets and the distributions of these. What lies deeper is not shown.
const MAX_DEPTH: usize = 6;

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

    /// Takes out of a catalog the offers whose terms the participant could not agree to, wherever they stand, and the parts that had offers of which
    /// none is left; of the rest it leaves what is known here to be no place for offers.
    pub(super) fn filter(&mut self, catalog: &mut Value) {
        if let Value::Object(fields) = catalog {
            self.reduce(fields, 0);
        }
    }

    fn reduce(&mut self, fields: &mut Map<String, Value>, depth: usize) {
        fields.retain(|name, value| match name.as_str() {
            "hasPolicy" => objects(value, |offer| self.is_open(offer)),
            "dataset" => objects(value, |part| self.is_shown(part, true, depth)),
            "catalog" | "distribution" => objects(value, |part| self.is_shown(part, false, depth)),
            "service" | "accessService" => services(value),
            // Whatever else its target has put there may hold offers, under a name that is not known here.
            _ => is_plain(value),
        });
    }

    /// Whether the part has an offer left, if it had one or must have one.
    fn is_shown(&mut self, part: &mut Map<String, Value>, must_offer: bool, depth: usize) -> bool {
        let offers = must_offer || part.contains_key("hasPolicy");
        if depth >= MAX_DEPTH {
            return false;
        }
        self.reduce(part, depth + 1);
        !offers || part.get("hasPolicy").and_then(Value::as_array).is_some_and(|left| !left.is_empty())
    }

    fn is_open(&mut self, offer: &Map<String, Value>) -> bool {
        let terms: Map<String, Value> = offer.iter().filter(|(name, _)| *name != "@id").map(|(k, v)| (k.clone(), v.clone())).collect();
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

/// Leaves those objects of a list that are kept: whether it is a list.
fn objects(value: &mut Value, mut is_kept: impl FnMut(&mut Map<String, Value>) -> bool) -> bool {
    let Value::Array(items) = value else { return false };
    items.retain_mut(|item| item.as_object_mut().is_some_and(&mut is_kept));
    true
}

/// Leaves the plain fields of services, or their ids.
fn services(value: &mut Value) -> bool {
    let reduce = |service: &mut Value| {
        if let Value::Object(fields) = service {
            fields.retain(|_, value| is_plain(value));
        }
        !service.is_array()
    };
    match value {
        Value::Array(items) => {
            items.retain_mut(reduce);
            true
        }
        single => reduce(single),
    }
}

/// Whether it is a value, or a list of values, with nothing in it: text, or one that says its type or its language, or an id.
fn is_plain(value: &Value) -> bool {
    fn is_flat(value: &Value) -> bool {
        match value {
            Value::Object(fields) => fields.iter().all(|(name, value)| name.starts_with('@') && !value.is_object() && !value.is_array()),
            other => !other.is_array(),
        }
    }
    value.as_array().map_or_else(|| is_flat(value), |items| items.iter().all(is_flat))
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
            if let Some(deeper) = catalog.remove("catalog").filter(|_| depth < MAX_DEPTH) {
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
    fn offers_are_judged_wherever_they_stand() {
        let (open, closed) = (offer("o", &[]), offer("SECRET", &["Maker"]));
        let dataset = |fields: Value| {
            let mut dataset = json!({"@id": "d", "@type": "Dataset", "hasPolicy": [offer("o", &[])]});
            if let (Some(dataset), Value::Object(fields)) = (dataset.as_object_mut(), fields) {
                dataset.extend(fields);
            }
            dataset
        };
        let hidden = json!({"@id": "SECRET", "hasPolicy": [closed]});
        let deep = |levels: usize, innermost: &Value| {
            (0..levels).fold(innermost.clone(), |inner, level| json!({"@id": format!("level{level}"), "dataset": [], "catalog": [inner]}))
        };
        let of_dataset = |fields: Value| json!({"dataset": [dataset(fields)]});
        let (settings, agent) = (settings(), ParticipantAgent::new(Did::new("did:web:c").unwrap(), &[]));
        let shown = |mut catalog: Value| {
            catalog["@id"] = "c".into();
            Viewer::new(&settings, &agent, Timestamp(0)).filter(&mut catalog);
            catalog
        };
        for catalog in [
            of_dataset(json!({"distribution": [{"format": "SECRET", "hasPolicy": [closed]}]})),
            of_dataset(json!({"distribution": [{"format": "SECRET", "hasPolicy": closed}]})),
            of_dataset(json!({"distribution": {"format": "SECRET", "hasPolicy": [closed]}})),
            of_dataset(json!({"distribution": [{"accessService": {"@id": "s", "servesDataset": [hidden]}}]})),
            of_dataset(json!({"dataset": [hidden]})),
            of_dataset(json!({"catalog": [{"@id": "c1", "dataset": [hidden]}]})),
            of_dataset(json!({"catalog": {"@id": "c1", "dataset": [hidden]}})),
            of_dataset(json!({"x": {"y": hidden}})),
            json!({"hasPolicy": [closed]}),
            json!({"hasPolicy": closed}),
            json!({"catalog": {"@id": "c1", "dataset": [hidden]}}),
            json!({"catalog": [{"@id": "SECRET", "hasPolicy": closed}]}),
            json!({"catalog": [deep(4, &json!({"catalog": {"@id": "c1", "dataset": [hidden]}}))]}),
            json!({"catalog": [deep(4, &json!({"catalog": [{"@id": "c1", "dataset": [hidden]}]}))]}),
            json!({"catalog": [deep(40, &json!({"@id": "SECRET", "hasPolicy": [open]}))]}),
            json!({"dataset": [[hidden]], "catalog": [[{"dataset": [hidden]}]], "service": [[hidden]]}),
            json!({"service": [{"@id": "s", "servesDataset": [hidden]}], "x": [[hidden]]}),
            of_dataset(json!({"distribution": [[{"hasPolicy": [closed]}]], "x": [["SECRET"]]})),
        ] {
            let left = shown(catalog.clone());
            assert!(!left.to_string().contains("SECRET"), "{catalog}: {left}");
            assert_eq!(left["@id"], "c");
        }
        // What is open everywhere stays whole.
        let distribution =
            json!({"@type": "Distribution", "format": "x", "hasPolicy": [open], "accessService": {"@id": "s", "endpointURL": "u"}});
        let part = dataset(json!({"distribution": [distribution], "title": {"@value": "t", "@language": "en"}, "tags": ["a", "b"]}));
        let whole = json!({"@id": "c", "hasPolicy": [open], "service": [{"@id": "s"}], "dataset": [part], "catalog": [{"@id": "c1", "dataset": [part]}]});
        assert_eq!(shown(whole.clone()), whole);
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
