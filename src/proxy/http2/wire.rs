//! The bytes of a connection as they go over the wire, counted, and ended so that nothing is lost.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::PREFACE;
use crate::proxy::core::Core;

/// How much is read and dropped after the last word, at most.
const LINGER_BYTES: usize = 1 << 20;

/// Where, after the preface, the first frame says what it is, and what it must say (RFC 9113
/// section 3.4). h2 takes any.
const FIRST_TYPE_AT: usize = PREFACE.len() + 3;
const SETTINGS: u8 = 4;

/// What goes on at the wire, for whoever gives up when nothing does.
#[derive(Debug, Default)]
pub(super) struct Activity {
    /// Rises with every byte that the peer takes, and in the end with every byte that it sends.
    pub(super) moved: Cell<u64>,
    /// Whether the last word was said and the peer's end is awaited.
    pub(super) is_ending: Cell<bool>,
}

impl Activity {
    fn add(&self, n: usize) {
        self.moved.set(self.moved.get().wrapping_add(n as u64));
    }
}

/// A stream of bytes to a client that speaks HTTP/2.
pub(super) struct Wire<S> {
    stream: S,
    /// What was read before, and comes first.
    early: Vec<u8>,
    early_taken: usize,
    /// How many bytes were read, as long as [`FIRST_TYPE_AT`] is not among them.
    read: usize,
    core: Rc<Core>,
    activity: Rc<Activity>,
    /// How much may still be dropped.
    linger_left: usize,
}

impl<S> Wire<S> {
    /// For `stream`, of which `early` was read already.
    pub(super) fn new(stream: S, early: Vec<u8>, core: Rc<Core>) -> (Self, Rc<Activity>) {
        let activity = Rc::new(Activity::default());
        let wire = Self {
            stream,
            early,
            early_taken: 0,
            read: 0,
            core,
            activity: Rc::clone(&activity),
            linger_left: LINGER_BYTES,
        };
        (wire, activity)
    }

    fn check_first(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.read > FIRST_TYPE_AT {
            return Ok(());
        }
        let kind = bytes.get(FIRST_TYPE_AT - self.read);
        self.read += bytes.len();
        match kind {
            Some(kind) if *kind != SETTINGS => {
                Err(io::Error::new(io::ErrorKind::InvalidData, "the first frame is not SETTINGS"))
            }
            _ => Ok(()),
        }
    }

    fn wrote(&self, n: usize) {
        self.core.counters.bytes_sent.add(n as u64);
        self.activity.add(n);
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Wire<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let early = &self.early[self.early_taken..];
        if !early.is_empty() {
            let n = early.len().min(buf.remaining());
            buf.put_slice(&early[..n]);
            self.early_taken += n;
            self.check_first(&buf.filled()[before..])?;
            if self.early_taken == self.early.len() {
                self.early = Vec::new();
                self.early_taken = 0;
            }
            return Poll::Ready(Ok(()));
        }
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        let read = &buf.filled()[before..];
        self.core.counters.bytes_received.add(read.len() as u64);
        Poll::Ready(self.check_first(read))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let n = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes))?;
        self.wrote(n);
        Poll::Ready(Ok(n))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let n = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, parts))?;
        self.wrote(n);
        Poll::Ready(Ok(n))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// Ends our side, and waits for the peer's end: while it reads it sends window updates, and a
    /// socket that is closed when those arrive resets the connection, which loses what the peer has
    /// not read (RFC 9112 section 9.6 tells the same of HTTP/1.1).
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !this.activity.is_ending.get() {
            ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
            this.activity.is_ending.set(true);
        }
        let mut scrap = [0; 4 << 10];
        while this.linger_left > 0 {
            let mut room = ReadBuf::new(&mut scrap);
            ready!(Pin::new(&mut this.stream).poll_read(cx, &mut room))?;
            let n = room.filled().len();
            if n == 0 {
                break;
            }
            this.activity.add(n);
            this.linger_left = this.linger_left.saturating_sub(n);
        }
        Poll::Ready(Ok(()))
    }
}
