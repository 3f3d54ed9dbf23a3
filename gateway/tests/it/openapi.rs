//! The documentation of the APIs: it has every operation of the route table and nothing else, and is OpenAPI 3.1 in its structure.

use crate::support::{DRAIN, Platform, id_of};
use cellspace::{
    http::{Access, Route},
    routes::{
        self, dsp_classic, management_v4,
        openapi::{
            bodies::{BODIES, bodies, line},
            documents::Document,
            name,
        },
        prefixes,
    },
};
use reqwest::{Method, StatusCode};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

const METHODS: [&str; 8] = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];

/// Operations of a document: method and path, with the operation.
fn operations(document: &Value) -> BTreeMap<String, &Value> {
    let mut all = BTreeMap::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap().iter().filter(|(key, _)| METHODS.contains(&key.as_str())) {
            all.insert(format!("{} {path}", method.to_uppercase()), operation);
        }
    }
    all
}

fn names_of(path: &str) -> BTreeSet<&str> {
    path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}')).collect()
}

/// What is wrong with a document by the specification (OpenAPI 3.1.0, section 4), as far as it has what is checked here.
fn flaws(document: &Value) -> Vec<String> {
    let mut flaws = Vec::new();
    let mut flaw = |holds: bool, what: String| {
        if !holds {
            flaws.push(what);
        }
    };
    let text = |value: &Value| value.as_str().is_some_and(|text| !text.is_empty());
    let keys = |value: &Value, allowed: &[&str]| {
        value.as_object().is_some_and(|map| map.keys().all(|key| allowed.contains(&key.as_str()) || key.starts_with("x-")))
    };
    flaw(document["openapi"] == "3.1.0", "openapi".to_owned());
    flaw(keys(document, &["openapi", "info", "servers", "paths", "components", "security", "tags"]), "keys of the document".to_owned());
    flaw(text(&document["info"]["title"]) && text(&document["info"]["version"]), "info".to_owned());
    let (mut ids, mut templates) = (BTreeSet::new(), BTreeSet::new());
    for (path, item) in document["paths"].as_object().unwrap() {
        flaw(path.starts_with('/') && !path.contains(['?', '*']), format!("{path}: the path"));
        // Paths that differ in the names of their parameters alone are the same.
        let template: Vec<&str> = path.split('/').map(|segment| if segment.starts_with('{') { "{}" } else { segment }).collect();
        flaw(templates.insert(template), format!("{path}: is there twice"));
        flaw(keys(item, &[&METHODS[..], &["servers", "summary", "description", "parameters"]].concat()), format!("{path}: keys"));
        let servers = item.get("servers").map_or(&[][..], |servers| servers.as_array().unwrap());
        flaw(
            servers.iter().all(|server| server["url"].as_str().is_some_and(|url| url::Url::parse(url).is_ok())),
            format!("{path}: servers"),
        );
    }
    for (name, operation) in operations(document) {
        let allowed = ["operationId", "parameters", "requestBody", "responses", "security", "description", "summary", "tags"];
        flaw(keys(operation, &allowed), format!("{name}: keys"));
        flaw(text(&operation["operationId"]) && ids.insert(operation["operationId"].clone().to_string()), format!("{name}: operationId"));
        let parameters = operation["parameters"].as_array().unwrap();
        let right = |p: &Value| p["in"] == "path" && p["required"] == true && p["schema"]["type"] == "string";
        flaw(parameters.iter().all(right), format!("{name}: parameters"));
        let told: BTreeSet<&str> = parameters.iter().filter_map(|p| p["name"].as_str()).collect();
        flaw(told.len() == parameters.len() && told == names_of(name.split_once(' ').unwrap().1), format!("{name}: names of parameters"));
        let schema = |of: &Value| {
            let of = if of["type"] == "array" { &of["items"] } else { of };
            let named = of["$ref"].as_str().and_then(|to| document.pointer(to.strip_prefix('#')?));
            of["type"] == "string" || named.is_some_and(|schema| schema["examples"].is_array())
        };
        let bodies = operation.get("requestBody").into_iter().chain(operation["responses"].get("2XX"));
        for content in bodies.filter_map(|body| body["content"].as_object()) {
            flaw(content.iter().all(|(media, of)| media.contains('/') && schema(&of["schema"])), format!("{name}: body"));
        }
        let responses = operation["responses"].as_object().unwrap();
        flaw(!responses.is_empty(), format!("{name}: no responses"));
        for (code, response) in responses {
            flaw(
                code == "default" || (code.len() == 3 && matches!(code.as_bytes(), [b'1'..=b'5', b'0'..=b'9' | b'X', b'0'..=b'9' | b'X'])),
                format!("{name}: {code}"),
            );
            let response = match response["$ref"].as_str() {
                None => Some(response),
                Some(to) => to.strip_prefix('#').and_then(|pointer| document.pointer(pointer)),
            };
            flaw(response.is_some_and(|response| text(&response["description"])), format!("{name}: {code} has no description"));
        }
        for scheme in operation["security"].as_array().unwrap().iter().flat_map(|all| all.as_object().unwrap().keys()) {
            flaw(document["components"]["securitySchemes"].get(scheme).is_some(), format!("{name}: {scheme}"));
        }
    }
    let scheme = &document["components"]["securitySchemes"]["accessToken"];
    flaw(scheme["type"] == "http" && scheme["scheme"] == "bearer", "accessToken".to_owned());
    flaws
}

fn operation_of(route: &Route) -> String {
    format!("{} {}{}", route.method.http(), route.prefixes[0], route.path.replace("{*", "{"))
}

#[tokio::test]
async fn every_operation_is_documented_and_nothing_else() {
    let p = Platform::temporary(|config| config.single_participant = Some(id_of("acme"))).await;
    let open = async |path: &str| p.http.get(p.node.urls.admin(path)).send().await.unwrap();
    let listed: Vec<Value> = open("/api/openapi").await.json().await.unwrap();
    let mut expected: BTreeMap<&str, BTreeMap<String, Value>> = BTreeMap::new();
    for route in p.node.app.routes.routes() {
        let security = match route.access {
            Access::Open => serde_json::json!([]),
            Access::Scope(..) if route.prefixes == prefixes::MANAGEMENT_V4 => serde_json::json!([{"accessToken": []}]),
            Access::Scope(scope, _) => serde_json::json!([{"accessToken": [scope]}]),
        };
        let before = expected.entry(name(route.api)).or_default().insert(operation_of(route), security);
        assert_eq!(before, None, "{}", operation_of(route));
    }
    let names: Vec<&str> = listed.iter().map(|entry| entry["api"].as_str().unwrap()).collect();
    assert_eq!(names, expected.keys().copied().collect::<Vec<_>>());
    for entry in &listed {
        let name = entry["api"].as_str().unwrap();
        let document = p.http.get(entry["url"].as_str().unwrap()).send().await.unwrap();
        assert_eq!(document.status(), StatusCode::OK);
        let document: Value = document.json().await.unwrap();
        let documented: BTreeMap<String, Value> =
            operations(&document).into_iter().map(|(name, operation)| (name, operation["security"].clone())).collect();
        assert_eq!(documented, expected[name], "{name}");
        assert_eq!(flaws(&document), Vec::<String>::new(), "{name}");
    }
    assert!(expected["management"].keys().any(|operation| operation == "POST /api/mgmt/v4/assets"));
    assert_eq!(open("/api/openapi/nothing").await.status(), StatusCode::NOT_FOUND);
    assert_eq!(p.call(Method::POST, "/api/openapi", None).await.0, StatusCode::METHOD_NOT_ALLOWED);
    p.node.drain(DRAIN).await;
}

#[test]
fn every_route_has_its_bodies_and_nothing_else_has() {
    let routes: Vec<Route> = routes::all().into_iter().chain(management_v4::routes()).chain(dsp_classic::routes()).collect();
    let without: Vec<String> = routes.iter().filter(|route| bodies(route).is_none()).map(line).collect();
    assert_eq!(without, Vec::<String>::new());
    let lines: BTreeSet<String> = routes.iter().map(line).collect();
    let told: Vec<&str> = BODIES.iter().map(|(line, ..)| *line).collect();
    assert_eq!(told.iter().filter(|line| !lines.contains(**line)).collect::<Vec<_>>(), Vec::<&&str>::new());
    assert_eq!(told.len(), told.iter().collect::<BTreeSet<_>>().len());
}

/// Nothing is documented that no route has.
#[test]
fn every_document_is_some_routes() {
    let all = routes::all();
    let used = all.iter().filter_map(bodies).flat_map(|bodies| [bodies.takes.document(), bodies.answers.document()]).flatten();
    let used: BTreeSet<&str> = used.map(|document| document.name).collect();
    assert_eq!(used, Document::all().map(|document| document.name).collect());
}
