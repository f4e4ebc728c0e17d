//! One client connection, from its first request to its close.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::header::{HeaderValue, STRICT_TRANSPORT_SECURITY};
use http::{Response, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout};

use super::ProxySettings;
use super::body::Body;
use super::client::{Client, Heard};
use super::core::Core;
use super::counters::Count;
use super::error_page::Page;
use super::exchange::{End, Exchange, Upstream};
use super::forward::{Failure, SendError};
use super::forwarding::{ClientIdentity, RequestId, Scheme};
use super::hold::Hold;
use super::http2;
use super::live::{LiveSocket, Visit};
use super::pump::Pump;
use super::respond::{give, respond};
use super::service::{self, Ask, Decision, Found, Order, Refusal};
use super::socket::Socket;
use super::static_files::Hit;
use super::table::Route;
use super::tunnel::Tunnel;
use crate::http1::RequestHead;

/// After a refusal, how long and how much the client may go on sending before the socket is
/// closed: closed at once, the kernel would reset the connection and the client might never read
/// the answer (RFC 9112 section 9.6).
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 1 << 20;

/// What the requests of one connection share.
pub(crate) struct Connection {
    pub(crate) core: Rc<Core>,
    /// The settings at the time of accept.
    pub(crate) settings: Arc<ProxySettings>,
    /// The client's address: what the proxy before us says, else that of the connection.
    pub(crate) peer: SocketAddr,
    pub(crate) client: ClientIdentity,
    /// `Strict-Transport-Security` of its answers, where there is one of ours.
    hsts: Option<HeaderValue>,
}

/// What becomes of a connection that speaks HTTP no more.
pub(crate) enum Upgraded {
    /// It goes through to a worker.
    Tunnel(Box<Tunnel>),
    /// It is a page's, in development.
    Live(LiveSocket),
}

/// What comes after an answer.
enum Next {
    /// Another request.
    Request,
    /// Nothing: the connection is closed.
    Close,
    /// Nothing, yet the client may still be sending what will not be read.
    Linger,
    /// A reset, as a clean close would say that the answer is whole.
    Reset,
    /// Another protocol.
    Upgrade(Upgraded),
}

/// Speaks HTTP on a connection to its end: HTTP/2 if it begins so and may, else HTTP/1.1.
pub(crate) async fn serve<S: Socket>(connection: Connection, socket: S, may_be_http2: bool) {
    let core = Rc::clone(&connection.core);
    let mut client = Client::new(socket, &core);
    if may_be_http2 && client.begins_http2(&connection.settings.listener).await {
        let (socket, early) = client.leg.into_parts();
        return Box::pin(http2::serve(Rc::new(connection), socket, early)).await;
    }
    if let Some(upgraded) = connection.run(&mut client).await {
        Box::pin(upgraded.run(&core, client)).await;
    }
}

impl Upgraded {
    /// Serves a connection that has switched, to its end.
    pub(crate) async fn run<S: Socket>(self, core: &Core, client: Client<S>) {
        core.counters.open_tunnels.add(1);
        let _open = OpenTunnel(&core.counters.open_tunnels);
        match self {
            Self::Tunnel(tunnel) => tunnel.run(core, client.leg).await,
            Self::Live(socket) => {
                let (stream, early) = client.leg.into_parts();
                socket.run(core, stream, early.into()).await;
            }
        }
    }
}

async fn linger<S: Socket>(socket: &mut S) {
    if socket.shutdown().await.is_err() {
        return;
    }
    let mut scrap = vec![0; 16 << 10];
    let mut left = LINGER_BYTES;
    while left > 0 {
        match socket.read(&mut scrap).await {
            Ok(n) if n > 0 => left = left.saturating_sub(n),
            _ => return,
        }
    }
}

impl Connection {
    /// Of a client at `peer`, which may be a trusted proxy.
    pub(crate) fn new(
        core: Rc<Core>,
        settings: Arc<ProxySettings>,
        peer: SocketAddr,
        scheme: Scheme,
    ) -> Self {
        let ip = peer.ip().to_canonical();
        let trusted = &settings.listener.trusted_proxies;
        let is_trusted = trusted.iter().any(|network| network.contains(ip));
        let max_age = settings.hsts_max_age.as_secs();
        let hsts = (scheme == Scheme::Https && max_age > 0)
            .then(|| HeaderValue::try_from(format!("max-age={max_age}")).ok());
        let client = ClientIdentity::new(ip, is_trusted, scheme);
        Self { core, settings, peer, client, hsts: hsts.flatten() }
    }

    /// What is said of `Strict-Transport-Security` in each answer.
    pub(crate) fn hsts(&self) -> Option<&[u8]> {
        self.hsts.as_ref().map(HeaderValue::as_bytes)
    }

    /// Adds it to an answer of our own.
    fn secure(&self, response: &mut Response<Body>) {
        if let Some(hsts) = &self.hsts {
            response.headers_mut().insert(STRICT_TRANSPORT_SECURITY, hsts.clone());
        }
    }

    /// Serves a client to its end, or until it speaks another protocol.
    pub(crate) async fn run<S: Socket>(&self, client: &mut Client<S>) -> Option<Upgraded> {
        match self.serve(client).await {
            Next::Request | Next::Close => {
                client.forget();
                client.farewell(LINGER).await;
            }
            Next::Linger => drop(timeout(LINGER, linger(&mut client.leg.socket)).await),
            Next::Reset => client.leg.socket.reset_when_closed(),
            Next::Upgrade(upgraded) => return Some(upgraded),
        }
        None
    }

    /// Answers one request after another, and says how the connection is to end.
    async fn serve<S: Socket>(&self, client: &mut Client<S>) -> Next {
        let limits = &self.settings.listener;
        loop {
            // Filled from within, as it is too large to be handed from hand to hand.
            let mut decided = None;
            let decide = |head: &RequestHead<'_, '_>| decided = Some(service::decide(self, head));
            let heard = client.request(limits, &self.core.closing, decide).await;
            let next = match heard {
                Heard::Request => {
                    let Some((ask, decision)) = decided else { return Next::Close };
                    self.answer(client, &ask, decision).await
                }
                Heard::Malformed(error) => {
                    tracing::debug!(client = %self.peer, "refused: {error}");
                    Box::pin(self.refuse_unheard(client, error.status())).await
                }
                Heard::TooLarge => {
                    let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
                    Box::pin(self.refuse_unheard(client, status)).await
                }
                Heard::Late => {
                    Box::pin(self.refuse_unheard(client, StatusCode::REQUEST_TIMEOUT)).await
                }
                Heard::Nothing => return Next::Close,
            };
            if !matches!(next, Next::Request) {
                return next;
            }
        }
    }

    async fn answer<S: Socket>(
        &self,
        client: &mut Client<S>,
        ask: &Ask,
        decision: Decision,
    ) -> Next {
        let _answering = Answering::begin(&self.core);
        let mut hold = self.hold();
        match decision {
            Decision::Forward(order) => self.forward(client, ask, order, &mut hold, None).await,
            Decision::Give(hit) => Box::pin(self.give(client, ask, &hit)).await,
            Decision::Ponder => Box::pin(self.ponder(client, ask, &mut hold)).await,
            Decision::Refuse(refusal) => Box::pin(self.refuse(client, ask, &refusal, None)).await,
        }
    }

    async fn ponder<S: Socket>(
        &self,
        client: &mut Client<S>,
        ask: &Ask,
        hold: &mut Hold<'_>,
    ) -> Next {
        let head = client.head().to_vec();
        let found = client.unless_gone(service::ponder(self, &head, ask, hold)).await;
        match found {
            Some(Ok(Found::Forward(order, visit))) => {
                self.forward(client, ask, order, hold, visit.as_deref()).await
            }
            Some(Ok(Found::Answer(response, upgraded))) => {
                self.respond(client, ask, response, upgraded, false).await
            }
            Some(Err((refusal, visit))) => {
                self.refuse(client, ask, &refusal, visit.as_deref()).await
            }
            None => Next::Close,
        }
    }

    /// Forwards a request to the target that was claimed, or to others should it be unreachable.
    async fn forward<S: Socket>(
        &self,
        client: &mut Client<S>,
        ask: &Ask,
        mut order: Order,
        hold: &mut Hold<'_>,
        visit: Option<&Visit>,
    ) -> Next {
        let max_body = self.settings.listener.max_body_bytes;
        let allowance = if max_body == 0 { u64::MAX } else { max_body };
        let mut head_len = order.head.len();
        let upload = Pump::request(std::mem::take(&mut order.head), ask.body, allowance);
        let mut exchange = Exchange::new(self, client, ask, visit, upload);
        let upstream = loop {
            match exchange.send(order.claim.target(), order.route.timeouts).await {
                Ok(upstream) => break upstream,
                Err(SendError::Gone) => return Next::Close,
                Err(SendError::Failed(failure)) => {
                    let refusal = self.explain(&failure, &order.route, &ask.id);
                    return Box::pin(self.give_up(&mut exchange, refusal)).await;
                }
                Err(SendError::Unreachable(error)) => {
                    let head = exchange.client.head().to_vec();
                    let other = self.other_order(&head, ask, &order, hold, visit, &error);
                    match Box::pin(exchange.client.unless_gone(other)).await {
                        Some(Ok(other)) => order = other,
                        Some(Err(refusal)) => {
                            return Box::pin(self.give_up(&mut exchange, refusal)).await;
                        }
                        None => return Next::Close,
                    }
                    exchange.upload.replace_head(head_len, &order.head);
                    head_len = order.head.len();
                }
            }
        };
        self.deliver(&mut exchange, upstream, order).await
    }

    /// Refuses a request that was on its way.
    async fn give_up<S: Socket>(
        &self,
        exchange: &mut Exchange<'_, S>,
        mut refusal: Refusal,
    ) -> Next {
        if exchange.download.is_cut() {
            // Behind half an interim answer nothing more can be said.
            return Next::Close;
        }
        let Exchange { client, ask, visit, .. } = exchange;
        // Some of a body may be with the worker: what is left would be taken for a request.
        refusal.close |= !ask.body.is_empty();
        self.refuse(client, ask, &refusal, *visit).await
    }

    /// Passes an answer on that has begun.
    async fn deliver<S: Socket>(
        &self,
        exchange: &mut Exchange<'_, S>,
        mut upstream: Upstream,
        order: Order,
    ) -> Next {
        let core = &self.core;
        core.counters.responded(exchange.start.status);
        if exchange.start.is_event_stream {
            let (core, target) = (Rc::clone(core), Arc::clone(order.claim.target()));
            exchange.start.cut =
                Some(Box::pin(async move { core.closing.stream_is_cut(&target).await }));
        }
        let end = exchange.finish(&mut upstream, order.route.timeouts).await;
        let is_uploaded = exchange.upload.is_done();
        exchange.download.recycle(&core.buffers);
        exchange.upload.recycle(&core.buffers);
        let Exchange { client, ask, start, .. } = exchange;
        match end {
            End::Whole if start.switched.is_some() => {
                let tunnel = Tunnel::new(upstream, order.claim, start.switched);
                Next::Upgrade(Upgraded::Tunnel(Box::new(tunnel)))
            }
            End::Whole => {
                let now = Instant::now();
                client.answered(now);
                let (socket, unread) = upstream.into_parts();
                // A worker that said more than its answer is not to be believed.
                if is_uploaded && start.keeps_alive && unread.is_empty() {
                    core.pool.put(order.claim.target(), socket, now);
                }
                match is_uploaded {
                    false => Next::Linger,
                    true if start.client_keeps_alive => Next::Request,
                    true => self.end(client),
                }
            }
            End::Gone => Next::Close,
            End::Broken(why) => {
                core.counters.aborted.add(1);
                tracing::warn!(
                    client = %self.peer, worker = %order.route.worker, request = %ask.id,
                    "answer broken off: {why}"
                );
                if start.close_delimited { Next::Reset } else { Next::Close }
            }
        }
    }

    /// Another target for a request that its first one takes no connection for.
    async fn other_order(
        &self,
        head: &[u8],
        ask: &Ask,
        order: &Order,
        hold: &mut Hold<'_>,
        visit: Option<&Visit>,
        error: &io::Error,
    ) -> Result<Order, Refusal> {
        let dead = order.claim.target();
        self.core.pool.forget(dead);
        tracing::debug!(
            worker = %dead.worker, generation = %dead.generation, addr = %dead.addr,
            "worker takes no connections: {error}"
        );
        let other = service::reorder(self, head, ask, hold, visit, dead).await;
        other.map_err(|refusal| match refusal.page {
            Page::Status(StatusCode::SERVICE_UNAVAILABLE) => {
                tracing::warn!(
                    worker = %dead.worker, generation = %dead.generation,
                    request = %ask.id, "worker takes no connections: {error}"
                );
                Refusal::new(StatusCode::BAD_GATEWAY)
            }
            _ => refusal,
        })
    }

    /// The journal gets the detail, the client the status.
    fn explain(&self, failure: &Failure, route: &Route, id: &RequestId) -> Refusal {
        match failure {
            Failure::Upload(fault) => tracing::debug!(request = %id, "upload failed: {fault:?}"),
            _ => tracing::warn!(worker = %route.worker, request = %id, "{failure}"),
        }
        let close = matches!(failure, Failure::Upload(_));
        Refusal { page: Page::Status(failure.status()), close }
    }

    async fn refuse<S: Socket>(
        &self,
        client: &mut Client<S>,
        ask: &Ask,
        refusal: &Refusal,
        visit: Option<&Visit>,
    ) -> Next {
        let response = service::page(refusal, client.head(), &ask.id, visit);
        self.respond(client, ask, response, None, refusal.close).await
    }

    /// Says an answer of our own.
    async fn respond<S: Socket>(
        &self,
        client: &mut Client<S>,
        ask: &Ask,
        mut response: Response<Body>,
        upgraded: Option<Upgraded>,
        close: bool,
    ) -> Next {
        self.secure(&mut response);
        let ending = self.begin_answer(client, ask, response.status(), close);
        let date = self.core.date.now(<[u8]>::to_vec);
        let limit = self.settings.listener.write_timeout;
        let said = respond(client, response, ask.is_head, ending.connection, &date, limit).await;
        match upgraded.filter(|_| said.is_ok()) {
            Some(upgraded) => Next::Upgrade(upgraded),
            None => self.end_answer(client, ask, &ending, said),
        }
    }

    /// Gives a file's answer that is at hand.
    async fn give<S: Socket>(&self, client: &mut Client<S>, ask: &Ask, hit: &Hit) -> Next {
        let ending = self.begin_answer(client, ask, hit.status(), false);
        let limit = self.settings.listener.write_timeout;
        let date = &self.core.date;
        let hsts = self.hsts();
        let said = give(client, hit, ask.is_head, ending.connection, hsts, date, limit).await;
        self.end_answer(client, ask, &ending, said)
    }

    /// Counts an answer of our own, and decides what comes after it.
    fn begin_answer<S: Socket>(
        &self,
        client: &mut Client<S>,
        ask: &Ask,
        status: StatusCode,
        close: bool,
    ) -> Ending {
        self.core.counters.responded(status.as_u16());
        // What is left of the request would be taken for the next one.
        let unread = !client.skip_body(ask.body);
        let closing = self.core.closing.connections.is_said();
        let keeps_alive = ask.keeps_alive && !close && !unread && !closing;
        let switches = status == StatusCode::SWITCHING_PROTOCOLS;
        let connection = ask.connection_field(keeps_alive).filter(|_| !switches);
        Ending { connection, keeps_alive, lingers: close || unread }
    }

    fn end_answer<S: Socket>(
        &self,
        client: &mut Client<S>,
        ask: &Ask,
        ending: &Ending,
        said: io::Result<()>,
    ) -> Next {
        match said {
            Err(error) => {
                self.core.counters.aborted.add(1);
                tracing::debug!(client = %self.peer, request = %ask.id, "answer broken off: {error}");
                Next::Close
            }
            Ok(()) if ending.keeps_alive => {
                client.answered(Instant::now());
                Next::Request
            }
            Ok(()) if ending.lingers => Next::Linger,
            Ok(()) => self.end(client),
        }
    }

    /// Refuses what is no request.
    async fn refuse_unheard<S: Socket>(&self, client: &mut Client<S>, status: StatusCode) -> Next {
        self.core.counters.responded(status.as_u16());
        let id = RequestId::Own(fastrand::u128(..));
        let mut response = service::page(&Refusal::closing(status), &[], &id, None);
        self.secure(&mut response);
        let date = self.core.date.now(<[u8]>::to_vec);
        let limit = self.settings.listener.write_timeout;
        match respond(client, response, false, Some("close"), &date, limit).await {
            Ok(()) => Next::Linger,
            Err(_) => Next::Close,
        }
    }

    /// Ends a connection after a whole answer.
    fn end<S: Socket>(&self, client: &Client<S>) -> Next {
        // What came on its heels will not be answered, and closed at once the kernel would reset.
        if client.leg.inbox.unread().is_empty() { Next::Close } else { Next::Linger }
    }

    fn hold(&self) -> Hold<'_> {
        Hold::new(&self.core, self.settings.hold, self.settings.hold_max_requests)
    }
}

/// What comes after an answer of our own.
struct Ending {
    /// What the client is told of the connection.
    connection: Option<&'static str>,
    keeps_alive: bool,
    /// Whether the client may still be sending what will not be read.
    lingers: bool,
}

/// A request that is being answered: counted as in flight until dropped.
struct Answering<'a>(&'a Core);

impl<'a> Answering<'a> {
    fn begin(core: &'a Core) -> Self {
        core.counters.requests.add(1);
        core.counters.in_flight.add(1);
        Self(core)
    }
}

impl Drop for Answering<'_> {
    fn drop(&mut self) {
        self.0.counters.in_flight.sub(1);
    }
}

struct OpenTunnel<'a>(&'a Count);

impl Drop for OpenTunnel<'_> {
    fn drop(&mut self) {
        self.0.sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size_of_task<F>(_: impl Fn(Connection, tokio::net::TcpStream, bool) -> F) -> usize {
        size_of::<F>()
    }

    /// It is what every idle connection costs, besides what the runtime and the kernel take.
    #[test]
    fn the_task_of_a_connection_is_small() {
        let size = size_of_task(serve);
        assert!(size <= 2688, "{size} bytes");
    }
}
