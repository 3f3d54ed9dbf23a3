//! The body of an answer.

use bytes::Bytes;
use futures::{Stream, TryStreamExt};
use http_body::{Frame, SizeHint};
use http_body_util::{BodyExt, StreamBody, combinators::BoxBody};
use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

/// Body of an answer.
#[derive(Debug)]
pub enum Body {
    /// All of it is there.
    Whole(Bytes),
    /// It is told while it comes.
    Told(BoxBody<Bytes, io::Error>),
}

impl Body {
    /// What is told while it comes.
    #[must_use]
    pub fn told(chunks: impl Stream<Item = io::Result<Bytes>> + Send + Sync + 'static) -> Self {
        Self::Told(BodyExt::boxed(StreamBody::new(chunks.map_ok(Frame::data))))
    }

    /// Keeps something until all of it was told, or nobody listens to it any more.
    #[must_use]
    pub fn holding(self, kept: impl Send + Sync + 'static) -> Self {
        let holding = move |frame: Frame<Bytes>| {
            let _ = &kept;
            frame
        };
        Self::Told(self.map_frame(holding).boxed())
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match self.get_mut() {
            Self::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Told(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_empty(),
            Self::Told(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(u64::try_from(bytes.len()).unwrap_or(u64::MAX)),
            Self::Told(body) => body.size_hint(),
        }
    }
}
