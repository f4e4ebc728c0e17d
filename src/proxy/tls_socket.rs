//! A client's connection inside TLS.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::AsyncWrite;
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::socket::Socket;

impl Socket for TlsStream<TcpStream> {
    /// Always: what is held inside, decrypted or in error, cannot be seen without reading. A read
    /// that finds nothing keeps no buffer, and has rustls shrink its own to 4 KiB.
    fn poll_readable(&self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn reset_when_closed(&self) {
        self.get_ref().0.reset_when_closed();
    }

    /// Without `close_notify` an end could be an attacker's (RFC 8446 section 6.1).
    fn poll_farewell(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // Of a failure the peer, who is gone, needs no telling.
        Pin::new(self).poll_shutdown(cx).map(drop)
    }
}
