//! The answer's body on its way to the client.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::StatusCode;
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;

use super::connection::Connection;
use super::live::Appended;
use super::response_body::UpstreamBody;
use super::static_files::StaticBody;

/// Why an answer is broken off. The client sees a connection that ends before its answer does.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    /// The worker broke off, or framed the body wrongly.
    #[error("the worker broke off in the middle of its answer: {0}")]
    Upstream(#[from] hyper::Error),
    /// The worker paused for longer than its limit.
    #[error("the worker fell silent in the middle of its answer")]
    Stalled,
    /// A file could not be read on, or was truncated.
    #[error("a public file could not be read to its end: {0}")]
    File(#[from] io::Error),
}

/// An answer's body.
pub(crate) struct Body {
    kind: Kind,
    answering: Option<Answering>,
}

enum Kind {
    Full(Bytes),
    Upstream(UpstreamBody),
    File(StaticBody),
    /// In development only.
    Appended(Box<Appended>),
}

impl Body {
    /// Nothing.
    pub(crate) fn empty() -> Self {
        Self::full(Bytes::new())
    }

    /// Bytes that are at hand.
    pub(crate) fn full(bytes: Bytes) -> Self {
        Self { kind: Kind::Full(bytes), answering: None }
    }

    /// What a worker sends.
    pub(crate) fn upstream(body: UpstreamBody) -> Self {
        Self { kind: Kind::Upstream(body), answering: None }
    }

    /// What a file holds.
    pub(crate) fn file(body: StaticBody) -> Self {
        Self { kind: Kind::File(body), answering: None }
    }

    /// What a worker sends, and something of ours.
    pub(crate) fn appended(body: Appended) -> Self {
        Self { kind: Kind::Appended(Box::new(body)), answering: None }
    }

    /// Books the end of the request when this body ends.
    pub(crate) fn ends(self, answering: Answering) -> Self {
        Self { answering: Some(answering), ..self }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body").finish_non_exhaustive()
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        let outcome = match &mut this.kind {
            Kind::Full(bytes) if bytes.is_empty() => Poll::Ready(None),
            Kind::Full(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Kind::Upstream(body) => body.poll_frame(cx),
            Kind::File(body) => Pin::new(body).poll_frame(cx).map_err(BodyError::from),
            Kind::Appended(body) => body.poll_frame(cx),
        };
        if let (Poll::Ready(Some(Err(error))), Some(answering)) = (&outcome, &this.answering) {
            answering.broke_off(error);
        }
        outcome
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Full(bytes) => bytes.is_empty(),
            Kind::Upstream(body) => body.incoming().is_end_stream(),
            Kind::File(body) => body.is_end_stream(),
            Kind::Appended(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Kind::Upstream(body) => Incoming::size_hint(body.incoming()),
            Kind::File(body) => body.size_hint(),
            Kind::Appended(body) => body.size_hint(),
        }
    }
}

/// A request that is being answered: counted as in flight until dropped.
pub(crate) struct Answering {
    connection: Rc<Connection>,
}

impl Answering {
    /// Counts a request whose head was read.
    pub(crate) fn begin(connection: &Rc<Connection>) -> Self {
        let counters = &connection.core.counters;
        counters.requests.add(1);
        counters.in_flight.add(1);
        connection.pace.request_began();
        Self { connection: Rc::clone(connection) }
    }

    /// Counts the answer's head.
    pub(crate) fn head(&self, status: StatusCode) {
        self.connection.core.counters.responded(status);
    }

    fn broke_off(&self, error: &BodyError) {
        self.connection.core.counters.aborted.add(1);
        self.connection.broken.set(true);
        tracing::warn!(client = %self.connection.peer, "answer broken off: {error}");
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.connection.core.counters.in_flight.sub(1);
        self.connection.pace.answer_ended();
    }
}
