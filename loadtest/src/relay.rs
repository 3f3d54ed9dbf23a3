//! A relay in front of a listener that records what passes, for clients whose sockets cannot be listened to.

use crate::transcript::{Exchange, Tape};
use anyhow::{Context, Result};
use std::{io, sync::Arc};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// Opens one in front of `base`, for example `http://localhost:7071`, for as long as the process lives; answers its own base URL.
///
/// # Errors
/// When `base` is no http URL, or no port is free.
pub async fn open(base: &str, tape: Arc<Tape>) -> Result<String> {
    let target: Arc<str> = base.strip_prefix("http://").with_context(|| format!("{base} is no http URL"))?.trim_end_matches('/').into();
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let own = format!("http://{}", listener.local_addr()?);
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let (target, tape) = (target.clone(), tape.clone());
            tokio::spawn(async move {
                let mut exchange = Exchange::default();
                // Whatever ends it, both sides see it in their connections.
                let _ = pass(client, &target, &tape, &mut exchange).await;
                if !exchange.sent.is_empty() {
                    tape.offer(&exchange);
                }
            });
        }
    });
    Ok(own)
}

/// Passes bytes on in both directions. An exchange ends where the client goes on after an answer: it sends one request after the other.
async fn pass(mut client: TcpStream, target: &str, tape: &Tape, exchange: &mut Exchange) -> io::Result<()> {
    let mut server = TcpStream::connect(target).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (mut asked, mut answered) = (vec![0; 16 << 10], vec![0; 16 << 10]);
    loop {
        tokio::select! {
            read = client.read(&mut asked) => {
                let bytes = asked.get(..read?).unwrap_or_default();
                if bytes.is_empty() {
                    return Ok(());
                }
                if !exchange.received.is_empty() {
                    tape.offer(&std::mem::take(exchange));
                }
                exchange.sent.extend(bytes);
                server.write_all(bytes).await?;
            }
            read = server.read(&mut answered) => {
                let bytes = answered.get(..read?).unwrap_or_default();
                if bytes.is_empty() {
                    return Ok(());
                }
                exchange.received.extend(bytes);
                client.write_all(bytes).await?;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers the first two requests of a connection, and closes it in the middle of the third one's answer.
    async fn serve(listener: TcpListener) {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = [0; 5];
        for answer in ["first", "second", "thi"] {
            stream.read_exact(&mut request).await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    }

    #[tokio::test]
    async fn exchanges_are_told_apart_also_those_that_are_cut() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let served = tokio::spawn(serve(listener));
        let tape = Arc::new(Tape::default());
        let relay = open(&base, tape.clone()).await.unwrap();
        let mut stream = TcpStream::connect(relay.strip_prefix("http://").unwrap()).await.unwrap();
        for (request, answer) in [("ask 1", "first"), ("ask 2", "second"), ("ask 3", "thi")] {
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut read = vec![0; answer.len()];
            stream.read_exact(&mut read).await.unwrap();
            assert_eq!(read, answer.as_bytes());
        }
        served.await.unwrap();
        assert_eq!(stream.read(&mut [0]).await.unwrap(), 0, "the end is passed on");
        let file = tempfile::NamedTempFile::new().unwrap();
        let expected = ["5 bytes sent, 5 bytes received\nask 1\nfirst\n", "5 bytes sent, 6 bytes received\nask 2\nsecond\n"];
        tape.write(file.path()).unwrap();
        let text = std::fs::read_to_string(file.path()).unwrap();
        assert!(expected.iter().all(|expected| text.contains(expected)), "{text}");
        // The last one is offered when the relay has seen both ends close.
        drop(stream);
        while !text_of(&tape).contains("5 bytes sent, 3 bytes received\nask 3\nthi\n") {
            tokio::task::yield_now().await;
        }
    }

    fn text_of(tape: &Tape) -> String {
        let file = tempfile::NamedTempFile::new().unwrap();
        tape.write(file.path()).unwrap();
        std::fs::read_to_string(file.path()).unwrap()
    }
}
