//! What the machine can do at the same time: every figure is told together with these, since a figure alone says as much of the machine as of the platform.

use crate::{
    drive::{Pace, Verdict, Worker, drive},
    http::{Call, Connection},
    measure::process::Usage,
};
use anyhow::{Context, Result};
use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, UnparsedPublicKey},
};
use bytes::Bytes;
use ed25519_dalek::Verifier;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use std::{
    collections::BTreeMap,
    convert::Infallible,
    fs::File,
    io::Write,
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::TcpListener,
    process::Command,
};

/// How long each is measured.
const WINDOW: Duration = Duration::from_millis(1_500);
/// Length of a signed text, about that of a token.
const SIGNED: usize = 500;

/// Sizes of an exchange that is to be compared with.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    /// Bytes of the request's body.
    pub request: usize,
    /// Bytes of the bearer token.
    pub token: usize,
    /// Bytes of the answer's body.
    pub answer: usize,
    /// Connections at once.
    pub connections: usize,
}

/// Measures echo, signatures and syncs on the disk of `folder`.
///
/// # Errors
/// When the echo server cannot be started or the disk not written.
pub async fn measure(sizes: Sizes, folder: &Path) -> Result<BTreeMap<String, f64>> {
    let mut found = echo(sizes).await?;
    let folder = folder.to_owned();
    let rest = tokio::task::spawn_blocking(move || -> Result<_> {
        Ok([
            ("ed25519_verify_per_s".to_owned(), ed25519()?),
            ("ed25519_sign_per_s".to_owned(), ed25519_sign()?),
            ("es256_verify_per_s".to_owned(), es256()?),
            ("fdatasync_us".to_owned(), fdatasync(&folder)?),
        ])
    });
    found.extend(rest.await??);
    Ok(found)
}

struct Caller(Connection, Sizes);

impl Worker for Caller {
    async fn operate(&mut self) -> Verdict {
        let call = Call::json(Method::POST, "/", &"t".repeat(self.1.token), vec![b'x'; self.1.request]);
        match self.0.send(call).await {
            Ok(answer) if answer.body.len() == self.1.answer => Verdict::Good,
            Ok(answer) => Verdict::Wrong(answer.told()),
            Err(error) => Verdict::Wrong(format!("{error:#}")),
        }
    }
}

/// A bare HTTP server in a process of its own, called by the client that calls the platform.
async fn echo(sizes: Sizes) -> Result<BTreeMap<String, f64>> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["echo", &sizes.answer.to_string()]).stdout(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn()?;
    let mut lines = BufReader::new(child.stdout.take().context("no output")?).lines();
    let base = lines.next_line().await?.context("the echo server ended")?;
    let pid = child.id().context("the echo server ended")?;
    let callers = (0..sizes.connections).map(|_| Ok(Caller(Connection::new(&base, None)?, sizes))).collect::<Result<Vec<_>>>()?;
    let (callers, _) = drive(callers, Pace { rate: None, time: WINDOW / 3 }).await?;
    let before = Usage::of(pid)?;
    let (_, outcome) = drive(callers, Pace { rate: None, time: WINDOW }).await?;
    let cpu = Usage::of(pid)?.cpu.saturating_sub(before.cpu);
    child.kill().await?;
    anyhow::ensure!(outcome.errors == 0, "the echo server answered wrongly: {:?}", outcome.told);
    #[allow(clippy::cast_precision_loss)] // a count of operations
    let per_op = cpu.as_secs_f64() * 1e6 / outcome.good.max(1) as f64;
    Ok(BTreeMap::from([
        ("echo_per_s".to_owned(), outcome.per_second()),
        ("echo_p50_ms".to_owned(), outcome.quantile_ms(0.5)),
        ("echo_server_cpu_us".to_owned(), per_op),
    ]))
}

/// Serves the echo on a free loopback port, which it prints, until the process ends.
///
/// # Errors
/// When there is no port.
pub async fn serve_echo(answer: usize) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("http://{}", listener.local_addr()?);
    let body = Bytes::from(vec![b'x'; answer]);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let body = body.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            let body = body.clone();
            async move {
                // Whatever came is read whole, as the platform does.
                let _ = request.into_body().collect().await;
                Ok::<_, Infallible>(Response::new(Full::new(body)))
            }
        });
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

/// How often a second `operate` can be done on one core.
fn rate(mut operate: impl FnMut() -> Result<()>) -> Result<f64> {
    let (start, mut count) = (Instant::now(), 0_u32);
    while start.elapsed() < WINDOW / 3 {
        for _ in 0..16 {
            operate()?;
        }
        count += 16;
    }
    Ok(f64::from(count) / start.elapsed().as_secs_f64())
}

/// By the library that takes least time on this machine.
fn ed25519() -> Result<f64> {
    let key = Ed25519KeyPair::generate()?;
    let text = [7; SIGNED];
    let signature = ed25519_dalek::Signature::from_slice(key.sign(&text).as_ref())?;
    let public = ed25519_dalek::VerifyingKey::try_from(key.public_key().as_ref())?;
    rate(|| Ok(public.verify(&text, &signature)?))
}

fn ed25519_sign() -> Result<f64> {
    let (key, text) = (Ed25519KeyPair::generate()?, [7; SIGNED]);
    rate(|| {
        std::hint::black_box(key.sign(&text));
        Ok(())
    })
}

fn es256() -> Result<f64> {
    let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)?;
    let text = [7; SIGNED];
    let signature = key.sign(&SystemRandom::new(), &text)?;
    let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key.public_key().as_ref());
    rate(|| Ok(public.verify(&text, signature.as_ref())?))
}

/// Mean time of one append of 4 KiB with its sync, in microseconds.
fn fdatasync(folder: &Path) -> Result<f64> {
    let path = folder.join("calibration");
    let mut file = File::create(&path)?;
    let per_second = rate(|| {
        file.write_all(&[7; 4_096])?;
        Ok(file.sync_data()?)
    });
    std::fs::remove_file(path)?;
    Ok(1e6 / per_second?)
}
