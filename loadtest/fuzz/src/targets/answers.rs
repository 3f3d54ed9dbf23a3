//! What others answer when they are called: issuers, counterparties, data planes, token endpoints, services that attest.

use super::kept;
use bytes::Bytes;
use cellspace_actors::{
    control_plane::{
        catalog::in_common,
        data_planes::client::{access_token, signal},
        dsp::client::judge,
        transfer::{PlaneCall, Signal},
    },
    credential_service::issuance::located,
    issuer::claims::{ClaimPath, Claims},
};
use cellspace_cluster::DeliveryError;
use cellspace_schemas::{
    dcp,
    dsp::{BaseUrl, reasons::MAX_REASON_CHARS, versions::VersionResponse},
    ids::MAX_ID_BYTES,
    issuer::metadata::{OtherIssuer, OtherStatus},
    json,
    management::{DataspaceProfile, MANAGEMENT_CONTEXT},
};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::{Map, json as value};
use std::sync::OnceLock;

/// A body, as that of every answer; its first line as the heads that are read.
pub fn answers(data: &[u8]) {
    let (head, body) = data.split_at(data.iter().position(|b| *b == b'\n').unwrap_or(0));
    judged(head, body);
    if let Some(token) = access_token(body) {
        assert!(!token.is_empty() && token.len() <= body.len());
    }
    planes(body);
    versions(body);
    drop(dcp::read::<OtherStatus>(body));
    drop(json::from_slice::<OtherIssuer>(body));
    if let Ok(mut claims) = json::from_slice::<Claims>(body) {
        let path: ClaimPath = "a.b".parse().expect("a path");
        let there = path.get(&claims).cloned().unwrap_or_else(|| value!(1));
        path.put(&mut claims, there.clone());
        assert_eq!(path.get(&claims), Some(&there));
    }
}

/// Whether a message was taken, and when it is to be sent again.
fn judged(head: &[u8], body: &[u8]) {
    let mut headers = HeaderMap::new();
    if let Ok(value) = HeaderValue::from_bytes(head) {
        headers.insert(header::LOCATION, value.clone());
        headers.insert(header::RETRY_AFTER, value);
    }
    if let Some(pid) = located(&headers) {
        assert!(!pid.as_str().is_empty() && pid.as_str().len() <= MAX_ID_BYTES);
    }
    for status in [StatusCode::OK, StatusCode::FOUND, StatusCode::CONFLICT, StatusCode::TOO_MANY_REQUESTS, StatusCode::BAD_GATEWAY] {
        let later = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
        match judge(Ok((status, headers.clone(), Bytes::copy_from_slice(body)))) {
            Ok((taken, read)) => assert!(status.is_success() && taken == status && read == body),
            Err(DeliveryError::Refused(reason)) => assert!(!later && reason.chars().count() <= MAX_REASON_CHARS + 32, "{status}: {reason}"),
            Err(DeliveryError::Retry(reason) | DeliveryError::RetryAfter { reason, .. }) => {
                assert!(later && reason.chars().count() <= MAX_REASON_CHARS + 32, "{status}: {reason}");
            }
            Err(error @ DeliveryError::Unreachable(_)) => panic!("{status}: {error}"),
        }
    }
}

/// What a data plane says of a flow.
fn planes(body: &[u8]) {
    let start = || PlaneCall::Start { claims: Map::new(), data_address: None };
    for call in [PlaneCall::Prepare, start(), PlaneCall::Resume(None), PlaneCall::Completed] {
        for status in [StatusCode::OK, StatusCode::ACCEPTED] {
            if let Ok(Signal::Prepared(Some(address)) | Signal::Started(Some(address))) = signal(&call, status, body) {
                assert!(!matches!(call, PlaneCall::Completed));
                kept(&address);
            }
        }
    }
}

/// Versions of a counterparty: what they lead to is at the counterparty.
fn versions(body: &[u8]) {
    let Ok(told) = json::from_slice::<VersionResponse>(body) else { return };
    static PROFILE: OnceLock<DataspaceProfile> = OnceLock::new();
    let profile = PROFILE.get_or_init(|| {
        let profile = value!({"@context": [MANAGEMENT_CONTEXT], "@type": "DataspaceProfile", "name": "net",
            "protocol": {"version": "2025-1", "path": "/net", "binding": "HTTPS", "namespace": "n"}});
        DataspaceProfile::from_json(&profile).expect("a profile")
    });
    let base: BaseUrl = "https://x.example/dsp".parse().expect("an address");
    let endpoint = base.below(&[".well-known", "dspace-version"]);
    for found in in_common(profile, &told.protocol_versions, &endpoint, &base) {
        let address: BaseUrl = found.counter_party_address.parse().unwrap_or_else(|_| panic!("{found:?}"));
        assert_eq!(address.url().origin(), base.url().origin());
    }
}
