//! Carries one response from its source to its client: never more than a few chunks at a time, and no further once its flow has ended.

use super::{DataPlane, Permit, meter::Measured};
use crate::outbound::StreamResponse;
use bytes::Bytes;
use cellspace_cluster::{Address, Cluster};
use cellspace_schemas::TransferId;
use futures::Stream;
use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};
use tokio::sync::mpsc;
use uuid::Uuid;

/// Chunks on their way between source and client; a chunk is what the transport read at once.
const CHUNKS: usize = 4;
/// A client that takes nothing for so long is cut.
const STALL: Duration = Duration::from_secs(60);

/// Under which flow and token a response runs.
#[derive(Debug, Clone)]
pub struct Watched {
    /// The data plane agent.
    pub agent: Address,
    /// The flow.
    pub flow: TransferId,
    /// The token's id.
    pub token: Uuid,
}

impl Watched {
    /// Returns when the flow does not serve the token any more, or when that cannot be known any more: the flow's owner is asked all the time,
    /// by waiting on its published state.
    async fn until_ended(&self, cluster: &Cluster) {
        let ended = |state: &super::DataPlaneState| (!state.flows.get(&self.flow).is_some_and(|f| f.serves(self.token))).then_some(());
        // What cannot be known any more ends it too.
        let _ = cluster.watch::<DataPlane, _>(&self.agent, ended).await;
    }
}

/// The body of a response as its client takes it. It ends with an error when it is not whole.
#[derive(Debug)]
pub struct Body {
    chunks: mpsc::Receiver<Result<Bytes, io::Error>>,
    cut: Arc<AtomicBool>,
}

impl Stream for Body {
    type Item = Result<Bytes, io::Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = self.chunks.poll_recv(cx);
        // What was under way when the flow ended is not handed on.
        if self.cut.load(Ordering::Acquire) && matches!(next, Poll::Ready(_)) {
            self.cut.store(false, Ordering::Release);
            self.chunks.close();
            while self.chunks.try_recv().is_ok() {}
            return Poll::Ready(Some(Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the data flow has ended"))));
        }
        next
    }
}

/// Starts to carry the response; `permit` and `measured` live as long as it streams.
pub fn start(cluster: Cluster, watched: Watched, source: StreamResponse, permit: Permit, measured: Measured) -> Body {
    let (sender, chunks) = mpsc::channel(CHUNKS);
    let cut = Arc::new(AtomicBool::new(false));
    let body = Body { chunks, cut: cut.clone() };
    tokio::spawn(async move {
        tokio::select! {
            biased;
            () = watched.until_ended(&cluster) => {
                cut.store(true, Ordering::Release);
                tracing::info!(category = "app", vpa = %watched.agent, action = "data.cut", flow = %watched.flow);
            }
            () = carry(source, &sender, &cut, measured) => {}
        }
        drop((sender, permit));
    });
    body
}

async fn carry(mut source: StreamResponse, sender: &mpsc::Sender<Result<Bytes, io::Error>>, cut: &AtomicBool, mut measured: Measured) {
    loop {
        // A place first: nothing is read from the source that the client has no room for.
        let place = match tokio::time::timeout(STALL, sender.reserve()).await {
            Ok(Ok(place)) => place,
            // The client left.
            Ok(Err(_)) => return,
            Err(_) => {
                cut.store(true, Ordering::Release);
                return;
            }
        };
        let chunk = tokio::select! {
            () = sender.closed() => return,
            chunk = source.chunk() => chunk,
        };
        match chunk {
            Ok(Some(chunk)) => {
                measured.add(chunk.len());
                place.send(Ok(chunk));
            }
            Ok(None) => return,
            Err(error) => {
                tracing::warn!(category = "app", action = "data.source_failed", %error);
                place.send(Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the source broke off")));
                return;
            }
        }
    }
}
