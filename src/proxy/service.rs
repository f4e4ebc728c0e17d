//! The way of a request: vet, route, claim, forward, answer.

use std::rc::Rc;
use std::sync::Arc;

use http::header::{
    ACCEPT, ALLOW, CONNECTION, CONTENT_TYPE, HeaderMap, HeaderValue, TRANSFER_ENCODING,
};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode, Uri, Version};
use http_body::Body as _;
use hyper::body::Incoming;

use super::body::{Answering, Body};
use super::connection::Connection;
use super::error_page::{self, Page};
use super::exchange::Exchange;
use super::forward::{self, Failure, SendError};
use super::headers;
use super::hold::Hold;
use super::live::{self, Visit};
use super::path::RequestPath;
use super::pool::Upstream;
use super::request_body::RequestBody;
use super::response_body::UpstreamBody;
use super::routing::{Look, aim, claim_target, find};
use super::static_files;
use super::table::Route;
use super::tunnel::{self, Protocol};
use super::vet::vet;

/// A request that tqserver answers itself.
pub(crate) struct Refusal {
    page: Page,
    /// Whether the connection is of no more use.
    close: bool,
}

impl Refusal {
    /// On a connection that may go on.
    pub(crate) const fn new(status: StatusCode) -> Self {
        Self::with(Page::Status(status))
    }

    /// The same, with a page that says more than a status.
    pub(crate) const fn with(page: Page) -> Self {
        Self { page, close: false }
    }
}

/// Answers one request.
pub(crate) async fn answer(
    connection: Rc<Connection>,
    request: Request<Incoming>,
) -> Response<Body> {
    let answering = Answering::begin(&connection);
    connection.close_delimited.set(request.version() == Version::HTTP_10);
    let (head, body) = request.into_parts();
    let has_body = !body.is_end_stream();
    connection.unread.set(false);
    let accept = head.headers.get(ACCEPT).cloned();
    let id = headers::request_id(&head.headers, connection.client.trusted);
    let visit = connection.core.live.as_ref().and_then(|live| Visit::begin(live, &head));
    let visit = visit.as_ref();
    let mut response = match handle(&connection, head, body, &id, visit).await {
        Ok(response) => response,
        Err(refusal) => {
            connection.unread.set(has_body || refusal.close);
            let id = id.to_str().unwrap_or_default();
            let mut response = error_page::response(&refusal.page, accept.as_ref(), id, visit);
            if refusal.close {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            response
        }
    };
    let status = response.status();
    if connection.core.closing.connections.is_said() && status != StatusCode::SWITCHING_PROTOCOLS {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    answering.head(status);
    response.map(|body| body.ends(answering))
}

async fn handle(
    connection: &Rc<Connection>,
    mut head: Parts,
    body: Incoming,
    id: &HeaderValue,
    visit: Option<&Visit>,
) -> Result<Response<Body>, Refusal> {
    let settings = &connection.settings;
    vet(&mut head, settings.listener.max_body_bytes)
        .map_err(|status| Refusal { page: Page::Status(status), close: true })?;
    if head.method == Method::OPTIONS && head.uri.path() == "*" {
        return Ok(server_options());
    }
    let uri = head.uri.clone();
    let path = RequestPath::parse(uri.path()).map_err(|error| {
        tracing::debug!(client = %connection.peer, "refused: {error}");
        Refusal::new(StatusCode::BAD_REQUEST)
    })?;
    if let Some(live) = &connection.core.live
        && let Some(answer) = live::answer(connection, live, &head, path.decoded())
    {
        return answer;
    }
    let statics = &settings.static_files;
    if statics.enabled && statics.url_prefix.covers(path.decoded()) {
        return serve_file(connection, &head.method, &head.headers, &path, visit).await;
    }
    proxy(connection, head, body, id, &uri, &path, visit).await
}

/// `OPTIONS *` asks about the server as a whole (RFC 9110 section 9.3.7).
fn server_options() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().insert(ALLOW, error_page::METHODS);
    response
}

async fn serve_file(
    connection: &Connection,
    method: &Method,
    headers: &HeaderMap,
    path: &RequestPath<'_>,
    visit: Option<&Visit>,
) -> Result<Response<Body>, Refusal> {
    let settings = &connection.settings.static_files;
    let prefix = settings.url_prefix.prefix().len();
    let not_found = Refusal::new(StatusCode::NOT_FOUND);
    let below = path.decoded()[prefix..].strip_prefix('/').and_then(|rest| rest.split_once('/'));
    let Some((worker, _)) = below else { return Err(not_found) };
    let mut hold = connection.hold();
    let route = find(connection, &mut hold, |table| match table.of_worker(worker) {
        Some(route) => Look::Found(Arc::clone(route)),
        None => Look::unknown(table),
    })
    .await?;
    if let Some(visit) = visit {
        visit.of_worker(&route.worker);
        visit.made_by(route.targets.oldest().unwrap_or_default());
    }
    let file = path.raw_after(prefix + 1 + worker.len());
    let response = static_files::serve(method, headers, file, &route.public, settings).await;
    let status = response.status();
    // These two say more in their fields than a page of ours could.
    let telling = [StatusCode::METHOD_NOT_ALLOWED, StatusCode::RANGE_NOT_SATISFIABLE];
    if (status.is_client_error() || status.is_server_error()) && !telling.contains(&status) {
        return Err(Refusal::new(status));
    }
    Ok(response.map(Body::file))
}

async fn proxy(
    connection: &Rc<Connection>,
    mut head: Parts,
    body: Incoming,
    id: &HeaderValue,
    uri: &Uri,
    path: &RequestPath<'_>,
    visit: Option<&Visit>,
) -> Result<Response<Body>, Refusal> {
    let listener = &connection.settings.listener;
    let protocol = tunnel::requested(&head, &body);
    headers::forward_request(&mut head.headers, &connection.client, id);
    if let Some(visit) = visit {
        visit.ask(&mut head.headers);
    }
    if let Some(protocol) = &protocol {
        protocol.ask(&mut head.headers);
    }
    if !body.is_end_stream() && body.size_hint().exact().is_none() {
        head.headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    head.version = Version::HTTP_11;

    let mut hold = connection.hold();
    let (mut route, claim) = claim_target(connection, &mut hold, path, visit, None).await?;
    let exchange = Rc::new(Exchange::new(claim));
    let body = RequestBody::new(body, &exchange, listener.max_body_bytes, listener.read_timeout);
    let mut request = Request::from_parts(head, body);
    let mut lost_at = None;
    loop {
        aim(&mut request, uri, path, &route);
        let sent = forward::send(connection, request, &exchange, route.timeouts, &mut lost_at);
        match sent.await {
            Ok((response, upstream)) => {
                return accept(connection, response, upstream, exchange, &route, protocol, visit)
                    .map_err(|failure| refuse(&failure, &route, id));
            }
            Err(SendError::Failed(failure)) => return Err(refuse(&failure, &route, id)),
            Err(SendError::Unreachable(unsent, error)) => {
                request = *unsent;
                let dead = exchange.target();
                connection.core.pool.forget(&dead);
                tracing::debug!(
                    worker = %dead.worker, generation = %dead.generation, addr = %dead.addr,
                    "worker takes no connections: {error}"
                );
                let next = claim_target(connection, &mut hold, path, visit, Some(&dead)).await;
                let (next_route, next_claim) = next.map_err(|refusal| match refusal.page {
                    Page::Status(StatusCode::SERVICE_UNAVAILABLE) => {
                        tracing::warn!(
                            worker = %dead.worker, generation = %dead.generation,
                            request = ?id, "worker takes no connections: {error}"
                        );
                        Refusal::new(StatusCode::BAD_GATEWAY)
                    }
                    _ => refusal,
                })?;
                route = next_route;
                exchange.reclaim(next_claim);
            }
        }
    }
}

/// The journal gets the detail, the client the status.
fn refuse(failure: &Failure, route: &Route, id: &HeaderValue) -> Refusal {
    match failure {
        Failure::Upload(fault) => tracing::debug!(request = ?id, "upload failed: {fault:?}"),
        _ => tracing::warn!(worker = %route.worker, request = ?id, "{failure}"),
    }
    let close = matches!(failure, Failure::Upload(_));
    Refusal { page: Page::Status(failure.status()), close }
}

/// Passes the worker's answer on.
fn accept(
    connection: &Rc<Connection>,
    response: Response<Incoming>,
    upstream: Upstream,
    exchange: Rc<Exchange>,
    route: &Route,
    protocol: Option<Protocol>,
    visit: Option<&Visit>,
) -> Result<Response<Body>, Failure> {
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return tunnel::accept(connection, response, exchange, protocol);
    }
    let (mut head, incoming) = response.into_parts();
    headers::forward_response(&mut head.headers, incoming.size_hint().exact());
    head.version = Version::HTTP_11;
    if !exchange.uploaded.get() {
        connection.unread.set(true);
    }
    let silence = route.timeouts.body_idle;
    let mut body = UpstreamBody::new(incoming, exchange, Rc::clone(connection), upstream, silence);
    if is_event_stream(&head.headers) {
        body = body.into_event_stream();
    }
    let body = match visit {
        Some(visit) => live::append(visit, &mut head, body),
        None => Body::upstream(body),
    };
    Ok(Response::from_parts(head, body))
}

fn is_event_stream(headers: &HeaderMap) -> bool {
    const MEDIA_TYPE: &[u8] = b"text/event-stream";
    let value = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    value.get(..MEDIA_TYPE.len()).is_some_and(|start| start.eq_ignore_ascii_case(MEDIA_TYPE))
}

impl Connection {
    fn hold(&self) -> Hold<'_> {
        Hold::new(&self.core, self.settings.hold, self.settings.hold_max_requests)
    }
}
