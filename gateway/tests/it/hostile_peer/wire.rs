//! Requests as they come, and every way to answer them wrongly.

use super::{DRIP, Inner, Trick};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};
use std::{io::Write, sync::OnceLock};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

impl Inner {
    pub(super) async fn play(&self, trick: Trick, path: &str, kind: &str, body: &str, socket: &mut TcpStream) -> std::io::Result<()> {
        let head = |length: &str| format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\n{length}\r\n");
        let redirect = |location: &str| {
            format!("HTTP/1.1 307 Temporary Redirect\r\nlocation: {location}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        };
        let mut drip = tokio::time::interval(DRIP);
        let away = self.away.lock().clone();
        match trick {
            Trick::Silent => {}
            Trick::Stalls => socket.write_all(format!("{}{}", head("content-length: 9999\r\n"), &body[..3]).as_bytes()).await?,
            Trick::Drips | Trick::DripsHead => {
                let (start, byte) = if trick == Trick::Drips {
                    (head("transfer-encoding: chunked\r\n"), "1\r\n \r\n")
                } else {
                    ("HTTP/1.1 200 OK\r\nx: ".into(), "x")
                };
                socket.write_all(start.as_bytes()).await?;
                loop {
                    drip.tick().await;
                    socket.write_all(byte.as_bytes()).await?;
                }
            }
            Trick::Endless | Trick::EndlessHead => {
                let start = if trick == Trick::Endless { head("") } else { "HTTP/1.1 200 OK\r\n".to_owned() };
                socket.write_all(start.as_bytes()).await?;
                let more = if trick == Trick::Endless { " ".repeat(64 << 10) } else { format!("x: {}\r\n", "x".repeat(4 << 10)) };
                loop {
                    socket.write_all(more.as_bytes()).await?;
                }
            }
            Trick::RedirectsAway => return socket.write_all(redirect(&away).as_bytes()).await,
            Trick::RedirectsHere => return socket.write_all(redirect(&format!("/honest{path}")).as_bytes()).await,
            Trick::NotHttp => return socket.write_all(b"SSH-2.0-OpenSSH_9.6\r\n").await,
            Trick::NotJson => return socket.write_all(&whole("text/html", "", b"<html>Welcome</html>")).await,
            Trick::Deep => {
                let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
                return socket.write_all(&whole(kind, "", deep.as_bytes())).await;
            }
            Trick::Numbers => {
                let numbers = format!("{{\"id\":{},\"state\":1e999999999,\"exp\":-{}}}", "9".repeat(50_000), "1".repeat(400));
                return socket.write_all(&whole(kind, "", numbers.as_bytes())).await;
            }
            Trick::Twice => return socket.write_all(&whole(kind, "", twice(body).as_bytes())).await,
            Trick::CutsHead => return socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-le").await,
            Trick::CutsBody => return socket.write_all(format!("{}{}", head("content-length: 9999\r\n"), body).as_bytes()).await,
            Trick::TooShort => {
                let short = head(&format!("content-length: {}\r\nconnection: close\r\n", body.len() / 2));
                return socket.write_all(format!("{short}{body}").as_bytes()).await;
            }
            Trick::TwoLengths => {
                let two = head(&format!("content-length: {}\r\ncontent-length: 5\r\nconnection: close\r\n", body.len()));
                return socket.write_all(format!("{two}{body}").as_bytes()).await;
            }
            Trick::Bomb => return socket.write_all(&whole(kind, "content-encoding: gzip\r\n", &bomb(body))).await,
            Trick::Stranger => {}
        }
        // Until the other side has enough.
        socket.read_u8().await.map(drop)
    }
}

/// The body, then far more white space than any answer may have, so that whoever inflates it finds what is right in the end.
pub fn bomb(body: &str) -> Vec<u8> {
    static SPACES: OnceLock<Vec<u8>> = OnceLock::new();
    let packed = |bytes: &[u8]| {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(bytes).unwrap();
        gzip.finish().unwrap()
    };
    [packed(body.as_bytes()).as_slice(), SPACES.get_or_init(|| packed(&vec![b' '; 16 << 20]))].concat()
}

/// Each member of an object once with nonsense before it stands as it should.
fn twice(body: &str) -> String {
    let Ok(Value::Object(members)) = serde_json::from_str(body) else { return format!("{body} {body}") };
    let nonsense: String = members.keys().map(|name| format!("{}:\"did:web:nobody\",", json!(name))).collect();
    format!("{{{nonsense}{}", body.strip_prefix('{').unwrap())
}

pub(super) fn whole(kind: &str, more: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n{more}\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// Head and body of a request.
pub(super) async fn read(socket: &mut TcpStream) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.to_ascii_lowercase().lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
            if body.len() >= length.unwrap_or(0) {
                return Ok(text);
            }
        }
        if socket.read_buf(&mut bytes).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// Who sent a request, as its token says.
pub(super) fn asker(request: &str) -> String {
    let token =
        request.lines().find_map(|line| line.to_ascii_lowercase().starts_with("authorization:").then(|| line.rsplit(' ').next().unwrap()));
    let claims = token.and_then(|token| URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()).unwrap_or_default();
    let claims: Value = serde_json::from_slice(&claims).unwrap_or_default();
    claims["iss"].as_str().unwrap_or_default().to_owned()
}
