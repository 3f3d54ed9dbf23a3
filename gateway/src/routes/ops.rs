//! Operations: health, metrics, versions. Open, on a listener of their own.

use super::prefixes::{MANAGEMENT_V4, ROOT};
use crate::{
    App,
    http::{Access, Api, Listener, Reply, Route, Verb, route::Handler},
    observe::{health::Report, metrics},
};
use http::StatusCode;
use serde_json::{Value, json};

/// Media type of the Prometheus text format.
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The routes.
#[must_use]
pub fn routes() -> Vec<Route> {
    let route = |path, handler: Handler| Route {
        listener: Listener::Ops,
        api: Api::Native,
        method: Verb::Get,
        path,
        prefixes: ROOT,
        access: Access::Open,
        handler,
    };
    vec![
        route("/api/check/health", |app, _| Box::pin(async move { report(&app, |h| h.health()) })),
        route("/api/check/startup", |app, _| Box::pin(async move { report(&app, |h| h.startup()) })),
        route("/api/check/liveness", |app, _| Box::pin(async move { report(&app, |h| h.liveness()) })),
        route("/api/check/readiness", |app, _| Box::pin(async move { report(&app, |h| h.readiness()) })),
        route("/api/v1/version", |app, _| Box::pin(async move { Reply::ok(&versions(&app)) })),
        route("/metrics", |app, _| {
            Box::pin(async move {
                app.health.publish_counters();
                metrics::collect_process();
                Ok(Reply::bytes(StatusCode::OK, PROMETHEUS, metrics::handle().render()))
            })
        }),
    ]
}

fn report(app: &App, ask: impl FnOnce(&crate::observe::Health) -> Report) -> Result<Reply, crate::http::ApiError> {
    let report = ask(&app.health);
    let status = if report.is_system_healthy { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    Reply::json(status, &report)
}

/// The APIs served, by name, with the day their surface last changed.
fn versions(app: &App) -> Value {
    let api = |version: &str, path: &str, maturity: &str| json!([{ "version": version, "urlPath": path, "lastUpdated": UPDATED, "maturity": maturity }]);
    let mut management = api("5.0.0-beta", "/v5beta", "beta");
    if app.routes.routes().any(|route| route.prefixes == MANAGEMENT_V4)
        && let (Some(versions), Value::Array(v4)) = (management.as_array_mut(), api("4.1.0", "/v4", "stable"))
    {
        versions.extend(v4);
    }
    json!({
        "management": management,
        "identity": api("1.0.0-beta", "/v1beta", "beta"),
        "issueradmin": api("1.0.0-beta", "/v1beta", "beta"),
        "credentials": api("1.0.0", "/v1", "stable"),
        "issuance": api("1.0.0", "/v1beta", "stable"),
        "signaling": api("1.0.0-alpha", "/v1", "alpha"),
        "sts": api("1.0.0", "/v1", "stable"),
        "observability": api("1.0.0", "/v1", "stable"),
        "version": api("1.0.1", "/v1", "stable"),
    })
}

/// When a route was last added or changed.
const UPDATED: &str = "2026-11-26T00:00:00Z";
