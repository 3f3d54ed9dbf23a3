//! Queries from JSON bodies and from `?offset=&limit=`.

use super::{Criterion, DEFAULT_LIMIT, MAX_CRITERIA, MAX_LIMIT, MAX_LIST, Operator, PathRules, QuerySpec, SortOrder};
use crate::{
    management::envelope::{ALLOWED_CONTEXTS, Reader, parse_json},
    violation::Violation,
};
use serde_json::Value;
use std::collections::HashMap;

impl QuerySpec {
    /// Reads a body; an empty one or `null` is the default query. `@context` and `@type` may be left out, but must be right when they are there: not all APIs have JSON-LD.
    ///
    /// # Errors
    /// Every violated rule.
    pub fn from_body(body: &[u8], rules: &PathRules) -> Result<Self, Vec<Violation>> {
        if body.iter().all(u8::is_ascii_whitespace) {
            return Ok(Self::default());
        }
        Self::from_json(&parse_json(body)?, "$", rules)
    }

    /// Reads a body of the Management API: as [`Self::from_body`], but what is there must say what it is.
    ///
    /// # Errors
    /// Every violated rule.
    pub fn from_document(body: &[u8], rules: &PathRules) -> Result<Self, Vec<Violation>> {
        if body.iter().all(u8::is_ascii_whitespace) {
            return Ok(Self::default());
        }
        let value = parse_json(body)?;
        if !value.is_null() {
            Reader::open(&value, &["QuerySpec"])?;
        }
        Self::from_json(&value, "$", rules)
    }

    /// Reads a query within another body, under `path`.
    ///
    /// # Errors
    /// Every violated rule.
    pub fn from_json(value: &Value, path: &str, rules: &PathRules) -> Result<Self, Vec<Violation>> {
        if value.is_null() {
            return Ok(Self::default());
        }
        let mut r = Reader::nested(value, path)?;
        if let Some(context) = r.raw("@context") {
            let known = |item: &Value| item.as_str().is_some_and(|text| ALLOWED_CONTEXTS.contains(&text));
            if !context.as_array().is_some_and(|items| items.iter().all(known)) {
                r.note("@context", "must be an array of known contexts");
            }
        }
        if r.raw("@type").is_some() {
            r.expect_type(&["QuerySpec"]);
        }
        let offset = whole(&mut r, "offset", 0, 0);
        let limit = whole(&mut r, "limit", DEFAULT_LIMIT, 1).min(MAX_LIMIT);
        let sort = r.parsed("sortField");
        if let Some(Err(violation)) = sort.as_ref().map(|sort| rules.check(sort, &r.path("sortField"))) {
            r.note_all(vec![violation]);
        }
        let order = match r.text("sortOrder", 8).map(|text| text.to_ascii_uppercase()).as_deref() {
            None | Some("ASC") => SortOrder::Asc,
            Some("DESC") => SortOrder::Desc,
            Some(_) => {
                r.note("sortOrder", "must be ASC or DESC");
                SortOrder::Asc
            }
        };
        let list = r.path("filterExpression");
        let filter = criteria(&mut r, "filterExpression", &list, rules);
        r.finish(|| Some(Self { offset, limit, sort, order, filter, after: None }))
    }

    /// Reads the criteria of a field that is a list of them, such as an asset selector.
    ///
    /// # Errors
    /// Every violated rule.
    pub fn criteria_from_json(value: &Value, path: &str, rules: &PathRules) -> Result<Vec<Criterion>, Vec<Violation>> {
        let wrapped = serde_json::json!({ "list": value });
        let mut r = Reader::nested(&wrapped, path)?;
        let filter = criteria(&mut r, "list", path, rules);
        r.finish(|| Some(filter))
    }

    /// Reads `offset` and `limit` of a URL's query.
    ///
    /// # Errors
    /// A violation per malformed parameter.
    pub fn from_query(query: &HashMap<String, String>) -> Result<Self, Vec<Violation>> {
        let mut found = Vec::new();
        let mut number = |key: &str, default: usize, least: usize| match query.get(key).map(|text| text.parse::<usize>()) {
            None => default,
            Some(Ok(value)) if value >= least => value,
            Some(_) => {
                found.push(Violation::new(format!("?{key}"), format!("must be a whole number, at least {least}")));
                default
            }
        };
        let (offset, limit) = (number("offset", 0, 0), number("limit", DEFAULT_LIMIT, 1).min(MAX_LIMIT));
        if found.is_empty() { Ok(Self { offset, limit, ..Self::default() }) } else { Err(found) }
    }
}

fn whole(r: &mut Reader<'_>, key: &str, default: usize, least: usize) -> usize {
    let Some(value) = r.raw(key) else {
        return default;
    };
    match value.as_u64().and_then(|number| usize::try_from(number).ok()) {
        Some(number) if number >= least => number,
        Some(_) | None => {
            r.note(key, format!("must be a whole number, at least {least}"));
            default
        }
    }
}

fn criteria(r: &mut Reader<'_>, key: &str, path: &str, rules: &PathRules) -> Vec<Criterion> {
    let items = match r.raw(key) {
        Some(single @ Value::Object(_)) => std::slice::from_ref(single),
        _ => r.list(key, MAX_CRITERIA),
    };
    items.iter().enumerate().filter_map(|(n, item)| r.part(|| criterion(item, &format!("{path}[{n}]"), rules))).collect()
}

fn criterion(value: &Value, path: &str, rules: &PathRules) -> Result<Criterion, Vec<Violation>> {
    let mut r = Reader::nested(value, path)?;
    if r.raw("@type").is_some() {
        r.expect_type(&["Criterion"]);
    }
    let left = r.required_parsed("operandLeft");
    if let Some(Err(violation)) = left.as_ref().map(|left| rules.check(left, &r.path("operandLeft"))) {
        r.note_all(vec![violation]);
    }
    let operator = r.required_text("operator", 16).and_then(|text| {
        let known = Operator::parse(&text);
        if known.is_none() {
            r.note("operator", "is not an operator: use =, !=, <, <=, >, >=, in, not in, like, ilike or contains");
        }
        known
    });
    r.require("operandRight");
    let right = r.raw("operandRight").cloned();
    match (operator, &right) {
        (Some(operator), Some(Value::Array(items))) if operator.wants_list() && items.len() > MAX_LIST => {
            r.note("operandRight", format!("at most {MAX_LIST} values"));
        }
        (Some(operator), Some(right)) if operator.wants_list() && !right.is_array() => r.note("operandRight", "must be an array"),
        _ => {}
    }
    r.finish(|| Some(Criterion { left: left?, operator: operator?, right: right? }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const RULES: PathRules = PathRules { fields: &["id", "createdAt", "name"], free_properties: false };

    fn from(value: &Value) -> Result<QuerySpec, Vec<Violation>> {
        QuerySpec::from_body(value.to_string().as_bytes(), &RULES)
    }

    #[test]
    fn defaults() {
        for empty in ["", " \n", "null", "{}"] {
            assert_eq!(QuerySpec::from_body(empty.as_bytes(), &RULES), Ok(QuerySpec::default()), "{empty:?}");
        }
        assert_eq!(from(&json!({"limit": u32::MAX})).unwrap().limit, MAX_LIMIT);
    }

    #[test]
    fn documents_say_what_they_are() {
        let read = |body: &str| QuerySpec::from_document(body.as_bytes(), &RULES);
        for empty in ["", " \n", "null"] {
            assert_eq!(read(empty), Ok(QuerySpec::default()), "{empty:?}");
        }
        let document = |context: Value, kind: Value| json!({"@context": context, "@type": kind, "limit": 7}).to_string();
        let (v2, dsp) = (json!(["https://w3id.org/edc/connector/management/v2"]), json!(["https://w3id.org/dspace/2025/1/context.jsonld"]));
        assert_eq!(read(&document(v2.clone(), json!("QuerySpec"))).map(|query| query.limit), Ok(7));
        let wrong = |body: &str| read(body).unwrap_err().iter().map(|violation| violation.path.clone()).collect::<Vec<_>>();
        for (body, paths) in [
            ("{}".to_owned(), vec!["$.@context", "$.@type"]),
            (json!({"@context": v2, "limit": 7}).to_string(), vec!["$.@type"]),
            (document(v2.clone(), json!("Query")), vec!["$.@type"]),
            (document(dsp, json!("QuerySpec")), vec!["$.@context"]),
            (document(v2[0].clone(), json!("QuerySpec")), vec!["$.@context"]),
            (json!({"@context": v2, "@type": "QuerySpec", "limit": 0}).to_string(), vec!["$.limit"]),
        ] {
            assert_eq!(wrong(&body), paths, "{body}");
        }
    }

    #[test]
    fn what_is_refused() {
        let with = |criterion: Value| json!({"filterExpression": [criterion]});
        let good = json!({"operandLeft": "id", "operator": "=", "operandRight": "x"});
        let cases = [
            json!([]),
            json!({"limit": 0}),
            json!({"limit": 1.5}),
            json!({"offset": -1}),
            json!({"sortOrder": "UP"}),
            json!({"sortField": "colour"}),
            json!({"@type": "Query"}),
            json!({"@context": ["https://evil.example"]}),
            json!({"@context": "https://w3id.org/edc/connector/management/v2"}),
            with(json!(1)),
            with(json!({"operator": "=", "operandRight": 1})),
            with(json!({"operandLeft": "id", "operator": "=="})),
            with(json!({"operandLeft": "id", "operator": "~", "operandRight": 1})),
            with(json!({"operandLeft": "colour", "operator": "=", "operandRight": 1})),
            with(json!({"operandLeft": "id", "operator": "in", "operandRight": 1})),
            with(json!({"@type": "X", "operandLeft": "id", "operator": "=", "operandRight": 1})),
            json!({"filterExpression": vec![good; MAX_CRITERIA + 1]}),
        ];
        for case in cases {
            assert!(from(&case).is_err(), "{case}");
        }
    }

    #[test]
    fn pages() {
        let all: Vec<Value> = (0..10)
            .map(|n| json!({"@id": format!("a-{n}"), "createdAt": 100 - n, "name": if n % 2 == 0 { json!("even") } else { json!(null) }}))
            .collect();
        let ids = |query: &QuerySpec| {
            let page = query.page(all.iter(), |v| (*v).clone(), |v| v["@id"].as_str().unwrap());
            page.items.iter().filter_map(|v| v["@id"].as_str()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(ids(&from(&json!({"offset": 8})).unwrap()), "a-8 a-9");
        assert_eq!(ids(&from(&json!({"sortField": "createdAt", "limit": 3})).unwrap()), "a-9 a-8 a-7");
        assert_eq!(ids(&from(&json!({"sortField": "createdAt", "sortOrder": "desc", "offset": 1, "limit": 2})).unwrap()), "a-1 a-2");
        assert_eq!(ids(&from(&json!({"sortField": "name", "limit": 6})).unwrap()), "a-0 a-2 a-4 a-6 a-8 a-1");
        let one = json!({"filterExpression": {"operandLeft": "id", "operator": "in", "operandRight": ["a-3", "a-5"]}, "limit": 1});
        assert_eq!(ids(&from(&one).unwrap()), "a-3");
    }

    #[test]
    fn url_queries() {
        let query = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        assert_eq!(QuerySpec::from_query(&query(&[("offset", "3"), ("limit", "7")])).map(|q| (q.offset, q.limit)), Ok((3, 7)));
        assert_eq!(QuerySpec::from_query(&query(&[("offset", "x"), ("limit", "0")])).map_err(|v| v.len()), Err(2));
    }
}
