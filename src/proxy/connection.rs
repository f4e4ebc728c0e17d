//! One client connection, from accept to close.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderValue;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::ProxySettings;
use super::core::{ConnectionPlace, Core};
use super::counters::Count;
use super::headers::ClientIdentity;
use super::io::{ClientIo, ClientLimits, Pace};
use super::live::LiveSocket;
use super::service;
use super::timer::LazyTimer;
use super::tunnel::Tunnel;

/// On shutdown, how long a kept-alive connection may still begin one more request: its client may
/// have sent it already, and a close would lose it. The answer then says `Connection: close`.
const LAST_REQUEST_GRACE: Duration = Duration::from_secs(1);

/// After a refusal, how long and how much the client may go on sending before the socket is
/// closed: closed at once, the kernel would reset the connection and the client might never read
/// the answer (RFC 9112 section 9.6).
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 1 << 20;

/// How much hyper buffers for one connection and direction.
const BUFFER_BYTES: usize = 64 << 10;

const REQUEST_TIMEOUT: &[u8] =
    b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// What the requests of one connection share.
pub(crate) struct Connection {
    pub(crate) core: Rc<Core>,
    /// The settings at the time of accept.
    pub(crate) settings: Arc<ProxySettings>,
    pub(crate) peer: SocketAddr,
    pub(crate) client: ClientIdentity,
    pub(crate) pace: Rc<Pace>,
    /// For whatever the current request waits for.
    pub(crate) timer: RefCell<LazyTimer>,
    /// Set by an answer that switched protocols; runs once hyper has let go of the socket.
    pub(crate) upgraded: RefCell<Option<Upgraded>>,
    /// Whether the current answer ends with the connection, so that only a reset can say that it
    /// broke off.
    pub(crate) close_delimited: Cell<bool>,
    /// Whether an answer was broken off.
    pub(crate) broken: Cell<bool>,
    /// Whether the client may still be sending what will not be read.
    pub(crate) unread: Cell<bool>,
}

/// What becomes of a socket that hyper has let go of.
pub(crate) enum Upgraded {
    /// It goes through to a worker.
    Tunnel(Tunnel),
    /// It is a page's, in development.
    Live(LiveSocket),
}

impl Upgraded {
    async fn run(self, core: &Core, stream: TcpStream, early: Bytes) {
        core.counters.open_tunnels.add(1);
        let _open = OpenTunnel(&core.counters.open_tunnels);
        match self {
            Self::Tunnel(tunnel) => tunnel.run(core, stream, early).await,
            Self::Live(socket) => socket.run(core, stream, early).await,
        }
    }
}

/// Serves a connection to its end.
pub(crate) async fn serve(
    core: Rc<Core>,
    stream: TcpStream,
    peer: SocketAddr,
    place: ConnectionPlace,
) {
    let _open = Open::new(&core, place);
    // A failure means that the peer is gone already, which the first read will tell.
    stream.set_nodelay(true).ok();
    let settings = core.settings.load_full();
    let connection = Rc::new(Connection::new(Rc::clone(&core), settings, peer));
    let pace = Rc::clone(&connection.pace);
    let io = TokioIo::new(ClientIo::new(stream, pace, Arc::clone(&core.counters)));
    let service = service_fn(|request| {
        let answer = service::answer(Rc::clone(&connection), request);
        async { Ok::<_, Infallible>(answer.await) }
    });
    let max_head = connection.settings.listener.max_header_bytes;
    let mut http = http1::Builder::new()
        .header_read_timeout(None)
        .max_header_size(max_head)
        .max_buf_size(BUFFER_BYTES.max(max_head))
        .serve_connection(io, service);

    let outcome = drive(Pin::new(&mut http), &core).await;
    let parts = http.into_parts();
    let stream = parts.io.into_inner().into_inner();
    // Taken out first: it outlives the borrow.
    let upgraded = connection.upgraded.take();
    match (outcome, upgraded) {
        (Ok(()), Some(upgraded)) => upgraded.run(&core, stream, parts.read_buf).await,
        (outcome, _) => {
            let refused = outcome.as_ref().is_err_and(hyper::Error::is_parse);
            close(&connection, stream, refused).await;
            if let Err(error) = outcome {
                tracing::debug!(client = %peer, "connection ended: {error}");
            }
        }
    }
}

/// Polls the connection to its end, and tells it when the process shuts down.
async fn drive<C>(mut http: Pin<&mut C>, core: &Core) -> hyper::Result<()>
where
    C: Future<Output = hyper::Result<()>> + GracefulShutdown,
{
    let mut closing = pin!(async {
        core.closing.connections.heard().await;
        sleep(LAST_REQUEST_GRACE).await;
    });
    let (mut registered, mut told) = (false, false);
    poll_fn(|cx| {
        // Registered once, then left alone until it begins: this runs with every packet.
        if !told && (!registered || core.closing.connections.is_said()) {
            registered = true;
            if closing.as_mut().poll(cx).is_ready() {
                told = true;
                http.as_mut().graceful_shutdown();
            }
        }
        http.as_mut().poll(cx)
    })
    .await
}

/// What [`drive`] needs of hyper's connection, whose service has no name.
trait GracefulShutdown {
    fn graceful_shutdown(self: Pin<&mut Self>);
}

impl<I, B, S> GracefulShutdown for http1::Connection<I, S>
where
    S: hyper::service::HttpService<hyper::body::Incoming, ResBody = B>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    I: hyper::rt::Read + hyper::rt::Write + Unpin,
    B: http_body::Body + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    fn graceful_shutdown(self: Pin<&mut Self>) {
        http1::Connection::graceful_shutdown(self);
    }
}

/// Closes the socket so that the client learns what it must.
async fn close(connection: &Connection, mut stream: TcpStream, refused: bool) {
    if connection.broken.get() && connection.close_delimited.get() {
        stream.set_zero_linger().ok();
        return;
    }
    let late = connection.pace.late_head();
    if late {
        connection.core.counters.responded(http::StatusCode::REQUEST_TIMEOUT);
        // Best effort: a client that dawdles may not read either.
        stream.try_write(REQUEST_TIMEOUT).ok();
    }
    if late || refused || connection.unread.get() {
        timeout(LINGER, linger(&mut stream)).await.ok();
    }
}

async fn linger(stream: &mut TcpStream) {
    if stream.shutdown().await.is_err() {
        return;
    }
    let mut scrap = vec![0; 16 << 10];
    let mut left = LINGER_BYTES;
    while left > 0 {
        match stream.read(&mut scrap).await {
            Ok(n) if n > 0 => left = left.saturating_sub(n),
            _ => return,
        }
    }
}

impl Connection {
    fn new(core: Rc<Core>, settings: Arc<ProxySettings>, peer: SocketAddr) -> Self {
        let listener = &settings.listener;
        let pace = Pace::new(ClientLimits {
            head: listener.read_timeout,
            idle: listener.idle_timeout,
            write: listener.write_timeout,
        });
        let ip = peer.ip().to_canonical();
        let trusted = listener.trusted_proxies.iter().any(|network| network.contains(ip));
        let address = HeaderValue::from_str(&ip.to_string())
            .unwrap_or_else(|_| HeaderValue::from_static("unknown"));
        Self {
            core,
            settings,
            peer,
            client: ClientIdentity { address, trusted },
            pace,
            timer: RefCell::default(),
            upgraded: RefCell::default(),
            close_delimited: Cell::default(),
            broken: Cell::default(),
            unread: Cell::default(),
        }
    }
}

struct OpenTunnel<'a>(&'a Count);

impl Drop for OpenTunnel<'_> {
    fn drop(&mut self) {
        self.0.sub(1);
    }
}

/// Counts the connection until dropped, however its task ends.
struct Open {
    core: Rc<Core>,
    _place: ConnectionPlace,
}

impl Open {
    fn new(core: &Rc<Core>, place: ConnectionPlace) -> Self {
        core.counters.connections.add(1);
        core.counters.open_connections.add(1);
        core.open.opened();
        Self { core: Rc::clone(core), _place: place }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.core.counters.open_connections.sub(1);
        self.core.open.closed();
    }
}
