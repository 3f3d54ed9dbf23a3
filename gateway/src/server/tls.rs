//! TLS of the listeners: their certificate, which is read anew when its files change, and the handshake, bounded in time and number.

use super::activity::Stream;
use cellspace_cluster::link::{FromFiles, IdentityError, certificates, key};
use parking_lot::Mutex;
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    version::{TLS12, TLS13},
};
use std::{io, path::PathBuf, sync::Arc, time::Duration};
use tokio::{
    net::TcpStream,
    time::{Instant, timeout},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// Time for the handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// The files are looked at once in so long, at most: many connections may come.
const LOOK: Duration = Duration::from_secs(1);
/// What is spoken, in the handshake (RFC 7301): what the client likes best of it, HTTP/2 before HTTP/1.1.
const HTTP2: &[u8] = b"h2";
const HTTP1: &[u8] = b"http/1.1";

/// Where the certificate of the listeners is, as PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, followed by those between it and its authority.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// What listeners show; one for all of a node.
#[derive(Debug)]
pub struct ListenerTls {
    made: Arc<FromFiles<ServerConfig>>,
    looked: Mutex<Instant>,
}

impl ListenerTls {
    /// Reads the files.
    ///
    /// # Errors
    /// [`IdentityError`] when they cannot be used.
    pub fn load(files: TlsFiles) -> Result<Arc<Self>, IdentityError> {
        let made = FromFiles::read("listeners", vec![files.certificate.clone(), files.key.clone()], move || configured(&files))?;
        Ok(Arc::new(Self { made, looked: Mutex::new(Instant::now()) }))
    }

    /// As the files are, or were a moment ago.
    async fn now(&self) -> Arc<ServerConfig> {
        let is_due = {
            let mut looked = self.looked.lock();
            let is_due = looked.elapsed() >= LOOK;
            if is_due {
                *looked = Instant::now();
            }
            is_due
        };
        if is_due { self.made.now().await } else { self.made.current() }
    }
}

fn configured(files: &TlsFiles) -> Result<ServerConfig, IdentityError> {
    let (chain, key) = (certificates(&files.certificate)?, key(&files.key)?);
    let versions =
        ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider())).with_protocol_versions(&[&TLS13, &TLS12])?;
    let mut config = versions.with_no_client_auth().with_single_cert(chain, key)?;
    config.alpn_protocols = vec![HTTP2.to_owned(), HTTP1.to_owned()];
    Ok(config)
}

/// A handshake that is still to come.
pub struct Handshake {
    /// What is shown.
    pub tls: Arc<ListenerTls>,
    /// Cancelled when others need its place.
    pub stranger: Arc<CancellationToken>,
}

impl Handshake {
    /// What is said after it, and whether that is HTTP/2.
    ///
    /// # Errors
    /// Why there is nothing.
    pub async fn of(self, stream: TcpStream) -> io::Result<(Stream, bool)> {
        self.shaken(stream).await.inspect_err(|_| metrics::counter!("cellspace_http_handshakes_failed_total").increment(1))
    }

    async fn shaken(self, stream: TcpStream) -> io::Result<(Stream, bool)> {
        let Self { tls, stranger } = self;
        let shaken = timeout(HANDSHAKE, async { TlsAcceptor::from(tls.now().await).accept(stream).await });
        let shaken = stranger.run_until_cancelled(shaken).await;
        let shaken = shaken.ok_or_else(|| io::Error::other("too many others came before its handshake had ended"))?;
        let stream = shaken.map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "no handshake in time"))??;
        let is_http2 = stream.get_ref().1.alpn_protocol() == Some(HTTP2);
        Ok((Stream::Tls(Box::new(stream)), is_http2))
    }
}
