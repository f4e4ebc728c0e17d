//! Sending one request to a claimed target until its answer begins; what may be tried again when
//! that fails.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use nix::errno::Errno;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::exchange::{Exchange, Lost, UploadFault, Upstream};
use super::socket::{Leg, Socket};
use super::table::UpstreamTimeouts;
use super::target::Target;

/// How long a process may take to die, from its first closed connection to its listener.
const LAST_MOMENT: Duration = Duration::from_millis(250);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The worker took too long to accept the connection or to answer.
    #[error("the worker did not answer in time")]
    Silent,
    /// The worker broke off before it answered, and the request may not be sent again.
    #[error("the worker broke off before it answered: {0}")]
    Broke(io::Error),
    /// The worker's answer is not HTTP, or a switch of protocols nobody asked for.
    #[error("the worker's answer is not valid: {0}")]
    Garbage(String),
    /// The client's upload failed.
    #[error("the request's body was broken off: {0:?}")]
    Upload(UploadFault),
    /// This process has no more sockets.
    #[error("no socket for a connection to the worker: {0}")]
    Exhausted(io::Error),
}

impl Failure {
    /// Whether the worker is at fault.
    pub(crate) fn is_the_workers(&self) -> bool {
        matches!(self, Self::Silent | Self::Broke(_) | Self::Garbage(_))
    }

    /// What the client is told.
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::Silent => StatusCode::GATEWAY_TIMEOUT,
            Self::Broke(_) | Self::Garbage(_) => StatusCode::BAD_GATEWAY,
            Self::Upload(UploadFault::TooLarge) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Upload(UploadFault::ClientStalled) => StatusCode::REQUEST_TIMEOUT,
            Self::Upload(UploadFault::ClientBroke) => StatusCode::BAD_REQUEST,
            Self::Exhausted(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

/// Why [`Exchange::send`] gave up.
#[derive(Debug)]
pub(crate) enum SendError {
    /// Nothing of the request was sent, as the target takes no connections: it may go elsewhere.
    Unreachable(io::Error),
    /// The client has hung up.
    Gone,
    /// The request is lost.
    Failed(Failure),
}

impl<S: Socket> Exchange<'_, S> {
    /// Sends the request to a claimed target and awaits the head of its answer.
    ///
    /// A request that was never written is sent again over the next connection, whatever it is. One
    /// that was written to a connection which then died without an answer is sent once more if it is
    /// safe (RFC 9110 section 9.2.1) and has no body: to another instance if there are `others`. When
    /// the second was lost to the same death, it goes elsewhere for once.
    pub(crate) async fn send(
        &mut self,
        target: &Arc<Target>,
        timeouts: UpstreamTimeouts,
        others: bool,
    ) -> Result<Upstream, SendError> {
        let pool = &self.connection.core.pool;
        loop {
            let mut now = Instant::now();
            self.begun_at.get_or_insert(now);
            let kept = pool.checkout(target, now);
            let is_fresh = kept.is_none();
            let socket = match kept {
                Some(socket) => socket,
                None => {
                    let socket = self.connect(target, timeouts.response).await?;
                    now = Instant::now();
                    socket
                }
            };
            let mut upstream = Leg::worker(socket, self.connection.core.clone());
            let error = match self.open(&mut upstream, timeouts, now).await {
                Ok(()) => return Ok(upstream),
                Err(Lost::Died(error)) => error,
                Err(Lost::Gone) => return Err(SendError::Gone),
                Err(Lost::Silent) => return Err(SendError::Failed(Failure::Silent)),
                Err(Lost::Garbage(what)) => return Err(SendError::Failed(Failure::Garbage(what))),
                Err(Lost::Upload(fault)) => return Err(SendError::Failed(Failure::Upload(fault))),
            };
            match self.upload.is_begun() {
                false if is_fresh => return Err(SendError::Unreachable(error)),
                false => continue,
                true if !self.ask.may_be_repeated => {
                    return Err(SendError::Failed(Failure::Broke(error)));
                }
                true => {}
            }
            // The others may be as stale as this one was, and there is only one more try.
            pool.forget(target);
            self.upload.rewind();
            if let Some(first) = &self.lost_at {
                // A worker dies once, yet while it does its queue may accept the second try as well.
                if Arc::ptr_eq(first, target)
                    && let Some(refusal) = refusal_of(target).await
                {
                    return Err(SendError::Unreachable(refusal));
                }
                return Err(SendError::Failed(Failure::Broke(error)));
            }
            self.lost_at = Some(Arc::clone(target));
            if others {
                return Err(SendError::Unreachable(error));
            }
            target.tally(self.connection.core.thread).retries.add(1);
        }
    }

    async fn connect(&self, target: &Target, limit: Duration) -> Result<TcpStream, SendError> {
        let connecting = TcpStream::connect(target.addr);
        let socket = match self.client.deadline.limit(limit, connecting).await {
            Some(Ok(socket)) => socket,
            Some(Err(error)) if is_exhaustion(&error) => {
                return Err(SendError::Failed(Failure::Exhausted(error)));
            }
            Some(Err(error)) => return Err(SendError::Unreachable(error)),
            None => return Err(SendError::Failed(Failure::Silent)),
        };
        // A failure means that the worker is gone already, which the first write will tell.
        socket.set_nodelay(true).ok();
        self.assert_no_stranger(target, &socket).map_err(SendError::Unreachable)?;
        self.connection.core.counters.upstream_connections.add(1);
        Ok(socket)
    }

    /// Invariant (a port is not an identity): nothing is written to whoever took the port of a worker
    /// that died. Whose a connection is cannot change, so each is looked at once.
    fn assert_no_stranger(&self, target: &Target, socket: &TcpStream) -> io::Result<()> {
        let diag = self.connection.core.sock_diag.as_ref();
        let (Some(diag), Some(own)) = (diag, target.control_group()) else { return Ok(()) };
        match diag.of_peer(socket) {
            Ok(Some(found)) if found != own => Err(io::Error::new(
                io::ErrorKind::ConnectionRefused,
                "another program listens on its port",
            )),
            // Where nobody is left the first write will tell.
            Ok(_) => Ok(()),
            Err(error) => {
                tracing::debug!(worker = %target.worker, %error, "whose a connection is was not told");
                Ok(())
            }
        }
    }
}

/// How the target refuses a connection, if it does. Linux closes what a dying process has open
/// last first, so its listener may accept for a moment when its connections are gone; whom it
/// accepts then sees a reset.
async fn refusal_of(target: &Target) -> Option<io::Error> {
    let refused = async { TcpStream::connect(target.addr).await?.read_u8().await };
    timeout(LAST_MOMENT, refused).await.ok()?.err()
}

/// Whether it is this process, not the worker, that lacks something.
fn is_exhaustion(error: &io::Error) -> bool {
    let ours = [Errno::EMFILE, Errno::ENFILE, Errno::ENOBUFS, Errno::ENOMEM, Errno::EADDRNOTAVAIL];
    error.raw_os_error().is_some_and(|code| ours.contains(&Errno::from_raw(code)))
}
