//! Who this node is to its peers, and whom it believes: certificates from files, read anew when they have changed.

use super::name::PeerName;
use parking_lot::Mutex;
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    client::Resumption,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{
        CertificateDer, PrivateKeyDer, ServerName,
        pem::{self, PemObject},
    },
    server::{NoServerSessionStorage, VerifierBuilderError, WebPkiClientVerifier},
    version::TLS13,
};
use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};
use tokio::sync::watch;
use webpki::EndEntityCert;

/// Largest file that is read.
const MAX_FILE: u64 = 1 << 20;
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

/// How the files looked when they were read.
type Stamp = [Option<(SystemTime, u64)>; 3];

/// A node's identity; each new connection uses the files as they are, and those that were made with others end.
#[derive(Debug)]
pub struct Identity {
    me: PeerName,
    files: CertificateFiles,
    /// How the files looked; locked while they are read.
    stamp: Mutex<Stamp>,
    current: watch::Sender<Arc<Tls>>,
}

impl Identity {
    /// Reads the certificates of a node.
    ///
    /// # Errors
    /// [`IdentityError`]
    pub fn load(me: PeerName, files: CertificateFiles) -> Result<Arc<Self>, IdentityError> {
        let stamp = files.stamp();
        let tls = files.read(&me)?;
        Ok(Arc::new(Self { me, files, stamp: Mutex::new(stamp), current: watch::Sender::new(Arc::new(tls)) }))
    }

    /// Who it is.
    #[must_use]
    pub const fn me(&self) -> &PeerName {
        &self.me
    }

    /// As the files are now. What cannot be used, be it because only some of them were replaced so far, is told of, and what was there before goes on.
    pub(super) async fn tls(self: &Arc<Self>) -> Arc<Tls> {
        let this = self.clone();
        let read = tokio::task::spawn_blocking(move || this.look()).await;
        read.unwrap_or_else(|_| self.current.borrow().clone())
    }

    /// Whether it is what was read last.
    pub(super) fn is_current(&self, tls: &Arc<Tls>) -> bool {
        Arc::ptr_eq(&self.current.borrow(), tls)
    }

    /// Resolves when something else was read.
    pub(super) async fn replaced(&self, tls: &Arc<Tls>) {
        let _ = self.current.subscribe().wait_for(|current| !Arc::ptr_eq(current, tls)).await;
    }

    fn look(&self) -> Arc<Tls> {
        let mut before = self.stamp.lock();
        let stamp = self.files.stamp();
        if stamp == *before {
            return self.current.borrow().clone();
        }
        match self.files.read(&self.me) {
            Ok(read) => {
                tracing::info!(category = "app", action = "link.certificates", "the certificates towards peers were read anew");
                let read = Arc::new(read);
                *before = stamp;
                self.current.send_replace(read.clone());
                read
            }
            Err(error) => {
                tracing::warn!(category = "app", action = "link.certificates", %error, "changed certificates are not used");
                self.current.borrow().clone()
            }
        }
    }
}

impl CertificateFiles {
    fn stamp(&self) -> Stamp {
        [&self.authority, &self.certificate, &self.key].map(|path| {
            let data = fs::metadata(path).ok()?;
            Some((data.modified().ok()?, data.len()))
        })
    }

    fn read(&self, me: &PeerName) -> Result<Tls, IdentityError> {
        let wrong = |path: &Path, source| IdentityError::Pem { path: path.to_owned(), source };
        let certificates = |path: &Path| -> Result<Vec<CertificateDer<'static>>, IdentityError> {
            CertificateDer::pem_slice_iter(&text(path)?).collect::<Result<_, _>>().map_err(|source| wrong(path, source))
        };
        let mut roots = RootCertStore::empty();
        for authority in certificates(&self.authority)? {
            roots.add(authority)?;
        }
        let (roots, chain) = (Arc::new(roots), certificates(&self.certificate)?);
        let found = chain.first().map(names).unwrap_or_default();
        if !found.contains(&me.dns()) {
            return Err(IdentityError::Other { path: self.certificate.clone(), expected: me.clone(), found });
        }
        let key = || PrivateKeyDer::from_pem_slice(&text(&self.key)?).map_err(|source| wrong(&self.key, source));
        let provider = Arc::new(aws_lc_rs::default_provider());
        Ok(Tls { server: server(&provider, &roots, chain.clone(), key()?)?, client: client(&provider, roots, chain, key()?)? })
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

fn text(path: &Path) -> Result<Vec<u8>, IdentityError> {
    let failed = |source| IdentityError::File { path: path.to_owned(), source };
    if fs::metadata(path).map_err(failed)?.len() > MAX_FILE {
        return Err(failed(io::Error::other("the file is too large")));
    }
    fs::read(path).map_err(failed)
}

/// The DNS names of a certificate.
fn names(certificate: &CertificateDer<'static>) -> Vec<String> {
    EndEntityCert::try_from(certificate).map(|read| read.valid_dns_names().map(str::to_owned).collect()).unwrap_or_default()
}

/// The node that a certificate is of, which was verified already.
///
/// # Errors
/// Why it is no peer of this cell.
pub(super) fn peer(certificate: &CertificateDer<'static>, cell: &str) -> Result<PeerName, String> {
    let found = names(certificate);
    let is_its = |name: &PeerName| {
        let dns = ServerName::try_from(name.dns());
        let read = EndEntityCert::try_from(certificate);
        matches!((dns, read), (Ok(dns), Ok(read)) if read.verify_is_valid_for_subject_name(&dns).is_ok())
    };
    let peer = found.iter().filter_map(|name| PeerName::of_dns(name)).find(is_its);
    match peer {
        Some(peer) if peer.cell() == cell => Ok(peer),
        Some(peer) => Err(format!("this is a node of cell {cell}, the certificate is that of {peer}")),
        None => Err(format!("the certificate names no node: {found:?}")),
    }
}
