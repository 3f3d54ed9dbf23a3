//! Carries one response from its source to its client: never more than a few chunks at a time, and no further once its flow has ended or its
//! participant is switched off. Its end is held back until what went through is stored: a whole response is always counted.

use super::{DataPlane, Permit, meter::Measured};
use crate::{ControlPlane, Services, control_plane::ControlPlaneState, outbound::StreamResponse};
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
    /// The control plane agent: knows whether the participant is active.
    pub participant: Address,
    /// The data plane agent.
    pub agent: Address,
    /// The flow.
    pub flow: TransferId,
    /// The token's id.
    pub token: Uuid,
}

impl Watched {
    /// Returns when the flow does not serve the token any more, when its participant is not active any more, or when that cannot be known any
    /// more: the owners are asked all the time, by waiting on their published state.
    async fn until_ended(&self, cluster: &Cluster) {
        let ended = |state: &super::DataPlaneState| (!state.flows.get(&self.flow).is_some_and(|f| f.serves(self.token))).then_some(());
        let inactive = |state: &ControlPlaneState| state.active().err();
        tokio::select! {
            _ = cluster.watch::<DataPlane, _>(&self.agent, ended) => {}
            _ = cluster.watch::<ControlPlane, _>(&self.participant, inactive) => {}
        }
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
pub fn start(services: &Services, watched: Watched, source: StreamResponse, permit: Permit, measured: Measured) -> Body {
    let (sender, chunks) = mpsc::channel(CHUNKS);
    let cut = Arc::new(AtomicBool::new(false));
    let body = Body { chunks, cut: cut.clone() };
    let cluster = services.cluster.clone();
    services.workers.streams.spawn(async move {
        tokio::select! {
            biased;
            () = watched.until_ended(&cluster) => {
                cut.store(true, Ordering::Release);
                tracing::info!(category = "app", vpa = %watched.agent, action = "data.cut", flow = %watched.flow);
            }
            () = measured.checkpoints() => {}
            () = carry(source, &sender, &cut, &measured) => {}
        }
        drop((sender, measured, permit));
    });
    body
}

async fn carry(mut source: StreamResponse, sender: &mpsc::Sender<Result<Bytes, io::Error>>, cut: &AtomicBool, measured: &Measured) {
    let mut left = source.length();
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
        let chunk = match chunk {
            Ok(chunk) => chunk,
            Err(error) => {
                tracing::warn!(category = "app", action = "data.source_failed", %error);
                place.send(Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the source broke off")));
                return;
            }
        };
        let length = chunk.as_ref().map_or(0, Bytes::len);
        measured.add(length);
        left = left.map(|left| left.saturating_sub(u64::try_from(length).unwrap_or(u64::MAX)));
        // The client knows that it has all by the last byte where the length was told, by the end of the body where it was not.
        let is_last = chunk.is_none() || left == Some(0);
        if is_last && tokio::time::timeout(STALL, measured.completed()).await != Ok(true) {
            place.send(Err(io::Error::other("the response cannot be recorded")));
            return;
        }
        if let Some(chunk) = chunk {
            place.send(Ok(chunk));
        }
        if is_last {
            return;
        }
    }
}
