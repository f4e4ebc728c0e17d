//! The way of a request: judge, route, claim, forward, answer.

use std::sync::Arc;

use http::header::{ACCEPT, ALLOW, HeaderMap, HeaderValue};
use http::request::Parts;
use http::{Method, Response, StatusCode, Uri};

use super::body::Body;
use super::connection::{Connection, Upgraded};
use super::error_page::{self, Page};
use super::forwarding::{self, RequestId};
use super::hold::Hold;
use super::live::{self, Visit};
use super::logged;
use super::path::RequestPath;
use super::redirect;
use super::routing::{Look, claim_target, find};
use super::static_files::{self, Hit, Kept};
use super::table::Route;
use super::target::{Claim, Target};
use crate::access_log::Entry;
use crate::http1::{BodyLength, FieldSpace, RequestHead, Version};

/// A request that tqserver answers itself.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) page: Page,
    /// Whether the connection is of no more use.
    pub(crate) close: bool,
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

    /// On a connection that ends with it.
    pub(crate) const fn closing(status: StatusCode) -> Self {
        Self { page: Page::Status(status), close: true }
    }
}

/// What is remembered of a request while it is answered.
#[derive(Debug)]
pub(crate) struct Ask {
    pub(crate) id: RequestId,
    pub(crate) version: Version,
    pub(crate) body: BodyLength,
    pub(crate) is_head: bool,
    /// Whether it is safe (RFC 9110 section 9.2.1) and has no body.
    pub(crate) may_be_repeated: bool,
    pub(crate) keeps_alive: bool,
    pub(crate) expects_continue: bool,
    /// What the access log will be told, if it is.
    pub(crate) entry: Option<Box<Entry>>,
}

impl Ask {
    fn new(connection: &Connection, head: &RequestHead<'_, '_>) -> Self {
        let safe = matches!(head.method, "GET" | "HEAD" | "OPTIONS");
        let id = RequestId::of(head, &connection.client);
        Self {
            entry: logged::begin(connection, head, &id),
            id,
            version: head.version,
            body: head.body,
            is_head: head.method == "HEAD",
            may_be_repeated: safe && head.body.is_empty(),
            keeps_alive: head.keeps_alive(),
            expects_continue: head.expects_continue,
        }
    }

    /// What the client is told of the connection: only what its version does not imply.
    pub(crate) fn connection_field(&self, keeps_alive: bool) -> Option<&'static str> {
        match (self.version, keeps_alive) {
            (Version::Http11, true) | (Version::Http10, false) => None,
            (Version::Http11, false) => Some("close"),
            (Version::Http10, true) => Some("keep-alive"),
        }
    }
}

/// A request that goes to a worker.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) route: Arc<Route>,
    pub(crate) claim: Claim,
    /// The head for the worker.
    pub(crate) head: Vec<u8>,
}

/// What is to be done about a request.
pub(crate) enum Decision {
    /// It is forwarded: the way of nearly all, decided without waiting or allocating.
    Forward(Order),
    /// It is answered with a file that is at hand.
    Give(Hit),
    /// It takes more than a look: see [`ponder`].
    Ponder,
    /// It is refused.
    Refuse(Refusal),
}

/// Judges a request, and claims a target for it if that needs no waiting.
pub(crate) fn decide(connection: &Connection, head: &RequestHead<'_, '_>) -> (Ask, Decision) {
    let ask = Ask::new(connection, head);
    let decision = match judge(connection, head) {
        Err(refusal) => Decision::Refuse(refusal),
        Ok(path) => claim_at_once(connection, head, &path, &ask),
    };
    (ask, decision)
}

/// What a request must be, before its path is looked at.
fn judge<'b>(
    connection: &Connection,
    head: &RequestHead<'_, 'b>,
) -> Result<RequestPath<'b>, Refusal> {
    if forwarding::is_refused(head.method) {
        return Err(Refusal::closing(StatusCode::METHOD_NOT_ALLOWED));
    }
    let max_body = connection.settings.listener.max_body_bytes;
    if let BodyLength::Sized(length) = head.body
        && max_body > 0
        && length > max_body
    {
        return Err(Refusal::closing(StatusCode::PAYLOAD_TOO_LARGE));
    }
    if head.target.path == "*" {
        return Ok(RequestPath::server());
    }
    RequestPath::parse(head.target.path).map_err(|error| {
        tracing::debug!(client = %connection.peer, "refused: {error}");
        Refusal::new(StatusCode::BAD_REQUEST)
    })
}

fn claim_at_once(
    connection: &Connection,
    head: &RequestHead<'_, '_>,
    path: &RequestPath<'_>,
    ask: &Ask,
) -> Decision {
    let core = &connection.core;
    let statics = &connection.settings.static_files;
    let is_static = statics.enabled && statics.url_prefix.covers(path.decoded());
    let is_redirected = redirect::port_for(connection, head, path).is_some();
    if path.is_server() || core.live.is_some() || is_redirected {
        return Decision::Ponder;
    }
    let table = core.table.load();
    if is_static {
        let hit = core.files.find(&table, statics, path.decoded(), head);
        return hit.map_or(Decision::Ponder, Decision::Give);
    }
    let Some(route) = table.lookup(path.decoded()) else { return Decision::Ponder };
    let targets = route.targets_for(head.fields);
    let Some(claim) = targets.claim(fastrand::u64(..)) else { return Decision::Ponder };
    let mut text = core.buffers.text();
    forwarding::push_request(&mut text, head, path, route, &connection.client, &ask.id, &[]);
    Decision::Forward(Order { route: Arc::clone(route), claim, head: text })
}

/// What a second thought came to.
pub(crate) enum Found {
    /// The answer is tqserver's own.
    Answer(Response<Body>, Option<Upgraded>),
    /// It is forwarded after all.
    Forward(Order, Option<Box<Visit>>),
}

/// Decides about a request with all that this may take: a file, a wait, a look at what is built. The
/// head is `bytes`.
pub(crate) async fn ponder(
    connection: &Connection,
    bytes: &[u8],
    ask: &Ask,
    hold: &mut Hold<'_>,
) -> Result<Found, (Refusal, Option<Box<Visit>>)> {
    let mut space = Box::new(FieldSpace::new());
    let bad_request = || (Refusal::closing(StatusCode::BAD_REQUEST), None);
    let Ok(Some(head)) = RequestHead::parse(bytes, &mut space) else { return Err(bad_request()) };
    let path = judge(connection, &head).map_err(|refusal| (refusal, None))?;
    if path.is_server() {
        return Ok(Found::Answer(server_options(), None));
    }
    if let Some(port) = redirect::port_for(connection, &head, &path) {
        let response = redirect::to_https(port, &head).ok_or_else(bad_request)?;
        return Ok(Found::Answer(response, None));
    }
    let parts = to_parts(&head).ok_or_else(bad_request)?;
    let visit = connection.core.live.as_ref().and_then(|live| Visit::begin(live, &parts));
    let visit = visit.map(Box::new);
    match ponder_path(connection, &head, &parts, &path, ask, hold, visit.as_deref()).await {
        Ok(Found::Forward(order, _)) => Ok(Found::Forward(order, visit)),
        Ok(answer) => Ok(answer),
        Err(refusal) => Err((refusal, visit)),
    }
}

async fn ponder_path(
    connection: &Connection,
    head: &RequestHead<'_, '_>,
    parts: &Parts,
    path: &RequestPath<'_>,
    ask: &Ask,
    hold: &mut Hold<'_>,
    visit: Option<&Visit>,
) -> Result<Found, Refusal> {
    if let Some(live) = &connection.core.live
        && let Some(answer) = live::answer(live, parts, path.decoded())
    {
        let (response, socket) = answer?;
        return Ok(Found::Answer(response, socket.map(Upgraded::Live)));
    }
    let statics = &connection.settings.static_files;
    if statics.enabled && statics.url_prefix.covers(path.decoded()) {
        let response = serve_file(connection, parts, path, hold, visit).await?;
        return Ok(Found::Answer(response, None));
    }
    let order = order(connection, head, path, ask, hold, visit, None).await?;
    Ok(Found::Forward(order, None))
}

/// Claims a target, other than the `dead` one, as soon as there is one.
async fn order(
    connection: &Connection,
    head: &RequestHead<'_, '_>,
    path: &RequestPath<'_>,
    ask: &Ask,
    hold: &mut Hold<'_>,
    visit: Option<&Visit>,
    dead: Option<&Arc<Target>>,
) -> Result<Order, Refusal> {
    let (route, claim) = claim_target(connection, hold, (head, path), visit, dead).await?;
    let without = visit.map_or(&[][..], |_| Visit::WITHOUT);
    let mut text = connection.core.buffers.text();
    let client = &connection.client;
    forwarding::push_request(&mut text, head, path, &route, client, &ask.id, without);
    Ok(Order { route, claim, head: text })
}

/// Finds another target for a request of which nothing was sent to the `dead` one. Its head is
/// `bytes`.
pub(crate) async fn reorder(
    connection: &Connection,
    bytes: &[u8],
    ask: &Ask,
    hold: &mut Hold<'_>,
    visit: Option<&Visit>,
    dead: &Arc<Target>,
) -> Result<Order, Refusal> {
    let mut space = Box::new(FieldSpace::new());
    let bad_request = || Refusal::closing(StatusCode::BAD_REQUEST);
    let Ok(Some(head)) = RequestHead::parse(bytes, &mut space) else { return Err(bad_request()) };
    let path = RequestPath::parse(head.target.path).map_err(|_| bad_request())?;
    order(connection, &head, &path, ask, hold, visit, Some(dead)).await
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
    head: &Parts,
    path: &RequestPath<'_>,
    hold: &mut Hold<'_>,
    visit: Option<&Visit>,
) -> Result<Response<Body>, Refusal> {
    let settings = &connection.settings.static_files;
    let prefix = settings.url_prefix.prefix().len();
    let not_found = Refusal::new(StatusCode::NOT_FOUND);
    let below = path.decoded()[prefix..].strip_prefix('/').and_then(|rest| rest.split_once('/'));
    let Some((worker, _)) = below else { return Err(not_found) };
    let route = find(connection, hold, |table| match table.of_worker(worker) {
        Some(route) => Look::Found(Arc::clone(route)),
        None => Look::unknown(table),
    })
    .await?;
    if let Some(visit) = visit {
        visit.of_worker(&route.worker);
        visit.made_by(route.targets.oldest().unwrap_or_default());
    }
    let file = path.raw_after(prefix + 1 + worker.len());
    let mut response =
        static_files::serve(&head.method, &head.headers, file, &route.public, settings).await;
    if let Some((representation, bytes)) = response.body_mut().take_representation() {
        let table = connection.core.table.load();
        // It may have taken long enough for another deployment.
        if table.of_worker(worker).is_some_and(|now| Arc::ptr_eq(now, &route)) {
            let kept = Kept::new(response.headers(), representation, bytes);
            connection.core.files.keep(&table, settings, path.decoded(), kept);
        }
    }
    let status = response.status();
    // These two say more in their fields than a page of ours could.
    let telling = [StatusCode::METHOD_NOT_ALLOWED, StatusCode::RANGE_NOT_SATISFIABLE];
    if (status.is_client_error() || status.is_server_error()) && !telling.contains(&status) {
        return Err(Refusal::new(status));
    }
    Ok(response.map(Body::File))
}

/// The page of a refusal, in the form that the request, whose head is `bytes`, likes best.
pub(crate) fn page(
    refusal: &Refusal,
    bytes: &[u8],
    id: &RequestId,
    visit: Option<&Visit>,
) -> Response<Body> {
    let mut space = Box::new(FieldSpace::new());
    let head = RequestHead::parse(bytes, &mut space).ok().flatten();
    let fields = head.iter().flat_map(|head| head.fields);
    let accept = fields.filter(|field| field.name.eq_ignore_ascii_case(ACCEPT.as_str()));
    let accept = accept.filter_map(|field| HeaderValue::from_bytes(field.value).ok()).next();
    error_page::response(&refusal.page, accept.as_ref(), &id.to_string(), visit)
}

/// The head in the words of the `http` crate, for what is not on the way of most requests.
fn to_parts(head: &RequestHead<'_, '_>) -> Option<Parts> {
    let query = head.target.query.map_or_else(String::new, |query| format!("?{query}"));
    let mut request = http::Request::new(());
    *request.method_mut() = Method::from_bytes(head.method.as_bytes()).ok()?;
    *request.uri_mut() = Uri::try_from(format!("{}{query}", head.target.path)).ok()?;
    *request.version_mut() = match head.version {
        Version::Http10 => http::Version::HTTP_10,
        Version::Http11 => http::Version::HTTP_11,
    };
    let fields: &mut HeaderMap = request.headers_mut();
    for field in head.fields {
        let name = http::HeaderName::from_bytes(field.name.as_bytes()).ok()?;
        fields.append(name, HeaderValue::from_bytes(field.value).ok()?);
    }
    Some(request.into_parts().0)
}
