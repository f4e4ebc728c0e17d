//! A stream of bytes to one peer, with what was read from it and not yet taken.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

use super::buffers::{Buffers, Inbox};
use super::core::Core;
use super::splice::Pipe;

/// A stream that may say, before anybody has a buffer for it, that it has nothing to read.
pub(crate) trait Socket: AsyncRead + AsyncWrite + Unpin + 'static {
    /// Pending while a read would find nothing for certain.
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// The bare TCP stream, if the bytes on it are those that are read and written here.
    fn as_tcp(&self) -> Option<&TcpStream> {
        None
    }

    /// Makes the close a reset, which no peer takes for a clean end.
    fn reset_when_closed(&self);

    /// Tells the peer that nothing follows, where the close that comes next does not tell it.
    fn poll_farewell(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }

    /// What the client speaks, where that is not what the request says.
    const PROTOCOL: Option<&str> = None;

    /// Whether a client's bytes are those of its connection, and are counted as such.
    const IS_COUNTED: bool = true;
}

impl Socket for TcpStream {
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_read_ready(cx)
    }

    fn as_tcp(&self) -> Option<&TcpStream> {
        Some(self)
    }

    fn reset_when_closed(&self) {
        self.set_zero_linger().ok();
    }
}

/// One side of what is passed on.
pub(crate) struct Leg<S> {
    pub(crate) socket: S,
    pub(crate) inbox: Inbox,
    core: Rc<Core>,
    /// Whether its bytes are counted, as the clients' are.
    is_client: bool,
    /// Bytes read so far.
    pub(crate) received: u64,
    /// Bytes written so far.
    pub(crate) sent: u64,
}

impl<S: Socket> Leg<S> {
    /// To a client.
    pub(crate) fn client(socket: S, core: Rc<Core>) -> Self {
        Self {
            socket,
            inbox: Inbox::default(),
            core,
            is_client: S::IS_COUNTED,
            received: 0,
            sent: 0,
        }
    }

    /// To a worker.
    pub(crate) fn worker(socket: S, core: Rc<Core>) -> Self {
        Self { socket, inbox: Inbox::default(), core, is_client: false, received: 0, sent: 0 }
    }

    fn received(&mut self, n: usize) {
        self.received += n as u64;
        if self.is_client {
            self.core.counters.bytes_received.add(n as u64);
        }
    }

    fn sent(&mut self, n: usize) {
        self.sent += n as u64;
        if self.is_client {
            self.core.counters.bytes_sent.add(n as u64);
        }
    }

    /// See [`Inbox::poll_fill`].
    pub(crate) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let n = ready!(self.inbox.poll_fill(cx, &mut self.socket, &self.core.buffers))?;
        self.received(n);
        Poll::Ready(Ok(n))
    }

    /// What comes next, as far as it is here and `room` goes, without taking it, and says how much that
    /// is; 0 at the end, or if nobody can tell.
    pub(crate) fn poll_peek(
        &self,
        cx: &mut Context<'_>,
        room: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let Some(socket) = self.socket.as_tcp() else { return Poll::Ready(Ok(0)) };
        socket.poll_peek(cx, &mut ReadBuf::new(room))
    }

    /// Takes bytes into an empty pipe, as [`poll_fill`](Self::poll_fill) does into the inbox, which is
    /// empty as well.
    pub(crate) fn poll_fill_pipe(
        &mut self,
        cx: &mut Context<'_>,
        pipe: &mut Pipe,
        max: usize,
    ) -> Poll<io::Result<usize>> {
        let Some(socket) = self.socket.as_tcp() else { return Poll::Ready(Ok(0)) };
        let n = ready!(pipe.poll_fill(cx, socket, max))?;
        self.received(n);
        Poll::Ready(Ok(n))
    }

    /// Writes some of what a pipe holds.
    pub(crate) fn poll_drain_pipe(
        &mut self,
        cx: &mut Context<'_>,
        pipe: &mut Pipe,
    ) -> Poll<io::Result<usize>> {
        let Some(socket) = self.socket.as_tcp() else { return Poll::Ready(Ok(0)) };
        let n = ready!(pipe.poll_drain(cx, socket))?;
        self.sent(n);
        Poll::Ready(Ok(n))
    }

    /// A pipe for what comes from here and goes `to` another leg without a look at it; `None` if that
    /// cannot be.
    pub(crate) fn pipe_to<W: Socket>(&self, to: &Leg<W>) -> Option<Pipe> {
        let both = self.socket.as_tcp().and(to.socket.as_tcp());
        both.and_then(|_| self.core.pipes.borrow())
    }

    /// Takes back what [`pipe_to`](Self::pipe_to) gave.
    pub(crate) fn give_back_pipe(&self, pipe: Pipe) {
        self.core.pipes.give_back(pipe);
    }

    /// Writes some of the parts, in their order.
    pub(crate) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let socket = Pin::new(&mut self.socket);
        let n = match parts {
            [one] => ready!(socket.poll_write(cx, one))?,
            several => ready!(socket.poll_write_vectored(cx, several))?,
        };
        if n == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.sent(n);
        Poll::Ready(Ok(n))
    }

    /// Ready when there seems to be room in the kernel's socket.
    pub(crate) fn poll_plain_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(socket) = self.socket.as_tcp() else {
            return Poll::Ready(Err(io::ErrorKind::Unsupported.into()));
        };
        socket.poll_write_ready(cx)
    }

    /// Writes by `call`, a system call on the kernel's socket that says how many bytes it wrote.
    ///
    /// # Errors
    /// `WouldBlock` when there is no room.
    pub(crate) fn try_write_plain(
        &mut self,
        call: impl FnOnce(&TcpStream) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let Some(socket) = self.socket.as_tcp() else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        let n = socket.try_io(Interest::WRITABLE, || call(socket))?;
        self.sent(n);
        Ok(n)
    }

    /// Ready when the peer has ended the connection. What it sends meanwhile waits for the next request;
    /// once there is no room for more of it, the end cannot be seen.
    pub(crate) fn poll_hung_up(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while !self.inbox.is_full() {
            match ready!(self.poll_fill(cx)) {
                Ok(0) | Err(_) => return Poll::Ready(()),
                Ok(_) => {}
            }
        }
        Poll::Pending
    }

    /// Writes what the stream itself holds back, as TLS does when the socket takes no more. Nobody
    /// else would: it counts as written.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    /// Holds no buffer while nothing is to be read.
    pub(crate) fn rest(&mut self) {
        self.inbox.rest(&self.core.buffers);
    }

    /// The socket, and what was read from it and not taken.
    pub(crate) fn into_parts(mut self) -> (S, Vec<u8>) {
        let unread = self.inbox.unread().to_vec();
        self.inbox.give_up(&self.core.buffers);
        (self.socket, unread)
    }

    /// The buffers of its thread.
    pub(crate) fn buffers(&self) -> &Buffers {
        &self.core.buffers
    }
}
