//! An issuer that the suite's holder is registered with.

use super::{FORMAT, Stage, TYPES};
use crate::platform::{CellArgs, Platform};
use anyhow::Result;
use reqwest::Method;
use serde_json::json;
use std::path::Path;

/// Context id of the issuer.
const ISSUER: &str = "issuer";
/// The holder's id of its requests.
const HOLDER_PID: &str = "holder-request";

/// The issuer under test, and the suite's properties.
pub async fn issuer(port: u16, dir: &Path, cell: &CellArgs) -> Result<(Platform, String)> {
    let stage = Stage::new(port, dir, cell).await?;
    let endpoint = stage.platform.urls.issuer_service(&ISSUER.parse()?);
    let (did, _) = stage.participant(ISSUER, "IssuerService", endpoint).await?;
    let holder = json!({"holderId": "holder", "did": stage.did_of("holder")?, "name": "Holder", "properties": {"since": "2026-01-01"}});
    let mut made =
        vec![("holders", holder), ("attestations", json!({"id": "registration", "attestationType": "holder", "configuration": {}}))];
    made.extend(TYPES.map(|credential| {
        let definition = json!({"id": credential, "credentialType": credential, "format": FORMAT, "validity": "604800",
            "attestations": ["registration"], "rules": [],
            "mappings": [{"input": "since", "output": "credentialSubject.since", "required": "true"}]});
        ("credentialdefinitions", definition)
    }));
    for (resource, body) in made {
        let path = format!("/api/admin/v1beta/participants/{ISSUER}/{resource}");
        stage.operator.call(Method::POST, &path, Some(&body)).await?;
    }
    Ok(stage.ready("issuer", &did, &[("credentials.correlation.id", HOLDER_PID)]))
}
