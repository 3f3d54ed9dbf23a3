//! The tables of JSON-LD terms, held against the contexts in the artifacts of the conformance suites, with a JSON-LD processor as the judge.
//!
//! Without the artifacts a test says that it was skipped; with `CELLSPACE_SUITE=required` it fails (`artifacts`).

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod artifacts;

use cellspace_schemas::{
    dcp::{
        self, CredentialMessage, CredentialOfferMessage, CredentialRequestMessage, DCP_CONTEXT, PresentationQueryMessage,
        PresentationResponseMessage,
    },
    dsp::{
        Message,
        catalog::{CatalogRequestMessage, compacted_catalog, compacted_dataset},
        message::{CONTEXT, ODRL_PROFILE_CONTEXT, read},
        negotiation::{
            ContractAgreementMessage, ContractAgreementVerificationMessage, ContractNegotiation, ContractNegotiationEventMessage,
            ContractNegotiationTerminationMessage, ContractOfferMessage, ContractRequestMessage,
        },
        properties::spelled,
        transfer::{
            TransferCompletionMessage, TransferProcess, TransferRequestMessage, TransferStartMessage, TransferSuspensionMessage,
            TransferTerminationMessage,
        },
    },
    jsonld::{DCP, DSP, Dialect, Others, Shape, Vocabulary, compact},
};
use futures::executor::block_on;
use json_ld::{
    JsonLdProcessor, Print, RemoteContextReference, RemoteDocument,
    iref::IriBuf,
    rdf_types::vocabulary::no_vocabulary,
    syntax::{IntoJsonWithContext, Parse},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt::Debug,
    fs::File,
    io::Read,
    path::Path,
};

/// What the artifacts have of contexts, by their URLs.
type Contexts = BTreeMap<&'static str, String>;

fn in_jar(jar: &Path, name: &str) -> Option<String> {
    let mut text = String::new();
    zip::ZipArchive::new(File::open(jar).ok()?).ok()?.by_name(name).ok()?.read_to_string(&mut text).ok()?;
    Some(text)
}

/// The contexts of DSP of the newest artifact that has them.
fn contexts(test: &str) -> Option<Contexts> {
    let found = artifacts::jars(artifacts::DSP_SUITE, "core").iter().find_map(|jar| {
        let read = |name| in_jar(jar, name);
        Some(Contexts::from([(CONTEXT, read("dsp-2025-1.jsonld")?), (ODRL_PROFILE_CONTEXT, read("dsp-2025-1-odrl-profile.jsonld")?)]))
    });
    artifacts::needed(&format!("suite_contexts::{test}"), found)
}

/// The context of DCP, of the newest artifact that has it.
fn dcp_contexts(test: &str) -> Option<Contexts> {
    let jars = artifacts::jars("org/eclipse/edc", "decentralized-claims-core");
    let found = jars.iter().find_map(|jar| Some(Contexts::from([(DCP_CONTEXT, in_jar(jar, "document/dcp.v1.0.jsonld")?)])));
    artifacts::needed(&format!("suite_contexts::{test}"), found)
}

/// JSON-LD of the processor.
fn document(url: &str, text: &str) -> RemoteDocument {
    RemoteDocument::new(Some(IriBuf::new(url.to_owned()).unwrap()), None, json_ld::syntax::Value::parse_str(text).unwrap().0)
}

fn loader(contexts: &Contexts) -> HashMap<IriBuf, RemoteDocument> {
    contexts.iter().map(|(url, text)| (IriBuf::new((*url).to_owned()).unwrap(), document(url, text))).collect()
}

/// The message expanded by the processor. Without an own address, so that what is no IRI stays as it is.
fn expanded(message: &Value, contexts: &Contexts) -> Value {
    let document = RemoteDocument::new(None::<IriBuf>, None, json_ld::syntax::Value::parse_str(&message.to_string()).unwrap().0);
    let expanded = block_on(document.expand(&loader(contexts))).unwrap_or_else(|error| panic!("{error}: {message}"));
    let nodes: Vec<_> = expanded.into_iter().collect();
    serde_json::from_str(&nodes.into_json_with(no_vocabulary()).compact_print().to_string()).unwrap()
}

/// The document compacted by the processor, with the protocol's own context.
fn compacted(expanded: &Value, contexts: &Contexts, context: &str) -> Value {
    let document = RemoteDocument::new(None::<IriBuf>, None, json_ld::syntax::Value::parse_str(&expanded.to_string()).unwrap().0);
    let context = RemoteContextReference::iri(IriBuf::new(context.to_owned()).unwrap());
    let compacted = block_on(document.compact(context, &loader(contexts))).unwrap_or_else(|error| panic!("{error}: {expanded}"));
    serde_json::from_str(&compacted.compact_print().to_string()).unwrap()
}

fn address() -> Value {
    json!({"@type": "DataAddress", "endpointType": "https://w3id.org/dspace-sig/profile/http-pull", "endpoint": "https://x.example/data",
        "endpointProperties": [{"@type": "EndpointProperty", "name": "authorization", "value": "t"}, {"@type": "EndpointProperty", "name": "x", "value": ""}]})
}

fn rules(kind: &str) -> Value {
    let atom = |left: &str, operator: &str, right: Value| json!({"leftOperand": left, "operator": operator, "rightOperand": right});
    let use_it = json!({"action": "use", "constraint": [
        atom("https://w3id.org/edc/v0.0.1/ns/inForceDate", "lteq", json!("contractAgreement+7d")),
        {"or": [atom("https://x.example/region", "eq", json!("EU")), {"and": [atom("https://x.example/level", "gteq", json!(3)),
            atom("https://x.example/open", "neq", json!(true))]}]},
        atom("https://x.example/kind", "isAnyOf", json!(["a", "b"]))],
        "duty": [{"action": "http://www.w3.org/ns/odrl/2/attribute"}]});
    json!({"@type": kind, "@id": "urn:uuid:offer", "target": "urn:uuid:asset", "assigner": "did:web:p.example", "assignee": "did:web:c.example",
        "permission": [use_it], "prohibition": [{"action": "http://www.w3.org/ns/odrl/2/sell"}], "obligation": [{"action": "use"}]})
}

/// Hands `T` and its fields to the check, for every message.
macro_rules! each_message {
    ($check:ident, $contexts:expr) => {{
        let both = json!({"consumerPid": "urn:uuid:c", "providerPid": "urn:uuid:p"});
        let and = |more: Value| {
            let mut fields = both.clone();
            fields.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            fields
        };
        let offer = json!({"offer": rules("Offer"), "callbackAddress": "https://x.example/dsp"});
        let mut agreement = rules("Agreement");
        agreement["timestamp"] = json!("2025-01-01T00:00:00Z");
        let ended = json!({"code": "E1", "reason": ["not now", {"@value": "nicht jetzt", "@language": "de"}]});
        $check::<CatalogRequestMessage>($contexts, json!({"filter": []}));
        $check::<ContractRequestMessage>($contexts, and(offer.clone()));
        $check::<ContractOfferMessage>($contexts, and(offer));
        $check::<ContractAgreementMessage>($contexts, and(json!({ "agreement": agreement })));
        $check::<ContractAgreementVerificationMessage>($contexts, both.clone());
        $check::<ContractNegotiationEventMessage>($contexts, and(json!({"eventType": "FINALIZED"})));
        $check::<ContractNegotiationTerminationMessage>($contexts, and(ended.clone()));
        $check::<ContractNegotiation>($contexts, and(json!({"state": "OFFERED"})));
        $check::<TransferRequestMessage>(
            $contexts,
            json!({"consumerPid": "urn:uuid:c", "agreementId": "urn:uuid:a", "format": "https://x.example/HttpData-PUSH", "dataAddress": address(),
                "callbackAddress": "https://x.example/dsp"}),
        );
        $check::<TransferStartMessage>($contexts, and(json!({ "dataAddress": address() })));
        $check::<TransferSuspensionMessage>($contexts, and(ended.clone()));
        $check::<TransferCompletionMessage>($contexts, both.clone());
        $check::<TransferTerminationMessage>($contexts, and(ended));
        $check::<TransferProcess>($contexts, and(json!({"state": "STARTED"})));
    }};
}

fn message<T: Message>(mut fields: Value) -> Value {
    fields["@context"] = json!([CONTEXT]);
    fields["@type"] = json!(T::TYPE);
    fields["@id"] = json!("urn:uuid:m");
    fields
}

#[test]
fn what_a_processor_expands_is_read_as_the_compact_form() {
    fn check<T: Message + DeserializeOwned + PartialEq + Debug>(contexts: &Contexts, fields: Value) {
        let message = message::<T>(fields);
        let expected = read::<T>(message.to_string().as_bytes(), &[]).unwrap_or_else(|error| panic!("{error}: {message}"));
        let expanded = expanded(&message, contexts);
        assert!(expanded.is_array() && !expanded.to_string().contains("@context"), "{expanded}");
        assert_eq!(read::<T>(expanded.to_string().as_bytes(), &[]).as_ref(), Ok(&expected), "{expanded}");
        // Members of the array stand alone too.
        assert_eq!(read::<T>(expanded[0].to_string().as_bytes(), &[]), Ok(expected), "{expanded}");
    }
    let Some(contexts) = contexts("what_a_processor_expands_is_read_as_the_compact_form") else { return };
    each_message!(check, &contexts);
}

#[test]
fn what_is_rewritten_is_what_a_processor_compacts() {
    fn check<T: Message + DeserializeOwned + PartialEq + Debug>(contexts: &Contexts, fields: Value) {
        let expanded = expanded(&message::<T>(fields), contexts);
        let mut theirs = compacted(&expanded, contexts, CONTEXT);
        theirs.as_object_mut().unwrap().remove("@context");
        assert_eq!(Value::Object(compact(&DSP, &expanded, &[], Others::LeftOut).unwrap()), theirs, "{expanded}");
    }
    let Some(contexts) = contexts("what_is_rewritten_is_what_a_processor_compacts") else { return };
    each_message!(check, &contexts);
}

/// A catalog with everything that one has, and a catalog within.
fn catalog() -> Value {
    let service = json!({"@id": "urn:uuid:s", "@type": "DataService", "endpointURL": "https://p.example/dsp", "endpointDescription": "dspace:connector"});
    let distributions = json!([{"@type": "Distribution", "format": "https://x.example/PULL", "accessService": service},
        {"@type": "Distribution", "format": "HttpData-PUSH", "accessService": "urn:uuid:s"}]);
    let offer = |kind: &str, id: &str| {
        let mut offer = rules(kind);
        offer.as_object_mut().unwrap().remove("target");
        offer["@id"] = json!(id);
        offer
    };
    let dataset = |id: &str| {
        json!({"@id": id, "@type": "Dataset", "dct:title": "t", "https://x.example/size": 7, "hasPolicy": [offer("Offer", "urn:uuid:o1"),
            offer("Offer", "urn:uuid:o2")], "distribution": distributions})
    };
    json!({"@context": [CONTEXT], "@id": "urn:uuid:c", "@type": "Catalog", "participantId": "did:web:p.example", "service": [service],
        "dataset": [dataset("urn:uuid:a"), dataset("urn:uuid:b")],
        "catalog": [{"@id": "urn:uuid:n", "@type": "Catalog", "participantId": "did:web:q.example", "dataset": [dataset("urn:uuid:d")],
            "distribution": distributions, "catalog": [{"@id": "urn:uuid:m", "@type": "Catalog"}]}]})
}

#[test]
fn a_catalog_that_a_processor_expands_is_read_as_the_compact_one() {
    let Some(contexts) = contexts("a_catalog_that_a_processor_expands_is_read_as_the_compact_one") else { return };
    let whole = catalog();
    let mut dataset = whole["dataset"][0].clone();
    dataset["@context"] = json!([CONTEXT]);
    let read: [(&Value, fn(Value, &[String]) -> Result<Value, _>); 2] = [(&whole, compacted_catalog), (&dataset, compacted_dataset)];
    for (document, read) in read {
        let (expected, expanded) = (read(document.clone(), &[]).unwrap(), expanded(document, &contexts));
        assert_eq!(read(expanded.clone(), &[]).as_ref(), Ok(&expected), "{expanded}");
        let mut theirs = compacted(&expanded, &contexts, CONTEXT);
        theirs.as_object_mut().unwrap().remove("@context");
        assert_eq!(Value::Object(compact(&DSP, &expanded, &[], Others::Kept).unwrap()), theirs, "{expanded}");
    }
}

/// Every message of DCP, with all that it may have.
macro_rules! each_claim {
    ($check:ident, $contexts:expr) => {{
        let credential = json!({"credentialType": "MembershipCredential", "format": "vc20-bssl/jwt", "payload": "a.b.c"});
        let object = json!({"id": "urn:uuid:d", "type": "CredentialObject", "credentialType": "MembershipCredential", "offerReason": "reissue",
            "bindingMethods": ["did:web"], "profile": "vc20-bssl/jwt", "issuancePolicy": {"id": "x"}});
        $check::<PresentationQueryMessage>($contexts, "PresentationQueryMessage", json!({"scope": ["a:b:c", "d"]}));
        $check::<PresentationQueryMessage>($contexts, "PresentationQueryMessage", json!({"presentationDefinition": {"id": "x", "@id": 1}}));
        $check::<PresentationResponseMessage>(
            $contexts,
            "PresentationResponseMessage",
            json!({"presentation": ["a.b.c", {"id": "data:x"}], "presentationSubmission": {"id": "x"}}),
        );
        $check::<CredentialRequestMessage>($contexts, "CredentialRequestMessage", json!({"holderPid": "urn:uuid:h", "credentials": [{"id": "a"}, {"id": "b"}]}));
        $check::<CredentialMessage>(
            $contexts,
            "CredentialMessage",
            json!({"issuerPid": "urn:uuid:i", "holderPid": "urn:uuid:h", "status": "ISSUED", "credentials": [credential, credential]}),
        );
        $check::<CredentialMessage>(
            $contexts,
            "CredentialMessage",
            json!({"issuerPid": "urn:uuid:i", "holderPid": "urn:uuid:h", "status": "REJECTED", "rejectionReason": "no"}),
        );
        $check::<CredentialOfferMessage>(
            $contexts,
            "CredentialOfferMessage",
            json!({"issuer": "did:web:i.example", "credentials": [object, {"id": "urn:uuid:e", "type": "CredentialObject"}]}),
        );
    }};
}

/// What a client gave an asset reaches a receiver that expands the catalog, and comes back under the names that it gave.
#[test]
fn properties_of_assets_are_kept_by_a_processor() {
    let Some(contexts) = contexts("properties_of_assets_are_kept_by_a_processor") else { return };
    let properties = json!({"description": "d", "version": 2, "title": {"en": "t"}, "action": "none of the protocol's", "dct:title": "t",
        "conformsTo": "urn:schema:twin", "https://x.example/n": 1});
    let mut dataset = spelled(properties.as_object().unwrap());
    dataset.extend(catalog()["dataset"][0].as_object().unwrap().clone().into_iter().filter(|(name, _)| !properties[name].is_string()));
    dataset.insert("@context".to_owned(), json!([CONTEXT]));
    let dataset = Value::Object(dataset);
    let kept = expanded(&dataset, &contexts);
    let edc = |name: &str| &kept[0][format!("https://w3id.org/edc/v0.0.1/ns/{name}")];
    assert_eq!((edc("description"), edc("version")), (&json!([{"@value": "d"}]), &json!([{"@value": 2}])), "{kept}");
    assert_eq!(
        (&edc("title")[0]["https://w3id.org/edc/v0.0.1/ns/en"][0]["@value"], &edc("action")[0]["@value"]),
        (&json!("t"), &json!("none of the protocol's"))
    );
    assert_eq!(kept[0]["http://purl.org/dc/terms/conformsTo"], json!([{"@id": "urn:schema:twin"}]));
    for read in [compacted_dataset(dataset, &[]).unwrap(), compacted_dataset(kept.clone(), &[]).unwrap()] {
        for name in ["description", "version", "title", "action", "conformsTo"] {
            assert_eq!(read[name], properties[name], "{name}: {read}");
        }
    }
}

#[test]
fn what_a_processor_expands_of_dcp_is_read_as_the_compact_form() {
    fn check<T: dcp::Message + Serialize>(contexts: &Contexts, kind: &str, mut fields: Value) {
        fields["@context"] = json!([DCP_CONTEXT]);
        fields["type"] = json!(kind);
        let read = |document: &Value| {
            let read = dcp::read::<T>(document.to_string().as_bytes()).unwrap_or_else(|error| panic!("{error}: {document}"));
            serde_json::to_value(read).unwrap()
        };
        let (expected, expanded) = (read(&fields), expanded(&fields, contexts));
        assert!(expanded.is_array() && !expanded.to_string().contains("@context"), "{expanded}");
        assert_eq!(read(&expanded), expected, "{expanded}");
        assert_eq!(read(&expanded[0]), expected, "{expanded}");
        let mut theirs = compacted(&expanded, contexts, DCP_CONTEXT);
        theirs.as_object_mut().unwrap().remove("@context");
        assert_eq!(Value::Object(compact(&DCP, &expanded, &[], Others::LeftOut).unwrap()), theirs, "{expanded}");
    }
    let Some(contexts) = dcp_contexts("what_a_processor_expands_of_dcp_is_read_as_the_compact_form") else { return };
    each_claim!(check, &contexts);
}

#[test]
fn what_is_refused_needs_a_context_that_is_not_known() {
    // The judge itself works without a context only where IRIs stand.
    let none = Contexts::new();
    let message = json!({"@type": "CatalogRequestMessage", "filter": {}});
    assert_eq!(expanded(&message, &none), json!([{"@type": ["CatalogRequestMessage"]}]));
    assert!(read::<CatalogRequestMessage>(message.to_string().as_bytes(), &[]).is_err());
    let iris = json!({"@type": "https://w3id.org/dspace/2025/1/CatalogRequestMessage", "https://w3id.org/dspace/2025/1/filter": {}});
    assert_eq!(read::<CatalogRequestMessage>(iris.to_string().as_bytes(), &[]).unwrap().body.filter, [json!({})]);
}

/// IRI, coercion, and whether it is a set: what a definition in the contexts says.
type Fact = (String, Option<String>, bool);

fn facts(dialect: &Dialect, definitions: &Value, into: &mut BTreeMap<String, BTreeSet<Fact>>) {
    for (name, definition) in definitions.as_object().unwrap() {
        let text = |key: &str| definition.get(key).and_then(Value::as_str).map(str::to_owned);
        let Some(iri) = definition.as_str().map(str::to_owned).or_else(|| text("@id")).filter(|_| !name.starts_with('@')) else { continue };
        let iri = match iri.split_once(':').and_then(|(prefix, rest)| Some((dialect.of_prefix(prefix)?, rest))) {
            Some((vocabulary, rest)) => format!("{}{rest}", vocabulary.namespace()),
            None => iri,
        };
        into.entry(name.clone()).or_default().insert((iri, text("@type"), text("@container").as_deref() == Some("@set")));
        if let Some(scoped) = definition.get("@context") {
            facts(dialect, scoped, into);
        }
    }
}

/// Holds the tables of a protocol against its contexts; answers the names that these give to the vocabularies and the tables do not have.
fn held(dialect: &Dialect, contexts: &Contexts, vocabularies: &[Vocabulary]) -> Vec<String> {
    let mut all = BTreeMap::new();
    for text in contexts.values() {
        facts(dialect, &serde_json::from_str::<Value>(text).unwrap()["@context"], &mut all);
    }
    for term in dialect.terms.iter().filter(|term| term.vocabulary != Vocabulary::Edc) {
        let said = all.get(term.name).unwrap_or_else(|| panic!("{} is in no context", term.name));
        let fits = |(iri, coercion, set): &Fact| {
            let coerced = match term.shape {
                Shape::Id => coercion.as_deref() == Some("@id"),
                Shape::Name => coercion.as_deref() == Some("@vocab"),
                Shape::Literal => coercion.as_deref().is_none_or(|coercion| coercion == "xsd:string"),
                Shape::Any => coercion.is_none(),
                Shape::Json => coercion.as_deref() == Some("@json"),
                Shape::Node => coercion.as_deref().is_none_or(|coercion| coercion == "@id"),
            };
            *iri == term.iri() && coerced && *set == term.many
        };
        assert!(said.iter().any(fits), "{term:?} is not {said:?}");
    }
    for (vocabulary, name) in dialect.values.iter().filter(|(vocabulary, _)| *vocabulary != Vocabulary::Edc) {
        let iri = format!("{}{name}", vocabulary.namespace());
        assert!(all.get(*name).is_some_and(|said| said.iter().any(|(said, ..)| *said == iri)), "{name} is not {iri}");
    }
    let known: BTreeSet<&str> = dialect.terms.iter().map(|term| term.name).chain(dialect.values.iter().map(|(_, name)| *name)).collect();
    let of = |iri: &str| vocabularies.iter().any(|vocabulary| iri.starts_with(vocabulary.namespace()));
    let said = all.into_iter().filter(|(_, said)| said.iter().any(|(iri, ..)| of(iri)));
    said.map(|(name, _)| name).filter(|name| !known.contains(name.as_str())).collect()
}

#[test]
fn the_tables_say_what_the_contexts_say() {
    let Some(contexts) = contexts("the_tables_say_what_the_contexts_say") else { return };
    // Prefixes; what the document of versions alone has; a message that is sent no more.
    let missing = ["CatalogService", "VersionsError", "dcat", "dct", "dspace"];
    assert_eq!(held(&DSP, &contexts, &[Vocabulary::Dspace, Vocabulary::Dcat, Vocabulary::Dct]), missing);
}

#[test]
fn the_tables_of_dcp_say_what_its_context_says() {
    let Some(contexts) = dcp_contexts("the_tables_of_dcp_say_what_its_context_says") else { return };
    // Prefixes; services of DID documents; what the metadata of an issuer alone has, which is not read.
    let missing = ["CredentialService", "IssuerMetadata", "IssuerService", "cred", "credentialsSupported", "dcp"];
    assert_eq!(held(&DCP, &contexts, &[Vocabulary::Dcp, Vocabulary::Cred]), missing);
}
