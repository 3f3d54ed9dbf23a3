//! Installation-wide settings: CEL expressions, DCP scopes, dataspace profiles with their trusted issuers (Management API).

use super::{Reader, participant_context::MAX_PROFILES};
use crate::{
    Did, ParticipantContextId, ProfileId,
    dsp::{CONTEXT, message::MAX_CONTEXTS},
    query_spec::PathRules,
    violation::Violation,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::{collections::BTreeSet, str::FromStr};

/// Longest name, scope or operand, in bytes.
const MAX_TEXT: usize = 1024;
/// Longest expression or description, in bytes.
const MAX_LONG_TEXT: usize = 8 << 10;
/// Scopes, actions, contexts or types in a list at most.
const MAX_LIST: usize = 64;
/// Trusted issuers of a profile at most.
const MAX_ISSUERS: usize = 1_000;

/// Meaning of a policy's left operand (`CelExpression`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CelExpression {
    /// Its id.
    pub id: String,
    /// The left operand it gives meaning to.
    pub left_operand: String,
    /// The expression's text.
    pub expression: String,
    /// For people.
    pub description: String,
    /// Policy scopes it applies to: `catalog`, `contract.negotiation`, `transfer.process`, and `policy.monitor`, which must be named; empty means all the
    /// others. Scopes of requests (`request.contract.negotiation`, `request.transfer.process`) say with which messages credentials for its left operand
    /// are offered; without any, with all.
    pub scopes: Vec<String>,
    /// Actions it applies to; empty means all.
    pub actions: Vec<String>,
}

impl CelExpression {
    /// Fields that queries may name.
    pub const PATHS: PathRules =
        PathRules { fields: &["id", "@id", "leftOperand", "expression", "description", "scopes", "actions"], free_properties: false };

    /// Reads a body; without an `@id` the expression has `fresh_id`.
    ///
    /// # Errors
    /// Every violated rule.
    pub fn from_json(body: &Value, fresh_id: &str) -> Result<Self, Vec<Violation>> {
        let mut r = Reader::open(body, &["CelExpression"])?;
        let id = identifier(&mut r, fresh_id);
        let (left, expression) = (r.required_text("leftOperand", MAX_TEXT), r.required_text("expression", MAX_LONG_TEXT));
        r.require("description");
        let description = r.text("description", MAX_LONG_TEXT);
        let (scopes, actions) = (short_texts(&mut r, "scopes"), short_texts(&mut r, "actions"));
        r.finish(|| Some(Self { id: id?, left_operand: left?, expression: expression?, description: description?, scopes, actions }))
    }

    /// The form of the API, without `@context`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({"@type": "CelExpression", "@id": self.id, "leftOperand": self.left_operand, "expression": self.expression,
            "description": self.description, "scopes": self.scopes, "actions": self.actions})
    }
}

/// `CelExpressionTestRequest`
#[derive(Debug, Clone, PartialEq)]
pub struct CelExpressionTestRequest {
    /// The expression's text.
    pub expression: String,
    /// `this.leftOperand`
    pub left_operand: String,
    /// `this.operator`
    pub operator: String,
    /// `this.rightOperand`
    pub right_operand: Value,
    /// `ctx`
    pub params: Map<String, Value>,
}

impl CelExpressionTestRequest {
    /// Reads a body.
    ///
    /// # Errors
    /// Every violated rule.
    pub fn from_json(body: &Value) -> Result<Self, Vec<Violation>> {
        let mut r = Reader::open(body, &["CelExpressionTestRequest"])?;
        let (expression, left) = (r.required_text("expression", MAX_LONG_TEXT), r.required_text("leftOperand", MAX_TEXT));
        let operator = r.required_text("operator", MAX_TEXT);
        r.require("rightOperand");
        let right = r.raw("rightOperand").cloned();
        let params = r.object("params");
        r.finish(|| Some(Self { expression: expression?, left_operand: left?, operator: operator?, right_operand: right?, params }))
    }
}

/// Whether a scope is always asked for, or only with policies that need it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ScopeType {
    /// Always.
    Default,
    /// When a policy has a left operand that starts with the prefix mapping.
    Policy,
}

impl FromStr for ScopeType {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "DEFAULT" => Ok(Self::Default),
            "POLICY" => Ok(Self::Policy),
            _ => Err("must be DEFAULT or POLICY"),
        }
    }
}

/// A DCP scope that counterparties are asked for (`DcpScope`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DcpScope {
    /// Its id.
    pub id: String,
    /// When it is asked for.
    #[serde(rename = "type")]
    pub scope_type: ScopeType,
    /// The scope, for example `org.eclipse.dspace.dcp.vc.type:MembershipCredential:read`.
    pub value: String,
    /// The profile it applies to; `*` for all.
    pub profile: String,
    /// Left operand prefix, for `POLICY` scopes.
    pub prefix_mapping: Option<String>,
}

impl DcpScope {
    /// Fields that queries may name.
    pub const PATHS: PathRules = PathRules { fields: &["id", "@id", "type", "value", "profile", "prefixMapping"], free_properties: false };

    /// Reads a body; without an `@id` the scope has `fresh_id`.
    ///
    /// # Errors
    /// Every violated rule.
    pub fn from_json(body: &Value, fresh_id: &str) -> Result<Self, Vec<Violation>> {
        let mut r = Reader::open(body, &["DcpScope"])?;
        let id = identifier(&mut r, fresh_id);
        let scope_type = r.parsed("type").unwrap_or(ScopeType::Default);
        let value = r.required_text("value", MAX_TEXT);
        if value.as_ref().is_some_and(|value| value.contains(char::is_whitespace)) {
            r.note("value", "must not contain white space");
        }
        let profile = r.text("profile", MAX_TEXT).unwrap_or_else(|| "*".to_owned());
        let prefix_mapping = r.text("prefixMapping", MAX_TEXT).filter(|prefix| !prefix.is_empty());
        if scope_type == ScopeType::Policy && prefix_mapping.is_none() {
            r.note("prefixMapping", "is required of a POLICY scope");
        }
        r.finish(|| Some(Self { id: id?, scope_type, value: value?, profile, prefix_mapping }))
    }

    /// The form of the API, without `@context`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({"@type": "DcpScope", "@id": self.id, "type": self.scope_type, "value": self.value, "profile": self.profile,
            "prefixMapping": self.prefix_mapping})
    }
}

/// An issuer whose credentials count in a profile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TrustedIssuer {
    /// The issuer.
    pub id: Did,
    /// Credential types; `*` for all.
    pub supported_types: Vec<String>,
}

impl TrustedIssuer {
    fn from_json(value: &Value, path: &str) -> Result<Self, Vec<Violation>> {
        let mut r = Reader::nested(value, path)?;
        let id = r.required_parsed("@id");
        let supported_types = short_texts(&mut r, "supportedTypes");
        if supported_types.is_empty() {
            r.note("supportedTypes", "must name at least one type, or *");
        }
        r.finish(|| Some(Self { id: id?, supported_types }))
    }
}

/// A dataspace profile (`DataspaceProfile`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DataspaceProfile {
    /// Its name.
    pub name: ProfileId,
    /// Protocol version, `2025-1`.
    pub version: String,
    /// Path below the participant's DSP root, with a leading slash.
    pub path: String,
    /// Protocol binding, `HTTPS`.
    pub binding: String,
    /// JSON-LD namespace.
    pub namespace: String,
    /// JSON-LD contexts of its messages.
    pub contexts: Vec<String>,
    /// Whose credentials count.
    pub trusted_issuers: Vec<TrustedIssuer>,
    /// The participant that looks at the installation's target nodes for all participants of this profile; without one each does for itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crawled_by: Option<ParticipantContextId>,
}

impl DataspaceProfile {
    /// Fields that queries may name.
    pub const PATHS: PathRules = PathRules {
        fields: &["id", "@id", "name", "protocol.*", "jsonLdContextsUrl", "trustedIssuers.*", "crawledBy"],
        free_properties: false,
    };

    /// Reads a body. Only what is served can be a profile: DSP 2025-1 over HTTPS. Its path is one segment, and without one its name.
    ///
    /// # Errors
    /// Every violated rule.
    pub fn from_json(body: &Value) -> Result<Self, Vec<Violation>> {
        let mut r = Reader::open(body, &["DataspaceProfile"])?;
        let name: Option<ProfileId> = r.required_parsed("name");
        if name.as_ref().is_some_and(|name| name.as_str().contains([',', '/', '?', '#', '%']) || name.as_str().starts_with('.')) {
            r.note("name", "must not contain any of , / ? # % nor start with a dot, since it is a segment of paths");
        }
        r.require("protocol");
        let path = r.path("protocol");
        let protocol = r.raw("protocol").and_then(|protocol| r.part(|| Protocol::from_json(protocol, &path, name.as_ref())));
        let contexts = short_texts(&mut r, "jsonLdContextsUrl");
        let sent: BTreeSet<&str> = contexts.iter().map(String::as_str).chain([CONTEXT]).collect();
        if sent.len() > MAX_CONTEXTS {
            r.note("jsonLdContextsUrl", format!("at most {MAX_CONTEXTS} with the protocol's own, since messages have no more"));
        }
        let issuers = r.path("trustedIssuers");
        let list = r.list("trustedIssuers", MAX_ISSUERS);
        let trusted_issuers: Vec<TrustedIssuer> = list
            .iter()
            .enumerate()
            .filter_map(|(n, issuer)| r.part(|| TrustedIssuer::from_json(issuer, &format!("{issuers}[{n}]"))))
            .collect();
        let crawled_by = r.parsed("crawledBy");
        r.finish(|| {
            let Protocol { version, path, binding, namespace } = protocol?;
            Some(Self { name: name?, version, path, binding, namespace, contexts, trusted_issuers, crawled_by })
        })
    }

    /// What stands for it in paths.
    #[must_use]
    pub fn segment(&self) -> &str {
        self.path.trim_start_matches('/')
    }

    /// The form of the API, without `@context`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let issuer = |issuer: &TrustedIssuer| json!({"@id": issuer.id.as_str(), "supportedTypes": issuer.supported_types});
        let mut profile = json!({"@type": "DataspaceProfile", "name": self.name.as_str(),
            "protocol": {"version": self.version, "path": self.path, "binding": self.binding, "namespace": self.namespace},
            "jsonLdContextsUrl": self.contexts, "trustedIssuers": self.trusted_issuers.iter().map(issuer).collect::<Value>()});
        if let (Some(crawler), Some(fields)) = (&self.crawled_by, profile.as_object_mut()) {
            fields.insert("crawledBy".to_owned(), crawler.as_str().into());
        }
        profile
    }
}

struct Protocol {
    version: String,
    path: String,
    binding: String,
    namespace: String,
}

impl Protocol {
    fn from_json(value: &Value, path: &str, name: Option<&ProfileId>) -> Result<Self, Vec<Violation>> {
        let mut r = Reader::nested(value, path)?;
        let (version, binding) = (r.required_text("version", MAX_TEXT), r.required_text("binding", MAX_TEXT));
        if version.as_ref().is_some_and(|version| version != "2025-1") {
            r.note("version", "must be 2025-1, the only version that is served");
        }
        if binding.as_ref().is_some_and(|binding| binding != "HTTPS") {
            r.note("binding", "must be HTTPS, the only binding that is served");
        }
        let namespace = r.required_text("namespace", MAX_TEXT);
        let path = r.text("path", MAX_TEXT);
        let own = name.map(|name| format!("/{name}"));
        if path.as_ref().is_some_and(|path| Some(path) != own.as_ref() && !is_segment(path)) {
            r.note("path", "must be a slash and one segment: letters, digits and . _ ~ - and no dot at its beginning");
        }
        let path = path.or(own);
        r.finish(|| Some(Self { version: version?, path: path?, binding: binding?, namespace: namespace? }))
    }
}

/// A slash and one segment of unreserved characters (RFC 3986, 2.3), which is no name of a place that is known to all.
fn is_segment(path: &str) -> bool {
    let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"._~-".contains(&byte);
    path.strip_prefix('/').is_some_and(|segment| !segment.is_empty() && !segment.starts_with('.') && segment.bytes().all(unreserved))
}

fn identifier(r: &mut Reader<'_>, fresh_id: &str) -> Option<String> {
    if r.raw("@id").is_none() {
        return Some(fresh_id.to_owned());
    }
    let id: ProfileId = r.parsed("@id")?;
    Some(id.as_str().to_owned())
}

fn short_texts(r: &mut Reader<'_>, key: &str) -> Vec<String> {
    let texts = r.texts(key, MAX_LIST.max(MAX_PROFILES));
    if texts.iter().any(|text| text.is_empty() || text.len() > MAX_TEXT) {
        r.note(key, format!("each must have 1 to {MAX_TEXT} bytes"));
    }
    texts
}

#[cfg(test)]
mod tests {
    use super::super::MANAGEMENT_CONTEXT;
    use super::*;

    fn body(kind: &str, fields: Value) -> Value {
        let mut body = json!({"@context": [MANAGEMENT_CONTEXT], "@type": kind});
        if let (Some(body), Value::Object(fields)) = (body.as_object_mut(), fields) {
            body.extend(fields);
        }
        body
    }

    #[test]
    fn expressions_and_scopes() {
        let json =
            body("CelExpression", json!({"@id": "e", "leftOperand": "M", "expression": "true", "description": "", "scopes": ["catalog"]}));
        let expression = CelExpression::from_json(&json, "fresh").unwrap();
        assert_eq!((expression.id.as_str(), expression.scopes.len()), ("e", 1));
        assert!(CelExpression::from_json(&body("CelExpression", json!({"leftOperand": "M"})), "fresh").is_err());
        let scope = |fields: Value| DcpScope::from_json(&body("DcpScope", fields), "fresh");
        let default = scope(json!({"value": "v:read"})).unwrap();
        assert_eq!((default.id.as_str(), default.scope_type, default.profile.as_str()), ("fresh", ScopeType::Default, "*"));
        assert!(scope(json!({"value": "v", "type": "POLICY", "prefixMapping": "M"})).is_ok());
        for bad in [json!({}), json!({"value": "a b"}), json!({"value": "v", "type": "POLICY"}), json!({"value": "v", "type": "x"})] {
            assert!(scope(bad.clone()).is_err(), "{bad}");
        }
    }

    #[test]
    fn profiles() {
        let profile = |fields: Value| DataspaceProfile::from_json(&body("DataspaceProfile", fields));
        let protocol = json!({"version": "2025-1", "binding": "HTTPS", "namespace": "n"});
        let good = profile(json!({"name": "net", "protocol": protocol, "trustedIssuers": [{"@id": "did:web:i", "supportedTypes": ["*"]}]}))
            .unwrap();
        assert_eq!((good.path.as_str(), good.trusted_issuers.len(), &good.crawled_by), ("/net", 1, &None));
        let crawled = profile(json!({"name": "net", "protocol": protocol, "crawledBy": "operator"})).unwrap();
        assert_eq!(DataspaceProfile::from_json(&body("DataspaceProfile", crawled.to_json())), Ok(crawled));
        let at = |path: &str| json!({"name": "net", "protocol": {"version": "2025-1", "binding": "HTTPS", "namespace": "n", "path": path}});
        assert_eq!(profile(at("/other.v1")).unwrap().path, "/other.v1");
        let again = body("DataspaceProfile", good.to_json());
        assert_eq!(DataspaceProfile::from_json(&again), Ok(good));
        for bad in [
            json!({"name": "net"}),
            json!({"name": "a/b", "protocol": protocol}),
            json!({"name": "net", "protocol": {"version": "0.8", "binding": "HTTPS", "namespace": "n"}}),
            at("other"),
            at("/"),
            at("/.well-known"),
            at("/a/b"),
            at("/a/"),
            at("/a%2Fb"),
            at("/a?b"),
            at("/ä"),
            json!({"name": "net", "protocol": protocol, "trustedIssuers": [{"@id": "x", "supportedTypes": ["*"]}]}),
            json!({"name": "net", "protocol": protocol, "trustedIssuers": [{"@id": "did:web:i", "supportedTypes": []}]}),
            json!({"name": "net", "protocol": protocol, "crawledBy": "a b"}),
            json!({"name": "net", "protocol": protocol, "jsonLdContextsUrl": (0..8).map(|n| format!("https://x.example/{n}")).collect::<Vec<_>>()}),
        ] {
            assert!(profile(bad.clone()).is_err(), "{bad}");
        }
    }
}
