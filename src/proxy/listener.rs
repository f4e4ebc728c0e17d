//! Accepting connections, with patience where the process or the system runs short.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::spawn_local;
use tokio::time::sleep;

use super::arrival;
use super::core::Core;
use crate::tls::PublishedTls;

/// A listening socket of the data plane, and what is spoken on its connections.
#[derive(Debug)]
pub struct Listener {
    pub(crate) socket: std::net::TcpListener,
    pub(crate) speaks: Speaks,
}

/// What is spoken on a connection from its first byte, or the first after a header of the PROXY
/// protocol.
#[derive(Debug, Clone)]
pub(crate) enum Speaks {
    Http,
    Https(Arc<PublishedTls>),
}

impl Listener {
    /// For HTTP without TLS.
    pub fn http(socket: std::net::TcpListener) -> Self {
        Self { socket, speaks: Speaks::Http }
    }

    /// For HTTP inside TLS, as it is published at the time of each handshake. Where nothing is,
    /// connections are closed.
    pub fn https(socket: std::net::TcpListener, tls: Arc<PublishedTls>) -> Self {
        Self { socket, speaks: Speaks::Https(tls) }
    }

    /// The same socket by another descriptor.
    ///
    /// # Errors
    /// There are no more descriptors.
    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { socket: self.socket.try_clone()?, speaks: self.speaks.clone() })
    }
}

/// The pause after a failed accept: long enough not to spin on EMFILE, short enough that nobody
/// notices. The connection waits in the kernel's queue meanwhile.
const BACK_OFF: Duration = Duration::from_millis(50);

/// Accepts for ever; dropping it leaves what was not accepted in the kernel's queue.
pub(crate) async fn accept(core: Rc<Core>, listener: TcpListener, speaks: Speaks) {
    let mut failing = false;
    loop {
        core.connections.below(|| core.settings.load().listener.max_connections).await;
        match listener.accept().await {
            Ok((stream, peer)) => {
                failing = false;
                let place = core.connections.enter();
                let core = Rc::clone(&core);
                match &speaks {
                    Speaks::Http => spawn_local(arrival::http(core, stream, peer, place)),
                    Speaks::Https(tls) => {
                        let tls = Arc::clone(tls);
                        spawn_local(arrival::https(core, stream, peer, place, tls))
                    }
                };
            }
            Err(error) if is_the_clients(&error) => {}
            Err(error) => {
                core.counters.accept_errors.add(1);
                // Said once an episode, however long it lasts.
                if !std::mem::replace(&mut failing, true) {
                    tracing::warn!(
                        "cannot accept connections: {error}; retrying. \
                         For EMFILE raise LimitNOFILE= or lower max_connections"
                    );
                }
                sleep(BACK_OFF).await;
            }
        }
    }
}

/// Whether only this one connection is lost, gone before it was accepted (accept(2)).
fn is_the_clients(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}
