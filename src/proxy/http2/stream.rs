//! One stream of a connection, as a socket on which a client speaks one request of HTTP/1.1.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::connection::Streams;
use super::incoming::Incoming;
use super::outgoing::Outgoing;
use super::request::{Content, Translated};
use crate::proxy::socket::Socket;

/// The socket.
pub(super) struct Stream {
    incoming: Incoming,
    outgoing: Outgoing,
    is_tunnel: bool,
    /// Whether our side was shut down: nothing more is read of a request that was answered.
    is_shut: bool,
    /// Whether the client has reset it, or is gone.
    is_reset: bool,
    streams: Rc<Streams>,
}

impl Stream {
    /// Counts as open among `streams` until dropped.
    pub(super) fn new(
        request: Translated,
        receive: RecvStream,
        respond: SendResponse<Bytes>,
        streams: Rc<Streams>,
    ) -> Self {
        streams.opened();
        Self {
            is_tunnel: request.content == Content::Tunnel,
            incoming: Incoming::new(receive, request.content, request.text),
            outgoing: Outgoing::new(respond, request.is_head, request.accept),
            is_shut: false,
            is_reset: false,
            streams,
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.streams.closed(self.is_reset && !self.outgoing.is_ended());
    }
}

impl Socket for Stream {
    const PROTOCOL: Option<&str> = Some("HTTP/2.0");

    // The connection counts what goes over the wire.
    const IS_COUNTED: bool = false;

    fn poll_readable(&self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Only a read can tell.
        Poll::Ready(Ok(()))
    }

    /// An answer that was not ended is reset in any case.
    fn reset_when_closed(&self) {}
}

impl AsyncRead for Stream {
    /// The request, and after it nothing until the answer has ended: then the end, unless the client
    /// resets the stream before.
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.is_shut && !this.is_tunnel {
            return Poll::Ready(Ok(()));
        }
        let error = match this.incoming.poll_read(cx, buf) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Ok(true)) => return Poll::Ready(Ok(())),
            Poll::Ready(Ok(false)) if this.is_tunnel || this.outgoing.is_ended() => {
                return Poll::Ready(Ok(()));
            }
            Poll::Ready(Ok(false)) => match this.outgoing.poll_reset(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(error) => error,
            },
            Poll::Ready(Err(error)) => error,
        };
        this.is_reset = true;
        Poll::Ready(Err(error))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = self.outgoing.poll_write(cx, bytes);
        if let Poll::Ready(Err(error)) = &written {
            self.is_reset |= error.kind() == io::ErrorKind::ConnectionReset;
        }
        written
    }

    /// The connection's task writes as soon as it is its turn.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.is_shut = true;
        Poll::Ready(self.outgoing.end_tunnel())
    }
}
