//! From a path to a claimed target, by whatever table is published, and on to the worker's own
//! name for it.

use std::sync::Arc;

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderValue, Request, StatusCode, Uri};

use super::connection::Connection;
use super::error_page::Page;
use super::headers::X_FORWARDED_PREFIX;
use super::hold::Hold;
use super::live::{Standing, Visit};
use super::path::RequestPath;
use super::request_body::RequestBody;
use super::service::Refusal;
use super::table::{Route, RouteTable, Unrouted};
use super::target::{Claim, Target};
use crate::ids::WorkerName;

/// How often a claim may be refused in a row before the request waits for a publication. One
/// refusal is what a swap costs, as the table without the target is published before its drain.
const MAX_REFUSALS: usize = 16;

/// What a look at the table came to.
pub(crate) enum Look<T> {
    /// The answer.
    Found(T),
    /// Ask the next table; with this page once the hold has passed.
    Wait(Page),
    /// There is no such route, and none is coming.
    None(Page),
}

impl<T> Look<T> {
    /// What an unknown name means in this table.
    pub(crate) fn unknown(table: &RouteTable) -> Self {
        match table.unrouted() {
            Unrouted::Held => Self::held(),
            Unrouted::NothingDeployed => Self::None(Page::NothingDeployed),
            Unrouted::NotFound => Self::None(Page::Status(StatusCode::NOT_FOUND)),
        }
    }

    fn held() -> Self {
        Self::Wait(Page::Status(StatusCode::SERVICE_UNAVAILABLE))
    }

    /// What it means that nothing serves a worker. In development its build may be the reason.
    fn unserved(connection: &Connection, worker: &WorkerName) -> Self {
        let Some(live) = &connection.core.live else { return Self::held() };
        match live.build(worker) {
            None => Self::held(),
            Some(Standing::Building) => Self::Wait(Page::Building(worker.clone())),
            Some(Standing::Failed(problems)) => {
                Self::None(Page::BuildFailed(worker.clone(), problems))
            }
        }
    }
}

/// Looks at the published table until it answers, or the hold passes.
pub(crate) async fn find<T>(
    connection: &Connection,
    hold: &mut Hold<'_>,
    mut look: impl FnMut(&RouteTable) -> Look<T>,
) -> Result<T, Refusal> {
    loop {
        match look(&connection.core.table.load()) {
            Look::Found(found) => return Ok(found),
            Look::None(page) => return Err(Refusal::with(page)),
            Look::Wait(page) => {
                hold.until_changed().await.map_err(|_| Refusal::with(page))?;
            }
        }
    }
}

/// Claims a target for `path`, other than the `dead` one.
///
/// Invariant (claim or retry): a refused claim means that a newer table was published, so look
/// again. The count keeps a table that breaks this rule from spinning: it is waited for.
pub(crate) async fn claim_target(
    connection: &Connection,
    hold: &mut Hold<'_>,
    path: &RequestPath<'_>,
    visit: Option<&Visit>,
    dead: Option<&Arc<Target>>,
) -> Result<(Arc<Route>, Claim), Refusal> {
    find(connection, hold, |_| {
        for _ in 0..MAX_REFUSALS {
            let table = connection.core.table.load();
            let Some(route) = table.lookup(path.decoded()) else { return Look::unknown(&table) };
            if let Some(visit) = visit {
                visit.of_worker(&route.worker);
            }
            if route.targets.is_empty() {
                return Look::unserved(connection, &route.worker);
            }
            match route.targets.claim(fastrand::u32(..)) {
                Some(claim) if dead.is_some_and(|dead| Arc::ptr_eq(dead, claim.target())) => {}
                Some(claim) => {
                    if let Some(visit) = visit {
                        visit.made_by(claim.target().generation);
                    }
                    return Look::Found((Arc::clone(route), claim));
                }
                None => {}
            }
        }
        Look::held()
    })
    .await
}

/// Points the request at a path of the worker's own.
pub(crate) fn aim(
    request: &mut Request<RequestBody>,
    uri: &Uri,
    path: &RequestPath<'_>,
    route: &Route,
) {
    let prefix = if route.strip_prefix { route.path.prefix() } else { "" };
    *request.uri_mut() = upstream_uri(uri, path, prefix);
    if !prefix.is_empty()
        && let Ok(prefix) = HeaderValue::from_str(prefix)
    {
        request.headers_mut().insert(X_FORWARDED_PREFIX, prefix);
    }
}

/// The target in origin form, without `prefix`; the rest is as the client wrote it.
fn upstream_uri(uri: &Uri, path: &RequestPath<'_>, prefix: &str) -> Uri {
    let rest = path.raw_after(prefix.len());
    if prefix.is_empty() && uri.authority().is_none() {
        return uri.clone();
    }
    let slash = if rest.starts_with('/') { "" } else { "/" };
    let (mark, query) = uri.query().map_or(("", ""), |query| ("?", query));
    let target = [slash, rest, mark, query].concat();
    // The parts were a URI before, and so is their sum.
    PathAndQuery::from_maybe_shared(Bytes::from(target)).map_or_else(|_| uri.clone(), Uri::from)
}
