//! Who this node is to its peers, and whom it believes: certificates from files, read anew when they have changed.

use super::{
    files::{FromFiles, certificates, key},
    name::PeerName,
};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    client::Resumption,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem},
    server::{NoServerSessionStorage, VerifierBuilderError, WebPkiClientVerifier},
    version::TLS13,
};
use std::{collections::BTreeSet, io, path::PathBuf, sync::Arc};
use webpki::EndEntityCert;

/// HTTP/2, in the handshake.
const ALPN: &[u8] = b"h2";

/// Where a node's certificates are, as PEM.
#[derive(Debug, Clone)]
pub struct CertificateFiles {
    /// The authorities that peers' certificates are from.
    pub authority: PathBuf,
    /// The node's own certificate, followed by those between it and the authority.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// Certificates that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file cannot be read.
    #[error("{}: {source}", .path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is not what it should be.
    #[error("{}: {source}", .path.display())]
    Pem {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: pem::Error,
    },
    /// It holds nothing.
    #[error("{}: there is no certificate in it", .0.display())]
    Empty(PathBuf),
    /// The certificate is another's.
    #[error("{}: the certificate is not that of {expected}, it names {found:?}", .path.display())]
    Other {
        /// Which file.
        path: PathBuf,
        /// Whose it should be.
        expected: PeerName,
        /// The names in it.
        found: Vec<String>,
    },
    /// They do not fit together.
    #[error("the certificates cannot be used: {0}")]
    Tls(#[from] rustls::Error),
    /// Nobody could be believed.
    #[error("the authority's certificates cannot be used: {0}")]
    Authority(#[from] VerifierBuilderError),
}

/// What both ends of a connection are set up with.
#[derive(Debug)]
pub(super) struct Tls {
    pub(super) server: Arc<ServerConfig>,
    pub(super) client: Arc<ClientConfig>,
}

/// A node's identity; each new connection uses the files as they are, and those that were made with others end.
#[derive(Debug)]
pub struct Identity {
    me: PeerName,
    /// Other cells whose nodes are believed.
    others: BTreeSet<String>,
    tls: Arc<FromFiles<Tls>>,
}

impl Identity {
    /// Reads the certificates of a node.
    ///
    /// # Errors
    /// [`IdentityError`]
    pub fn load(me: PeerName, files: CertificateFiles) -> Result<Arc<Self>, IdentityError> {
        Self::among(me, files, BTreeSet::new())
    }

    /// The same for a node that also speaks with those of other cells.
    ///
    /// # Errors
    /// [`IdentityError`]
    pub fn among(me: PeerName, files: CertificateFiles, others: BTreeSet<String>) -> Result<Arc<Self>, IdentityError> {
        let (all, expected) = (vec![files.authority.clone(), files.certificate.clone(), files.key.clone()], me.clone());
        let tls = FromFiles::read("peers", all, move || files.read(&expected))?;
        Ok(Arc::new(Self { me, others, tls }))
    }

    /// Who it is.
    #[must_use]
    pub const fn me(&self) -> &PeerName {
        &self.me
    }

    /// The node that a verified certificate is of.
    ///
    /// # Errors
    /// Why it is no peer.
    pub(super) fn peer(&self, certificate: &CertificateDer<'static>) -> Result<PeerName, String> {
        peer(certificate, |cell| cell == self.me.cell() || self.others.contains(cell), self.me.cell())
    }

    /// As the files are now.
    pub(super) async fn tls(&self) -> Arc<Tls> {
        self.tls.now().await
    }

    /// Whether it is what was read last.
    pub(super) fn is_current(&self, tls: &Arc<Tls>) -> bool {
        self.tls.is_current(tls)
    }

    /// Resolves when something else was read.
    pub(super) async fn replaced(&self, tls: &Arc<Tls>) {
        self.tls.replaced(tls).await;
    }
}

impl CertificateFiles {
    fn read(&self, me: &PeerName) -> Result<Tls, IdentityError> {
        let mut roots = RootCertStore::empty();
        for authority in certificates(&self.authority)? {
            roots.add(authority)?;
        }
        let (roots, chain) = (Arc::new(roots), certificates(&self.certificate)?);
        let found = chain.first().map(names).unwrap_or_default();
        if !found.contains(&me.dns()) {
            return Err(IdentityError::Other { path: self.certificate.clone(), expected: me.clone(), found });
        }
        let provider = Arc::new(aws_lc_rs::default_provider());
        Ok(Tls {
            server: server(&provider, &roots, chain.clone(), key(&self.key)?)?,
            client: client(&provider, roots, chain, key(&self.key)?)?,
        })
    }
}

fn server(
    provider: &Arc<CryptoProvider>,
    roots: &Arc<RootCertStore>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<Arc<ServerConfig>, IdentityError> {
    let verifier = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone()).build()?;
    let versions = ServerConfig::builder_with_provider(provider.clone()).with_protocol_versions(&[&TLS13])?;
    let mut config = versions.with_client_cert_verifier(verifier).with_single_cert(chain, key)?;
    config.alpn_protocols = vec![ALPN.to_owned()];
    // Every connection shows its certificate.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

fn client(
    provider: &Arc<CryptoProvider>,
    roots: Arc<RootCertStore>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<Arc<ClientConfig>, IdentityError> {
    let versions = ClientConfig::builder_with_provider(provider.clone()).with_protocol_versions(&[&TLS13])?;
    let mut config = versions.with_root_certificates(roots).with_client_auth_cert(chain, key)?;
    config.alpn_protocols = vec![ALPN.to_owned()];
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// The DNS names of a certificate.
fn names(certificate: &CertificateDer<'static>) -> Vec<String> {
    EndEntityCert::try_from(certificate).map(|read| read.valid_dns_names().map(str::to_owned).collect()).unwrap_or_default()
}

/// The node that a certificate is of, which was verified already.
///
/// # Errors
/// Why it is no peer of this cell.
fn peer(certificate: &CertificateDer<'static>, is_believed: impl Fn(&str) -> bool, cell: &str) -> Result<PeerName, String> {
    let found = names(certificate);
    let is_its = |name: &PeerName| {
        let dns = ServerName::try_from(name.dns());
        let read = EndEntityCert::try_from(certificate);
        matches!((dns, read), (Ok(dns), Ok(read)) if read.verify_is_valid_for_subject_name(&dns).is_ok())
    };
    let peer = found.iter().filter_map(|name| PeerName::of_dns(name)).find(is_its);
    match peer {
        Some(peer) if is_believed(peer.cell()) => Ok(peer),
        Some(peer) => Err(format!("this is a node of cell {cell}, the certificate is that of {peer}")),
        None => Err(format!("the certificate names no node: {found:?}")),
    }
}
