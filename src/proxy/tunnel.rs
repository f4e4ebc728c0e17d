//! Switched protocols (RFC 9110 section 7.8): what was asked for and granted is copied both ways
//! until both sides have ended, or the target or the process wants it to end.

use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, HeaderMap, HeaderValue, UPGRADE};
use http::request::Parts;
use http::{Response, Version};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::time::sleep;

use super::body::Body;
use super::connection::{Connection, Upgraded};
use super::core::Core;
use super::counters::Count;
use super::exchange::Exchange;
use super::forward::Failure;
use super::headers::{connection_has, remove_hop_by_hop};
use super::websocket::{CLOSE_TO_CLIENT, FrameTracker, close_to_server};

/// How long both sides may take to answer a close frame.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);

const BUFFER_BYTES: usize = 16 << 10;

/// The protocol a client asks to switch to.
#[derive(Debug, Clone)]
pub(crate) struct Protocol(HeaderValue);

/// What `head` asks to switch to; only an HTTP/1.1 request without a body may ask.
pub(crate) fn requested(head: &Parts, body: &Incoming) -> Option<Protocol> {
    let protocol = head.headers.get(UPGRADE)?;
    let may = head.version == Version::HTTP_11 && body.is_end_stream();
    (may && connection_has(&head.headers, "upgrade")).then(|| Protocol(protocol.clone()))
}

impl Protocol {
    /// Asks the worker in turn.
    pub(crate) fn ask(&self, headers: &mut HeaderMap) {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, self.0.clone());
    }

    /// Whether `granted` is among what was asked for.
    fn includes(&self, granted: &HeaderValue) -> bool {
        let mut asked = self.0.as_bytes().split(|b| *b == b',').map(<[u8]>::trim_ascii);
        asked.any(|protocol| protocol.eq_ignore_ascii_case(granted.as_bytes()))
    }
}

/// A tunnel that begins when hyper has let go of the client's socket.
pub(crate) struct Tunnel {
    upgrade: OnUpgrade,
    exchange: Rc<Exchange>,
    websocket: bool,
}

/// Passes on that the worker switches, if that was asked for.
pub(crate) fn accept(
    connection: &Connection,
    mut response: Response<Incoming>,
    exchange: Rc<Exchange>,
    asked: Option<Protocol>,
) -> Result<Response<Body>, Failure> {
    let granted = response.headers().get(UPGRADE).cloned();
    let Some(granted) =
        granted.filter(|granted| asked.is_some_and(|asked| asked.includes(granted)))
    else {
        return Err(Failure::Garbage("it switches protocols unasked".to_owned()));
    };
    let upgrade = hyper::upgrade::on(&mut response);
    let websocket = granted.as_bytes().eq_ignore_ascii_case(b"websocket");
    let tunnel = Tunnel { upgrade, exchange, websocket };
    connection.upgraded.replace(Some(Upgraded::Tunnel(tunnel)));
    let (mut head, _) = response.into_parts();
    remove_hop_by_hop(&mut head.headers);
    Protocol(granted).ask(&mut head.headers);
    head.version = Version::HTTP_11;
    Ok(Response::from_parts(head, Body::empty()))
}

impl Tunnel {
    /// Copies until the end. `early` is what the client sent before it knew of the switch.
    pub(crate) async fn run(self, core: &Core, mut client: TcpStream, early: Bytes) {
        // The task of the worker's connection hands it over at once, or has failed.
        let Ok(upgraded) = self.upgrade.await else { return };
        let Ok(worker) = upgraded.downcast::<TokioIo<TcpStream>>() else { return };
        let (mut worker_io, worker_early) = (worker.io.into_inner(), worker.read_buf);
        let target = self.exchange.target();
        let end = async || {
            tokio::select! {
                () = target.cut().cancelled() => {}
                () = core.closing.streams.heard() => {}
            }
        };
        let tracker = || self.websocket.then(FrameTracker::default);
        let (client_read, client_write) = client.split();
        let (worker_read, worker_write) = worker_io.split();
        let up = Direction { from: client_read, to: worker_write, tracker: tracker() };
        let down = Direction { from: worker_read, to: client_write, tracker: tracker() };
        let close = close_to_server();
        let up = up.run(early, end(), &close, &core.counters.bytes_received);
        let down = down.run(worker_early, end(), &CLOSE_TO_CLIENT, &core.counters.bytes_sent);
        tokio::select! {
            // Either side's failure is the other's end: nothing to tell beyond that.
            _ = async { tokio::try_join!(up, down) } => {}
            () = async { end().await; sleep(CLOSE_LIMIT).await } => {}
        }
    }
}

/// One way through the tunnel.
struct Direction<'a> {
    from: ReadHalf<'a>,
    to: WriteHalf<'a>,
    /// For WebSocket: where frames end.
    tracker: Option<FrameTracker>,
}

impl Direction<'_> {
    /// Copies until `from` ends, or `end` comes: then a WebSocket gets the `close` frame after
    /// the frame that is under way, and what still comes (the other's close) is dropped.
    async fn run(
        mut self,
        early: Bytes,
        end: impl Future<Output = ()>,
        close: &[u8],
        bytes: &Count,
    ) -> io::Result<()> {
        let mut buffer = vec![0; BUFFER_BYTES];
        let mut end = pin!(end);
        self.pass(&early).await?;
        loop {
            let n = tokio::select! {
                biased;
                () = &mut end => break,
                n = self.from.read(&mut buffer) => n?,
            };
            if n == 0 {
                return self.to.shutdown().await;
            }
            bytes.add(n as u64);
            self.pass(&buffer[..n]).await?;
        }
        let Some(tracker) = &mut self.tracker else { return self.to.shutdown().await };
        while !tracker.at_boundary() {
            let n = self.from.read(&mut buffer).await?;
            if n == 0 {
                return self.to.shutdown().await;
            }
            let frame_end = tracker.feed_to_boundary(&buffer[..n]);
            self.to.write_all(&buffer[..frame_end.unwrap_or(n)]).await?;
            if frame_end.is_some() {
                break;
            }
        }
        self.to.write_all(close).await?;
        while self.from.read(&mut buffer).await? > 0 {}
        self.to.shutdown().await
    }

    async fn pass(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Some(tracker) = &mut self.tracker {
            tracker.feed(bytes);
        }
        self.to.write_all(bytes).await
    }
}
