//! Small texts: ids, dates, durations, cursors, links, offer ids, scopes, trace contexts, paths to fields, predicates.

use cellspace::http::wait::parse_duration;
use cellspace_actors::{
    control_plane::{
        ControlPlaneState,
        catalog::{Cursor, resolve_offer},
        policy::ParticipantAgent,
    },
    federated_catalog::next_page,
    settings::Settings,
};
use cellspace_schemas::{
    AssetId, Did, MessageId, OfferId, ParticipantContextId, Pid, Timestamp, TraceContext, TransferType,
    dcp::{CredentialFormat, CredentialScope},
    dsp::BaseUrl,
    fabric::Predicate,
    ids::{MAX_ID_BYTES, MAX_OFFER_ID_BYTES},
    query_spec::FieldPath,
};
use serde_json::json;
use std::{fmt::Debug, str::FromStr};

/// What is shown of a value is read as the value.
fn shown<T: FromStr<Err: Debug> + ToString + PartialEq + Debug>(text: &str) {
    if let Ok(value) = text.parse::<T>() {
        assert_eq!(value.to_string().parse::<T>().as_ref().ok(), Some(&value), "{text:?}");
    }
}

/// Each text as everything that a text may be.
pub fn texts(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    shown::<AssetId>(text);
    shown::<ParticipantContextId>(text);
    shown::<Pid>(text);
    shown::<MessageId>(text);
    shown::<Did>(text);
    shown::<Predicate>(text);
    shown::<FieldPath>(text);
    if let Ok(id) = AssetId::new(text) {
        assert!(id.as_str().len() <= MAX_ID_BYTES && !text.contains(char::is_whitespace));
    }
    if let Ok(kind) = TransferType::new(text) {
        let _ = kind.is_push();
    }
    if let Ok(path) = text.parse::<FieldPath>() {
        let _ = path.values(&json!({"a": [{"b": {"c": 1}}], "properties": {"https://x/y": [2]}}));
    }
    if let Ok(predicate) = text.parse::<Predicate>() {
        let _ = predicate.matches(&json!({"a": [{"b": {"c": 1}}], "n": 1.5, "t": "x"}));
    }
    if let Ok(id) = OfferId::new(text) {
        assert!(text.len() <= MAX_OFFER_ID_BYTES);
        let agent = ParticipantAgent::new(Did::new("did:web:a").expect("a DID"), &[]);
        let offer = resolve_offer(&ControlPlaneState::default(), &Settings::default(), &id, &agent, Timestamp(0));
        assert!(offer.is_none(), "nothing is offered");
    }
    if let Some(cursor) = Cursor::parse(text) {
        assert_eq!(Cursor::parse(&cursor.token()).as_ref(), Some(&cursor));
    }
    if let Some(time) = Timestamp::parse_rfc3339(text) {
        let shown = time.to_rfc3339();
        assert_eq!(Timestamp::parse_rfc3339(&shown), Some(time), "{shown}");
    }
    if let Ok(scope) = CredentialScope::parse(text) {
        assert_eq!(CredentialScope::parse(&scope.to_string()).as_ref(), Ok(&scope));
        let _ = scope.matches(Some(text), &[text.to_owned()], &[text.to_owned()]);
    }
    if let Some(context) = TraceContext::parse(text) {
        assert_eq!(TraceContext::parse(context.as_str()).as_ref(), Some(&context));
    }
    let here: BaseUrl = "https://x.example/dsp/net".parse().expect("an address");
    if let Some(next) = next_page([text], here.url(), &here) {
        assert!(next.as_str().starts_with(here.as_str()), "{next} is elsewhere");
    }
    let _ = CredentialFormat::parse(text);
    let _ = parse_duration(text);
}
