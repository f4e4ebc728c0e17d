//! What tqserver itself serves below `/_tqserver/`: the script, and the WebSocket it opens.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderMap, HeaderValue, ORIGIN,
    X_CONTENT_TYPE_OPTIONS,
};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use tokio_tungstenite::tungstenite::handshake::server::create_response;

use super::{Live, LiveSocket};
use crate::ids::WorkerName;
use crate::proxy::body::Body;
use crate::proxy::service::Refusal;

const SCRIPT: &str = include_str!("live.js");

/// An answer, and the WebSocket that it begins, if it does.
type Answer = (Response<Body>, Option<LiveSocket>);

/// Answers a request for one of the two, by the decoded `path`. Everything else is for the routes.
pub(crate) fn answer(
    live: &Arc<Live>,
    head: &Parts,
    path: &str,
) -> Option<Result<Answer, Refusal>> {
    match path {
        "/_tqserver/live.js" => Some(Ok((script(&head.method), None))),
        "/_tqserver/live" => Some(socket(live, head).map_err(Refusal::new)),
        _ => None,
    }
}

fn script(method: &Method) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    if !matches!(*method, Method::GET | Method::HEAD) {
        *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    for (name, value) in [
        (CONTENT_TYPE, "text/javascript; charset=utf-8"),
        (CACHE_CONTROL, "no-cache"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    if *method == Method::GET {
        *response.body_mut() = Body::full(Bytes::from_static(SCRIPT.as_bytes()));
    } else {
        response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(SCRIPT.len()));
    }
    response
}

/// Agrees to a WebSocket, for pages of the same origin only: what it says has paths and source
/// lines in it, and no other site may read these.
fn socket(live: &Arc<Live>, head: &Parts) -> Result<Answer, StatusCode> {
    let worker = worker_of(head.uri.query()).ok_or(StatusCode::BAD_REQUEST)?;
    let mut request = Request::new(());
    request.method_mut().clone_from(&head.method);
    *request.version_mut() = head.version;
    request.headers_mut().clone_from(&head.headers);
    let response = create_response(&request).map_err(|_| StatusCode::BAD_REQUEST)?;
    if !is_same_origin(&head.headers) {
        return Err(StatusCode::FORBIDDEN);
    }
    let tab = live.enter(worker).ok_or(StatusCode::SERVICE_UNAVAILABLE)?;
    Ok((response.map(|()| Body::empty()), Some(LiveSocket::new(tab))))
}

/// Of `worker=index`; an empty name, or none, is nobody's page.
fn worker_of(query: Option<&str>) -> Option<Option<WorkerName>> {
    let mut pairs = query.unwrap_or_default().split('&');
    match pairs.find_map(|pair| pair.strip_prefix("worker=")) {
        None | Some("") => Some(None),
        Some(name) => name.parse().ok().map(Some),
    }
}

/// Whether the page is from the host that it asks. `null`, of a sandboxed page, is not.
fn is_same_origin(headers: &HeaderMap) -> bool {
    let mut origins = headers.get_all(ORIGIN).iter();
    let (Some(origin), None) = (origins.next(), origins.next()) else { return false };
    let Some((scheme, authority)) = origin.to_str().ok().and_then(|it| it.split_once("://")) else {
        return false;
    };
    let host = headers.get(HOST).map(HeaderValue::as_bytes).unwrap_or_default();
    matches!(scheme, "http" | "https") && authority.as_bytes().eq_ignore_ascii_case(host)
}
