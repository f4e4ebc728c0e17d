//! From a path to a claimed target, by whatever table is published.

use std::sync::Arc;

use http::StatusCode;

use super::connection::Connection;
use super::error_page::Page;
use super::hold::Hold;
use super::live::{Standing, Visit};
use super::path::RequestPath;
use super::service::Refusal;
use super::table::{Route, RouteTable, Unrouted};
use super::target::{Claim, Target};

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

    /// What it means that nothing serves a route. In development its build may be the reason.
    fn unserved(connection: &Connection, route: &Route) -> Self {
        let worker = &route.worker;
        let unbuilt = connection.core.live.as_ref().and_then(|live| live.build(worker));
        match unbuilt {
            None => match route.refused_until {
                None => Self::held(),
                Some(until) => Self::None(Page::Failing { until }),
            },
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
                return Look::unserved(connection, route);
            }
            let ticket = fastrand::u64(..);
            let claim = match dead {
                None => route.targets.claim(ticket),
                Some(dead) => route.targets.claim_other(ticket, dead),
            };
            if let Some(claim) = claim {
                if let Some(visit) = visit {
                    visit.made_by(claim.target().generation);
                }
                return Look::Found((Arc::clone(route), claim));
            }
        }
        Look::held()
    })
    .await
}
