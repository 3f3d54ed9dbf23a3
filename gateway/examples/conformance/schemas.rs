//! Messages of the protocols, held against the JSON schemas that the artifacts of their conformance suites carry. Nothing is fetched: a schema that
//! refers to another one has it from the artifacts too.

use anyhow::{Context, Result, anyhow, ensure};
use boon::{Compiler, SchemaIndex, Schemas};
use serde_json::{Value, json};
use std::{collections::BTreeMap, fmt, fs::File, io::Read, path::Path};

/// What is known of a protocol's messages.
pub struct Protocol {
    /// Below which its schemas are named.
    pub base: &'static str,
    /// The name of a message's type.
    pub kind: &'static str,
    /// The artifacts' schema of each type that they have one for.
    pub carried: &'static [(&'static str, &'static str)],
    /// The types that the artifacts have no schema for, with what the specification says of them.
    pub not_carried: fn() -> Vec<(&'static str, Value)>,
    /// Schemas that others refer to and that are not carried; nothing of ours has what they describe.
    pub elsewhere: &'static [(&'static str, &'static str)],
    /// All of its HTTPS binding.
    pub places: &'static [Place],
}

/// The Dataspace Protocol 2025-1.
pub static DSP: Protocol =
    Protocol { base: DSP_BASE, kind: "@type", carried: &DSP_CARRIED, not_carried: dsp_not_carried, elsewhere: &[], places: &DSP_PLACES };

const DSP_BASE: &str = "https://w3id.org/dspace/2025/1/";

const DSP_CARRIED: [(&str, &str); 14] = [
    ("CatalogRequestMessage", "catalog/catalog-request-message-schema.json"),
    ("Catalog", "catalog/catalog-schema.json"),
    ("Dataset", "catalog/dataset-schema.json"),
    ("ContractRequestMessage", "negotiation/contract-request-message-schema.json"),
    ("ContractOfferMessage", "negotiation/contract-offer-message-schema.json"),
    ("ContractNegotiationEventMessage", "negotiation/contract-negotiation-event-message-schema.json"),
    ("ContractAgreementMessage", "negotiation/contract-agreement-message-schema.json"),
    ("ContractAgreementVerificationMessage", "negotiation/contract-agreement-verification-message-schema.json"),
    ("ContractNegotiationTerminationMessage", "negotiation/contract-negotiation-termination-message-schema.json"),
    ("ContractNegotiation", "negotiation/contract-negotiation-schema.json"),
    ("ContractNegotiationError", "negotiation/contract-negotiation-error-schema.json"),
    ("TransferRequestMessage", "transfer/transfer-request-message-schema.json"),
    ("TransferStartMessage", "transfer/transfer-start-message-schema.json"),
    ("TransferProcess", "transfer/transfer-process-schema.json"),
];

/// `VersionsError` is none of the protocol's own: what version discovery answers when it cannot, in the form of its other errors.
fn dsp_not_carried() -> Vec<(&'static str, Value)> {
    let (text, context) = (json!({"type": "string"}), json!({"$ref": format!("{DSP_BASE}common/context-schema.json")}));
    let message = |kind: &str, required: &[&str]| {
        let required = [&["@context", "@type"][..], required].concat();
        json!({"type": "object", "required": required, "properties": {"@context": context, "@type": {"const": kind},
            "providerPid": text, "consumerPid": text, "code": text, "reason": {"type": "array", "minItems": 1}}})
    };
    let pids = ["providerPid", "consumerPid"];
    let auth = json!({"type": "object", "required": ["protocol", "version"],
        "properties": {"protocol": text, "version": text, "profile": {"type": "array", "items": text}}});
    let version = json!({"type": "object", "required": ["version", "path", "binding"],
        "properties": {"version": text, "path": text, "binding": {"enum": ["HTTPS"]}, "identifierType": text, "serviceId": text, "auth": auth}});
    let versions = json!({"type": "object", "required": ["protocolVersions"],
        "properties": {"protocolVersions": {"type": "array", "minItems": 1, "items": version}}});
    vec![
        ("CatalogError", message("CatalogError", &[])),
        ("TransferSuspensionMessage", message("TransferSuspensionMessage", &pids)),
        ("TransferCompletionMessage", message("TransferCompletionMessage", &pids)),
        ("TransferTerminationMessage", message("TransferTerminationMessage", &pids)),
        ("TransferError", message("TransferError", &pids)),
        ("VersionResponse", versions),
        ("VersionsError", message("VersionsError", &[])),
    ]
}

/// What is exchanged at a path: method and end of the path (`*` for an id); the message, and the types of its answer and of its error, where the protocol has
/// these.
pub type Place = (&'static str, &'static [&'static str], Option<&'static str>, [Option<&'static str>; 2]);

const CATALOG: [Option<&str>; 2] = [Some("Catalog"), Some("CatalogError")];
const NEGOTIATION: [Option<&str>; 2] = [Some("ContractNegotiation"), Some("ContractNegotiationError")];
const TRANSFER: [Option<&str>; 2] = [Some("TransferProcess"), Some("TransferError")];

const DSP_PLACES: [Place; 18] = [
    ("GET", &[".well-known", "dspace-version"], None, [Some("VersionResponse"), Some("VersionsError")]),
    ("POST", &["catalog", "request"], Some("CatalogRequestMessage"), CATALOG),
    ("GET", &["catalog", "datasets", "*"], None, [Some("Dataset"), Some("CatalogError")]),
    ("GET", &["negotiations", "*"], None, NEGOTIATION),
    ("POST", &["negotiations", "request"], Some("ContractRequestMessage"), NEGOTIATION),
    ("POST", &["negotiations", "*", "request"], Some("ContractRequestMessage"), NEGOTIATION),
    ("POST", &["negotiations", "offers"], Some("ContractOfferMessage"), NEGOTIATION),
    ("POST", &["negotiations", "*", "offers"], Some("ContractOfferMessage"), NEGOTIATION),
    ("POST", &["negotiations", "*", "events"], Some("ContractNegotiationEventMessage"), NEGOTIATION),
    ("POST", &["negotiations", "*", "agreement"], Some("ContractAgreementMessage"), NEGOTIATION),
    ("POST", &["negotiations", "*", "agreement", "verification"], Some("ContractAgreementVerificationMessage"), NEGOTIATION),
    ("POST", &["negotiations", "*", "termination"], Some("ContractNegotiationTerminationMessage"), NEGOTIATION),
    ("GET", &["transfers", "*"], None, TRANSFER),
    ("POST", &["transfers", "request"], Some("TransferRequestMessage"), TRANSFER),
    ("POST", &["transfers", "*", "start"], Some("TransferStartMessage"), TRANSFER),
    ("POST", &["transfers", "*", "suspension"], Some("TransferSuspensionMessage"), TRANSFER),
    ("POST", &["transfers", "*", "completion"], Some("TransferCompletionMessage"), TRANSFER),
    ("POST", &["transfers", "*", "termination"], Some("TransferTerminationMessage"), TRANSFER),
];

/// What was exchanged so far, by its types, and what of it is not as the schemas say.
pub struct Judge {
    protocol: &'static Protocol,
    compiled: Schemas,
    of_type: BTreeMap<&'static str, SchemaIndex>,
    valid: BTreeMap<&'static str, usize>,
    refused: Vec<String>,
}

impl Judge {
    /// With a protocol's schemas in these jars.
    ///
    /// # Errors
    /// When a jar cannot be read, or a schema is in none of them or cannot be used.
    pub fn new<P: AsRef<Path>>(protocol: &'static Protocol, jars: impl IntoIterator<Item = P>) -> Result<Self> {
        let Protocol { base, carried, not_carried, elsewhere, .. } = protocol;
        let mut compiler = Compiler::new();
        for (url, schema) in *elsewhere {
            compiler.add_resource(url, serde_json::from_str(schema)?).map_err(|error| anyhow!("{error}"))?;
        }
        for jar in jars {
            let jar = jar.as_ref();
            carry(&mut compiler, jar).with_context(|| jar.display().to_string())?;
        }
        let mut urls: Vec<(&'static str, String)> = carried.iter().map(|(kind, path)| (*kind, format!("{base}{path}"))).collect();
        for (kind, schema) in not_carried() {
            let url = format!("{base}not-carried/{kind}");
            compiler.add_resource(&url, schema).map_err(|error| anyhow!("{error}"))?;
            urls.push((kind, url));
        }
        let (mut compiled, mut of_type) = (Schemas::new(), BTreeMap::new());
        for (kind, url) in urls {
            of_type.insert(kind, compiler.compile(&url, &mut compiled).map_err(|error| anyhow!("{url}: {error:#}"))?);
        }
        Ok(Self { protocol, compiled, of_type, valid: BTreeMap::new(), refused: Vec::new() })
    }

    fn place(&self, method: &str, path: &str) -> Option<&'static Place> {
        let segments: Vec<&str> = path.split('/').collect();
        self.protocol.places.iter().find(|(of, end, ..)| {
            let fits = |(pattern, segment): (&&str, &&str)| *pattern == "*" || pattern == segment;
            *of == method && end.len() <= segments.len() && end.iter().rev().zip(segments.iter().rev()).all(fits)
        })
    }

    /// Holds a message that is sent to a path against its schema.
    pub fn message(&mut self, method: &str, path: &str, body: &[u8]) {
        match self.place(method, path) {
            Some((_, _, Some(kind), _)) => self.judge(kind, &format!("{method} {path}"), body),
            Some((_, _, None, _)) if body.is_empty() => {}
            _ => self.refused.push(format!("{method} {path}: the protocol has no such message")),
        }
    }

    /// Holds the answer of a path against its schema.
    pub fn answer(&mut self, method: &str, path: &str, status: u16, body: &[u8]) {
        match self.place(method, path) {
            Some((.., [good, error])) => {
                let is_good = (200..300).contains(&status);
                match if is_good { good } else { error } {
                    Some(kind) => self.judge(kind, &format!("{method} {path} -> {status}"), body),
                    None if is_good && !body.is_empty() => {
                        self.refused.push(format!("{method} {path} -> {status}: the protocol has no answer"))
                    }
                    None => {}
                }
            }
            None => self.refused.push(format!("{method} {path} -> {status}: the protocol has no such path")),
        }
    }

    fn judge(&mut self, kind: &'static str, what: &str, body: &[u8]) {
        match self.is(kind, body) {
            Ok(()) => *self.valid.entry(kind).or_default() += 1,
            Err(why) => self.refused.push(format!("{what}: no {kind}: {why:#}: {}", String::from_utf8_lossy(body))),
        }
    }

    fn is(&self, kind: &str, body: &[u8]) -> Result<()> {
        let body: Value = serde_json::from_slice(body)?;
        // Not every schema says it; the document of versions has no type.
        let found = body.get(self.protocol.kind).and_then(Value::as_str);
        ensure!(found == Some(kind) || (kind == "VersionResponse" && found.is_none()), "its type is {found:?}");
        let schema = self.of_type.get(kind).with_context(|| format!("{kind} has no schema"))?;
        self.compiled.validate(&body, *schema).map_err(|error| anyhow!("{error:#}").context("not as its schema says"))
    }

    /// What is not as the schemas say.
    pub fn refused(&self) -> &[String] {
        &self.refused
    }

    /// All types, with how many messages of each were as its schema says.
    pub fn valid(&self) -> impl Iterator<Item = (&'static str, usize)> {
        self.of_type.keys().map(|kind| (*kind, self.valid.get(kind).copied().unwrap_or_default()))
    }
}

/// A line for each message that is not as its schema says, and at last one that counts all.
impl fmt::Display for Judge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for refused in self.refused() {
            writeln!(f, "{refused}")?;
        }
        let types: Vec<String> = self.valid().filter(|(_, n)| *n > 0).map(|(kind, n)| format!("{n} {kind}")).collect();
        let all: usize = self.valid.values().sum();
        write!(f, "{all} messages are as the official schemas say ({}), {} are not", types.join(", "), self.refused.len())
    }
}

/// Below which the schemas without an id of their own are named, by their path.
const FOUNDATION: &str = "https://identity.foundation/";

/// Whether a file is a schema of messages, or one of those that these refer to.
fn is_schema(name: &str) -> bool {
    (name.ends_with("-schema.json") && !name.starts_with("credential-schemas/")) || name.contains("/schemas/presentation-definition")
}

/// Takes in the schemas of a jar.
fn carry(compiler: &mut Compiler, jar: &Path) -> Result<()> {
    let mut archive = zip::ZipArchive::new(File::open(jar)?)?;
    for n in 0..archive.len() {
        let mut file = archive.by_index(n)?;
        if !is_schema(&file.name()?) {
            continue;
        }
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        let mut schema: Value = serde_json::from_str(&text)?;
        mend(&mut schema);
        let url = match schema.get("$id").and_then(Value::as_str) {
            Some(id) => id.to_owned(),
            None => format!("{FOUNDATION}{}", file.name()?),
        };
        compiler.add_resource(&url, schema).map_err(|error| anyhow!("{error}"))?;
    }
    Ok(())
}

/// The artifacts' schema of policies has `"items": "string"` where `profile` is a list, which is no schema. Meant is, as the specification's own file
/// has it, that the items are text.
fn mend(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            if let Some(items) = fields.get_mut("items").filter(|items| **items == "string") {
                *items = json!({"type": "string"});
            }
            fields.values_mut().for_each(mend);
        }
        Value::Array(items) => items.iter_mut().for_each(mend),
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
