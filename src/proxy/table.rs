//! The route table: one immutable snapshot, replaced as a whole.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::sync::{Notify, watch};

use super::balance;
use super::book::Book;
use super::canary::Canary;
use super::intake::Intake;
use super::route_index::RouteIndex;
use super::tally::WorkerFigures;
use super::target::{Claim, Target};
use crate::config::settings::CompressionSettings;
use crate::http1::Field;
use crate::ids::{Generation, Md5, RoutePath, WorkerName};

/// Everything the data plane knows of the control plane's decisions, at one moment.
#[derive(Debug, Default)]
pub struct RouteTable {
    /// By worker's name.
    routes: Vec<Arc<Route>>,
    by_path: RouteIndex,
    unrouted: Unrouted,
}

/// What becomes of a request that no route of a table covers.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Unrouted {
    /// It waits for the next table: routes are not decided yet.
    #[default]
    Held,
    /// It is answered 503, with a page that tells the operator how to deploy.
    NothingDeployed,
    /// It is answered 404: the routes are all there are.
    NotFound,
}

/// A worker's place in the URL space, and what serves it.
#[derive(Debug)]
pub struct Route {
    /// Whose route it is.
    pub worker: WorkerName,
    /// Where it is mounted.
    pub path: RoutePath,
    /// Whether the mount point is taken off the path before it is sent on.
    pub strip_prefix: bool,
    /// How long the worker may keep a request waiting between two bytes, either way.
    pub timeouts: UpstreamTimeouts,
    /// Which of the worker's answers are compressed; `None` where none is.
    pub compression: Option<Arc<CompressionSettings>>,
    /// The generations that serve it; empty while none is ready, and then requests are held.
    pub targets: WeightedTargets,
    /// What comes to serve by degrees beside them.
    pub canary: Option<Canary>,
    /// While none is ready: why requests are refused rather than held.
    pub refused: Option<Refused>,
    /// While none is there because nobody has asked for it: what wakes it.
    pub asleep: Option<Arc<Notify>>,
    /// Where `/static/<worker>/…` is served from, nearest first: in development the worker's own
    /// tree, then the shared one. Empty when the worker has no public files.
    pub public: Vec<PublicTree>,
}

/// Why there is no use in holding a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// The worker fails again and again, and this is when it is tried next. Requests are refused until
    /// an attempt has got ready.
    Until(Instant),
    /// It is out of service.
    Drained,
}

/// Limits on one request to a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UpstreamTimeouts {
    /// For connecting, and then from the request's last byte to the head of the answer.
    pub response: Duration,
    /// Between two pieces of a body, either way. An idle limit: a stream that keeps flowing may
    /// last for ever.
    pub body_idle: Duration,
}

/// A folder of public files, opened when it was published, so that a rename cannot swap it.
#[derive(Debug, Clone)]
pub struct PublicTree {
    /// The open folder.
    pub root: Arc<File>,
    /// Its path, for messages only.
    pub path: PathBuf,
    /// The digest of the whole tree when it cannot change (a deployment); `None` in development.
    pub digest: Option<Md5>,
}

/// Trees are the same when they are the same folder with the same content.
impl PartialEq for PublicTree {
    fn eq(&self, other: &Self) -> bool {
        self.path == other.path && self.digest == other.digest
    }
}

/// Targets with weights: the instances of a generation.
#[derive(Debug, Clone, Default)]
pub struct WeightedTargets(Vec<(Arc<Target>, u32)>);

impl WeightedTargets {
    /// The set of the given targets; weights of 0 are dropped.
    pub fn new(targets: impl IntoIterator<Item = (Arc<Target>, u32)>) -> Self {
        Self(targets.into_iter().filter(|(_, weight)| *weight > 0).collect())
    }

    /// A set of one.
    pub fn single(target: Arc<Target>) -> Self {
        Self(vec![(target, 1)])
    }

    /// Whether nothing serves.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The lowest of the generations.
    pub fn oldest(&self) -> Option<Generation> {
        self.0.iter().map(|(target, _)| target.generation).min()
    }

    /// The targets and their weights.
    pub fn iter(&self) -> impl Iterator<Item = &(Arc<Target>, u32)> {
        self.0.iter()
    }

    /// How many targets there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Claims a target: the less busy of two that are drawn by weight, where `ticket` is any evenly
    /// spread number. `None` when there is none, when that has begun to drain (load the table again),
    /// or when it has enough to do.
    pub fn claim(&self, ticket: u64) -> Option<Claim> {
        match &*self.0 {
            [(target, _)] => target.claim(),
            _ => self.choose(ticket, None)?.claim(),
        }
    }

    /// The same, of those that are not `dead`, and in its turn where the request has waited for a
    /// place. Where the chosen one has none, any that has one will do.
    pub(super) fn claim_patiently(
        &self,
        ticket: u64,
        dead: Option<&Arc<Target>>,
        in_turn: bool,
    ) -> Option<Claim> {
        let claim = |target: &Arc<Target>| match in_turn {
            true => target.claim_in_turn(),
            false => target.claim(),
        };
        claim(self.choose(ticket, dead)?).or_else(|| self.but(dead).find_map(claim))
    }

    /// Where a request waits for a place; `None` if it need not.
    pub(super) fn intake_when_full(&self, dead: Option<&Arc<Target>>) -> Option<&Arc<Intake>> {
        self.but(dead).find_map(|target| target.intake_when_full())
    }

    fn but(&self, dead: Option<&Arc<Target>>) -> impl Iterator<Item = &Arc<Target>> {
        let is_dead =
            move |target: &&Arc<Target>| dead.is_some_and(|dead| Arc::ptr_eq(dead, target));
        self.0.iter().map(|(target, _)| target).filter(move |target| !is_dead(target))
    }

    fn choose(&self, ticket: u64, dead: Option<&Arc<Target>>) -> Option<&Arc<Target>> {
        let total: u64 = self.0.iter().map(|(_, weight)| u64::from(*weight)).sum();
        let at = |ticket: u64| {
            let mut point = (ticket & 0xFFF_FFFF).checked_rem(total)?;
            self.0.iter().position(|(_, weight)| match point.checked_sub(u64::from(*weight)) {
                Some(rest) => {
                    point = rest;
                    false
                }
                None => true,
            })
        };
        let (first, mut second) = (at(ticket)?, at(ticket >> 28)?);
        if first == second {
            second = (first + 1) % self.0.len();
        }
        let target = |index: usize| &self.0[index % self.0.len()].0;
        let is_dead = |target: &Arc<Target>| dead.is_some_and(|dead| Arc::ptr_eq(dead, target));
        let is_out = |target: &Arc<Target>| is_dead(target) || target.is_ejected();
        if !is_out(target(first)) && !is_out(target(second)) {
            let chance = (ticket >> 56) as u8;
            return Some(balance::better(target(first), target(second), chance));
        }
        // Where more than half are ejected, it is not they who are at fault.
        let ejected = self.0.iter().filter(|(target, _)| target.is_ejected()).count();
        let is_out = |target: &Arc<Target>| match ejected * 2 > self.0.len() {
            true => is_dead(target),
            false => is_out(target),
        };
        let from_first = (first..first + self.0.len()).map(target);
        let from_first = from_first.filter(|target| !is_dead(target));
        from_first.clone().find(|target| !is_out(target)).or_else(|| from_first.clone().next())
    }
}

impl Route {
    /// What a request with these header fields goes to.
    pub(super) fn targets_for(&self, fields: &[Field<'_>]) -> &WeightedTargets {
        match &self.canary {
            Some(canary) if canary.takes(fields, fastrand::u64(..)) => &canary.targets,
            _ => &self.targets,
        }
    }

    /// All that requests go to.
    pub fn all_targets(&self) -> impl Iterator<Item = &Arc<Target>> {
        let canary = self.canary.iter().flat_map(|canary| canary.targets.iter());
        self.targets.iter().chain(canary).map(|(target, _)| target)
    }
}

impl RouteTable {
    /// A table of the given routes.
    pub fn new(routes: impl IntoIterator<Item = Route>) -> Self {
        let mut routes: Vec<_> = routes.into_iter().map(Arc::new).collect();
        routes.sort_by(|a, b| a.worker.cmp(&b.worker));
        let by_path = RouteIndex::new(routes.iter().map(|route| &route.path));
        Self { routes, by_path, unrouted: Unrouted::NotFound }
    }

    /// The table of a server on which nothing was ever deployed.
    pub fn nothing_deployed() -> Self {
        Self { unrouted: Unrouted::NothingDeployed, ..Self::default() }
    }

    /// What becomes of a request that no route covers. [`Unrouted::Held`] in the default table.
    pub fn unrouted(&self) -> Unrouted {
        self.unrouted
    }

    /// The route for a request path: the longest that covers it by whole segments.
    pub fn lookup(&self, path: &str) -> Option<&Arc<Route>> {
        self.by_path.find(path).map(|at| &self.routes[at])
    }

    /// The route of a worker, for `/static/<worker>/…`.
    pub fn of_worker(&self, name: &str) -> Option<&Arc<Route>> {
        let found = self.routes.binary_search_by(|route| route.worker.as_str().cmp(name));
        found.ok().map(|at| &self.routes[at])
    }

    /// All routes, by worker's name.
    pub fn routes(&self) -> &[Arc<Route>] {
        &self.routes
    }
}

/// The one published table. Readers load it without waiting; the control plane replaces it.
#[derive(Debug)]
pub struct PublishedTable {
    current: ArcSwap<RouteTable>,
    version: watch::Sender<u64>,
    /// What the targets of this table, and of those before, have done.
    book: Book,
}

impl PublishedTable {
    /// An undecided table: every request is held.
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            current: ArcSwap::default(),
            version: watch::Sender::new(0),
            book: Book::default(),
        })
    }

    /// The table of this moment. Never blocks.
    pub fn load(&self) -> arc_swap::Guard<Arc<RouteTable>> {
        self.current.load()
    }

    /// Replaces the table, then wakes held requests.
    pub fn publish(&self, table: RouteTable) {
        self.book.note(&table);
        self.current.store(Arc::new(table));
        self.version.send_modify(|version| *version += 1);
    }

    /// What every worker has done since the process began; those that are in no route any more are
    /// forgotten. Not for the data plane: it takes a lock.
    pub fn figures(&self) -> BTreeMap<WorkerName, WorkerFigures> {
        self.book.read()
    }

    /// How many tables were published so far.
    pub fn version(&self) -> u64 {
        *self.version.borrow()
    }

    /// For held requests: subscribe, look at the table, then await the next publication.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::balance::BalanceSettings;
    use super::super::target::TargetSettings;
    use super::*;

    /// So many instances, which one failure ejects.
    fn instances(count: u16) -> WeightedTargets {
        let balance = BalanceSettings {
            eject_after: 1,
            eject_for: Duration::from_secs(60),
            ..BalanceSettings::default()
        };
        let settings = TargetSettings { balance, ..TargetSettings::default() };
        WeightedTargets::new((0..count).map(|number| {
            let addr = ([127, 0, 0, 1], 9000 + number).into();
            (
                Target::with_settings(
                    "app".parse().unwrap(),
                    Generation(1),
                    addr,
                    settings.clone(),
                ),
                1,
            )
        }))
    }

    #[test]
    fn the_less_busy_of_two_is_claimed() {
        let targets = instances(4);
        let mut random = fastrand::Rng::with_seed(1);
        let claims: Vec<_> = (0..400).map(|_| targets.claim(random.u64(..)).unwrap()).collect();
        let busy: Vec<_> = targets.iter().map(|(target, _)| target.in_flight()).collect();
        assert_eq!(busy.iter().sum::<u64>(), 400);
        // By chance alone they would differ by a score and more.
        assert!(busy.iter().all(|count| count.abs_diff(100) <= 3), "{busy:?}");
        drop(claims);
    }

    #[test]
    fn what_is_ejected_or_dead_is_passed_over() {
        let targets = instances(3);
        let [first, second, _] = &*targets.0 else { unreachable!() };
        first.0.standing().failed();
        let mut random = fastrand::Rng::with_seed(1);
        for _ in 0..200 {
            let claim = targets.claim(random.u64(..)).unwrap();
            assert!(!Arc::ptr_eq(claim.target(), &first.0));
            let other = targets.claim_patiently(random.u64(..), Some(&second.0), false).unwrap();
            assert!(Arc::ptr_eq(other.target(), &targets.0[2].0));
        }
    }

    #[test]
    fn when_most_are_ejected_all_are_asked() {
        let targets = instances(3);
        targets.0[..2].iter().for_each(|(target, _)| _ = target.standing().failed());
        let mut random = fastrand::Rng::with_seed(1);
        let seen: std::collections::BTreeSet<_> =
            (0..200).map(|_| targets.claim(random.u64(..)).unwrap().target().addr).collect();
        assert_eq!(seen.len(), 3);
    }

    #[test]
    fn there_is_no_other_than_the_only_one() {
        let targets = instances(1);
        assert!(targets.claim_patiently(7, Some(&targets.0[0].0), false).is_none());
    }
}
