//! The WebSocket to one page: how things stand, at once and with each change, until the page, this
//! process or the network ends it.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

use super::Tab;
use crate::proxy::core::Core;

/// How often a page is asked whether it is there. One that did not answer by the next time is gone.
const PING_INTERVAL: Duration = Duration::from_secs(30);

/// How long a page may take to read what it is sent.
const WRITE_LIMIT: Duration = Duration::from_secs(10);

/// How long a page may take to answer a close frame.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);

/// The largest message from a page, in bytes. Pages send none, but for the answers to pings.
const MAX_INCOMING: usize = 256;

/// A WebSocket that begins when the page was told of it.
pub(crate) struct LiveSocket(Tab);

impl LiveSocket {
    /// For a page that was counted.
    pub(super) fn new(tab: Tab) -> Self {
        Self(tab)
    }

    /// Serves it to its end. `early` is what the page sent before it knew of the switch.
    pub(crate) async fn run<S>(self, core: &Core, stream: S, early: Bytes)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut socket = open(stream, early).await;
        let code = tokio::select! {
            code = converse(&mut socket, &self.0, |n| core.counters.bytes_sent.add(n)) => code,
            // Not with the streams: a process that retires hears of no change any more, and the page
            // comes back to the one that does.
            () = core.closing.connections.heard() => Some(CloseCode::Away),
        };
        if let Some(code) = code {
            // A page that is gone does not hear it.
            timeout(CLOSE_LIMIT, close(&mut socket, code)).await.ok();
        }
    }
}

async fn open<S: AsyncRead + AsyncWrite + Unpin>(stream: S, early: Bytes) -> WebSocketStream<S> {
    let config = WebSocketConfig::default()
        .read_buffer_size(1 << 10)
        .write_buffer_size(0)
        .max_message_size(Some(MAX_INCOMING))
        .max_frame_size(Some(MAX_INCOMING));
    WebSocketStream::from_partially_read(stream, early.into(), Role::Server, Some(config)).await
}

/// Tells the page what there is to tell; how much that was is `sent`. Returns with what to close it
/// once it is gone or does not keep to the protocol.
async fn converse<S: AsyncRead + AsyncWrite + Unpin>(
    socket: &mut WebSocketStream<S>,
    tab: &Tab,
    sent: impl Fn(u64),
) -> Option<CloseCode> {
    let mut changes = tab.live.subscribe();
    let mut publications = tab.live.table.subscribe();
    let mut ping = interval(PING_INTERVAL);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first tick is now.
    ping.tick().await;
    let (mut known, mut heard) = (String::new(), true);
    loop {
        let state = tab.state();
        if state != known {
            sent(state.len() as u64);
            known.clone_from(&state);
            send(socket, Message::text(state)).await?;
        }
        tokio::select! {
            // Neither ends: the senders are in `tab`.
            _ = changes.changed() => {}
            _ = publications.changed() => {}
            // The first look after a close frame answers it, and is the end.
            message = socket.next() => match message? {
                Ok(Message::Ping(_) | Message::Pong(_) | Message::Close(_)) => heard = true,
                Ok(_) => return Some(CloseCode::Unsupported),
                Err(Error::Capacity(_)) => return Some(CloseCode::Size),
                Err(Error::Protocol(_)) => return Some(CloseCode::Protocol),
                Err(_) => return None,
            },
            _ = ping.tick() => {
                if !std::mem::take(&mut heard) {
                    return None;
                }
                send(socket, Message::Ping(Bytes::new())).await?;
            }
        }
    }
}

/// `None` where the page does not take it.
async fn send<S: AsyncRead + AsyncWrite + Unpin>(
    socket: &mut WebSocketStream<S>,
    message: Message,
) -> Option<()> {
    timeout(WRITE_LIMIT, socket.send(message)).await.ok()?.ok()
}

/// Sends the close frame, and waits for the page's.
async fn close<S: AsyncRead + AsyncWrite + Unpin>(
    socket: &mut WebSocketStream<S>,
    code: CloseCode,
) {
    let frame = CloseFrame { code, reason: "".into() };
    if socket.close(Some(frame)).await.is_ok() {
        while let Some(Ok(_)) = socket.next().await {}
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::duplex;
    use tokio::time::Instant;

    use super::*;
    use crate::config::settings::LiveReloadSettings;
    use crate::proxy::live::Live;
    use crate::proxy::table::PublishedTable;

    /// A page's tab with its two ends.
    async fn tab() -> (Tab, WebSocketStream<tokio::io::DuplexStream>, tokio::io::DuplexStream) {
        let live = Live::new(PublishedTable::new(), LiveReloadSettings::default());
        let (page, server) = duplex(4 << 10);
        (live.enter(None).unwrap(), open(server, Bytes::new()).await, page)
    }

    #[tokio::test(start_paused = true)]
    async fn a_page_that_answers_no_ping_is_given_up() {
        let (tab, mut socket, _page) = tab().await;
        let start = Instant::now();
        assert_eq!(converse(&mut socket, &tab, |_| {}).await, None);
        assert_eq!(start.elapsed(), 2 * PING_INTERVAL);
    }

    #[tokio::test(start_paused = true)]
    async fn a_page_that_answers_pings_stays() {
        let (tab, mut socket, page) = tab().await;
        let mut page = WebSocketStream::from_raw_socket(page, Role::Client, None).await;
        // Reading answers pings.
        let reading = async { while let Some(Ok(_)) = page.next().await {} };
        let hours = timeout(100 * PING_INTERVAL, converse(&mut socket, &tab, |_| {}));
        tokio::select! {
            ended = hours => assert!(ended.is_err(), "given up: {ended:?}"),
            () = reading => panic!("the page was closed"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_page_that_reads_nothing_is_given_up() {
        let (tab, mut socket, _page) = tab().await;
        tab.live.styles_changed((0..500).map(|n| format!("/static/index/{n}.css")));
        let start = Instant::now();
        assert_eq!(converse(&mut socket, &tab, |_| {}).await, None);
        assert_eq!(start.elapsed(), WRITE_LIMIT);
    }
}
