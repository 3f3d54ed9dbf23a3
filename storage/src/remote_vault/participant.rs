//! What a participant signs in with: a JWT that names it, signed by a key of the installation's in the transit engine, so that nothing secret has to be given to
//! the node for it.

use super::{
    api::{Api, body, unavailable},
    names, public_key,
};
use crate::{KeyAlgorithm, VaultError, VaultPath};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use cellspace_schemas::{KeyAlias, Owner};
use reqwest::Method;
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};
use zeroize::Zeroizing;

/// Alias of the key among those of the installation.
const KEY: &str = "vault-login";
/// Whom the JWTs are for, and by whom they are.
pub(crate) const AUDIENCE: &str = "vault";
pub(crate) const ISSUER: &str = "cellspace";
/// How long they are good, in seconds: they are used at once.
const LIFETIME: u64 = 60;

/// Name of the key in the transit engine.
pub(crate) fn key_name(folder: &str) -> Result<String, VaultError> {
    let alias = KeyAlias::new(KEY).map_err(|e| VaultError::Crypto(e.to_string()))?;
    Ok(names::key(folder, &VaultPath { owner: Owner::installation(), alias }))
}

/// What the vault knows the owner by: it tells no capitals from small letters there.
fn subject(owner: &Owner) -> String {
    owner.as_str().bytes().fold(String::new(), |mut text, byte| {
        let digit = |four: u8| char::from_digit(u32::from(four), 16).unwrap_or_default();
        text.extend([digit(byte >> 4), digit(byte & 15)]);
        text
    })
}

/// A JWT (RFC 7519) with which the owner is let into its folder, named in the claim `participant` as the folder is. The key is made by the first one.
///
/// # Errors
/// [`VaultError`] when the vault does not sign.
pub(super) async fn jwt(api: &Api, owner: &Owner) -> Result<Zeroizing<String>, VaultError> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let header = json!({"alg": KeyAlgorithm::P256.jose(), "typ": "JWT"});
    let claims = json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": subject(owner), "participant": names::folder(owner), "iat": now, "exp": now + LIFETIME,
    });
    let text = Zeroizing::new(format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(claims.to_string())));
    let name = key_name(api.folder())?;
    let signature = match sign(api, &name, &text).await? {
        Some(signature) => signature,
        None => {
            make(api, &name).await?;
            sign(api, &name, &text).await?.ok_or_else(|| unavailable("the vault does not sign for participants"))?
        }
    };
    Ok(Zeroizing::new(format!("{}.{}", text.as_str(), signature.as_str())))
}

/// The signature in base64url; `None` when there is no such key.
async fn sign(api: &Api, name: &str, text: &str) -> Result<Option<Zeroizing<String>>, VaultError> {
    let asked = body(&json!({"input": STANDARD.encode(text), "marshaling_algorithm": "jws"}))?;
    let mut answer = api.transit(&Owner::installation(), Method::POST, &format!("sign/{name}/sha2-256"), Some(asked)).await?;
    match (answer.status, answer.take("/data/signature")) {
        // `vault:v1:<signature>`
        (200, Some(Value::String(text))) => {
            let signature = text.rsplit(':').next().unwrap_or_default().trim_end_matches('=').to_owned();
            Ok(Some(Zeroizing::new(signature)))
        }
        (400 | 404, _) => Ok(None),
        (status, _) => Err(unavailable(format!("the vault answered {status} when signing for a participant"))),
    }
}

async fn make(api: &Api, name: &str) -> Result<(), VaultError> {
    let made = body(&public_key::wanted(KeyAlgorithm::P256))?;
    let answer = api.transit(&Owner::installation(), Method::POST, &format!("keys/{name}"), Some(made)).await?;
    if answer.is_done() { Ok(()) } else { Err(unavailable(format!("the vault answered {} when making the key of logins", answer.status))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_are_apart_in_small_letters_too() {
        let subjects = ["acme", "ACME", "Acme", "a", "z"].map(|owner| subject(&Owner::new(owner).unwrap()));
        assert_eq!(subjects[0], "61636d65");
        for (n, one) in subjects.iter().enumerate() {
            assert!(*one == one.to_lowercase() && !subjects[n + 1..].contains(one), "{one}");
        }
    }
}
