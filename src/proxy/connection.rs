//! One client connection, from its first request to its close.

mod forward;
mod own;

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use http::header::HeaderValue;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::ProxySettings;
use super::client::{Client, Heard};
use super::core::Core;
use super::counters::Count;
use super::forwarding::{ClientIdentity, Scheme};
use super::hold::Hold;
use super::http2;
use super::live::LiveSocket;
use super::service::{self, Ask, Decision, Found};
use super::socket::Socket;
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
    if may_be_http2 && client.begins_http2(&connection.settings.listener, &core.closing).await {
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
                    // Boxed, as connections that await a request need no room for an answer.
                    Box::pin(self.answer(client, ask, decision)).await
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
        ask: Ask,
        decision: Decision,
    ) -> Next {
        let _answering = Answering::begin(&self.core);
        let mut hold = self.hold();
        let sent_before = client.leg.sent;
        let next = match decision {
            Decision::Forward(order) => self.forward(client, &ask, order, &mut hold, None).await,
            Decision::Give(hit) => Box::pin(self.give(client, &ask, &hit)).await,
            Decision::Ponder => Box::pin(self.ponder(client, &ask, &mut hold)).await,
            Decision::Refuse(refusal) => Box::pin(self.refuse(client, &ask, &refusal, None)).await,
        };
        if let Some(entry) = ask.entry {
            let protocol = S::PROTOCOL.unwrap_or(ask.version.as_str());
            self.core.access_log.write(&entry, client.leg.sent - sent_before, protocol);
            self.core.buffers.give_back_text(entry.into_buffer());
        }
        next
    }

    async fn ponder<S: Socket>(
        &self,
        client: &mut Client<S>,
        ask: &Ask,
        hold: &mut Hold<'_>,
    ) -> Next {
        let head = client.head().to_vec();
        hold.weigh(head.len());
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

    fn hold(&self) -> Hold<'_> {
        Hold::new(&self.core, &self.settings)
    }
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
        assert!(size <= 960, "{size} bytes");
    }
}
