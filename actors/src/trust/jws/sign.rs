//! Signing with a key in the vault.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use cellspace_storage::{KeyAlgorithm, Vault, VaultError, VaultPath};
use serde::Serialize;

/// Protected header of what we sign.
#[derive(Debug, Clone, Serialize)]
pub struct JwsHeader {
    alg: &'static str,
    kid: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    typ: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cty: Option<&'static str>,
}

impl JwsHeader {
    /// A header for a key of this algorithm; `kid` is the DID URL of its verification method (`did#key`), `typ` for example `JWT` or `vc+jwt`.
    #[must_use]
    pub fn new(algorithm: KeyAlgorithm, kid: impl Into<String>, typ: &'static str) -> Self {
        Self { alg: algorithm.jose(), kid: kid.into(), typ: Some(typ), cty: None }
    }

    /// Sets the content type, for example `vc` (Securing Verifiable Credentials using JOSE and COSE, 3.1.1).
    #[must_use]
    pub const fn content_type(mut self, cty: &'static str) -> Self {
        self.cty = Some(cty);
        self
    }
}

/// Signs the claims with a key of the vault and returns the compact form.
///
/// # Errors
/// [`VaultError`] of the vault; [`VaultError::Crypto`] when header or claims cannot be written as JSON.
pub async fn sign(vault: &dyn Vault, path: &VaultPath, header: &JwsHeader, claims: &impl Serialize) -> Result<String, VaultError> {
    let mut token = signing_input(header, claims).map_err(|e| VaultError::Crypto(e.to_string()))?;
    let signature = vault.sign(path, token.as_bytes()).await?;
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut token);
    Ok(token)
}

/// Signs a text with a key of the vault and returns the compact form without it (RFC 7515, appendix F): whoever has the text puts it back.
///
/// # Errors
/// [`VaultError`] of the vault.
pub async fn sign_detached(vault: &dyn Vault, path: &VaultPath, header: &JwsHeader, text: &[u8]) -> Result<String, VaultError> {
    let mut token = URL_SAFE_NO_PAD.encode(serde_json::to_vec(header).map_err(|e| VaultError::Crypto(e.to_string()))?);
    let detached = token.len();
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(text, &mut token);
    let signature = vault.sign(path, token.as_bytes()).await?;
    token.truncate(detached);
    token.push_str("..");
    URL_SAFE_NO_PAD.encode_string(signature, &mut token);
    Ok(token)
}

fn signing_input(header: &JwsHeader, claims: &impl Serialize) -> Result<String, serde_json::Error> {
    let mut text = URL_SAFE_NO_PAD.encode(serde_json::to_vec(header)?);
    text.push('.');
    URL_SAFE_NO_PAD.encode_string(serde_json::to_vec(claims)?, &mut text);
    Ok(text)
}
