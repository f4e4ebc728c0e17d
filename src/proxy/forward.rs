//! Sending one request to one target, over a kept connection or a new one, and what may be tried
//! again when that fails.

use std::error::Error as _;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http::{Method, Request, Response, StatusCode};
use http_body::Body as _;
use hyper::body::Incoming;
use nix::errno::Errno;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::connection::Connection;
use super::exchange::{Exchange, UploadFault};
use super::pool::{self, Upstream};
use super::request_body::RequestBody;
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
    Broke(hyper::Error),
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

/// Why [`send`] gave up.
#[derive(Debug)]
pub(crate) enum SendError {
    /// Nothing of the request was sent, as the target takes no connections: it may go elsewhere.
    Unreachable(Box<Request<RequestBody>>, io::Error),
    /// The request is lost.
    Failed(Failure),
}

/// Sends `request` to the claimed target and awaits the head of its answer.
///
/// A request that was never written is sent again over the next connection, whatever it is. One
/// that was written to a connection which then died without an answer is sent once more if it is
/// safe (RFC 9110 section 9.2.1) and has no body; `lost_at` remembers where the first was lost.
/// When the second was lost to the same death, it goes elsewhere for once.
pub(crate) async fn send(
    connection: &Connection,
    mut request: Request<RequestBody>,
    exchange: &Rc<Exchange>,
    timeouts: UpstreamTimeouts,
    lost_at: &mut Option<Arc<Target>>,
) -> Result<(Response<Incoming>, Upstream), SendError> {
    let target = exchange.target();
    let pool = &connection.core.pool;
    loop {
        let kept = pool.checkout(&target);
        let fresh = kept.is_none();
        let mut upstream = match kept {
            Some(upstream) => upstream,
            None => match timeout(timeouts.response, pool::connect(&target)).await {
                Ok(Ok(upstream)) => {
                    connection.core.counters.upstream_connections.add(1);
                    upstream
                }
                Ok(Err(error)) if is_exhaustion(&error) => {
                    return Err(SendError::Failed(Failure::Exhausted(error)));
                }
                Ok(Err(error)) => return Err(SendError::Unreachable(Box::new(request), error)),
                Err(_) => return Err(SendError::Failed(Failure::Silent)),
            },
        };
        if upstream.ready().await.is_err() {
            if fresh {
                let error = io::ErrorKind::ConnectionReset.into();
                return Err(SendError::Unreachable(Box::new(request), error));
            }
            continue;
        }
        let copy = replayable(&request);
        exchange.moved.set(Instant::now());
        let sending = upstream.try_send_request(request);
        let Some(outcome) = in_time(connection, exchange, timeouts, sending).await else {
            return Err(SendError::Failed(Failure::Silent));
        };
        let mut refusal = match outcome {
            Ok(response) => return Ok((response, upstream)),
            Err(refusal) => refusal,
        };
        if let Some(unsent) = refusal.take_message() {
            if fresh {
                let error = io::ErrorKind::ConnectionReset.into();
                return Err(SendError::Unreachable(Box::new(unsent), error));
            }
            request = unsent;
            continue;
        }
        let error = refusal.into_error();
        if let Some(fault) = exchange.fault.get() {
            return Err(SendError::Failed(Failure::Upload(fault)));
        }
        if !connection_died(&error) {
            return Err(SendError::Failed(Failure::Garbage(describe(&error))));
        }
        let Some(copy) = copy else { return Err(SendError::Failed(Failure::Broke(error))) };
        // The others may be as stale as this one was, and there is only one more try.
        pool.forget(&target);
        if let Some(first) = lost_at {
            // A worker dies once, yet while it does its queue may accept the second try as well.
            if Arc::ptr_eq(first, &target)
                && let Some(refusal) = refusal_of(&target).await
            {
                return Err(SendError::Unreachable(Box::new(copy), refusal));
            }
            return Err(SendError::Failed(Failure::Broke(error)));
        }
        *lost_at = Some(Arc::clone(&target));
        request = copy;
    }
}

/// The answer to `sending`, or `None` once the worker's time is up: `response` from the request's
/// last byte, or `body_idle` without any of it being taken.
async fn in_time<F: Future>(
    connection: &Connection,
    exchange: &Exchange,
    timeouts: UpstreamTimeouts,
    sending: F,
) -> Option<F::Output> {
    let mut sending = pin!(sending);
    let look_every = timeouts.response.min(timeouts.body_idle);
    let mut look_at = exchange.moved.get() + look_every;
    poll_fn(|cx| {
        if let Poll::Ready(outcome) = sending.as_mut().poll(cx) {
            return Poll::Ready(Some(outcome));
        }
        let mut timer = connection.timer.borrow_mut();
        while timer.poll_elapsed(cx, look_at).is_ready() {
            let now = Instant::now();
            let deadline = if exchange.uploaded.get() {
                exchange.moved.get() + timeouts.response
            } else if exchange.awaits_client.get() {
                // The client's own limit holds; it is kept by the request's body.
                now + look_every
            } else {
                exchange.moved.get() + timeouts.body_idle
            };
            if deadline <= now {
                return Poll::Ready(None);
            }
            look_at = deadline.min(now + look_every);
        }
        Poll::Pending
    })
    .await
}

/// A copy of a request that may be sent twice.
fn replayable(request: &Request<RequestBody>) -> Option<Request<RequestBody>> {
    let safe = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    if !safe || !request.body().is_end_stream() {
        return None;
    }
    let mut copy = Request::new(RequestBody::empty());
    copy.method_mut().clone_from(request.method());
    copy.uri_mut().clone_from(request.uri());
    copy.headers_mut().clone_from(request.headers());
    Some(copy)
}

/// Whether the connection ended, rather than carried nonsense.
fn connection_died(error: &hyper::Error) -> bool {
    let by_io = error.source().is_some_and(|source| source.is::<io::Error>());
    error.is_incomplete_message() || error.is_closed() || error.is_canceled() || by_io
}

/// How the target refuses a connection, if it does. Linux closes what a dying process has open
/// last first, so its listener may accept for a moment when its connections are gone; whom it
/// accepts then sees a reset.
async fn refusal_of(target: &Target) -> Option<io::Error> {
    let refused = async { TcpStream::connect(target.addr).await?.read_u8().await };
    timeout(LAST_MOMENT, refused).await.ok()?.err()
}

fn describe(error: &hyper::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

/// Whether it is this process, not the worker, that lacks something.
fn is_exhaustion(error: &io::Error) -> bool {
    let ours = [Errno::EMFILE, Errno::ENFILE, Errno::ENOBUFS, Errno::ENOMEM, Errno::EADDRNOTAVAIL];
    error.raw_os_error().is_some_and(|code| ours.contains(&Errno::from_raw(code)))
}
