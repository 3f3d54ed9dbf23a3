//! Messages in other forms of JSON-LD, and what is refused.

mod spelling;

use super::*;
use crate::{
    dsp::{
        Message, MessageError,
        catalog::CatalogRequestMessage,
        message::{CONTEXT, EDC_CONTEXT, ODRL_PROFILE_CONTEXT, Received, read},
        negotiation::{ContractNegotiationEventMessage, ContractRequestMessage},
    },
    query_spec::{PathRules, QuerySpec},
};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

const DSPACE: &str = "https://w3id.org/dspace/2025/1/";
const ODRL: &str = "http://www.w3.org/ns/odrl/2/";
const EDC: &str = "https://w3id.org/edc/v0.0.1/ns/";

fn parse<T: Message + DeserializeOwned>(message: &Value) -> Result<Received<T>, MessageError> {
    read(message.to_string().as_bytes(), &[])
}

fn body<T: Message + DeserializeOwned>(message: &Value) -> T {
    parse::<T>(message).unwrap_or_else(|error| panic!("{error}: {message}")).body
}

/// The same message in the compact form.
fn event() -> Value {
    json!({"@context": [CONTEXT], "@type": "ContractNegotiationEventMessage", "@id": "urn:uuid:m", "consumerPid": "urn:uuid:c",
        "providerPid": "urn:uuid:p", "eventType": "ACCEPTED"})
}

#[test]
fn a_catalog_request_of_iris() {
    let empty = json!({"@type": "https://w3id.org/dspace/2025/1/CatalogRequestMessage", "https://w3id.org/dspace/2025/1/filter": {}});
    assert_eq!(body::<CatalogRequestMessage>(&empty).filter, [json!({})]);
    let (query, criterion) = (format!("{EDC}QuerySpec"), format!("{EDC}Criterion"));
    let criterion = json!({"@type": [criterion], format!("{EDC}operandLeft"): [{"@value": "name"}], format!("{EDC}operator"): [{"@value": "="}],
        format!("{EDC}operandRight"): [{"@value": "x"}]});
    let filter = json!([{"@type": [query], format!("{EDC}limit"): [{"@value": 7}], format!("{EDC}filterExpression"): [criterion]}]);
    let expanded = json!([{"@type": [format!("{DSPACE}CatalogRequestMessage")], format!("{DSPACE}filter"): filter}]);
    let message = body::<CatalogRequestMessage>(&expanded);
    assert_eq!(
        message.filter,
        [json!({"@type": "QuerySpec", "limit": 7,
            "filterExpression": [{"@type": "Criterion", "operandLeft": "name", "operator": "=", "operandRight": "x"}]})]
    );
    assert_eq!(QuerySpec::from_json(&message.filter[0], "$", &PathRules { fields: &[], free_properties: true }).unwrap().filter.len(), 1);
}

#[test]
fn every_spelling_of_a_message_is_the_same() {
    let expected = parse::<ContractNegotiationEventMessage>(&event()).unwrap();
    let d = |name: &str| format!("{DSPACE}{name}");
    let event_type = format!("{DSPACE}ContractNegotiationEventMessage");
    let prefixed = |context: Value, p: &str| {
        let name = |name: &str| format!("{p}{name}");
        json!({"@context": context, "@type": name("ContractNegotiationEventMessage"), "@id": "urn:uuid:m",
            name("consumerPid"): {"@id": "urn:uuid:c"}, name("providerPid"): "urn:uuid:p", name("eventType"): {"@id": d("ACCEPTED")}})
    };
    let mut null = prefixed(json!({"x": DSPACE}), "x:");
    null["x:eventType"] = json!([null, {"@set": [{"@id": "x:ACCEPTED"}]}]);
    for (what, message) in [
        ("expanded", prefixed(json!([]), DSPACE)),
        ("prefix", prefixed(json!({"dspace": DSPACE}), "dspace:")),
        ("foreign prefix", prefixed(json!({"x": DSPACE}), "x:")),
        ("prefix in a list", prefixed(json!([{"x": DSPACE}, {"y": ODRL}]), "x:")),
        ("prefix in a long definition", prefixed(json!({"x": {"@id": DSPACE, "@prefix": true}}), "x:")),
        ("vocabulary", prefixed(json!({"@vocab": DSPACE}), "")),
        ("prefix of the protocol's context", prefixed(json!([CONTEXT]), "dspace:")),
        ("terms beside a prefix", prefixed(json!([CONTEXT, {"ex": "https://example.com/"}]), "")),
        ("terms beside another context", prefixed(json!([EDC_CONTEXT, CONTEXT, ODRL_PROFILE_CONTEXT, {"@version": 1.1}]), "")),
        ("sets and nulls", null),
        (
            "aliases",
            json!({"@context": {"kind": "@type", "id": "@id", "d": DSPACE, "mine": "d:consumerPid",
                "yours": {"@id": "d:providerPid", "@type": "@id"}, "what": {"@id": "d:eventType", "@type": "@vocab", "@container": "@set"}},
                "kind": "d:ContractNegotiationEventMessage", "id": "urn:uuid:m", "mine": "urn:uuid:c", "yours": ["urn:uuid:p"],
                "what": ["d:ACCEPTED"]}),
        ),
        (
            "ids with a prefix",
            json!({"@context": {"d": DSPACE, "u": "urn:uuid:"}, "@type": ["d:ContractNegotiationEventMessage"], "@id": "u:m",
                "d:consumerPid": {"@id": "u:c"}, "d:providerPid": "u:p", "d:eventType": "d:ACCEPTED"}),
        ),
        (
            "literals",
            json!({"@type": event_type, "@id": "urn:uuid:m", d("consumerPid"): [{"@value": "urn:uuid:c"}], d("unknown"): 1, "https://x.example/y": {},
                d("providerPid"): {"@value": "urn:uuid:p"}, d("eventType"): [{"@value": d("ACCEPTED"), "@type": "http://x"}], "loose": {"a": 1}}),
        ),
    ] {
        assert_eq!(parse(&message).as_ref(), Ok(&expected), "{what}: {message}");
    }
    // In the compact form beside a property of another vocabulary, which stays unread.
    let mut beside = event();
    beside["https://x.example/y"] = json!({"@graph": 1});
    beside["edc:z"] = json!(1);
    assert_eq!(parse(&beside), Ok(expected));
}

#[test]
fn what_cannot_be_read_is_named() {
    let typed = |context: Value| {
        let mut message = event();
        message["@context"] = context;
        message
    };
    let with = |key: &str, value: Value| {
        let mut message = typed(json!({"@vocab": DSPACE}));
        message[key] = value;
        message
    };
    let many: Map<String, Value> = (0..=MAX_DEFINITIONS).map(|n| (format!("p{n}"), json!("https://x.example/"))).collect();
    let long = format!("https://x.example/{}/", "x".repeat(MAX_IRI_BYTES));
    for (message, told) in [
        (typed(json!([CONTEXT, "https://x.example/c"])), "unknown @context \"https://x.example/c\""),
        (typed(json!([{"x": DSPACE}, "https://x.example/c"])), "unknown @context \"https://x.example/c\""),
        (typed(json!([CONTEXT, {"consumerPid": "https://x.example/y"}])), "\"consumerPid\" is known here"),
        (typed(json!([CONTEXT, {"consumerPid": format!("{DSPACE}providerPid")}])), "\"consumerPid\" is known here"),
        (typed(json!([CONTEXT, {"ACCEPTED": format!("{DSPACE}FINALIZED")}])), "\"ACCEPTED\" is known here"),
        (typed(json!([CONTEXT, {"eventType": "@type"}])), "\"eventType\" is known here"),
        (typed(json!({"dspace": "https://w3id.org/dspace/v0.8/"})), "\"dspace\" is known here"),
        (typed(json!({"@vocab": "https://x.example/"})), "\"@vocab\" must be a known namespace"),
        (typed(json!({"@vocab": format!("{DSPACE}x")})), "\"@vocab\" must be a known namespace"),
        (typed(json!({"@base": "https://x.example/"})), "\"@base\" is not supported"),
        (typed(json!({"@import": CONTEXT})), "\"@import\" is not supported"),
        (typed(json!({"@version": 2})), "\"@version\" is not supported"),
        (typed(json!({"x": {"@id": DSPACE, "@context": {}}})), "\"x\" has a definition that is not supported"),
        (typed(json!({"x": {"@reverse": DSPACE}})), "\"x\" has a definition that is not supported"),
        (typed(json!({"x": {"@id": DSPACE, "@type": "@json"}})), "\"x\" has a definition that is not supported"),
        (typed(json!({"x": {"@id": DSPACE, "@container": "@list"}})), "\"x\" has a definition that is not supported"),
        (typed(json!({"x": "@value"})), "\"x\" has a definition that is not supported"),
        (typed(json!({"x": null})), "\"x\" must be defined as an IRI"),
        (typed(json!({"x": "x:y"})), "\"x\" must be defined as an IRI"),
        (typed(json!({"x": "dspace:y"})), "\"x\" must be defined as an IRI"),
        (typed(json!({"dspace:consumerPid": "https://x.example/"})), "\"dspace:consumerPid\" is no term"),
        (typed(json!({"x": long})), "\"x\" is defined as an IRI that is too long"),
        (typed(Value::Object(many)), "at most 128 definitions"),
        (typed(json!([{"x": DSPACE}, 5])), "@context must be an object or an array"),
        (typed(json!({"x": DSPACE})), "\"ContractNegotiationEventMessage\" is not defined by @context"),
        (typed(json!(CONTEXT)), "@context must be an array"),
        (typed(json!(null)), "@context must be an array"),
        (typed(json!([])), "@context must be an array"),
        (json!({"@type": format!("{DSPACE}ContractNegotiationEventMessage"), "consumerPid": "c"}), "\"consumerPid\" is not defined"),
        (
            json!({"@type": format!("{DSPACE}ContractNegotiationEventMessage"), "dspace:consumerPid": "c"}),
            "\"dspace:consumerPid\" is not defined",
        ),
        (json!({"@type": "dspace:ContractNegotiationEventMessage"}), "\"dspace:ContractNegotiationEventMessage\" is not defined"),
        (json!({"@type": "https://w3id.org/dspace/v0.8/ContractNegotiationEventMessage"}), "not \"https://w3id.org/dspace/v0.8/"),
        (json!([]), "a document is one object"),
        (json!([event(), event()]), "a document is one object"),
        (with("@graph", json!([])), "\"@graph\" is not supported here"),
        (with("@reverse", json!({})), "\"@reverse\" is not supported here"),
        (with("@included", json!([])), "\"@included\" is not supported here"),
        (with("consumerPid", json!({"@context": {}, "@id": "c"})), "\"@context\" is not supported here"),
        (with("consumerPid", json!({"@value": {"x": 1}})), "the value of @value is malformed"),
        (with("consumerPid", json!({"@value": "c", "x": 1})), "\"x\" is not supported here"),
        (with("consumerPid", json!({"@list": [], "x": 1})), "\"x\" is not supported here"),
        (with("consumerPid", json!({"@list": [], "@value": 1})), "the value of @value is malformed"),
        (with("consumerPid", json!(["a", "b"])), "expected"),
        (with("@id", json!(["a"])), "the value of @id is malformed"),
        (with("@type", json!([])), "the value of @type is malformed"),
        (with("@type", json!([1])), "the value of @type is malformed"),
        (with("@type", json!(["ContractNegotiationEventMessage", "x"])), "@type must be"),
    ] {
        let error = parse::<ContractNegotiationEventMessage>(&message).expect_err(&message.to_string()).to_string();
        assert!(error.contains(told), "{error:?} does not tell {told:?}: {message}");
    }
}

#[test]
fn what_changes_a_policy_is_never_overlooked() {
    let odrl = |name: &str| format!("{ODRL}{name}");
    let request = |rule: Value| {
        json!({"@type": format!("{DSPACE}ContractRequestMessage"), format!("{DSPACE}consumerPid"): {"@id": "c"},
            format!("{DSPACE}callbackAddress"): "https://x.example", format!("{DSPACE}offer"): {"@type": odrl("Offer"), "@id": "o",
            odrl("target"): {"@id": "d"}, odrl("permission"): rule}})
    };
    let plain = body::<ContractRequestMessage>(&request(json!({odrl("action"): {"@id": odrl("use")}})));
    assert_eq!(plain.offer.policy.permission[0].action, "use");
    let refined = json!({odrl("action"): {"@id": odrl("use"), odrl("refinement"): {odrl("leftOperand"): {"@id": odrl("count")}}}});
    for rule in [refined, json!({odrl("action"): {"@id": odrl("use")}, odrl("remedy"): {"@id": "x"}})] {
        let error = parse::<ContractRequestMessage>(&request(rule)).unwrap_err().to_string();
        assert!(error.contains("is not supported"), "{error}");
    }
}

#[test]
fn hostile_documents_are_bounded() {
    let mut deep = json!({"@id": "x"});
    for _ in 0..200 {
        deep = json!({"https://w3id.org/dspace/2025/1/offer": deep});
    }
    assert_eq!(compact(&DSP, &deep, &[], Others::LeftOut), Err(JsonLdError::TooDeep));
    let mut deep = json!("x");
    for _ in 0..200 {
        deep = json!([deep]);
    }
    assert_eq!(compact(&DSP, &json!({"https://w3id.org/dspace/2025/1/offer": deep}), &[], Others::LeftOut), Err(JsonLdError::TooDeep));
    // A few bytes that stand for many.
    let iri = format!("https://x.example/{}/", "x".repeat(200));
    for id in ["a:", "a"] {
        let rules = vec![json!({"o:action": id}); 10_000];
        let wide = json!({"@context": {"a": iri, "o": ODRL}, "o:permission": rules});
        assert_eq!(compact(&DSP, &wide, &[], Others::LeftOut), Err(JsonLdError::TooLong), "{id}");
    }
}

#[test]
fn properties_of_other_vocabularies_are_kept_where_they_are_asked_for() {
    let document = json!({"@type": "http://www.w3.org/ns/dcat#Dataset", "@id": "a", "https://x.example/kind": [{"@value": "k"}, {"@id": "https://x.example/y"}],
        "http://purl.org/dc/terms/title": [{"@value": "t", "@language": "en"}], format!("{EDC}name"): [{"@value": 1, "@type": "http://x"}], "loose": 1});
    let kept = json!({"@type": "Dataset", "@id": "a", "https://x.example/kind": ["k", {"@id": "https://x.example/y"}],
        "dct:title": {"@value": "t", "@language": "en"}, format!("{EDC}name"): 1});
    assert_eq!(compact(&DSP, &document, &[], Others::Kept).map(Value::Object), Ok(kept.clone()));
    let mut left = kept;
    left.as_object_mut().unwrap().remove("https://x.example/kind");
    assert_eq!(compact(&DSP, &document, &[], Others::LeftOut).map(Value::Object), Ok(left));
    // Names that a prefix makes long count too.
    let iri = format!("https://x.example/{}/", "x".repeat(200));
    let many: Map<String, Value> =
        (0..10_000).map(|n| (format!("a:{n}"), json!(1))).chain([("@context".into(), json!({ "a": iri }))]).collect();
    assert_eq!(compact(&DSP, &Value::Object(many), &[], Others::Kept), Err(JsonLdError::TooLong));
}
