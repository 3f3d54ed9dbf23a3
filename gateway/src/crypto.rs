//! The one cryptographic backend of the process.

/// Makes aws-lc the backend of TLS and of token verification. Called first in `main` and in tests; a repeat changes nothing.
pub fn install() {
    // Both refuse a second installation, which is what a repeat is.
    let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}
