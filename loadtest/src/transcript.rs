//! Sampled exchanges, byte for byte as they passed the socket.

use anyhow::{Context, Result};
use parking_lot::Mutex;
use std::{
    io::{self, Write},
    path::Path,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context as Task, Poll, ready},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// How many exchanges are kept.
pub const SAMPLES: usize = 1_000;

/// What was said in one exchange.
#[derive(Debug, Clone, Default)]
pub(crate) struct Exchange {
    pub(crate) sent: Vec<u8>,
    pub(crate) received: Vec<u8>,
}

/// A uniform sample of all exchanges (reservoir).
#[derive(Debug, Default)]
pub struct Tape {
    seen: AtomicU64,
    kept: Mutex<Vec<Exchange>>,
}

impl Tape {
    /// An empty one that will be written to this file, which is made at once: that it cannot be is known before the load.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn begin(path: &Path) -> Result<Arc<Self>> {
        std::fs::File::create(path).with_context(|| path.display().to_string())?;
        Ok(Arc::default())
    }

    pub(crate) fn offer(&self, exchange: &Exchange) {
        let seen = self.seen.fetch_add(1, Ordering::Relaxed);
        let mut kept = self.kept.lock();
        if kept.len() < SAMPLES {
            kept.push(exchange.clone());
            return;
        }
        let place = usize::try_from(rand::random_range(0..=seen)).unwrap_or(usize::MAX);
        if let Some(slot) = kept.get_mut(place) {
            *slot = exchange.clone();
        }
    }

    /// Writes the sample: each exchange after a line that says its number and its two lengths in bytes.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let mut file = io::BufWriter::new(std::fs::File::create(path).with_context(|| path.display().to_string())?);
        for (n, exchange) in self.kept.lock().iter().enumerate() {
            writeln!(file, "=== exchange {n}: {} bytes sent, {} bytes received", exchange.sent.len(), exchange.received.len())?;
            file.write_all(&exchange.sent)?;
            file.write_all(b"\n")?;
            file.write_all(&exchange.received)?;
            file.write_all(b"\n")?;
        }
        Ok(file.flush()?)
    }
}

/// Listens on one connection.
#[derive(Debug, Default)]
pub(crate) struct Tap(Option<Arc<Mutex<Exchange>>>);

impl Tap {
    /// The stream, listened to when `recording`.
    pub(crate) fn around(&mut self, stream: TcpStream, recording: bool) -> Tapped {
        self.0 = recording.then(Arc::default);
        Tapped { stream, heard: self.0.clone() }
    }

    /// Ends an exchange.
    pub(crate) fn deliver(&self, tape: &Tape) {
        if let Some(heard) = &self.0 {
            let mut heard = heard.lock();
            tape.offer(&heard);
            heard.sent.clear();
            heard.received.clear();
        }
    }
}

/// A stream that may be listened to.
#[derive(Debug)]
pub(crate) struct Tapped {
    stream: TcpStream,
    heard: Option<Arc<Mutex<Exchange>>>,
}

impl AsyncRead for Tapped {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Task<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        if let Some(heard) = &self.heard {
            heard.lock().received.extend(buf.filled().iter().skip(before));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Tapped {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Task<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes))?;
        if let Some(heard) = &self.heard {
            heard.lock().sent.extend(bytes.iter().take(written));
        }
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Task<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Task<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_bounded_and_whole() {
        let tape = Tape::default();
        for n in 0..SAMPLES * 3 {
            tape.offer(&Exchange { sent: n.to_string().into(), received: b"ok".to_vec() });
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        tape.write(file.path()).unwrap();
        let text = std::fs::read_to_string(file.path()).unwrap();
        assert_eq!(text.matches("=== exchange").count(), SAMPLES);
        assert!(tape.kept.lock().iter().any(|e| e.sent.len() == 4), "later exchanges are sampled too");
    }
}
