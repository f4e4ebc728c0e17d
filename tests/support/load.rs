//! Clients that keep a server busy and notice every loss: each request must be answered whole,
//! with the status and body it asked for.

use std::collections::BTreeMap;
use std::fmt;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::{self, Message};

use super::bed::Network;

/// What a kind of client does, over and over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// GETs on one kept-alive connection.
    KeepAlive,
    /// A GET on a new connection each time.
    NewConnection,
    /// POSTs whose body comes back as a sum, on one connection.
    Post,
    /// Downloads of three seconds, of announced length.
    Download,
    /// An event stream, read until it ends in the documented way, then opened again.
    Events,
    /// A WebSocket that echoes, until it is closed in the documented way, then opened again.
    WebSocket,
}

/// What all clients of a load have seen so far.
#[derive(Debug, Default, Clone)]
pub struct Tally {
    done: BTreeMap<Kind, u64>,
    /// Streams that the server ended as documented.
    ended: BTreeMap<Kind, u64>,
    failures: Vec<Failure>,
}

/// An exchange that did not go as it should.
#[derive(Debug, Clone)]
pub struct Failure {
    /// Whose it was.
    pub kind: Kind,
    /// When it began.
    pub begun: Instant,
    /// When the client knew.
    pub ended: Instant,
    /// What went wrong.
    pub loss: Loss,
}

/// What goes wrong with an exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Loss {
    /// The connection was not taken.
    Refused(String),
    /// The connection ended before an answer.
    Unanswered(String),
    /// An answer of another status than 200.
    Status(u16),
    /// An answer that broke off, and shows it.
    BrokenOff(String),
    /// An answer that looks whole and is not the right one.
    Wrong(String),
}

impl Tally {
    /// How many exchanges have succeeded, of all kinds.
    pub fn done(&self) -> u64 {
        self.done.values().sum()
    }

    /// What went wrong, at most [`MOST_FAILURES`] of it.
    pub fn failures(&self) -> &[Failure] {
        &self.failures
    }

    /// How many streams of this kind the server ended, as documented.
    pub fn ended(&self, kind: Kind) -> u64 {
        self.ended.get(&kind).copied().unwrap_or(0)
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (kind, count) in &self.done {
            write!(f, "{kind:?} {count} ({} ended by the server)  ", self.ended(*kind))?;
        }
        Ok(())
    }
}

/// Running clients.
pub struct Load {
    stop: Arc<AtomicBool>,
    tally: Arc<Mutex<Tally>>,
    clients: JoinHandle<()>,
}

/// One client's view of the load.
#[derive(Clone)]
struct Client {
    addr: SocketAddr,
    kind: Kind,
    stop: Arc<AtomicBool>,
    tally: Arc<Mutex<Tally>>,
    /// Whether the server itself may be restarted meanwhile: then a kept-alive connection may be
    /// closed between two requests, and a GET that was not answered at all may be repeated.
    restarts: bool,
}

/// Failures beyond are not remembered.
pub const MOST_FAILURES: usize = 1000;

/// Between two exchanges of one client.
const PACE: Duration = Duration::from_millis(5);

impl Load {
    /// Starts so many clients of every kind given, on a thread of their own. `restarts` tells
    /// whether the server itself may be restarted meanwhile.
    pub fn start(addr: SocketAddr, clients: &[(Kind, usize)], restarts: bool) -> Self {
        Self::prepared(addr, clients, restarts, || {})
    }

    /// The same, from within a bed's own network.
    pub fn start_inside(
        network: Network,
        addr: SocketAddr,
        clients: &[(Kind, usize)],
        restarts: bool,
    ) -> Self {
        Self::prepared(addr, clients, restarts, move || network.enter())
    }

    /// `prepare` runs on the clients' thread, before any of them.
    fn prepared(
        addr: SocketAddr,
        clients: &[(Kind, usize)],
        restarts: bool,
        prepare: impl FnOnce() + Send + 'static,
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let tally = Arc::new(Mutex::new(Tally::default()));
        let kinds = clients.iter().flat_map(|&(kind, count)| std::iter::repeat_n(kind, count));
        let client = |kind| {
            let (stop, tally) = (Arc::clone(&stop), Arc::clone(&tally));
            Client { addr, kind, stop, tally, restarts }
        };
        let clients: Vec<_> = kinds.map(client).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let clients = thread::spawn(move || {
            prepare();
            runtime.block_on(async {
                let mut running = JoinSet::new();
                for client in clients {
                    running.spawn(client.run());
                }
                running.join_all().await;
            });
        });
        Self { stop, tally, clients }
    }

    /// How many exchanges have succeeded, of all kinds.
    pub fn done(&self) -> u64 {
        self.tally.lock().unwrap().done()
    }

    /// Lets every client finish what it is at, and returns what happened; panics, naming them,
    /// when there were failures, or nothing was done at all.
    pub fn finish(self) -> Tally {
        let tally = self.stop();
        let Tally { done, failures, .. } = &tally;
        let (count, first) = (failures.len(), &failures[..failures.len().min(10)]);
        assert!(failures.is_empty(), "{count} failures, the first: {first:#?}\nbeside {tally}");
        assert!(!done.is_empty(), "nothing was done");
        tally
    }

    /// The same, and leaves it to the caller to judge what happened.
    pub fn stop(self) -> Tally {
        self.stop.store(true, Ordering::Relaxed);
        self.clients.join().expect("a client panicked");
        self.tally.lock().unwrap().clone()
    }
}

/// Numbers that tell exchanges apart.
static NEXT: AtomicU64 = AtomicU64::new(0);

impl Client {
    async fn run(self) {
        let mut connection = None;
        while !self.stop.load(Ordering::Relaxed) {
            let begun = Instant::now();
            let result = match self.kind {
                Kind::KeepAlive => self.get(&mut connection).await,
                Kind::NewConnection => self.get(&mut None).await,
                Kind::Post => self.post(&mut connection).await,
                Kind::Download => self.download().await,
                Kind::Events => self.events().await,
                Kind::WebSocket => self.web_socket().await,
            };
            let ended = Instant::now();
            // A pace, so that the machine has time for what the load is to meet.
            tokio::time::sleep(PACE).await;
            let mut tally = self.tally.lock().unwrap();
            match result {
                Ok(()) => *tally.done.entry(self.kind).or_default() += 1,
                Err(loss) => {
                    connection = None;
                    if tally.failures.len() < MOST_FAILURES {
                        tally.failures.push(Failure { kind: self.kind, begun, ended, loss });
                    }
                }
            }
        }
    }

    fn ended(&self) {
        *self.tally.lock().unwrap().ended.entry(self.kind).or_default() += 1;
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, Loss> {
        let stream =
            TcpStream::connect(self.addr).await.map_err(|e| Loss::Refused(e.to_string()))?;
        stream.set_nodelay(true).map_err(|e| Loss::Unanswered(e.to_string()))?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|e| Loss::Unanswered(e.to_string()))?;
        tokio::spawn(connection);
        Ok(sender)
    }

    async fn exchange(
        &self,
        connection: &mut Option<SendRequest<Full<Bytes>>>,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Response<Incoming>, Loss> {
        for attempt in 0.. {
            let reused = connection.as_ref().is_some_and(|sender| !sender.is_closed());
            let mut sender = match connection.take().filter(|_| reused) {
                Some(sender) => sender,
                None => self.connect().await?,
            };
            if let Err(error) = sender.ready().await {
                if reused && self.restarts {
                    continue;
                }
                return Err(Loss::Unanswered(format!("{method} {path}: not ready: {error}")));
            }
            let request = Request::builder()
                .method(method.clone())
                .uri(path)
                .header("host", "load.test")
                .body(Full::new(body.clone()))
                .unwrap();
            match sender.send_request(request).await {
                Ok(response) => {
                    *connection = Some(sender);
                    return Ok(response);
                }
                // RFC 9110 section 9.2.2: what every client does when a kept-alive connection was
                // closed under its request.
                Err(_) if self.restarts && reused && attempt == 0 && method == Method::GET => {}
                Err(error) if self.restarts && reused && error.is_canceled() => {}
                Err(error) => return Err(Loss::Unanswered(format!("{method} {path}: {error:?}"))),
            }
        }
        unreachable!("the loop returns")
    }

    async fn get(&self, connection: &mut Option<SendRequest<Full<Bytes>>>) -> Result<(), Loss> {
        let response =
            self.exchange(connection, Method::GET, "/hello?name=load", Bytes::new()).await?;
        let body = whole(response).await?;
        if !body.windows(4).any(|window| window == b"load") {
            return Err(Loss::Wrong(format!("another page: {}", String::from_utf8_lossy(&body))));
        }
        Ok(())
    }

    async fn post(&self, connection: &mut Option<SendRequest<Full<Bytes>>>) -> Result<(), Loss> {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let body: Bytes = (0..200 + number % 800)
            .flat_map(|line| format!("{{\"n\":{}}}\n", number + line).into_bytes())
            .collect();
        let sum: u64 = (0..200 + number % 800).map(|line| number + line).sum();
        let response = self.exchange(connection, Method::POST, "/api/users/import", body).await?;
        let answer: serde_json::Value = serde_json::from_slice(&whole(response).await?)
            .map_err(|e| Loss::Wrong(e.to_string()))?;
        if answer["sum"] != sum {
            return Err(Loss::Wrong(format!("the body arrived as {answer}, its sum is {sum}")));
        }
        Ok(())
    }

    async fn download(&self) -> Result<(), Loss> {
        let path = "/download?seconds=3";
        let response = self.exchange(&mut None, Method::GET, path, Bytes::new()).await?;
        let announced: usize = response
            .headers()
            .get("content-length")
            .and_then(|value| value.to_str().ok()?.parse().ok())
            .ok_or_else(|| Loss::Wrong("a download without a length".to_owned()))?;
        let body = whole(response).await?;
        if body.len() != announced {
            return Err(Loss::Wrong(format!("{} of {announced} bytes", body.len())));
        }
        Ok(())
    }

    async fn events(&self) -> Result<(), Loss> {
        let response = self.exchange(&mut None, Method::GET, "/clock", Bytes::new()).await?;
        let mut body = status_200(response)?;
        let mut seen = 0;
        while !self.stop.load(Ordering::Relaxed) {
            // A clean end is a last chunk; anything else is an error here.
            match body.frame().await {
                Some(Ok(_)) => seen += 1,
                Some(Err(error)) => {
                    return Err(Loss::BrokenOff(format!("after {seen} events: {error:?}")));
                }
                None => {
                    self.ended();
                    break;
                }
            }
        }
        if seen == 0 { Err(Loss::Wrong("no event at all".to_owned())) } else { Ok(()) }
    }

    async fn web_socket(&self) -> Result<(), Loss> {
        let url = format!("ws://{}/echo", self.addr);
        let connected = tokio_tungstenite::connect_async(url).await;
        let (mut socket, _) = connected.map_err(|error| match error {
            tungstenite::Error::Http(response) => Loss::Status(response.status().as_u16()),
            tungstenite::Error::Io(error) if error.kind() == ErrorKind::ConnectionRefused => {
                Loss::Refused(error.to_string())
            }
            error => Loss::Unanswered(error.to_string()),
        })?;
        let mut echoed = 0;
        while !self.stop.load(Ordering::Relaxed) {
            let text = format!("message {echoed}");
            // A close frame may be on its way while we write: read on until it is here.
            let sent = socket.send(Message::text(text.clone())).await;
            match socket.next().await {
                Some(Ok(Message::Text(answer))) if answer.as_str() == text => echoed += 1,
                Some(Ok(Message::Close(Some(frame)))) if u16::from(frame.code) == 1001 => {
                    self.ended();
                    let _ = socket.close(None).await;
                    return Ok(());
                }
                Some(Ok(Message::Text(answer))) => {
                    return Err(Loss::Wrong(format!("{answer} for {text}")));
                }
                other => {
                    let why = format!("after {echoed} echoes ({sent:?}): {other:?}");
                    return Err(Loss::BrokenOff(why));
                }
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        socket.close(None).await.map_err(|e| Loss::BrokenOff(format!("close: {e}")))
    }
}

fn status_200(response: Response<Incoming>) -> Result<Incoming, Loss> {
    match response.status().as_u16() {
        200 => Ok(response.into_body()),
        other => Err(Loss::Status(other)),
    }
}

async fn whole(response: Response<Incoming>) -> Result<Bytes, Loss> {
    let body = status_200(response)?
        .collect()
        .await
        .map_err(|e| Loss::BrokenOff(format!("body: {e:?}")))?;
    Ok(body.to_bytes())
}
