//! A new connection until its first request: whose it is, where a proxy before us tells, and TLS.
//! Nothing of it takes longer than `read_timeout`, or than a moment when the process ends, and what fails is
//! the end of this connection alone.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::ProxySettings;
use super::connection::{self, Connection};
use super::core::{ConnectionPlace, Core};
use super::deadlines::Deadline;
use super::forwarding::Scheme;
use super::http2;
use super::proxy_protocol::{HeaderError, read_header};
use crate::tls::PublishedTls;

/// Why a connection is closed before anything was said on it. Nobody could be told.
#[derive(Debug, thiserror::Error)]
enum Unwelcome {
    #[error("{0}")]
    Header(#[from] HeaderError),
    #[error("there is no certificate")]
    NoCertificate,
    #[error("TLS: {0}")]
    Handshake(io::Error),
    #[error("it took too long to begin")]
    Late,
}

/// Serves a connection without TLS to its end.
pub(crate) async fn http(
    core: Rc<Core>,
    mut stream: TcpStream,
    peer: SocketAddr,
    place: ConnectionPlace,
) {
    let _open = Open::new(&core, place);
    let settings = prepare(&core, &stream);
    let client = match is_announced(&settings, peer) {
        false => Ok(peer),
        // Boxed, as most connections have no need of the room.
        true => Box::pin(in_time(&core, &settings, announced(&mut stream, peer))).await,
    };
    match client {
        Ok(client) => {
            let connection = Connection::new(core, settings, client, Scheme::Http);
            let may_be_http2 = connection.settings.listener.http2_cleartext;
            connection::serve(connection, stream, may_be_http2).await;
        }
        Err(why) => close(peer, &why),
    }
}

/// Serves a connection with TLS to its end.
pub(crate) async fn https(
    core: Rc<Core>,
    mut stream: TcpStream,
    peer: SocketAddr,
    place: ConnectionPlace,
    tls: Arc<PublishedTls>,
) {
    let _open = Open::new(&core, place);
    let settings = prepare(&core, &stream);
    let opening = async {
        let client = match is_announced(&settings, peer) {
            true => announced(&mut stream, peer).await?,
            false => peer,
        };
        let config = tls.current().ok_or(Unwelcome::NoCertificate)?;
        let shaken = TlsAcceptor::from(config).accept(stream).await;
        Ok((client, shaken.map_err(Unwelcome::Handshake)?))
    };
    // Boxed, so that what it needed is given back.
    match Box::pin(in_time(&core, &settings, opening)).await {
        Ok((client, stream)) => {
            let connection = Connection::new(core, settings, client, Scheme::Https);
            speak(connection, stream).await;
        }
        Err(why) => close(peer, &why),
    }
}

/// Goes on with what was agreed upon (RFC 7301). Who offered nothing speaks HTTP/1.1.
async fn speak(connection: Connection, stream: TlsStream<TcpStream>) {
    match stream.get_ref().1.alpn_protocol() {
        None | Some(b"http/1.1") => connection::serve(connection, stream, false).await,
        Some(b"h2") => Box::pin(http2::serve(Rc::new(connection), stream, vec![])).await,
        Some(other) => {
            let other = other.escape_ascii();
            tracing::error!(client = %connection.peer, "nobody speaks {other} here");
        }
    }
}

fn prepare(core: &Core, stream: &TcpStream) -> Arc<ProxySettings> {
    // A failure means that the peer is gone already, which the first read will tell.
    stream.set_nodelay(true).ok();
    core.settings.load_full()
}

/// Whether a connection from `peer` must begin with a header of the PROXY protocol.
fn is_announced(settings: &ProxySettings, peer: SocketAddr) -> bool {
    settings.listener.proxy_protocol.iter().any(|network| network.contains(peer.ip()))
}

/// The client that `peer` speaks for.
async fn announced(stream: &mut TcpStream, peer: SocketAddr) -> Result<SocketAddr, Unwelcome> {
    let addresses = read_header(stream).await?;
    Ok(addresses.map_or(peer, |addresses| addresses.source))
}

/// The outcome of `opening`, unless it takes too long.
async fn in_time<T>(
    core: &Core,
    settings: &ProxySettings,
    opening: impl Future<Output = Result<T, Unwelcome>>,
) -> Result<T, Unwelcome> {
    let deadline = Deadline::new(&core.deadlines);
    let arrived_at = Instant::now();
    let patience = || core.closing.patience(arrived_at, settings.listener.read_timeout);
    let outcome = deadline.until(patience, opening).await;
    outcome.unwrap_or(Err(Unwelcome::Late))
}

fn close(peer: SocketAddr, why: &Unwelcome) {
    tracing::debug!(client = %peer, "connection closed: {why}");
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
