//! A data plane on a loopback port, and both ends of it in the test's hands.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tqserver::access_log::AccessLog;
use tqserver::config::settings::{IpNetwork, ListenerSettings, LiveReloadSettings, StaticSettings};
use tqserver::ids::{Generation, WorkerName};
use tqserver::proxy::table::{
    PublishedTable, Route, RouteTable, UpstreamTimeouts, WeightedTargets,
};
use tqserver::proxy::target::Target;
use tqserver::proxy::{Counters, DataPlane, Listener, Live, ProxySettings};

/// After this a test hangs for certain.
const FOREVER: Duration = Duration::from_secs(20);

/// Fails the test rather than let it hang.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(FOREVER, future).await.unwrap_or_else(|_| panic!("{what} never happened"))
}

/// A data plane and its table.
pub(crate) struct Bed {
    pub(crate) plane: Option<DataPlane>,
    pub(crate) addr: SocketAddr,
    pub(crate) table: Arc<PublishedTable>,
}

/// Settings with limits that no test meets by chance.
pub(crate) fn settings() -> ProxySettings {
    ProxySettings {
        listener: ListenerSettings {
            port: 0,
            read_timeout: FOREVER,
            write_timeout: FOREVER,
            idle_timeout: FOREVER,
            max_header_bytes: 16 << 10,
            max_body_bytes: 1 << 20,
            max_connections: 1000,
            http2_cleartext: false,
            trusted_proxies: vec![],
            proxy_protocol: Vec::new(),
        },
        static_files: StaticSettings {
            enabled: true,
            url_prefix: "/static".parse().unwrap(),
            cache_max_age: Duration::from_secs(60),
            dev_root: PathBuf::new(),
        },
        hold: FOREVER,
        hold_max_requests: 100,
        hold_max_bytes: 1 << 20,
        redirect_port: None,
        hsts_max_age: Duration::ZERO,
    }
}

/// Of an address range as settings have it, such as `192.0.2.0/24`.
pub(crate) fn network(cidr: &str) -> IpNetwork {
    let (addr, prefix_len) = cidr.split_once('/').unwrap();
    IpNetwork { addr: addr.parse().unwrap(), prefix_len: prefix_len.parse().unwrap() }
}

impl Bed {
    pub(crate) fn new() -> Self {
        Self::with(settings())
    }

    /// One thread, so that all its connections share a pool.
    pub(crate) fn with(settings: ProxySettings) -> Self {
        Self::threaded(1, settings)
    }

    pub(crate) fn threaded(threads: usize, settings: ProxySettings) -> Self {
        Self::logging(threads, settings, &AccessLog::off())
    }

    /// The same, and what it serves is logged.
    pub(crate) fn logging(threads: usize, settings: ProxySettings, log: &Arc<AccessLog>) -> Self {
        Self::start(threads, settings, vec![], |_| None, log)
    }

    /// With more listeners than the one.
    pub(crate) fn and_listeners(settings: ProxySettings, more: Vec<Listener>) -> Self {
        Self::start(1, settings, more, |_| None, &AccessLog::off())
    }

    /// As in development.
    pub(crate) fn live(settings: ProxySettings) -> (Self, Arc<Live>) {
        let mut live = None;
        let open = |table: &Arc<PublishedTable>| {
            live = Some(Live::new(Arc::clone(table), LiveReloadSettings::default()));
            live.clone()
        };
        let bed = Self::start(1, settings, vec![], open, &AccessLog::off());
        (bed, live.unwrap())
    }

    fn start(
        threads: usize,
        settings: ProxySettings,
        mut listeners: Vec<Listener>,
        live: impl FnOnce(&Arc<PublishedTable>) -> Option<Arc<Live>>,
        log: &Arc<AccessLog>,
    ) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let table = PublishedTable::new();
        let settings = Arc::new(ArcSwap::from_pointee(settings));
        let live = live(&table);
        listeners.push(Listener::http(listener));
        let published = Arc::clone(&table);
        let plane = DataPlane::start(listeners, threads, published, settings, live, log).unwrap();
        Self { plane: Some(plane), addr, table }
    }

    /// A bed with one worker at `/`.
    pub(crate) async fn and_worker() -> (Self, Worker) {
        let bed = Self::new();
        let worker = Worker::start(1).await;
        bed.publish([worker.route("/")]);
        (bed, worker)
    }

    pub(crate) fn publish(&self, routes: impl IntoIterator<Item = Route>) {
        self.table.publish(RouteTable::new(routes));
    }

    pub(crate) async fn client(&self) -> Peer {
        Peer::new(TcpStream::connect(self.addr).await.unwrap())
    }

    pub(crate) fn counters(&self) -> Counters {
        self.plane.as_ref().unwrap().counters().sum()
    }

    /// Waits for the counters to say so: they are written by other threads.
    pub(crate) async fn until(&self, what: &str, condition: impl Fn(&Counters) -> bool) {
        soon(what, async {
            while !condition(&self.counters()) {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

/// A worker that does what the test says.
pub(crate) struct Worker {
    pub(crate) target: Arc<Target>,
    listener: TcpListener,
}

impl Worker {
    pub(crate) async fn start(generation: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let name: WorkerName = "app".parse().unwrap();
        Self { target: Target::new(name, Generation(generation), addr), listener }
    }

    pub(crate) fn route(&self, path: &str) -> Route {
        route(path, WeightedTargets::single(Arc::clone(&self.target)))
    }

    /// Waits until no request is in flight: claims are dropped by other threads.
    pub(crate) async fn unclaimed(&self) {
        soon("the claim's end", async {
            while self.target.in_flight() > 0 {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    /// The next connection of the proxy.
    pub(crate) async fn accept(&self) -> Peer {
        Peer::new(soon("a connection to the worker", self.listener.accept()).await.unwrap().0)
    }

    /// The next connection of the proxy, however long that takes; `None` when there can be none.
    pub(crate) async fn accept_if_any(&self) -> Option<Peer> {
        self.listener.accept().await.ok().map(|(stream, _)| Peer::new(stream))
    }

    /// The next request on a new connection, and the connection.
    pub(crate) async fn request(&self) -> (Message, Peer) {
        let mut peer = self.accept().await;
        (peer.message().await, peer)
    }
}

pub(crate) fn route(path: &str, targets: WeightedTargets) -> Route {
    Route {
        worker: "app".parse().unwrap(),
        path: path.parse().unwrap(),
        strip_prefix: true,
        timeouts: UpstreamTimeouts { response: FOREVER, body_idle: FOREVER },
        compression: None,
        targets,
        canary: None,
        refused: None,
        asleep: None,
        public: vec![],
    }
}

/// A request or an answer as it was on the wire.
#[derive(Debug)]
pub(crate) struct Message {
    /// The first line.
    pub(crate) start: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// Whether its framing says that all of it is here.
    pub(crate) complete: bool,
}

impl Message {
    /// A field's values, joined.
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        let values: Vec<_> =
            self.headers.iter().filter(|(n, _)| n == name).map(|(_, v)| v.as_str()).collect();
        (!values.is_empty()).then(|| values.join(" & "))
    }

    pub(crate) fn status(&self) -> u16 {
        self.start.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or_default()
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

/// One end of a connection, spoken to in bytes.
pub(crate) struct Peer<S = TcpStream> {
    pub(crate) stream: S,
    buffer: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Peer<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self { stream, buffer: vec![] }
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
    }

    /// Sends to whom may be gone.
    pub(crate) async fn try_send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.ok();
    }

    /// Sends a GET without frills.
    pub(crate) async fn get(&mut self, path: &str) {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: a.example\r\n\r\n")).await;
    }

    /// Sends an answer with a length.
    pub(crate) async fn ok(&mut self, body: &str) {
        let len = body.len();
        self.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {len}\r\n\r\n{body}")).await;
    }

    /// Reads a message to its end, or to the end of the connection.
    pub(crate) async fn message(&mut self) -> Message {
        let mut message = self.head().await;
        let field = |name| message.header(name);
        if field("transfer-encoding").is_some_and(|coding| coding.contains("chunked")) {
            message.complete = self.chunks(&mut message.body).await;
        } else if let Some(length) = field("content-length") {
            let length = length.parse().unwrap();
            message.complete = self.fill(length).await;
            let length = length.min(self.buffer.len());
            message.body = self.buffer.drain(..length).collect();
        }
        message
    }

    /// Reads a message, unless the connection ends first, however long that takes.
    pub(crate) async fn next_message(&mut self) -> Option<Message> {
        while self.buffer.is_empty() {
            if !self.more().await {
                return None;
            }
        }
        Some(self.message().await)
    }

    /// Reads a head, and leaves the body where it is.
    pub(crate) async fn head(&mut self) -> Message {
        let end = soon("a head", async {
            loop {
                if let Some(at) = self.buffer.windows(4).position(|w| w == b"\r\n\r\n") {
                    return Some(at);
                }
                if !self.more().await {
                    return None;
                }
            }
        })
        .await;
        let Some(end) = end else {
            panic!("ended within a head: {:?}", String::from_utf8_lossy(&self.buffer))
        };
        let head: Vec<u8> = self.buffer.drain(..end + 4).collect();
        let head = String::from_utf8(head).unwrap();
        let mut lines = head.trim_end().split("\r\n");
        let start = lines.next().unwrap().to_owned();
        let headers = lines
            .map(|line| line.split_once(": ").unwrap_or((line, "")))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        Message { start, headers, body: vec![], complete: true }
    }

    /// Reads until `bytes` bytes are there.
    pub(crate) async fn exactly(&mut self, bytes: usize) -> Vec<u8> {
        assert!(self.fill(bytes).await, "ended early: {:?}", String::from_utf8_lossy(&self.buffer));
        self.buffer.drain(..bytes).collect()
    }

    /// The same; `None` when the other side ends before.
    pub(crate) async fn exactly_or_end(&mut self, bytes: usize) -> Option<Vec<u8>> {
        self.fill(bytes).await.then(|| self.buffer.drain(..bytes).collect())
    }

    /// Reads until the other side ends or resets; what came is returned.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        soon("the end of the connection", async { while self.more().await {} }).await;
        std::mem::take(&mut self.buffer)
    }

    async fn chunks(&mut self, body: &mut Vec<u8>) -> bool {
        loop {
            let end = loop {
                match self.buffer.windows(2).position(|w| w == b"\r\n") {
                    Some(at) => break at,
                    None if soon("a chunk", self.more()).await => {}
                    None => return false,
                }
            };
            let size = std::str::from_utf8(&self.buffer[..end]).unwrap();
            let size = usize::from_str_radix(size, 16).unwrap();
            if !self.fill(end + 2 + size + 2).await {
                return false;
            }
            body.extend_from_slice(&self.buffer[end + 2..end + 2 + size]);
            self.buffer.drain(..end + 2 + size + 2);
            if size == 0 {
                return true;
            }
        }
    }

    async fn fill(&mut self, bytes: usize) -> bool {
        soon("more bytes", async {
            while self.buffer.len() < bytes {
                if !self.more().await {
                    return false;
                }
            }
            true
        })
        .await
    }

    async fn more(&mut self) -> bool {
        self.stream.read_buf(&mut self.buffer).await.is_ok_and(|n| n > 0)
    }
}
