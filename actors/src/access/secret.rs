//! The one maker of fresh secrets.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use cellspace_storage::Secret;
use zeroize::Zeroizing;

/// The system has no random numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no random numbers")]
pub struct NoRandom;

/// A secret of 256 random bits, base64url without padding; no copy of it stays behind.
///
/// # Errors
/// [`NoRandom`]
pub fn fresh_secret() -> Result<Secret, NoRandom> {
    let mut bytes = Zeroizing::new([0_u8; 32]);
    aws_lc_rs::rand::fill(bytes.as_mut()).map_err(|_| NoRandom)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes.as_ref()).into())
}
