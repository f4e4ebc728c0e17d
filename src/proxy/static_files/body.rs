//! The body of an answer: nothing, bytes, or part of a file.

use std::fs::File;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use tokio::task::JoinHandle;

use super::range::Span;
use super::read::{self, Read};
use crate::config::settings::Coding;

/// What [`serve`](super::serve) answers with.
///
/// Exactly as long as announced: it ends in an error, and the connection with it, when the file
/// turns out to be shorter; a file that grew is cut where it used to end.
#[derive(Debug, Default)]
pub struct StaticBody {
    content: Content,
    representation: Option<Box<Representation>>,
}

/// The file that a body is all of, with what is to be known to answer with it again.
#[derive(Debug)]
pub(crate) struct Representation {
    pub(super) file: Arc<File>,
    pub(super) len: u64,
    /// The entity tag, quotes included.
    pub(super) etag: String,
    /// The codings in which there are variants, in our order of preference.
    pub(super) codings: Vec<Coding>,
    /// Which of them this is.
    pub(super) coding: Option<Coding>,
    /// The fields of a 304.
    pub(super) not_modified: HeaderMap,
}

/// What there is to send.
pub(crate) enum Sendable {
    /// Bytes that are at hand.
    Bytes(Bytes),
    /// Part of a file.
    File(Arc<File>, Span),
}

#[derive(Debug, Default)]
enum Content {
    #[default]
    Empty,
    Full(Bytes),
    File(FileSpan),
}

/// Part of a file that is still to be sent.
#[derive(Debug)]
struct FileSpan {
    file: Arc<File>,
    left: Span,
    reading: Option<JoinHandle<io::Result<Bytes>>>,
}

impl StaticBody {
    /// No bytes.
    pub fn empty() -> Self {
        Self::default()
    }

    /// How many bytes are still to come.
    pub fn len(&self) -> u64 {
        match &self.content {
            Content::Empty => 0,
            Content::Full(bytes) => bytes.len() as u64,
            Content::File(span) => span.left.len,
        }
    }

    /// Whether none are.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The given bytes.
    pub(super) fn full(bytes: Bytes) -> Self {
        let content = if bytes.is_empty() { Content::Empty } else { Content::Full(bytes) };
        Self { content, representation: None }
    }

    /// The part `span` of `file`, read as it is sent.
    pub(crate) fn file(file: Arc<File>, span: Span) -> Self {
        let content = Content::File(FileSpan { file, left: span, reading: None });
        Self { content, representation: None }
    }

    /// The same, which is all of `representation`: a file that never changes.
    pub(super) fn of(self, representation: Representation) -> Self {
        Self { representation: Some(Box::new(representation)), ..self }
    }

    /// What it is all of, and its bytes if they are at hand.
    pub(crate) fn take_representation(&mut self) -> Option<(Representation, Option<Bytes>)> {
        let bytes = match &self.content {
            Content::Empty => Some(Bytes::new()),
            Content::Full(bytes) => Some(bytes.clone()),
            Content::File(_) => None,
        };
        self.representation.take().map(|representation| (*representation, bytes))
    }

    /// Itself as something to send without reading it here. Nothing of it was read yet.
    pub(crate) fn into_sendable(self) -> Sendable {
        match self.content {
            Content::Empty => Sendable::Bytes(Bytes::new()),
            Content::Full(bytes) => Sendable::Bytes(bytes),
            Content::File(span) => Sendable::File(span.file, span.left),
        }
    }
}

impl FileSpan {
    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        let chunk = match self.reading.take() {
            Some(task) => self.poll_task(task, cx),
            None => match read::start(&self.file, self.left) {
                Read::Ready(chunk) => Poll::Ready(chunk),
                Read::Pending(task) => self.poll_task(task, cx),
            },
        };
        let chunk = ready!(chunk)?;
        self.left.start += chunk.len() as u64;
        self.left.len -= chunk.len() as u64;
        Poll::Ready(Ok(chunk))
    }

    fn poll_task(
        &mut self,
        mut task: JoinHandle<io::Result<Bytes>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Bytes>> {
        match Pin::new(&mut task).poll(cx) {
            Poll::Ready(joined) => Poll::Ready(joined.map_err(io::Error::from).flatten()),
            Poll::Pending => {
                self.reading = Some(task);
                Poll::Pending
            }
        }
    }
}

impl Body for StaticBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let content = &mut self.get_mut().content;
        let chunk = match content {
            Content::Empty => return Poll::Ready(None),
            Content::Full(bytes) => Ok(std::mem::take(bytes)),
            Content::File(span) => ready!(span.poll_chunk(cx)),
        };
        let more = matches!(content, Content::File(span) if span.left.len > 0);
        if chunk.is_err() || !more {
            *content = Content::Empty;
        }
        Poll::Ready(Some(chunk.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.content, Content::Empty)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.len())
    }
}
