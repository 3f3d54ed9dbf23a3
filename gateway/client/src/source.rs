//! The provider's backend in the demo: a real HTTP server with a small data set and a large file.

use bytes::Bytes;
use futures::{StreamExt, stream};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::{body::Frame, service::service_fn};
use hyper_util::rt::TokioIo;
use sha2::{Digest, Sha256};
use std::{convert::Infallible, net::SocketAddr};
use tokio::net::TcpListener;

/// Size of the large file.
pub const FILE_BYTES: usize = 64 << 20;
const CHUNK: usize = 64 << 10;

/// The data set: parts with their carbon footprint.
#[must_use]
pub fn data_set() -> Bytes {
    let rows: Vec<_> = (0..100).map(|n| serde_json::json!({ "part": format!("P-{n:04}"), "kgCo2e": f64::from(n) * 1.25 })).collect();
    serde_json::to_vec(&rows).unwrap_or_default().into()
}

/// Chunk `n` of the file: every chunk differs, so that a mixed-up order shows in the hash.
fn chunk(n: usize) -> Bytes {
    let mut state = n as u64 ^ 0x9e37_79b9_7f4a_7c15;
    let mut out = Vec::with_capacity(CHUNK);
    while out.len() < CHUNK {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        out.extend_from_slice(&state.to_le_bytes());
    }
    out.into()
}

/// SHA-256 of the file, in hex.
#[must_use]
pub fn file_sha256() -> String {
    let mut hash = Sha256::new();
    for n in 0..FILE_BYTES / CHUNK {
        hash.update(chunk(n));
    }
    hex(&hash.finalize())
}

/// Lower-case hex.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

type Body = BoxBody<Bytes, Infallible>;

fn whole(status: StatusCode, body: Bytes) -> Response<Body> {
    let mut response = Response::new(Full::new(body).boxed());
    *response.status_mut() = status;
    response
}

fn answer(request: &Request<hyper::body::Incoming>) -> Response<Body> {
    if request.method() != Method::GET {
        return whole(StatusCode::METHOD_NOT_ALLOWED, Bytes::new());
    }
    match request.uri().path() {
        "/data/footprints.json" => whole(StatusCode::OK, data_set()),
        "/data/model.bin" => {
            let chunks = stream::iter(0..FILE_BYTES / CHUNK).map(|n| Ok(Frame::data(chunk(n))));
            let mut response = Response::new(BodyExt::boxed(StreamBody::new(chunks)));
            response.headers_mut().insert(http::header::CONTENT_LENGTH, FILE_BYTES.into());
            response
        }
        _ => whole(StatusCode::NOT_FOUND, Bytes::new()),
    }
}

/// Serves on a free loopback port until the process ends; answers the address.
///
/// # Errors
/// When no port can be had.
pub async fn serve() -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = service_fn(|request| async move { Ok::<_, Infallible>(answer(&request)) });
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    Ok(address)
}
