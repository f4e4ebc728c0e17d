//! The server on the control socket. Who may connect is the socket's file mode; what is asked
//! here is small, so limits are tight.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{HttpService, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::unix::UCred;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::api::{Accepted, ApiError, Control, SCHEMA};
use super::{exposition, soak, stream};
use crate::ids::WorkerName;

/// Connections at once; further ones wait in the kernel's queue.
pub const MAX_CONNECTIONS: usize = 32;
/// How many of them may be streams of events, which last: the others are for those who ask.
pub const MAX_STREAMS: usize = 16;
/// The largest request body, in bytes.
pub const MAX_BODY: usize = 16 * 1024;
/// The largest request head, in bytes. hyper asks for at least 8 KiB.
const MAX_HEAD: usize = 16 * 1024;
/// For a request's head, and again for its body.
const READ_TIMEOUT: Duration = Duration::from_secs(5);
/// How long answers may take to leave once the daemon stops.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(2);
/// The pause after an accept that failed for want of descriptors or memory.
pub(super) const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// Of an answer: a document or a stream of events.
pub(super) type Body = UnsyncBoxBody<Bytes, Infallible>;

/// What every connection is given.
struct Shared<C> {
    control: Arc<C>,
    streams: Arc<Semaphore>,
    shutdown: CancellationToken,
}

/// Serves the control socket until `shutdown`.
pub async fn serve(
    listener: UnixListener,
    control: Arc<impl Control>,
    shutdown: CancellationToken,
) {
    let streams = Arc::new(Semaphore::new(MAX_STREAMS));
    let shared = Arc::new(Shared { control, streams, shutdown });
    let mut connections = JoinSet::new();
    loop {
        let full = connections.len() >= MAX_CONNECTIONS;
        tokio::select! {
            () = shared.shutdown.cancelled() => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(), if !full => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(serve_connection(stream, Arc::clone(&shared)));
                }
                Err(error) => {
                    tracing::warn!(%error, "control socket: cannot accept: {error}");
                    tokio::time::sleep(ACCEPT_BACKOFF).await;
                }
            },
        }
    }
    let finish = async { while connections.join_next().await.is_some() {} };
    // What was accepted is answered, also where the request is still to come; streams of events end
    // by themselves. Whoever still waits then is cut off when the set is dropped.
    let _ = tokio::time::timeout(SHUTDOWN_GRACE, finish).await;
}

async fn serve_connection(stream: UnixStream, shared: Arc<Shared<impl Control>>) {
    let peer = stream.peer_cred();
    let service = service_fn(|request| {
        let (shared, peer) = (Arc::clone(&shared), &peer);
        async move { Ok::<_, Infallible>(answer(request, &shared, peer).await) }
    });
    serve_one(stream, service, "control socket").await;
}

/// Serves one request, to a client of `what`: an idle one must not hold one of the few connections.
pub(super) async fn serve_one<I, S>(stream: I, service: S, what: &str)
where
    I: AsyncRead + AsyncWrite + Unpin,
    S: HttpService<Incoming, ResBody = Body, Error = Infallible>,
{
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(READ_TIMEOUT)
        .max_buf_size(MAX_HEAD)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = connection.await {
        tracing::debug!(%error, "{what}: connection ended: {error}");
    }
}

async fn answer(
    request: Request<Incoming>,
    shared: &Shared<impl Control>,
    peer: &io::Result<UCred>,
) -> Response<Body> {
    let control = &*shared.control;
    let (head, body) = request.into_parts();
    if let Err(refusal) = read_body(body).await {
        return refusal;
    }
    match (head.uri.path(), head.method) {
        ("/v1/status", Method::GET | Method::HEAD) => json(StatusCode::OK, &control.status()),
        ("/v1/status", _) => method_not_allowed("GET, HEAD"),
        ("/metrics", Method::GET | Method::HEAD) => metrics(control.metrics()),
        ("/metrics", _) => method_not_allowed("GET, HEAD"),
        ("/v1/retention", Method::GET | Method::HEAD) => match control.retention() {
            Ok(retention) => json(StatusCode::OK, &retention),
            Err(error) => refuse(StatusCode::CONFLICT, error),
        },
        ("/v1/retention", _) => method_not_allowed("GET, HEAD"),
        ("/v1/deployments", Method::GET | Method::HEAD) => {
            json(StatusCode::OK, &control.past_rollouts())
        }
        ("/v1/deployments", _) => method_not_allowed("GET, HEAD"),
        ("/v1/reload", Method::POST) => {
            let wait = match head.uri.query() {
                None | Some("wait=true") => true,
                Some("wait=false") => false,
                Some(other) => {
                    let error = format!("unknown query {other:?}: wait=true or wait=false");
                    return refuse(StatusCode::BAD_REQUEST, error);
                }
            };
            log_asking(peer, "reload");
            let verdict = control.reload();
            if wait {
                json(StatusCode::OK, &verdict.await)
            } else {
                // Asked is asked; see `Control::reload`.
                drop(verdict);
                json(StatusCode::ACCEPTED, &Accepted { schema: SCHEMA, accepted: true })
            }
        }
        ("/v1/reload", _) => method_not_allowed("POST"),
        ("/v1/events", Method::GET) => {
            let Ok(permit) = Arc::clone(&shared.streams).try_acquire_owned() else {
                let error = format!("{MAX_STREAMS} clients follow the events already");
                return refuse(StatusCode::SERVICE_UNAVAILABLE, error);
            };
            match stream::last_event_id(&head.headers) {
                Ok(last) => {
                    let subscription = control.events().subscribe(last);
                    stream::response(subscription, shared.shutdown.clone(), permit)
                }
                Err(error) => refuse(StatusCode::BAD_REQUEST, error),
            }
        }
        ("/v1/events", _) => method_not_allowed("GET"),
        ("/v1/dev/rebuild", Method::POST) => {
            log_asking(peer, "rebuild");
            match control.rebuild() {
                Ok(()) => json(StatusCode::ACCEPTED, &Accepted { schema: SCHEMA, accepted: true }),
                Err(error) => refuse(StatusCode::CONFLICT, error),
            }
        }
        ("/v1/dev/rebuild", _) => method_not_allowed("POST"),
        ("/v1/canary/promote" | "/v1/canary/abort", Method::POST) => {
            let promote = head.uri.path() == "/v1/canary/promote";
            log_asking(peer, if promote { "promotion of the canary" } else { "end of the canary" });
            json(StatusCode::OK, &control.decide(promote).await)
        }
        ("/v1/canary/promote" | "/v1/canary/abort", _) => method_not_allowed("POST"),
        (path, method) if path.ends_with("/soak") => match soak::asked(path, head.uri.query()) {
            Some(_) if method != Method::POST => method_not_allowed("POST"),
            Some(Ok((commit, time))) => {
                log_asking(peer, &format!("soak of {}", commit.short()));
                match control.soak(commit, time).await {
                    Ok(verdict) => json(StatusCode::OK, &verdict),
                    Err(error) => refuse(StatusCode::CONFLICT, error),
                }
            }
            Some(Err(error)) => refuse(StatusCode::BAD_REQUEST, error),
            None => refuse(StatusCode::NOT_FOUND, format!("there is no {path:?} here")),
        },
        (path, method) => match of_worker(path) {
            Some(_) if method != Method::POST => method_not_allowed("POST"),
            Some((Ok(worker), "restart")) => {
                log_asking(peer, &format!("restart of {worker}"));
                json(StatusCode::OK, &control.restart(worker).await)
            }
            Some((Ok(worker), _)) => {
                log_asking(peer, &format!("drain of {worker}"));
                match control.drain(worker).await {
                    Ok(()) => json(StatusCode::OK, &Accepted { schema: SCHEMA, accepted: true }),
                    Err(error) => refuse(StatusCode::CONFLICT, error),
                }
            }
            Some((Err(error), _)) => refuse(StatusCode::BAD_REQUEST, error),
            None => refuse(StatusCode::NOT_FOUND, format!("there is no {path:?} here")),
        },
    }
}

/// The worker in `/v1/workers/{name}/restart`, or `/drain`, and which of the two; `None` for other paths.
fn of_worker(path: &str) -> Option<(Result<WorkerName, String>, &str)> {
    let (name, verb) = path.strip_prefix("/v1/workers/")?.split_once('/')?;
    let name = || name.parse::<WorkerName>().map_err(|error| error.to_string());
    matches!(verb, "restart" | "drain").then(|| (name(), verb))
}

/// No request has a body that means anything yet; one is read away within limits, so that the
/// client gets to see the answer.
async fn read_body(body: Incoming) -> Result<(), Response<Body>> {
    match tokio::time::timeout(READ_TIMEOUT, Limited::new(body, MAX_BODY).collect()).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
            let error = format!("the body is larger than {MAX_BODY} bytes");
            Err(refuse(StatusCode::PAYLOAD_TOO_LARGE, error))
        }
        Ok(Err(error)) => Err(refuse(StatusCode::BAD_REQUEST, format!("broken body: {error}"))),
        Err(_) => {
            let error = format!("no complete body within {} s", READ_TIMEOUT.as_secs());
            Err(refuse(StatusCode::REQUEST_TIMEOUT, error))
        }
    }
}

fn log_asking(peer: &io::Result<UCred>, what: &str) {
    match peer {
        Ok(peer) => {
            let (uid, pid) = (peer.uid(), peer.pid().unwrap_or_default());
            tracing::info!(uid, pid, "{what} asked for by uid {uid}, process {pid}");
        }
        Err(error) => tracing::info!(%error, "{what} asked for by an unknown peer: {error}"),
    }
}

fn json(status: StatusCode, document: &impl Serialize) -> Response<Body> {
    let (status, bytes) = match serde_json::to_vec(document) {
        Ok(mut bytes) => {
            bytes.push(b'\n');
            (status, bytes)
        }
        Err(error) => {
            tracing::error!(%error, "control socket: a document cannot be written: {error}");
            (StatusCode::INTERNAL_SERVER_ERROR, br#"{"error":"see the journal"}"#.to_vec())
        }
    };
    whole(status, "application/json", bytes)
}

pub(super) fn metrics(text: String) -> Response<Body> {
    whole(StatusCode::OK, exposition::CONTENT_TYPE, text)
}

/// An answer that is there as a whole.
pub(super) fn whole(
    status: StatusCode,
    media_type: &'static str,
    content: impl Into<Bytes>,
) -> Response<Body> {
    let mut response = Response::new(Full::new(content.into()).boxed_unsync());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}

pub(super) fn refuse(status: StatusCode, error: String) -> Response<Body> {
    json(status, &ApiError { error })
}

pub(super) fn method_not_allowed(allowed: &'static str) -> Response<Body> {
    let error = format!("only {allowed} is possible here");
    let mut response = refuse(StatusCode::METHOD_NOT_ALLOWED, error);
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    response
}
