//! What it takes at most to hold a value against a schema, counted before it is done. References that are followed twice at each level multiply: a few
//! lines could keep a processor busy for ever, or fill the stack. Counted is more than is done: every branch of a condition, every name for every pattern.

use percent_encoding::percent_decode_str;
use regex::bytes::RegexBuilder;
use serde_json::Value;
use std::{
    collections::{HashMap, hash_map::Entry},
    ptr,
};
use url::Url;

/// Steps at most: one for each keyword that is looked at with each value, more for long texts.
const MAX_STEPS: usize = 1 << 17;
/// Schemas within each other at most, down the schema and down the value.
const MAX_DEPTH: usize = 128;
/// Patterns of a schema at most.
const MAX_PATTERNS: usize = 64;
/// Longest pattern, in bytes: each of its classes costs another look at all of it.
const MAX_PATTERN_BYTES: usize = 512;
/// Longest pattern as it is compiled for single bytes, in bytes; for all characters it may be several times that.
const MAX_COMPILED_BYTES: usize = 64 << 10;
/// Parts of a document with an id of their own at most.
const MAX_RESOURCES: usize = 64;
/// What a step reads of a text, in bytes.
const TEXT_BYTES: usize = 64;
/// A name, to what is said of names: there is nothing below it.
const NAME: &Value = &Value::Null;

/// A schema's text, with what its references may mean.
pub(super) struct Document {
    text: Value,
    /// Where it begins.
    start: String,
    /// Pointers to what has an id of its own: pointers in references may begin there. The whole is the first.
    resources: Vec<String>,
    /// Pointers to what has a name.
    anchors: HashMap<String, Vec<String>>,
    patterns: usize,
}

impl Document {
    /// The document at `url`; `None` when it refers to others, or has patterns that take too much.
    pub fn new(url: &Url, text: Value) -> Option<Self> {
        let id = ["$id", "id"].iter().find_map(|name| text.get(name)?.as_str()).and_then(|id| id.split('#').next());
        let mut base = url.clone();
        base.set_fragment(None);
        let own: Vec<Url> = id.and_then(|id| Url::parse(id).ok()).into_iter().chain([base]).collect();
        let mut document = Self {
            text: Value::Null,
            start: format!("#{}", url.fragment().unwrap_or_default()),
            resources: vec![String::new()],
            anchors: HashMap::new(),
            patterns: 0,
        };
        document.read(&text, &own, String::new())?;
        document.text = text;
        Some(document)
    }

    /// How many patterns it has.
    pub const fn patterns(&self) -> usize {
        self.patterns
    }

    /// Whether a value may be held against the schema.
    pub fn allows(&self, value: &Value) -> bool {
        Count { document: self, counted: HashMap::new(), resolved: HashMap::new(), deepest: 0 }.meant(&self.start, value, 0).is_some()
    }

    /// Takes in what is at this pointer and below, also where no schema is: a reference may lead there.
    fn read(&mut self, value: &Value, own: &[Url], pointer: String) -> Option<()> {
        let Value::Object(members) = value else {
            let elements = value.as_array().into_iter().flatten().enumerate();
            return elements.into_iter().try_for_each(|(n, element)| self.read(element, own, format!("{pointer}/{n}")));
        };
        for (name, below) in members {
            match (name.as_str(), below) {
                ("$ref" | "$dynamicRef" | "$recursiveRef", Value::String(text)) if !is_own(text, own) => return None,
                ("$id" | "id", Value::String(text)) => {
                    if !self.resources.contains(&pointer) {
                        self.resources.push(pointer.clone());
                    }
                    if self.resources.len() > MAX_RESOURCES {
                        return None;
                    }
                    if let Some((_, anchor)) = text.split_once('#') {
                        self.anchor(anchor, &pointer);
                    }
                }
                ("$anchor" | "$dynamicAnchor", Value::String(text)) => self.anchor(text, &pointer),
                ("pattern", Value::String(pattern)) => self.pattern(pattern)?,
                ("patternProperties", Value::Object(patterns)) => patterns.keys().try_for_each(|pattern| self.pattern(pattern))?,
                _ => {}
            }
            self.read(below, own, format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1")))?;
        }
        Some(())
    }

    fn anchor(&mut self, name: &str, pointer: &str) {
        let named = self.anchors.entry(name.to_owned()).or_default();
        if !named.iter().any(|known| known == pointer) {
            named.push(pointer.to_owned());
        }
    }

    fn pattern(&mut self, pattern: &str) -> Option<()> {
        self.patterns += 1;
        let is_short = self.patterns <= MAX_PATTERNS && pattern.len() <= MAX_PATTERN_BYTES;
        let is_small = |unicode| RegexBuilder::new(pattern).unicode(unicode).size_limit(MAX_COMPILED_BYTES).build().is_ok();
        (is_short && (is_small(false) || is_small(true))).then_some(())
    }

    /// All that a reference may mean: which of several it does depends on where it stands, and on how one came there.
    fn meant(&self, reference: &str) -> Vec<&Value> {
        let fragment = reference.split_once('#').map_or("", |(_, fragment)| fragment);
        let fragment = percent_decode_str(fragment).decode_utf8_lossy();
        if fragment.is_empty() || fragment.starts_with('/') {
            self.resources.iter().filter_map(|resource| self.text.pointer(&format!("{resource}{fragment}"))).collect()
        } else {
            self.anchors.get(fragment.as_ref()).into_iter().flatten().filter_map(|pointer| self.text.pointer(pointer)).collect()
        }
    }
}

/// Whether a reference, as it stands or from where the document is, names nothing but a part of the document.
fn is_own(reference: &str, own: &[Url]) -> bool {
    let document = reference.split('#').next().unwrap_or_default();
    document.is_empty() || own.iter().any(|base| base.join(document).is_ok_and(|named| own.contains(&named)))
}

/// Elements of a list, or what the members of an object are.
fn parts(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(elements) => elements.iter().collect(),
        Value::Object(members) => members.values().collect(),
        _ => Vec::new(),
    }
}

/// What it takes to read a value, but for what is below it.
fn length(value: &Value) -> usize {
    match value {
        Value::String(text) => 1 + text.len() / TEXT_BYTES,
        Value::Array(elements) => 1 + elements.len(),
        Value::Object(members) => 1 + members.keys().map(|name| 1 + name.len() / TEXT_BYTES).sum::<usize>(),
        _ => 1,
    }
}

/// What it takes to compare something with all of a value.
fn size(value: &Value) -> usize {
    length(value) + parts(value).into_iter().map(size).sum::<usize>()
}

/// What was counted.
#[derive(Clone, Copy)]
struct Counted {
    steps: usize,
    /// Schemas within each other below it.
    height: usize,
}

/// By schema and value; `None` while they are counted, so that what comes back to itself at the same value has no end.
struct Count<'a> {
    document: &'a Document,
    counted: HashMap<(*const Value, *const Value), Option<Counted>>,
    /// What references mean.
    resolved: HashMap<&'a str, Vec<&'a Value>>,
    /// How deep what is being counted goes so far.
    deepest: usize,
}

impl<'a> Count<'a> {
    /// The steps of a schema with a value; `None` when they are too many.
    fn steps(&mut self, schema: &'a Value, value: &'a Value, depth: usize) -> Option<usize> {
        let Value::Object(keywords) = schema else { return Some(1) };
        if depth > MAX_DEPTH {
            return None;
        }
        let both = (ptr::from_ref(schema), ptr::from_ref(value));
        match self.counted.entry(both) {
            // It is done again wherever it stands, also when it stands deeper there.
            Entry::Occupied(known) => {
                let Counted { steps, height } = (*known.get())?;
                self.deepest = self.deepest.max(depth + height);
                return (depth + height <= MAX_DEPTH).then_some(steps);
            }
            Entry::Vacant(place) => drop(place.insert(None)),
        }
        let before = std::mem::replace(&mut self.deepest, depth);
        let mut steps = length(value);
        for (keyword, below) in keywords {
            steps = within(steps + self.keyword(keyword, below, value, depth + 1)?)?;
        }
        self.counted.insert(both, Some(Counted { steps, height: self.deepest - depth }));
        self.deepest = self.deepest.max(before);
        Some(steps)
    }

    fn keyword(&mut self, keyword: &str, below: &'a Value, value: &'a Value, depth: usize) -> Option<usize> {
        let members = || value.as_object().into_iter().flatten();
        match (keyword, below) {
            ("$ref" | "$dynamicRef" | "$recursiveRef", Value::String(reference)) => self.meant(reference, value, depth),
            ("not" | "if" | "then" | "else", _) => self.steps(below, value, depth),
            ("allOf" | "anyOf" | "oneOf" | "dependentSchemas" | "dependencies", _) => self.all(parts(below), [value], depth),
            ("properties", Value::Object(schemas)) => {
                let both = members().filter_map(|(name, member)| Some((schemas.get(name)?, member)));
                both.into_iter().try_fold(0, |sum, (schema, member)| within(sum + self.steps(schema, member, depth)?))
            }
            // Each name is read by each pattern.
            ("patternProperties", _) => {
                let reading = within(parts(below).len().saturating_mul(length(value)))?;
                within(reading + self.all(parts(below), members().map(|(_, member)| member), depth)?)
            }
            ("additionalProperties" | "unevaluatedProperties", _) => self.all([below], members().map(|(_, member)| member), depth),
            // A name may be read as a pattern is.
            ("propertyNames", _) => {
                let each = self.steps(below, NAME, depth)?;
                let reading = |name: &String| each.saturating_mul(1 + name.len().saturating_mul(name.len()) / TEXT_BYTES);
                members().try_fold(0_usize, |sum, (name, _)| within(sum.saturating_add(reading(name))))
            }
            ("items" | "prefixItems" | "additionalItems" | "unevaluatedItems" | "contains", _) => {
                let schemas = if below.is_array() { parts(below) } else { vec![below] };
                self.all(schemas, value.as_array().into_iter().flatten(), depth)
            }
            // A pattern as a value is read as often as one of a schema.
            ("format", Value::String(name)) if name == "regex" => {
                let bytes = value.as_str().map_or(0, str::len);
                within(bytes.saturating_mul(bytes) / TEXT_BYTES)
            }
            ("const" | "enum" | "required" | "dependentRequired", _) => within(size(below)),
            _ => Some(1),
        }
    }

    /// All that a reference may mean. One that means nothing here is not understood.
    fn meant(&mut self, reference: &'a str, value: &'a Value, depth: usize) -> Option<usize> {
        let document = self.document;
        let meant = self.resolved.entry(reference).or_insert_with(|| document.meant(reference)).clone();
        if meant.is_empty() { None } else { self.all(meant, [value], depth) }
    }

    /// Each of the schemas with each of the values.
    fn all(
        &mut self,
        schemas: impl IntoIterator<Item = &'a Value>,
        values: impl IntoIterator<Item = &'a Value> + Clone,
        depth: usize,
    ) -> Option<usize> {
        let mut sum = 0;
        for schema in schemas {
            for value in values.clone() {
                sum = within(sum + self.steps(schema, value, depth)?)?;
            }
        }
        Some(sum)
    }
}

fn within(steps: usize) -> Option<usize> {
    (steps <= MAX_STEPS).then_some(steps)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn document(text: Value) -> Option<Document> {
        Document::new(&Url::parse("https://issuer.example/schema").unwrap(), text)
    }

    fn allows(text: Value, value: &Value) -> bool {
        document(text).unwrap().allows(value)
    }

    /// A chain of schemas, each as often as said within the one before it.
    fn chain(length: usize, keyword: &str, times: usize) -> Value {
        let link = |n: usize| json!({ keyword: vec![json!({"$ref": format!("#/$defs/{}", n + 1)}); times] });
        let mut links: Vec<Value> = (0..length).map(link).collect();
        links.push(json!({"type": "object"}));
        let links: serde_json::Map<String, Value> = links.into_iter().enumerate().map(|(n, link)| (n.to_string(), link)).collect();
        json!({"$defs": links, "$ref": "#/$defs/0"})
    }

    /// An object in an object, so deep.
    fn nested(depth: usize) -> Value {
        (0..depth).fold(json!({}), |below, _| json!({ "a": below }))
    }

    #[test]
    fn what_multiplies_is_too_much() {
        for keyword in ["allOf", "anyOf", "oneOf"] {
            assert!(allows(chain(8, keyword, 2), &json!({})) && !allows(chain(24, keyword, 2), &json!({})), "{keyword}");
        }
        // Level by level of the value as well, by whatever leads down it and back.
        for (keyword, value) in [("additionalProperties", nested(24)), ("items", (0..24).fold(json!([]), |below, _| json!([below])))] {
            let twice = json!({ keyword: {"allOf": [{"$ref": "#"}, {"$ref": "#"}]} });
            assert!(allows(json!({ keyword: {"$ref": "#"} }), &value) && !allows(twice.clone(), &value), "{keyword}");
            assert!(allows(twice, &nested(2)), "{keyword}");
        }
        let named = json!({"$dynamicAnchor": "x", "properties": {"a": {"allOf": [{"$dynamicRef": "#x"}, {"$ref": "#x"}]}}});
        assert!(!allows(named, &nested(24)));
        // Members that are many count as well.
        let many = Value::Object((0..1_000).map(|n| (n.to_string(), json!(1))).collect());
        let wide = |n: usize| json!({"patternProperties": {"^1": {"allOf": vec![json!({"minimum": 0}); n]}}});
        assert!(allows(wide(10), &many) && !allows(wide(100), &many));
    }

    #[test]
    fn what_is_deep_or_comes_back_is_too_much() {
        assert!(allows(chain(50, "allOf", 1), &json!({})) && !allows(chain(70, "allOf", 1), &json!({})));
        for circle in [json!({"$ref": "#"}), json!({"anyOf": [{"type": "string"}, {"not": {"$ref": "#"}}]})] {
            assert!(!allows(circle, &json!({})));
        }
        let elsewhere = json!({"$id": "https://x.example/a", "$defs": {"b": {"$id": "b", "$defs": {"c": {"allOf": [{"$ref": "#"}]}}, "$ref": "#/$defs/c"}},
            "$ref": "#/$defs/b"});
        assert!(!allows(elsewhere, &json!({})), "a pointer begins at the id that it is below");
    }

    /// What was counted before counts as deep as it is also where it stands deeper.
    #[test]
    fn chains_of_chains_are_deep() {
        let chains = |count: usize| {
            let link = |n: usize| (0..60).fold(json!({"$ref": format!("#/$defs/{}", n + 1)}), |below, _| json!({ "not": below }));
            let mut links: serde_json::Map<String, Value> = (0..count).map(|n| (n.to_string(), link(n))).collect();
            links.insert(count.to_string(), json!({}));
            // The last ones first.
            let all: Vec<Value> = (0..=count).rev().map(|n| json!({"$ref": format!("#/$defs/{n}")})).collect();
            json!({"$defs": links, "allOf": all})
        };
        assert!(allows(chains(1), &json!({})) && !allows(chains(10), &json!({})));
    }

    #[test]
    fn names_are_read_by_patterns() {
        let named = |name: &str| json!({ name: 1 });
        let names = json!({"propertyNames": {"format": "regex"}});
        assert!(allows(names.clone(), &named("usual")) && !allows(names, &named(&"\\d".repeat(10_000))));
        let many =
            |n: usize| json!({"patternProperties": (0..n).map(|n| (format!("^{n}"), json!(true))).collect::<serde_json::Map<_, _>>()});
        let long = named(&"x".repeat(200_000));
        assert!(allows(many(4), &long) && !allows(many(60), &long));
    }

    #[test]
    fn a_document_refers_to_itself_and_has_few_patterns() {
        for own in [
            "#",
            "#/$defs/a",
            "#a",
            "https://issuer.example/schema#/$defs/a",
            "https://id.example/x#a",
            "x",
            "//id.example/x",
            "schema#/$defs/a",
        ] {
            assert!(document(json!({"$id": "https://id.example/x", "$ref": own})).is_some(), "{own}");
        }
        for other in ["y", "?", "https://json-schema.org/draft/2020-12/schema", "https://issuer.example/schema?"] {
            assert!(document(json!({"$id": "https://id.example/x", "properties": {"a": {"$dynamicRef": other}}})).is_none(), "{other}");
        }
        let uuid = "^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$";
        let did = "^did:[a-z0-9]+:[A-Za-z0-9.%_:-]{1,255}$";
        for good in
            [uuid, did, r"^\d{4}-\d{2}-\d{2}T[\d:.]+Z$", r"^[\w.+-]+@[\w-]+(\.[\w-]+)+$", r"^\p{L}+$", "^[à-ÿ]*$", r"^https?:\/\/.{1,500}$"]
        {
            assert!(document(json!({"pattern": good, "patternProperties": {good: true}})).is_some(), "{good}");
        }
        for bad in ["(", "[a-z]{60000}", "((a{100}){100}){100}", r"\p{L}{500}", &r"\d".repeat(1 + MAX_PATTERN_BYTES / 2)] {
            assert!(document(json!({"not": [{"pattern": bad}]})).is_none() && document(json!({"patternProperties": {bad: 1}})).is_none());
        }
        let regex = json!({"format": "regex"});
        assert!(allows(regex.clone(), &json!(r"\d".repeat(100))) && !allows(regex, &json!(r"\d".repeat(10_000))));
        let patterns = |n: usize| document(json!({"allOf": vec![json!({"pattern": "a"}); n]})).is_some();
        assert!(patterns(MAX_PATTERNS) && !patterns(MAX_PATTERNS + 1));
    }
}
