//! The one cryptographic backend of the process, and whose certificates it believes.

use cellspace_actors::outbound::Certificate;
use cellspace_cluster::link::{IdentityError, certificates};
use rustls::RootCertStore;
use std::path::Path;

/// Makes aws-lc the backend of TLS and of token verification. Called first in `main` and in tests; a repeat changes nothing.
pub fn install() {
    // Both refuse a second installation, which is what a repeat is.
    let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

/// The authorities of a file, which clients then believe beside those that the system believes.
///
/// # Errors
/// [`IdentityError`] when there is none in it, or one that could be nobody's.
pub fn authorities(file: &Path) -> Result<Vec<Certificate>, IdentityError> {
    let mut roots = RootCertStore::empty();
    let mut found = Vec::new();
    for certificate in certificates(file)? {
        roots.add(certificate.clone())?;
        found.push(Certificate::from_der(&certificate).map_err(|_| IdentityError::Empty(file.to_owned()))?);
    }
    Ok(found)
}
