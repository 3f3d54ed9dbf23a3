//! Messages of any content, in every other form that JSON-LD has for them.

use super::{DSPACE, parse};
use crate::{
    dsp::{
        Message,
        catalog::CatalogRequestMessage,
        message::CONTEXT,
        negotiation::{ContractAgreementMessage, ContractNegotiation, ContractNegotiationTerminationMessage, ContractRequestMessage},
        transfer::{TransferRequestMessage, TransferStartMessage},
    },
    jsonld::{DSP, Shape, Term, Vocabulary},
};
use proptest::prelude::*;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use std::fmt::Debug;

/// How the terms of an expanded message are spelled.
#[derive(Debug, Clone, Copy)]
enum Spelling {
    Iris,
    UsualPrefixes,
    OddPrefixes,
    Vocabulary,
}

/// Writes a compact message in another form, by the tables; where there are several ways, what comes next of `choices` decides.
struct Expansion {
    spelling: Spelling,
    choices: Vec<u8>,
    at: usize,
}

impl Expansion {
    fn pick(&mut self, ways: usize) -> usize {
        self.at += 1;
        usize::from(self.choices[self.at % self.choices.len()]) % ways
    }

    fn context(&self) -> Option<Value> {
        let all =
            |name: fn(Vocabulary) -> String| DSP.vocabularies.iter().map(move |&v| (name(v), json!(v.namespace()))).collect::<Map<_, _>>();
        match self.spelling {
            Spelling::Iris => None,
            Spelling::UsualPrefixes => Some(json!(all(|v| v.prefix().to_owned()))),
            Spelling::OddPrefixes => Some(json!([all(|v| format!("x{v:?}"))])),
            Spelling::Vocabulary => Some(json!([all(|v| v.prefix().to_owned()), {"@vocab": DSPACE}])),
        }
    }

    fn spell(&self, vocabulary: Vocabulary, name: &str) -> String {
        match self.spelling {
            Spelling::Vocabulary if vocabulary == Vocabulary::Dspace => name.to_owned(),
            Spelling::Iris => format!("{}{name}", vocabulary.namespace()),
            Spelling::UsualPrefixes | Spelling::Vocabulary => format!("{}:{name}", vocabulary.prefix()),
            Spelling::OddPrefixes => format!("x{vocabulary:?}:{name}"),
        }
    }

    fn message(&mut self, compact: &Value) -> Value {
        let mut message = self.node(compact);
        if let Some(context) = self.context() {
            message["@context"] = context;
            return message;
        }
        if self.pick(2) == 0 { message } else { json!([message]) }
    }

    fn node(&mut self, compact: &Value) -> Value {
        let fields = compact.as_object().unwrap_or_else(|| panic!("{compact}"));
        let in_query = matches!(fields.get("@type").and_then(Value::as_str), Some("QuerySpec" | "Criterion"));
        let mut node = Map::new();
        for (key, value) in fields {
            match key.as_str() {
                "@context" => {}
                "@id" => drop(node.insert(key.clone(), value.clone())),
                "@type" => {
                    let name = value.as_str().unwrap();
                    let (vocabulary, _) = DSP.values.iter().find(|(_, known)| *known == name).unwrap_or_else(|| panic!("{name}"));
                    let kind = json!(self.spell(*vocabulary, name));
                    node.insert(key.clone(), if self.pick(2) == 0 { kind } else { json!([kind]) });
                }
                name => {
                    let of_query = |term: &&Term| (term.vocabulary == Vocabulary::Edc) == in_query;
                    let term = DSP.terms.iter().filter(|term| term.name == name).find(of_query).unwrap_or_else(|| panic!("{name}"));
                    let value = self.value(value, *term);
                    node.insert(self.spell(term.vocabulary, name), value);
                }
            }
        }
        Value::Object(node)
    }

    fn value(&mut self, value: &Value, term: Term) -> Value {
        if let (Shape::Any, false, Value::Array(items)) = (term.shape, term.many, value) {
            let items: Vec<_> = items.iter().map(|item| self.item(item, term.shape)).collect();
            return json!([{ "@list": items }]);
        }
        let items = match value {
            Value::Array(items) => items.as_slice(),
            one => std::slice::from_ref(one),
        };
        let mut items: Vec<_> = items.iter().map(|item| self.item(item, term.shape)).collect();
        match (self.pick(4), items.len()) {
            (0, 1) => items.remove(0),
            (1, _) => json!({ "@set": items }),
            (2, _) => json!([null, [items]]),
            _ => json!(items),
        }
    }

    fn item(&mut self, item: &Value, shape: Shape) -> Value {
        let way = self.pick(3);
        match (shape, item) {
            (Shape::Id, Value::String(_)) => [json!({"@id": item}), item.clone(), json!({"@value": item})][way].clone(),
            (Shape::Name, Value::String(name)) => match DSP.values.iter().find(|(_, known)| known == name) {
                // An id is not of the vocabulary.
                Some((vocabulary, name)) if way == 0 => json!({"@id": format!("{}{name}", vocabulary.namespace())}),
                Some((vocabulary, name)) => json!(self.spell(*vocabulary, name)),
                None => json!({ "@id": item }),
            },
            (Shape::Node | Shape::Any, Value::Object(_)) => self.node(item),
            _ => [json!({"@value": item}), item.clone(), json!({"@value": item, "@type": "http://www.w3.org/2001/XMLSchema#string"})][way]
                .clone(),
        }
    }
}

fn word() -> impl Strategy<Value = String> {
    "[a-z][a-z0-9-]{0,12}"
}

fn operand() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        ".{0,12}".prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        "https://x\\.example/[a-z]{1,5}".prop_map(Value::from),
    ];
    prop_oneof![scalar.clone(), prop::collection::vec(scalar, 0..4).prop_map(Value::from)]
}

fn constraint() -> impl Strategy<Value = Value> {
    let left =
        prop_oneof![word(), Just("https://w3id.org/edc/v0.0.1/ns/inForceDate".to_owned()), Just("https://x.example/region".to_owned())];
    let atom = (left, prop::sample::select(vec!["eq", "neq", "gteq", "isAnyOf", "hasPart"]), operand())
        .prop_map(|(left, operator, right)| json!({"leftOperand": left, "operator": operator, "rightOperand": right}));
    atom.prop_recursive(3, 8, 3, |inner| {
        (prop::sample::select(vec!["and", "or", "xone", "andSequence"]), prop::collection::vec(inner, 1..3))
            .prop_map(|(operator, parts)| json!({ operator: parts }))
    })
}

pub(super) fn policy(kind: &'static str) -> impl Strategy<Value = Value> {
    let rule = |action: &'static str| {
        prop::collection::vec(constraint(), 0..3).prop_map(move |list| json!({"action": action, "constraint": list}))
    };
    (word(), word(), prop::collection::vec(rule("use"), 0..3), prop::collection::vec(rule("sell"), 0..2), rule("attribute")).prop_map(
        move |(id, target, permission, prohibition, duty)| {
            let permission: Vec<Value> = permission
                .into_iter()
                .map(|mut rule| {
                    rule["duty"] = json!([duty]);
                    rule
                })
                .collect();
            json!({"@type": kind, "@id": id, "target": target, "assigner": "did:web:a.example", "assignee": "did:web:b.example",
                "timestamp": "2025-01-01T00:00:00Z", "permission": permission, "prohibition": prohibition, "obligation": [duty]})
        },
    )
}

fn messages() -> impl Strategy<Value = Value> {
    let message = |kind: &'static str, mut fields: Value| {
        fields["@context"] = json!([CONTEXT]);
        fields["@type"] = json!(kind);
        fields["@id"] = json!("urn:uuid:m");
        fields
    };
    let address = (word(), prop::collection::vec((word(), ".{0,20}"), 0..4)).prop_map(|(kind, properties)| {
        let properties: Vec<Value> =
            properties.into_iter().map(|(name, value)| json!({"@type": "EndpointProperty", "name": name, "value": value})).collect();
        json!({"@type": "DataAddress", "endpointType": kind, "endpoint": "https://x.example/data", "endpointProperties": properties})
    });
    let criterion = (word(), operand())
        .prop_map(|(left, right)| json!({"@type": "Criterion", "operandLeft": left, "operator": "=", "operandRight": right}));
    let query = (1..50_u32, prop::collection::vec(criterion, 0..3))
        .prop_map(|(limit, list)| json!({"@type": "QuerySpec", "offset": 0, "limit": limit, "filterExpression": list}));
    prop_oneof![
        query.prop_map(move |query| message("CatalogRequestMessage", json!({"filter": [query]}))),
        (word(), policy("Offer")).prop_map(move |(pid, offer)| {
            message("ContractRequestMessage", json!({"consumerPid": pid, "offer": offer, "callbackAddress": "https://x.example/dsp"}))
        }),
        (word(), policy("Agreement")).prop_map(move |(pid, agreement)| {
            message("ContractAgreementMessage", json!({"consumerPid": pid, "providerPid": "urn:uuid:p", "agreement": agreement}))
        }),
        (word(), prop::collection::vec(".{0,20}", 0..4)).prop_map(move |(code, reason)| {
            let fields = json!({"consumerPid": "c", "providerPid": "p", "code": code, "reason": reason});
            message("ContractNegotiationTerminationMessage", fields)
        }),
        prop::sample::select(vec!["REQUESTED", "VERIFIED", "TERMINATED"])
            .prop_map(move |state| message("ContractNegotiation", json!({"consumerPid": "c", "providerPid": "p", "state": state}))),
        (word(), word()).prop_map(move |(agreement, format)| {
            let fields =
                json!({"consumerPid": "urn:uuid:c", "agreementId": agreement, "format": format, "callbackAddress": "https://x.example"});
            message("TransferRequestMessage", fields)
        }),
        address.prop_map(move |address| {
            message("TransferStartMessage", json!({"consumerPid": "urn:uuid:c", "providerPid": "urn:uuid:p", "dataAddress": address}))
        }),
    ]
}

fn same<T: Message + DeserializeOwned + PartialEq + Debug>(compact: &Value, other: &Value) {
    let expected = parse::<T>(compact).unwrap_or_else(|error| panic!("{error}: {compact}"));
    assert_eq!(parse::<T>(other).unwrap_or_else(|error| panic!("{error}: {other}")), expected, "{other}");
}

proptest! {
    #![proptest_config(crate::testkit::proptest_config())]

    #[test]
    fn another_form_of_a_message_is_read_as_the_compact_one(
        compact in messages(),
        spelling in prop::sample::select(vec![Spelling::Iris, Spelling::UsualPrefixes, Spelling::OddPrefixes, Spelling::Vocabulary]),
        choices in prop::collection::vec(any::<u8>(), 1..40),
    ) {
        let other = Expansion { spelling, choices, at: 0 }.message(&compact);
        // With lists around everything some are too deep for a message.
        prop_assume!(!crate::json::is_too_deep(other.to_string().as_bytes()));
        match compact["@type"].as_str().unwrap() {
            "CatalogRequestMessage" => same::<CatalogRequestMessage>(&compact, &other),
            "ContractRequestMessage" => same::<ContractRequestMessage>(&compact, &other),
            "ContractAgreementMessage" => same::<ContractAgreementMessage>(&compact, &other),
            "ContractNegotiationTerminationMessage" => same::<ContractNegotiationTerminationMessage>(&compact, &other),
            "ContractNegotiation" => same::<ContractNegotiation>(&compact, &other),
            "TransferRequestMessage" => same::<TransferRequestMessage>(&compact, &other),
            "TransferStartMessage" => same::<TransferStartMessage>(&compact, &other),
            kind => panic!("{kind}"),
        }
    }
}
