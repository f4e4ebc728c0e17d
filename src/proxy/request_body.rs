//! The request's body on its way to the worker: limited, watched, and passed on piece by piece.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Instant;

use super::exchange::{Exchange, UploadFault};
use super::timer::LazyTimer;

/// The upload was broken off; the reason is in [`Exchange::fault`].
#[derive(Debug, thiserror::Error)]
#[error("the request's body was broken off: {0:?}")]
pub(crate) struct UploadBroken(UploadFault);

/// A request's body.
#[derive(Debug, Default)]
pub(crate) struct RequestBody(Option<Box<Upload>>);

#[derive(Debug)]
struct Upload {
    incoming: Incoming,
    exchange: Rc<Exchange>,
    /// How many more bytes may come; `u64::MAX` for no limit.
    allowance: u64,
    stall_limit: Duration,
    timer: LazyTimer,
}

impl RequestBody {
    /// For a request without a body.
    pub(crate) const fn empty() -> Self {
        Self(None)
    }

    /// Passes `incoming` on: at most `max` bytes (0 for any number), with no pause of the client
    /// longer than `stall_limit`.
    pub(crate) fn new(
        incoming: Incoming,
        exchange: &Rc<Exchange>,
        max: u64,
        stall_limit: Duration,
    ) -> Self {
        if incoming.is_end_stream() {
            return Self::empty();
        }
        exchange.uploaded.set(false);
        let allowance = if max == 0 { u64::MAX } else { max };
        let exchange = Rc::clone(exchange);
        let timer = LazyTimer::default();
        Self(Some(Box::new(Upload { incoming, exchange, allowance, stall_limit, timer })))
    }
}

impl Upload {
    fn broken(&self, fault: UploadFault) -> Poll<Option<Result<Frame<Bytes>, UploadBroken>>> {
        self.exchange.fault.set(Some(fault));
        Poll::Ready(Some(Err(UploadBroken(fault))))
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = UploadBroken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UploadBroken>>> {
        let Some(upload) = &mut self.0 else { return Poll::Ready(None) };
        let exchange = &upload.exchange;
        let outcome = Pin::new(&mut upload.incoming).poll_frame(cx);
        let now = Instant::now();
        if outcome.is_ready() {
            exchange.moved.set(now);
            exchange.awaits_client.set(false);
        } else if !exchange.awaits_client.replace(true) {
            exchange.moved.set(now);
        }
        match outcome {
            Poll::Ready(Some(Ok(frame))) => {
                let len = frame.data_ref().map_or(0, |data| data.len() as u64);
                let Some(rest) = upload.allowance.checked_sub(len) else {
                    return upload.broken(UploadFault::TooLarge);
                };
                upload.allowance = rest;
                if upload.incoming.is_end_stream() {
                    exchange.uploaded.set(true);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(None) => {
                exchange.uploaded.set(true);
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(_))) => upload.broken(UploadFault::ClientBroke),
            Poll::Pending => {
                let deadline = exchange.moved.get() + upload.stall_limit;
                match upload.timer.poll_elapsed(cx, deadline) {
                    Poll::Ready(()) => upload.broken(UploadFault::ClientStalled),
                    Poll::Pending => Poll::Pending,
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(|upload| upload.incoming.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            None => SizeHint::with_exact(0),
            Some(upload) => upload.incoming.size_hint(),
        }
    }
}
