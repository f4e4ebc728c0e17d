//! A worker's answer, piece by piece, until its end gives back the connection and the claim.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as _, Frame};
use hyper::body::Incoming;
use tokio::time::Instant;

use super::body::BodyError;
use super::connection::Connection;
use super::exchange::Exchange;
use super::pool::Upstream;

/// The body of a worker's answer.
pub(crate) struct UpstreamBody {
    incoming: Incoming,
    /// Dropped with the body: only then is the request off the target's books.
    exchange: Rc<Exchange>,
    connection: Rc<Connection>,
    upstream: Option<Upstream>,
    end: End,
    silent_since: Option<Instant>,
}

/// What ends an answer other than its own end.
enum End {
    /// The worker's silence: the longest that is allowed.
    Silence(Duration),
    /// The target's or the process's wish. Event streams may be silent for as long as they like,
    /// and end with a complete last chunk: their clients connect again by themselves.
    Cut(Pin<Box<dyn Future<Output = ()>>>),
}

impl UpstreamBody {
    /// For an answer that arrived by `upstream`.
    pub(crate) fn new(
        incoming: Incoming,
        exchange: Rc<Exchange>,
        connection: Rc<Connection>,
        upstream: Upstream,
        silence: Duration,
    ) -> Self {
        let upstream = Some(upstream);
        let end = End::Silence(silence);
        let mut body = Self { incoming, exchange, connection, upstream, end, silent_since: None };
        if body.incoming.is_end_stream() {
            body.complete();
        }
        body
    }

    /// Makes it an event stream, unless its length is known, when an early end would be a lie.
    pub(crate) fn into_event_stream(mut self) -> Self {
        if self.incoming.size_hint().exact().is_some() {
            return self;
        }
        let cut = self.exchange.target().cut().clone().cancelled_owned();
        let core = Rc::clone(&self.connection.core);
        self.end = End::Cut(Box::pin(async move {
            tokio::select! {
                () = cut => {}
                () = core.closing.streams.heard() => {}
            }
        }));
        self
    }

    /// What hyper delivers.
    pub(crate) fn incoming(&self) -> &Incoming {
        &self.incoming
    }

    /// The next piece.
    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let End::Cut(cut) = &mut self.end
            && cut.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(None);
        }
        match Pin::new(&mut self.incoming).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                self.silent_since = None;
                if self.incoming.is_end_stream() {
                    self.complete();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(None) => {
                self.complete();
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(error.into()))),
            Poll::Pending => {
                let End::Silence(limit) = self.end else { return Poll::Pending };
                let since = *self.silent_since.get_or_insert_with(Instant::now);
                let mut timer = self.connection.timer.borrow_mut();
                timer.poll_elapsed(cx, since + limit).map(|()| Some(Err(BodyError::Stalled)))
            }
        }
    }

    /// The answer is whole: its connection may serve the next request, if ours is whole as well.
    fn complete(&mut self) {
        if let Some(upstream) = self.upstream.take()
            && self.exchange.uploaded.get()
        {
            self.connection.core.pool.put(&self.exchange.target(), upstream);
        }
    }
}
