//! Certificates for development: an authority of one cell, and what it gives to nodes. In production the installation's own authority does this; names
//! and uses of its certificates are as here.

use super::name::PeerName;
use cellspace_schemas::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
};
use rustls::pki_types::{
    CertificateDer,
    pem::{self, PemObject},
};
use time::{Duration, OffsetDateTime};
use webpki::anchor_from_trusted_cert;

/// How long the authority is believed.
const AUTHORITY: Duration = Duration::days(3_650);
/// How long a certificate is good that it gives out.
const NODE: Duration = Duration::days(397);
/// Clocks differ.
const BEFORE: Duration = Duration::hours(1);

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// Making it failed.
    #[error(transparent)]
    Make(#[from] rcgen::Error),
    /// It is no certificate.
    #[error("the authority's certificate cannot be read: {0}")]
    Unreadable(#[from] pem::Error),
    /// It could be nobody's authority.
    #[error("the authority's certificate cannot be used: {0}")]
    Unusable(#[from] webpki::Error),
    /// It is another one's.
    #[error("this is not the authority of {0}, or not its key")]
    Other(String),
    /// It is kept for nodes.
    #[error("{0:?} is a name of nodes: a listener has others")]
    OfNodes(String),
    /// It is no time.
    #[error("the clock shows no time that a certificate could have")]
    Time,
}

/// A certificate with its key, as PEM.
#[derive(Debug, Clone)]
pub struct Issued {
    /// The certificate.
    pub certificate: String,
    /// Its key, which nobody else may read.
    pub key: String,
}

/// An authority of one cell.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// Makes one, good from `now` on.
    ///
    /// # Errors
    /// [`CertificateError`]
    pub fn make(cell: &str, now: Timestamp) -> Result<Issued, CertificateError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = authority(cell);
        (params.not_before, params.not_after) = lasting(now, AUTHORITY)?;
        Ok(Issued { certificate: params.self_signed(&key)?.pem(), key: key.serialize_pem() })
    }

    /// The authority of a cell that has this certificate and this key.
    ///
    /// # Errors
    /// [`CertificateError`] when they are another authority's: what it gave out would be believed by nobody.
    pub fn open(cell: &str, certificate: &str, key: &str) -> Result<Self, CertificateError> {
        let (certificate, key) = (CertificateDer::from_pem_slice(certificate.as_bytes())?, KeyPair::from_pem(key)?);
        let expected = authority(cell).self_signed(&key)?;
        let (found, expected) = (anchor_from_trusted_cert(&certificate)?, anchor_from_trusted_cert(expected.der())?);
        if (&found.subject, &found.subject_public_key_info) != (&expected.subject, &expected.subject_public_key_info) {
            return Err(CertificateError::Other(cell.to_owned()));
        }
        Ok(Self { issuer: Issuer::new(authority(cell), key) })
    }

    /// A certificate for a node, good from `now` on.
    ///
    /// # Errors
    /// [`CertificateError`]
    pub fn issue(&self, name: &PeerName, now: Timestamp) -> Result<Issued, CertificateError> {
        let mut params = CertificateParams::new([name.dns()])?;
        params.distinguished_name.push(DnType::CommonName, name.node().0.as_str());
        self.signed(params, vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth], now)
    }

    /// A certificate for a listener that clients reach under these names or addresses, good from `now` on. It is no node's.
    ///
    /// # Errors
    /// [`CertificateError`], also when one of them can be no name.
    pub fn issue_to(&self, hosts: &[String], now: Timestamp) -> Result<Issued, CertificateError> {
        if let Some(host) = hosts.iter().find(|host| PeerName::is_kept(host)) {
            return Err(CertificateError::OfNodes(host.clone()));
        }
        let mut params = CertificateParams::new(hosts)?;
        params.distinguished_name.push(DnType::CommonName, hosts.first().map_or("", String::as_str));
        self.signed(params, vec![ExtendedKeyUsagePurpose::ServerAuth], now)
    }

    fn signed(
        &self,
        mut params: CertificateParams,
        uses: Vec<ExtendedKeyUsagePurpose>,
        now: Timestamp,
    ) -> Result<Issued, CertificateError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = uses;
        (params.not_before, params.not_after) = lasting(now, NODE)?;
        Ok(Issued { certificate: params.signed_by(&key, &self.issuer)?.pem(), key: key.serialize_pem() })
    }
}

fn authority(cell: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, format!("Cellspace development authority of {cell}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

fn lasting(now: Timestamp, time: Duration) -> Result<(OffsetDateTime, OffsetDateTime), CertificateError> {
    let now = OffsetDateTime::from_unix_timestamp(now.millis() / 1_000).map_err(|_| CertificateError::Time)?;
    Ok((now - BEFORE, now.checked_add(time).ok_or(CertificateError::Time)?))
}
