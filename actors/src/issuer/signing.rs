//! Proofs of credentials: compact JWS by the issuer's active key.

use crate::{
    Services,
    trust::{
        SigningKey,
        jws::{self, JwsHeader},
    },
};
use cellspace_schemas::dcp::CredentialFormat;
use cellspace_storage::VaultError;
use serde_json::{Map, Value};

/// Signs the claims of a credential: `vc+jwt` for data model 2.0 (Securing Verifiable Credentials using JOSE and COSE, 3.1.1), `JWT` for 1.1.
///
/// # Errors
/// [`VaultError`] of the vault.
pub async fn sign(
    services: &Services,
    key: &SigningKey,
    format: CredentialFormat,
    claims: &Map<String, Value>,
) -> Result<String, VaultError> {
    let header = match format {
        CredentialFormat::Vc2Jose => JwsHeader::new(key.algorithm, &key.kid, "vc+jwt").content_type("vc"),
        CredentialFormat::Vc1Jwt => JwsHeader::new(key.algorithm, &key.kid, "JWT"),
    };
    jws::sign(services.vault.as_ref(), &key.path, &header, claims).await
}
