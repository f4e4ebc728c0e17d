//! Accepting connections, with patience where the process or the system runs short.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::time::sleep;

use super::connection;
use super::core::Core;

/// The pause after a failed accept: long enough not to spin on EMFILE, short enough that nobody
/// notices. The connection waits in the kernel's queue meanwhile.
const BACK_OFF: Duration = Duration::from_millis(50);

/// Accepts for ever; dropping it leaves what was not accepted in the kernel's queue.
pub(crate) async fn accept(core: Rc<Core>, listener: TcpListener) {
    let mut failing = false;
    loop {
        core.connections.below(|| core.settings.load().listener.max_connections).await;
        match listener.accept().await {
            Ok((stream, peer)) => {
                failing = false;
                let place = core.connections.enter();
                let connection = connection::serve(Rc::clone(&core), stream, peer, place);
                tokio::task::spawn_local(connection);
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
