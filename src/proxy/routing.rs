//! From a path to a claimed target, by whatever table is published.

use std::sync::Arc;

use http::StatusCode;

use super::connection::Connection;
use super::error_page::Page;
use super::hold::Hold;
use super::intake::{Crowded, Intake, Queued};
use super::live::{Standing, Visit};
use super::path::RequestPath;
use super::service::Refusal;
use super::table::{Refused, Route, RouteTable, Unrouted, WeightedTargets};
use super::target::{Claim, Target};
use crate::http1::RequestHead;

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
            None => match route.refused {
                None => {
                    if let Some(asleep) = &route.asleep {
                        asleep.notify_one();
                    }
                    Self::held()
                }
                Some(Refused::Until(until)) => Self::None(Page::Failing { until }),
                Some(Refused::Drained) => Self::None(Page::Drained),
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

/// Claims a target for a request with this head and path, other than the `dead` one. Where all have enough to do, the request
/// waits for one that has done with another.
///
/// Invariant (claim or retry): a refused claim means that a newer table was published, so look
/// again. The count keeps a table that breaks this rule from spinning: it is waited for.
pub(crate) async fn claim_target(
    connection: &Connection,
    hold: &mut Hold<'_>,
    request: (&RequestHead<'_, '_>, &RequestPath<'_>),
    visit: Option<&Visit>,
    dead: Option<&Arc<Target>>,
) -> Result<(Arc<Route>, Claim), Refusal> {
    let mut publications = connection.core.table.subscribe();
    let mut queued: Option<Queued> = None;
    loop {
        let in_turn = queued.is_some();
        let found =
            find(connection, hold, |_| try_claim(connection, request, visit, dead, in_turn))
                .await?;
        let intake = match found {
            Claimed::Target(route, claim) => {
                hold.is_over();
                return Ok((route, claim));
            }
            Claimed::Full(intake) => intake,
        };
        let crowded = |_: Crowded| {
            connection.core.counters.shed.add(1);
            Refusal::with(Page::Crowded)
        };
        let is_new = !queued.as_ref().is_some_and(|place| place.is_at(&intake));
        if is_new {
            queued = Some(intake.queue().map_err(crowded)?);
        }
        if let Some(place) = &queued {
            // A place may have been given up before anybody was known to wait.
            if is_new && place.is_first() {
                continue;
            }
            tokio::select! {
                turn = place.turn() => turn.map_err(crowded)?,
                // There may be more instances, or other limits.
                _ = publications.changed() => {}
            }
        }
    }
}

/// What came of trying to claim a target.
enum Claimed {
    Target(Arc<Route>, Claim),
    /// All have enough to do.
    Full(Arc<Intake>),
}

fn try_claim(
    connection: &Connection,
    (head, path): (&RequestHead<'_, '_>, &RequestPath<'_>),
    visit: Option<&Visit>,
    dead: Option<&Arc<Target>>,
    in_turn: bool,
) -> Look<Claimed> {
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
        let claim = |targets: &WeightedTargets| targets.claim_patiently(ticket, dead, in_turn);
        // Where the canary has no place, or is dead, what serves does.
        let claim = claim(route.targets_for(head.fields)).or_else(|| claim(&route.targets));
        if let Some(claim) = claim {
            if let Some(visit) = visit {
                visit.made_by(claim.target().generation);
            }
            return Look::Found(Claimed::Target(Arc::clone(route), claim));
        }
        if let Some(intake) = route.targets.intake_when_full(dead) {
            return Look::Found(Claimed::Full(Arc::clone(intake)));
        }
    }
    Look::held()
}
