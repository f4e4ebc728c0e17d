//! The route table: one immutable snapshot, replaced as a whole.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::book::Book;
use super::tally::WorkerFigures;
use super::target::{Claim, Target};
use crate::ids::{Generation, Md5, RoutePath, WorkerName};

/// Everything the data plane knows of the control plane's decisions, at one moment.
#[derive(Debug, Default)]
pub struct RouteTable {
    /// Longest path first, so that the first match is the right one.
    routes: Vec<Arc<Route>>,
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
    /// The generations that serve it; empty while none is ready, and then requests are held.
    pub targets: WeightedTargets,
    /// Where `/static/<worker>/…` is served from, nearest first: in development the worker's own
    /// tree, then the shared one. Empty when the worker has no public files.
    pub public: Vec<PublicTree>,
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

/// Targets with weights. One of weight 1 today; instances and canaries later.
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

    /// Claims a target, each as likely as its weight, where `ticket` is any evenly spread number.
    /// `None` when there is none, or when the one drawn has begun to drain: load the table again.
    pub fn claim(&self, ticket: u32) -> Option<Claim> {
        if let [(target, _)] = &*self.0 {
            return target.claim();
        }
        let total: u64 = self.0.iter().map(|(_, weight)| u64::from(*weight)).sum();
        let mut point = u64::from(ticket).checked_rem(total)?;
        for (target, weight) in &self.0 {
            match point.checked_sub(u64::from(*weight)) {
                Some(rest) => point = rest,
                None => return target.claim(),
            }
        }
        None
    }
}

impl RouteTable {
    /// A table of the given routes, sorted for matching.
    pub fn new(routes: impl IntoIterator<Item = Route>) -> Self {
        let mut routes: Vec<_> = routes.into_iter().map(Arc::new).collect();
        // Longest first; a root route's "/" is shorter than any other.
        routes.sort_by_key(|route| std::cmp::Reverse(route.path.as_str().len()));
        Self { routes, unrouted: Unrouted::NotFound }
    }

    /// The table of a server on which nothing was ever deployed.
    pub fn nothing_deployed() -> Self {
        Self { routes: Vec::new(), unrouted: Unrouted::NothingDeployed }
    }

    /// What becomes of a request that no route covers. [`Unrouted::Held`] in the default table.
    pub fn unrouted(&self) -> Unrouted {
        self.unrouted
    }

    /// The route for a request path: the longest that covers it by whole segments.
    pub fn lookup(&self, path: &str) -> Option<&Arc<Route>> {
        self.routes.iter().find(|route| route.path.covers(path))
    }

    /// The route of a worker, for `/static/<worker>/…`.
    pub fn of_worker(&self, name: &str) -> Option<&Arc<Route>> {
        self.routes.iter().find(|route| route.worker.as_str() == name)
    }

    /// All routes, longest path first.
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
