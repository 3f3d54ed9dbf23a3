//! What this node serves, as OpenAPI 3.1: made of the route table, so that neither can have what the other lacks. What bodies look like is what their
//! readers say ([`schema`]); which route takes and answers which of them stands in a table of its own ([`bodies`](mod@bodies)), that tests hold against
//! the handlers.

pub mod bodies;
pub mod documents;
mod readers;
pub mod schema;

use super::prefixes::{MANAGEMENT_V4, ROOT};
use crate::{
    App,
    http::{Access, Api, ApiError, Listener, Provisioner, Reply, Request, Route, Verb, route::Handler},
};
use bodies::{Bodies, Content, bodies};
use cellspace_actors::PublicUrls;
use documents::Document;
use serde_json::{Map, Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

/// The schemas of all documents: what readers are asked for, they are asked once.
static SCHEMAS: LazyLock<BTreeMap<&'static str, Value>> =
    LazyLock::new(|| Document::all().map(|document| (document.name, document.schema())).collect());

/// The routes.
#[must_use]
pub fn routes() -> Vec<Route> {
    let route = |path, handler: Handler| Route {
        listener: Listener::Admin,
        api: Api::Native,
        method: Verb::Get,
        path,
        prefixes: ROOT,
        access: Access::Open,
        handler,
    };
    vec![
        route("/api/openapi", |app, request| Box::pin(list(app, request))),
        route("/api/openapi/{api}", |app, request| Box::pin(get(app, request))),
    ]
}

async fn list(app: App, _request: Request) -> Result<Reply, ApiError> {
    let names: BTreeSet<&str> = app.routes.routes().map(|route| name(route.api)).collect();
    let entry = |name: &str| json!({"api": name, "url": app.services.urls.admin(&format!("/api/openapi/{name}"))});
    Reply::ok(&names.into_iter().map(entry).collect::<Vec<_>>())
}

async fn get(app: App, request: Request) -> Result<Reply, ApiError> {
    // The readers of all bodies are asked a lot the first time.
    let told = tokio::task::spawn_blocking(move || {
        let api = request.param("api")?;
        let routes: Vec<&Route> = app.routes.routes().filter(|route| name(route.api) == api).collect();
        if routes.is_empty() {
            return Err(ApiError::not_found(format!("api {api:?} does not exist")));
        }
        Reply::ok(&document(api, &routes, &app.services.urls))
    });
    told.await.map_err(|ended| ApiError::internal(ended.to_string()))?
}

/// The document that an operation is in.
#[must_use]
pub const fn name(api: Api) -> &'static str {
    match api {
        Api::Management => "management",
        Api::Identity => "identity",
        Api::IssuerAdmin => "issuer-admin",
        Api::DspCatalog | Api::DspNegotiation | Api::DspTransfer | Api::DspVersion => "dsp",
        Api::Dcp => "dcp",
        Api::Dps => "data-plane-signaling",
        Api::Fabric => "fabric",
        Api::OAuth => "token-service",
        Api::Native => "native",
    }
}

fn document(name: &str, routes: &[&Route], urls: &PublicUrls) -> Value {
    let (mut paths, mut errors, mut schemas) = (Map::new(), Map::new(), Map::new());
    for route in routes {
        let (kind, schema) = error(route.api);
        errors.entry(kind).or_insert_with(|| schema);
        let told = bodies(route).into_iter().flat_map(|bodies| [bodies.takes.document(), bodies.answers.document()]).flatten();
        schemas.extend(told.filter_map(|document| Some((document.name.to_owned(), SCHEMAS.get(document.name)?.clone()))));
        let item = paths.entry(path(route)).or_insert_with(|| json!({}));
        if let Some(item) = item.as_object_mut() {
            let server = match route.listener {
                Listener::Public => Some(urls.public("")),
                Listener::Admin => Some(urls.admin("")),
                Listener::Ops => None,
            };
            if let Some(url) = server {
                item.insert("servers".to_owned(), json!([{ "url": url }]));
            }
            item.insert(route.method.http().as_str().to_ascii_lowercase(), operation(route, kind));
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {"title": format!("Cellspace: {name}"), "version": env!("CARGO_PKG_VERSION")},
        "paths": paths,
        "components": {
            "responses": errors,
            "schemas": schemas,
            "securitySchemes": {"accessToken": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT",
                "description": "an access token of the token service, or of an issuer that the installation trusts"}},
        },
    })
}

/// The canonical path. OpenAPI knows no parameter for many segments: such a one is told as if it were one.
fn path(route: &Route) -> String {
    format!("{}{}", route.prefixes.first().copied().unwrap_or_default(), route.path.replace("{*", "{"))
}

fn operation(route: &Route, error: &str) -> Value {
    let path = path(route);
    let words = path.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let method = route.method.http().as_str().to_ascii_lowercase();
    let id = std::iter::once(method.as_str()).chain(words).collect::<Vec<_>>().join("_");
    let parameters = path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'));
    let parameters = parameters.map(|name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}}));
    let mut operation = json!({
        "operationId": id,
        "parameters": parameters.collect::<Vec<_>>(),
        "responses": {
            "2XX": answer(route, bodies(route)),
            "default": {"$ref": format!("#/components/responses/{error}")},
        },
        "security": match route.access {
            Access::Open => json!([]),
            Access::Scope(..) if route.prefixes == MANAGEMENT_V4 => json!([{ "accessToken": [] }]),
            Access::Scope(scope, _) => json!([{ "accessToken": [scope] }]),
        },
    });
    if let Some(fields) = operation.as_object_mut() {
        if let Access::Scope(scope, provisioner) = route.access {
            let also = if provisioner == Provisioner::Listed { "; open to provisioners" } else { "" };
            let unless = if route.prefixes == MANAGEMENT_V4 { ", of a token that has scopes of this API" } else { "" };
            fields.insert("description".to_owned(), format!("asks for the scope {scope}{unless}{also}").into());
        }
        if let Some(body) = bodies(route).and_then(|bodies| taken(bodies.takes)) {
            fields.insert("requestBody".to_owned(), body);
        }
    }
    operation
}

fn reference(document: &Document) -> Value {
    json!({"$ref": format!("#/components/schemas/{}", document.name)})
}

fn taken(takes: Content) -> Option<Value> {
    let (required, media, schema) = match takes {
        Content::Nothing | Content::Other(_) => return None,
        Content::One(document) => (true, "application/json", reference(&document)),
        Content::Maybe(document) => (false, "application/json", reference(&document)),
        Content::List(document) => (true, "application/json", json!({"type": "array", "items": reference(&document)})),
        Content::Form(document) => (true, "application/x-www-form-urlencoded", reference(&document)),
    };
    Some(json!({"required": required, "content": {media: {"schema": schema}}}))
}

fn answer(route: &Route, bodies: Option<Bodies>) -> Value {
    let description = match route.method {
        Verb::Follow => "what happens from now on, or after the Last-Event-ID",
        _ => "done",
    };
    let (media, schema) = match bodies.map(|bodies| bodies.answers) {
        None | Some(Content::Nothing) => return json!({ "description": description }),
        Some(Content::One(document) | Content::Maybe(document) | Content::Form(document)) => ("application/json", reference(&document)),
        Some(Content::List(document)) => ("application/json", json!({"type": "array", "items": reference(&document)})),
        Some(Content::Other(media)) => (media, json!({"type": "string"})),
    };
    json!({"description": description, "content": {media: {"schema": schema}}})
}

/// The error answer of an API: its name in the document, and what it looks like.
fn error(api: Api) -> (&'static str, Value) {
    let text = || json!({"type": "string"});
    let (name, media, schema) = match api {
        Api::Management | Api::Identity | Api::IssuerAdmin | Api::Dcp | Api::Dps => {
            let entry = json!({"type": "object", "required": ["message", "type"],
                "properties": {"message": text(), "type": text(), "path": {"type": ["string", "null"]}, "invalidValue": true}});
            ("Errors", "application/json", json!({"type": "array", "items": entry}))
        }
        Api::DspCatalog | Api::DspNegotiation | Api::DspTransfer | Api::DspVersion => {
            let schema = json!({"type": "object", "required": ["@context", "@type", "code", "reason"], "properties": {"@context": true,
                "@type": text(), "code": text(), "reason": {"type": "array", "items": text()}, "consumerPid": text(), "providerPid": text()}});
            ("DspError", "application/json", schema)
        }
        Api::Fabric => {
            let fields = json!({"error": text(), "message": text(), "code": {"type": "integer"}, "id": text()});
            ("FabricError", "application/json", json!({"type": "object", "required": ["error", "message", "code"], "properties": fields}))
        }
        Api::OAuth => {
            let fields = json!({"error": text(), "error_description": text()});
            ("OAuthError", "application/json", json!({"type": "object", "required": ["error"], "properties": fields}))
        }
        Api::Native => {
            let fields = json!({"type": text(), "title": text(), "status": {"type": "integer"}, "detail": text(), "instance": text()});
            ("Problem", "application/problem+json", json!({"type": "object", "properties": fields}))
        }
    };
    (name, json!({"description": "what is wrong", "content": {media: {"schema": schema}}}))
}
