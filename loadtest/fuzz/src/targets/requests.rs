//! Requests before any handler: paths, queries, forms, heads; and the way of a path to a source of data.

use bytes::Bytes;
use cellspace::{
    http::{Listener, Match, Params, Request, Router},
    routes::{self, status_list::Form},
    server::dispatch,
};
use cellspace_actors::data_plane::source::Source;
use cellspace_schemas::source::SourceDocument;
use http::{HeaderMap, HeaderValue, Method, header};
use percent_encoding::percent_decode_str;
use std::{collections::HashMap, sync::OnceLock, time::Duration};

/// A path, and maybe a query in a second line: to a route, and to a source.
pub fn paths(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (path, query) = text.split_once('\n').map_or((text, None), |(path, query)| (path, Some(query)));
    static ROUTER: OnceLock<Router> = OnceLock::new();
    let router = ROUTER.get_or_init(|| Router::new(routes::all()).expect("the table is right"));
    for listener in [Listener::Public, Listener::Admin, Listener::Ops] {
        let _ = router.api_near(listener, path);
        for method in [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS] {
            if let Ok(found) = router.find(listener, &method, path) {
                matched(&found, listener, path);
            }
        }
    }
    static SOURCE: OnceLock<Source> = OnceLock::new();
    let source = SOURCE.get_or_init(|| {
        let document: SourceDocument =
            serde_json::from_str(r#"{"baseUrl": "https://source.example/base", "pathPrefixes": ["/open", "/sets/"], "allowQuery": true}"#)
                .expect("a document");
        Source::of(&document).expect("a source")
    });
    if let Ok(url) = source.target(path, query) {
        assert_eq!(url.origin(), source.base_url.origin());
        let below = url.path().strip_prefix("/base").unwrap_or_else(|| panic!("{url} is not below the base"));
        let decoded = percent_decode_str(below).decode_utf8_lossy();
        assert!(below.is_empty() || ["/open", "/sets/"].iter().any(|open| decoded.starts_with(open)), "{url} is not open");
        assert!(!decoded.split(['/', '\\', ';']).any(|segment| matches!(segment, "." | "..")), "{url} leads out");
    }
}

fn matched(found: &Match, listener: Listener, path: &str) {
    assert!(found.route.listener == listener && found.route.prefixes.iter().any(|prefix| path.starts_with(prefix)));
    let names = found.route.path.split('/').filter(|segment| segment.starts_with('{')).count();
    assert_eq!(found.params.iter().count(), names, "{path} at {}", found.route.path);
    assert!(found.params.iter().all(|(_, value)| value != "." && value != ".."), "{path}");
}

/// A body, as a form and as JSON, with its first line as the query and as every head that is read.
pub fn requests(data: &[u8]) {
    let line = data.iter().position(|b| *b == b'\n').unwrap_or(0);
    let form_type = (header::CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
    let without = HeaderMap::from_iter([form_type]);
    let mut headers = without.clone();
    if let Ok(value) = HeaderValue::from_bytes(&data[..line]) {
        for name in [header::AUTHORIZATION, header::ACCEPT, header::IF_NONE_MATCH] {
            headers.insert(name, value.clone());
        }
        headers.insert("idempotency-key", value.clone());
        headers.insert("last-event-id", value);
    }
    let raw_query = std::str::from_utf8(&data[..line]).ok().map(str::to_owned);
    let query = dispatch::query(raw_query.as_deref());
    let pairs = url::form_urlencoded::parse(&data[..line]);
    // The last one of a name.
    assert!(raw_query.is_none() || pairs.into_owned().collect::<HashMap<_, _>>() == query);
    let with = |headers| Request {
        method: Method::POST,
        path: "/token".to_owned(),
        params: Params::default(),
        query: query.clone(),
        raw_query: raw_query.clone(),
        headers,
        body: Bytes::copy_from_slice(&data[line..]),
        principal: None,
        trace: None,
        waited: Duration::ZERO,
    };
    let (without, request) = (with(without), with(headers));
    if let Ok(form) = routes::token::form(&request) {
        // Each name once: there is nothing to be taken in two ways.
        let pairs = url::form_urlencoded::parse(&request.body).count();
        assert_eq!(form.len(), pairs);
    }
    if let Some(token) = request.bearer() {
        assert!(!token.is_empty() && token.trim() == token);
    }
    for request in [&request, &without] {
        if let Ok(Some(position)) = routes::events::after(request) {
            assert_eq!(position.to_string().parse().as_ref(), Ok(&position));
        }
        // Credentials are either in the head or in the form.
        let form = routes::token::form(request).unwrap_or_default();
        let scheme = request.headers.get(header::AUTHORIZATION).map(|value| value.as_bytes().to_ascii_lowercase());
        if let Ok((id, secret)) = routes::token::credentials(request, &form) {
            match scheme {
                Some(scheme) => assert!(scheme.starts_with(b"basic ")),
                None => assert_eq!((form.get("client_id"), form.get("client_secret")), (Some(&id), Some(&secret))),
            }
        }
    }
    let said = |header| request.headers.get(header).and_then(|value| value.to_str().ok()).unwrap_or_default().to_ascii_lowercase();
    match routes::status_list::accepted(&request.headers) {
        Some(Form::Plain) => assert!(said(header::ACCEPT).contains("application/json")),
        Some(Form::Signed) => {
            assert!(["jwt", "*"].iter().any(|part| said(header::ACCEPT).contains(part)) || said(header::ACCEPT).is_empty())
        }
        None => {}
    }
    if routes::status_list::matches(&request.headers, "\"1-jwt\"") {
        assert!(["*", "\"1-jwt\""].iter().any(|part| said(header::IF_NONE_MATCH).contains(part)));
    }
    drop(request.call());
    drop(request.json::<serde_json::Value>());
}
