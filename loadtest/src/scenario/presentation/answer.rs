//! Answers to presentation queries, held against who was asked, by whom, when, and for what.

use super::held::{Held, Kinds};
use crate::world::{now, part};
use parking_lot::Mutex;
use serde::Deserialize;
use std::{collections::HashSet, time::Instant};
use uuid::Uuid;

/// The answer (DCP 1.0, 5.4.2).
#[derive(Deserialize)]
struct Message<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(borrow)]
    presentation: Vec<&'a str>,
}

#[derive(Deserialize)]
struct Header<'a> {
    alg: &'a str,
    kid: &'a str,
}

/// A presentation of the VC Data Model 2.0.
#[derive(Deserialize)]
struct Claims<'a> {
    iss: &'a str,
    aud: &'a str,
    holder: &'a str,
    jti: &'a str,
    iat: u64,
    exp: u64,
    #[serde(borrow, rename = "type")]
    types: Vec<&'a str>,
    #[serde(borrow, rename = "verifiableCredential")]
    credentials: Vec<Enveloped<'a>>,
}

#[derive(Deserialize)]
struct Enveloped<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    id: &'a str,
}

/// What is expected of an answer.
pub struct Expected<'a> {
    /// DID and key id of who was asked.
    pub holder: &'a str,
    pub kid: &'a str,
    pub held: &'a Held,
    /// DID of who asked.
    pub verifier: &'a str,
    pub kinds: Kinds,
    /// When the request was sent: by the clock that runs evenly, and in seconds since the epoch.
    pub began: Instant,
    pub second: u64,
}

/// Ids of presentations that were seen: none comes twice.
#[derive(Default)]
pub struct Seen(Mutex<HashSet<Uuid>>);

impl Expected<'_> {
    /// Whether a body is that answer: made for this request and shown nothing else. Answers the presentation, whose signature is yet to be verified;
    /// there is none when nothing is granted.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn judge<'a>(&self, body: &'a [u8], seen: &Seen) -> Result<Option<&'a str>, String> {
        let message: Message<'_> = serde_json::from_slice(body).map_err(|error| format!("no answer: {error}"))?;
        if message.kind != "PresentationResponseMessage" {
            return Err(format!("a {}", message.kind));
        }
        match message.presentation.as_slice() {
            [] if self.kinds.numbers().next().is_none() => Ok(None),
            [jwt] => self.presentation(jwt, seen).map(|()| Some(*jwt)),
            several => Err(format!("{} presentations", several.len())),
        }
    }

    fn presentation(&self, jwt: &str, seen: &Seen) -> Result<(), String> {
        let (header, claims) = part(jwt, 0).zip(part(jwt, 1)).ok_or("no JWT")?;
        let header: Header<'_> = serde_json::from_slice(&header).map_err(|error| format!("header: {error}"))?;
        let claims: Claims<'_> = serde_json::from_slice(&claims).map_err(|error| format!("claims: {error}"))?;
        let shown: Option<Vec<&str>> = claims.credentials.iter().map(Enveloped::jwt).collect();
        let fresh =
            || claims.jti.strip_prefix("urn:uuid:").and_then(|id| Uuid::parse_str(id).ok()).is_some_and(|id| seen.0.lock().insert(id));
        let rules = [
            ("alg", header.alg == "EdDSA"),
            ("kid", header.kid == self.kid),
            ("type", claims.types == ["VerifiablePresentation"]),
            ("holder", claims.iss == self.holder && claims.holder == self.holder),
            ("aud", claims.aud == self.verifier),
            // The second of the request or a later one, whatever clock it is: both sides have the same.
            ("iat", (self.second..=now()).contains(&claims.iat)),
            ("exp", claims.exp > now()),
            ("jti", fresh()),
            ("credentials", shown.is_some_and(|shown| self.held.allows(self.kinds, self.began, &shown))),
        ];
        match rules.into_iter().find(|(_, holds)| !holds) {
            None => Ok(()),
            Some((rule, _)) => {
                Err(format!("{rule} of the presentation of {} for {} is not as it must be: {}", self.holder, self.verifier, text(jwt)))
            }
        }
    }
}

impl<'a> Enveloped<'a> {
    fn jwt(&self) -> Option<&'a str> {
        self.id.strip_prefix("data:application/vc+jwt,").filter(|_| self.kind == "EnvelopedVerifiableCredential")
    }
}

fn text(jwt: &str) -> String {
    let claims = part(jwt, 1).unwrap_or_default();
    String::from_utf8_lossy(&claims).chars().take(300).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::Identity;
    use serde_json::{Value, json};

    struct Scene {
        holder: Identity,
        held: Held,
        seen: Seen,
        began: Instant,
    }

    impl Scene {
        fn judge(&self, kinds: Kinds, body: &Value) -> Result<Option<String>, String> {
            let kid = format!("{}#key-1", self.holder.did);
            let expected = Expected {
                holder: &self.holder.did,
                kid: &kid,
                held: &self.held,
                verifier: "did:web:verifier",
                kinds,
                began: self.began,
                second: now(),
            };
            expected.judge(body.to_string().as_bytes(), &self.seen).map(|jwt| jwt.map(str::to_owned))
        }

        fn presented(&self, change: Value) -> Value {
            let credential = |jwt: &str| json!({"type": "EnvelopedVerifiableCredential", "id": format!("data:application/vc+jwt,{jwt}")});
            let mut claims = json!({"iss": self.holder.did, "aud": "did:web:verifier", "holder": self.holder.did, "iat": now(), "exp": now() + 60,
                "jti": format!("urn:uuid:{}", Uuid::new_v4()), "type": ["VerifiablePresentation"], "verifiableCredential": [credential("m"), credential("p")]});
            claims.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
            message(json!([self.holder.typed("vp+jwt", &claims)]))
        }
    }

    fn message(presentation: Value) -> Value {
        json!({"@context": [], "type": "PresentationResponseMessage", "presentation": presentation})
    }

    fn scene() -> Scene {
        let holder = Identity::new("did:web:holder".to_owned(), [1; 32]).unwrap();
        Scene { holder, held: Held::new(["m".into(), "p".into(), "l".into()]), seen: Seen::default(), began: Instant::now() }
    }

    #[test]
    fn every_claim_is_held_against_the_request() {
        let scene = scene();
        let good = scene.presented(json!({}));
        let jwt = scene.judge(Kinds::BOTH, &good).unwrap();
        assert_eq!(jwt.as_deref(), good["presentation"][0].as_str());
        for (change, rule) in [
            (json!({"iss": "did:web:other"}), "holder"),
            (json!({"holder": "did:web:other"}), "holder"),
            (json!({"aud": "did:web:other"}), "aud"),
            (json!({"iat": now() - 5}), "iat"),
            (json!({"iat": now() + 5}), "iat"),
            (json!({"exp": now()}), "exp"),
            (json!({"type": ["Other"]}), "type"),
            (json!({"verifiableCredential": []}), "credentials"),
            (json!({"verifiableCredential": [{"type": "Other", "id": "data:application/vc+jwt,m"}]}), "credentials"),
        ] {
            let wrong = scene.judge(Kinds::BOTH, &scene.presented(change.clone())).unwrap_err();
            assert!(wrong.starts_with(rule), "{change}: {wrong}");
        }
        let less = scene.judge(Kinds(0b001), &scene.presented(json!({}))).unwrap_err();
        assert!(less.starts_with("credentials"), "{less}");
    }

    #[test]
    fn an_answer_that_was_given_before_is_wrong() {
        let scene = scene();
        let answer = scene.presented(json!({}));
        assert!(scene.judge(Kinds::BOTH, &answer).is_ok());
        assert!(scene.judge(Kinds::BOTH, &answer).unwrap_err().starts_with("jti"));
    }

    #[test]
    fn there_is_one_presentation_or_none_when_nothing_is_granted() {
        let scene = scene();
        assert_eq!(scene.judge(Kinds(0), &message(json!([]))), Ok(None));
        assert!(scene.judge(Kinds::BOTH, &message(json!([]))).is_err());
        assert!(scene.judge(Kinds(0), &scene.presented(json!({}))).is_err());
        assert!(scene.judge(Kinds::BOTH, &message(json!(["a.b.c"]))).is_err());
        assert!(scene.judge(Kinds::BOTH, &json!({"type": "Other", "presentation": []})).is_err());
    }
}
