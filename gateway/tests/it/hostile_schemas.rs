//! Credentials that name schemas which have no end, lead elsewhere, or cannot be had.

use crate::{
    hostile::is_clear,
    hostile_peer::{Forged, Peer, Place, Trick, forbidden_ground},
    support::{DRAIN, Platform},
};
use reqwest::StatusCode;
use serde_json::{Value, json};

/// A schema that a party's credential names.
struct Case {
    name: &'static str,
    kind: &'static str,
    /// The schema's text by its URL and that of another schema of the party.
    schema: fn(&str, &str) -> Value,
    trick: Option<Trick>,
    expected: (StatusCode, &'static str),
}

const REFUSED: StatusCode = StatusCode::UNAUTHORIZED;
const UNKNOWN: StatusCode = StatusCode::SERVICE_UNAVAILABLE;
const VIOLATED: &str = "as its schema says";
const FORM: &str = "refers to itself alone";
const NOT_HAD: &str = "cannot be fetched";

const CASES: [Case; 11] = {
    const fn case(name: &'static str, schema: fn(&str, &str) -> Value, expected: (StatusCode, &'static str)) -> Case {
        Case { name, kind: "JsonSchema", schema, trick: None, expected }
    }
    const fn plays(name: &'static str, trick: Trick) -> Case {
        Case { trick: Some(trick), ..case(name, |_, _| json!({}), (UNKNOWN, NOT_HAD)) }
    }
    [
        case("good", |_, _| json!({"required": ["credentialSubject"]}), (StatusCode::OK, "")),
        case("itself", |_, _| json!({"$ref": "#"}), (REFUSED, VIOLATED)),
        case("by-url", |own, _| json!({ "$ref": own }), (REFUSED, VIOLATED)),
        case(
            "in-a-circle",
            |_, _| json!({"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}),
            (REFUSED, VIOLATED),
        ),
        case("another", |_, other| json!({ "$ref": other }), (REFUSED, FORM)),
        case("meta", |_, other| json!({ "$schema": other }), (REFUSED, FORM)),
        case("no-schema", |_, _| json!(["schema"]), (REFUSED, FORM)),
        plays("to-itself", Trick::RedirectsAway),
        plays("silent", Trick::Silent),
        plays("endless", Trick::Endless),
        plays("cut", Trick::CutsBody),
    ]
};

#[tokio::test(flavor = "multi_thread")]
async fn schemas_without_end_elsewhere_and_out_of_reach() {
    let (p, peer) = (Platform::hasty().await, Peer::start().await);
    let (ground, visits) = forbidden_ground().await;
    p.full_participant("acme").await;
    let acme = p.did("acme");
    let parties = CASES.iter().map(|case| case.name).chain(["signed", "nowhere"]);
    p.demands_credentials(&parties.map(|name| peer.issuer(name)).collect::<Vec<_>>()).await;
    // Sent on to itself without end.
    peer.send_away_to(peer.url("to-itself", "/schema"));
    let named = |name: &str, kind: &str, url: &str| {
        let schema = json!({"credentialSchema": {"id": url, "type": kind}});
        peer.forges(name, Forged::Credential(peer.credential(name, &schema)));
    };
    let asks = async |name: &str| p.catalog_for("acme", &peer.token(name, &acme, &json!({}))).await;
    for Case { name, kind, schema, trick, expected } in CASES {
        let (own, other) = (peer.url(name, "/schema"), format!("http://{ground}/schema"));
        peer.forges(name, Forged::Schema(schema(&own, &other).to_string()));
        if let Some(trick) = trick {
            peer.plays(name, Place::Schema, trick);
        }
        named(name, kind, &own);
        let (status, body) = asks(name).await;
        assert_eq!(status, expected.0, "{name}: {body}");
        if status != StatusCode::OK {
            assert!(body["reason"][0].as_str().unwrap().contains(expected.1), "{name}: {body}");
            is_clear(&body);
        }
        assert_eq!(peer.asked(&format!("/{name}/schema")), 1, "{name}");
    }
    assert_eq!(*visits.lock(), 0, "a schema led elsewhere");
    // What a schema credential says of its own schema is not followed, here to itself.
    let own = peer.url("signed", "/schema");
    let schema = peer.credential(
        "signed",
        &json!({"type": ["VerifiableCredential", "JsonSchemaCredential"], "credentialStatus": null,
        "credentialSubject": {"type": "JsonSchema", "jsonSchema": {"required": ["credentialSubject"]}},
        "credentialSchema": {"id": own, "type": "JsonSchemaCredential"}}),
    );
    peer.forges("signed", Forged::Schema(schema));
    named("signed", "JsonSchemaCredential", &own);
    let (status, body) = asks("signed").await;
    assert_eq!((status, peer.asked("/signed/schema")), (StatusCode::OK, 1), "{body}");
    // Where nobody is: nothing is known of the credential.
    named("nowhere", "JsonSchema", "http://127.0.0.1:9/schema");
    let (status, body) = asks("nowhere").await;
    assert_eq!(status, UNKNOWN, "{body}");
    assert!(body["reason"][0].as_str().unwrap().contains(NOT_HAD), "{body}");
    p.node.drain(DRAIN).await;
}
