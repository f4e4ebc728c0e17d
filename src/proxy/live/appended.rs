//! A worker's body with something of ours behind it. Nothing is held back, and what breaks off
//! breaks off.

use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;

use crate::proxy::body::BodyError;
use crate::proxy::response_body::UpstreamBody;

/// The two, one after the other.
pub(crate) struct Appended {
    body: UpstreamBody,
    /// `None` once it was sent.
    tail: Option<Bytes>,
}

impl Appended {
    /// `tail` is not empty.
    pub(super) fn new(body: UpstreamBody, tail: Bytes) -> Self {
        Self { body, tail: Some(tail) }
    }

    /// The next piece.
    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.tail.is_none() {
            return Poll::Ready(None);
        }
        match ready!(self.body.poll_frame(cx)) {
            Some(Ok(frame)) if frame.is_data() => Poll::Ready(Some(Ok(frame))),
            Some(Err(error)) => Poll::Ready(Some(Err(error))),
            // Trailers are the end too, and go no further: `Trailer` is of one connection only.
            Some(Ok(_)) | None => Poll::Ready(self.tail.take().map(|tail| Ok(Frame::data(tail)))),
        }
    }

    /// Whether all of it was sent.
    pub(crate) fn is_end_stream(&self) -> bool {
        self.tail.is_none()
    }

    /// What is still to come.
    pub(crate) fn size_hint(&self) -> SizeHint {
        let Some(tail) = &self.tail else { return SizeHint::with_exact(0) };
        let tail = tail.len() as u64;
        let body = Incoming::size_hint(self.body.incoming());
        let mut hint = SizeHint::new();
        hint.set_lower(body.lower().saturating_add(tail));
        if let Some(upper) = body.upper() {
            hint.set_upper(upper.saturating_add(tail));
        }
        hint
    }
}
