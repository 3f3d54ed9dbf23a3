//! What is made of files with certificates, and made anew when they have changed.

use super::identity::IdentityError;
use parking_lot::Mutex;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};
use tokio::sync::watch;

/// Largest file that is read.
const MAX_FILE: u64 = 1 << 20;

/// How the files looked when they were read.
type Stamp = Vec<Option<(SystemTime, u64)>>;
type Make<T> = dyn Fn() -> Result<T, IdentityError> + Send + Sync;

/// Something that is made of files: each use has it as the files are.
pub struct FromFiles<T> {
    what: &'static str,
    files: Vec<PathBuf>,
    make: Box<Make<T>>,
    /// How the files looked; locked while they are read.
    stamp: Mutex<Stamp>,
    current: watch::Sender<Arc<T>>,
}

impl<T: Send + Sync + 'static> FromFiles<T> {
    /// Makes it of these files; `what` is it called in logs.
    ///
    /// # Errors
    /// [`IdentityError`], of `make`.
    pub fn read(
        what: &'static str,
        files: Vec<PathBuf>,
        make: impl Fn() -> Result<T, IdentityError> + Send + Sync + 'static,
    ) -> Result<Arc<Self>, IdentityError> {
        // In this order: what changes meanwhile is seen later.
        let stamp = stamp(&files);
        let current = watch::Sender::new(Arc::new(make()?));
        Ok(Arc::new(Self { what, files, make: Box::new(make), stamp: Mutex::new(stamp), current }))
    }

    /// As it was made last.
    #[must_use]
    pub fn current(&self) -> Arc<T> {
        self.current.borrow().clone()
    }

    /// As the files are now, or were before, while they are being read for somebody else. What cannot be used, be it because only some of them were replaced so far, is told of, and what was there before goes on.
    pub async fn now(self: &Arc<Self>) -> Arc<T> {
        let this = self.clone();
        let read = tokio::task::spawn_blocking(move || this.look()).await;
        read.unwrap_or_else(|_| self.current())
    }

    /// Whether it is what was made last.
    pub(super) fn is_current(&self, made: &Arc<T>) -> bool {
        Arc::ptr_eq(&self.current.borrow(), made)
    }

    /// Resolves when something else was made.
    pub(super) async fn replaced(&self, made: &Arc<T>) {
        let _ = self.current.subscribe().wait_for(|current| !Arc::ptr_eq(current, made)).await;
    }

    fn look(&self) -> Arc<T> {
        // One at a time: a file system that hangs holds up one thread.
        let Some(mut before) = self.stamp.try_lock() else { return self.current() };
        let stamp = stamp(&self.files);
        if stamp == *before {
            return self.current();
        }
        match (self.make)() {
            Ok(made) => {
                tracing::info!(category = "app", action = "certificates.read", what = self.what, "certificates were read anew");
                let made = Arc::new(made);
                *before = stamp;
                self.current.send_replace(made.clone());
                made
            }
            Err(error) => {
                tracing::warn!(category = "app", action = "certificates.refused", what = self.what, %error, "changed certificates are not used");
                self.current()
            }
        }
    }
}

impl<T> fmt::Debug for FromFiles<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FromFiles").field("what", &self.what).field("files", &self.files).finish_non_exhaustive()
    }
}

fn stamp(files: &[PathBuf]) -> Stamp {
    let of = |path: &PathBuf| {
        let data = fs::metadata(path).ok()?;
        Some((data.modified().ok()?, data.len()))
    };
    files.iter().map(of).collect()
}

/// The certificates of a file, as PEM, in their order.
///
/// # Errors
/// [`IdentityError::File`], [`IdentityError::Pem`], [`IdentityError::Empty`].
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    let found = CertificateDer::pem_slice_iter(&text(path)?).collect::<Result<Vec<_>, _>>();
    let found = found.map_err(|source| IdentityError::Pem { path: path.to_owned(), source })?;
    if found.is_empty() { Err(IdentityError::Empty(path.to_owned())) } else { Ok(found) }
}

/// The private key of a file, as PEM.
///
/// # Errors
/// [`IdentityError::File`], [`IdentityError::Pem`].
pub fn key(path: &Path) -> Result<PrivateKeyDer<'static>, IdentityError> {
    PrivateKeyDer::from_pem_slice(&text(path)?).map_err(|source| IdentityError::Pem { path: path.to_owned(), source })
}

fn text(path: &Path) -> Result<Vec<u8>, IdentityError> {
    let failed = |source| IdentityError::File { path: path.to_owned(), source };
    if fs::metadata(path).map_err(failed)?.len() > MAX_FILE {
        return Err(failed(io::Error::other("the file is too large")));
    }
    fs::read(path).map_err(failed)
}
