//! A connection to the database that can lose answers, and hold up requests.

use std::sync::Arc;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// What becomes of bytes on their way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passage {
    Open,
    /// Requests arrive, and the connection breaks with the answer.
    NoAnswers,
    /// Requests wait.
    Held,
}

pub struct Proxy {
    pub address: String,
    passage: Arc<watch::Sender<Passage>>,
}

impl Proxy {
    /// In front of one node.
    pub async fn new(node: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (passage, node) = (Arc::new(watch::Sender::new(Passage::Open)), node.to_owned());
        let held = passage.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(&node).await.unwrap();
                tokio::spawn(connection(client, server, held.subscribe()));
            }
        });
        Self { address, passage }
    }

    pub fn set(&self, passage: Passage) {
        self.passage.send_replace(passage);
    }
}

async fn connection(client: TcpStream, server: TcpStream, passage: watch::Receiver<Passage>) {
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) = (client.into_split(), server.into_split());
    let mut held = passage.clone();
    // Goes on when the client has gone: what it has sent is on its way.
    tokio::spawn(async move {
        let mut bytes = vec![0; 64 << 10];
        while let Ok(count @ 1..) = from_client.read(&mut bytes).await {
            if held.wait_for(|passage| *passage != Passage::Held).await.is_err() || to_server.write_all(&bytes[..count]).await.is_err() {
                return;
            }
        }
    });
    let mut bytes = vec![0; 64 << 10];
    while let Ok(count @ 1..) = from_server.read(&mut bytes).await {
        if *passage.borrow() == Passage::NoAnswers || to_client.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
}
