//! Sending files without their bytes passing through our memory.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::sendfile;
use rustix::net::SendFlags;
use socket2::SockRef;
use tokio::net::TcpStream;

use super::range::Span;
use super::read;
use crate::proxy::client::Client;
use crate::proxy::socket::Socket;

/// The most that is sent at once.
const WINDOW: u64 = 1 << 20;

/// How much of a longer file may wait in the kernel that was not sent yet (`TCP_NOTSENT_LOWAT`), so that
/// a slow client holds little of its memory.
const UNSENT: u32 = 128 << 10;

/// Sends `head`, and after it `span` of `file`, to a client whose socket is
/// [bare TCP](Socket::as_tcp), with no pause of the client's longer than `limit`.
///
/// # Errors
/// When the client is gone or takes nothing, or the file turns out to be shorter or cannot be read.
pub(crate) async fn send<S: Socket>(
    client: &mut Client<S>,
    mut head: &[u8],
    file: &Arc<File>,
    mut span: Span,
    limit: Duration,
) -> io::Result<()> {
    if span.len > u64::from(UNSENT)
        && let Some(socket) = client.leg.socket.as_tcp()
    {
        // Without it files are sent as well.
        SockRef::from(socket).set_tcp_notsent_lowat(UNSENT).ok();
    }
    // MORE: the head waits for the first bytes of the file, and leaves with them.
    let flags = if span.len > 0 { SendFlags::MORE } else { SendFlags::empty() };
    while !head.is_empty() {
        let n = attempt(client, limit, |socket| rustix::net::send(socket, head, flags)).await?;
        head = &head[n.unwrap_or(0)..];
    }
    while span.len > 0 {
        // Whoever is slow may have left the pages time to go: they are looked for when there is room.
        client.unless_stuck(limit, |leg, cx| leg.poll_plain_writable(cx)).await?;
        let window = Span { len: span.len.min(WINDOW), ..span };
        read::bring_in(file, window).await?;
        let (mut at, len) = (span.start, window.len as usize);
        match attempt(client, limit, |socket| sendfile(socket, file, Some(&mut at), len)).await? {
            None => {}
            Some(0) => return Err(read::truncated()),
            Some(n) => {
                span.start += n as u64;
                span.len -= n as u64;
            }
        }
    }
    Ok(())
}

/// How many bytes `call` wrote once there was room; `None` if there was none after all.
async fn attempt<S: Socket>(
    client: &mut Client<S>,
    limit: Duration,
    call: impl FnOnce(&TcpStream) -> rustix::io::Result<usize>,
) -> io::Result<Option<usize>> {
    client.unless_stuck(limit, |leg, cx| leg.poll_plain_writable(cx)).await?;
    match client.leg.try_write_plain(|socket| Ok(call(socket)?)) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        written => written.map(Some),
    }
}
