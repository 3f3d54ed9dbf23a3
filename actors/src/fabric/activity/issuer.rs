//! Which participant context hosts an issuer of this installation.

use super::{ActivityError, Work};
use crate::fabric::platform::{Platform, segment};
use cellspace_schemas::{Did, ParticipantContextId};
use http::StatusCode;
use serde_json::Value;

/// The issuer's participant context, as the `IssuerService` of its DID document says. `None` for an issuer that is hosted elsewhere: nothing
/// can be registered there in the operator's name.
///
/// # Errors
/// Retry while the issuer's DID document is not there yet; fatal when it has no issuer service of this installation.
pub async fn context_of(platform: &Platform, issuer: &Did, work: &Work<'_>) -> Result<Option<ParticipantContextId>, ActivityError> {
    let Some(path) = platform.urls().did_path(issuer) else { return Ok(None) };
    let path: Vec<String> =
        path.as_str().split('/').map(|part| if part == ".well-known" { part.to_owned() } else { segment(part) }).collect();
    let answer = platform.public(&format!("/{}/did.json", path.join("/")), work.trace).await?;
    if answer.status == StatusCode::NOT_FOUND {
        return Err(ActivityError::Retry(format!("the issuer {issuer} has no DID document yet")));
    }
    let document = answer.done()?.body;
    let services = document.get("service").and_then(Value::as_array).into_iter().flatten();
    let endpoint = services
        .filter(|service| service.get("type").and_then(Value::as_str) == Some("IssuerService"))
        .find_map(|service| service.get("serviceEndpoint").and_then(Value::as_str));
    let base = platform.urls().public("/api/issuance/v1beta/participants/");
    let context = endpoint.and_then(|endpoint| endpoint.strip_prefix(&base)).and_then(|id| ParticipantContextId::new(id).ok());
    context.map(Some).ok_or_else(|| ActivityError::Fatal(format!("{issuer} has no IssuerService of this installation")))
}
