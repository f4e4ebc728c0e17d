//! Live reload, in development only: what browsers show follows what is saved.
//!
//! An HTML document gets a script (`document`), which holds a WebSocket (`endpoints`,
//! `socket`) by which it hears how things stand: state, not events, so that a tab that was away
//! misses nothing. The script, `live.js`, compares that with what its page was made of.

mod document;
mod endpoints;
mod problems;
mod socket;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;
use tokio::sync::watch;

pub(crate) use self::document::Visit;
pub(crate) use self::endpoints::answer;
pub(crate) use self::problems::Standing;
pub use self::problems::{Build, Place, Problems};
pub(crate) use self::socket::LiveSocket;
use super::table::PublishedTable;
use crate::config::settings::LiveReloadSettings;
use crate::ids::WorkerName;

/// The most style sheets whose revisions are kept. Beyond it they are all forgotten, and every page
/// loads again instead.
const MAX_STYLES: usize = 512;

/// The most WebSockets at once.
const MAX_SOCKETS: usize = 256;

/// What pages are told of: shared by whoever knows of changes and the threads of the data plane.
///
/// Each change has a revision, one more than that before it. The first is the time of the start in
/// milliseconds since the epoch, so that revisions rise from process to process.
#[derive(Debug)]
pub struct Live {
    table: Arc<PublishedTable>,
    settings: LiveReloadSettings,
    state: Mutex<State>,
    /// The latest revision. Told after the change is in `state`.
    revision: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    /// Pages from before this revision are old, whatever they show: before the start nobody looked.
    since: u64,
    pages: BTreeMap<WorkerName, u64>,
    /// By URL path.
    styles: BTreeMap<String, u64>,
    /// Those there is something to tell of, and since when.
    builds: BTreeMap<WorkerName, (Standing, u64)>,
    /// Connected tabs by the worker whose page they show; `None` is a page of no worker's.
    tabs: HashMap<Option<WorkerName>, usize>,
}

impl Live {
    /// Nothing has changed so far. Pages hear of generations when `table` is published.
    pub fn new(table: Arc<PublishedTable>, settings: LiveReloadSettings) -> Arc<Self> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let since = u64::try_from(now.as_millis()).unwrap_or(u64::MAX / 2);
        let state = State { since, ..State::default() };
        let revision = watch::Sender::new(since);
        Arc::new(Self { table, settings, state: Mutex::new(state), revision })
    }

    /// Templates or public files of `worker`, other than style sheets, have changed: its pages load
    /// again. Call it when the next request would be answered from the new files.
    pub fn pages_changed(&self, worker: &WorkerName) {
        self.change(|state, revision| {
            state.pages.insert(worker.clone(), revision);
        });
    }

    /// Style sheets have changed, named by the paths of their URLs, percent-encoded as these are:
    /// `/static/index/css/styles.css`.
    /// Pages that use one get it anew, and go on.
    pub fn styles_changed(&self, urls: impl IntoIterator<Item = String>) {
        self.change(|state, revision| {
            state.styles.extend(urls.into_iter().map(|url| (url, revision)));
            if state.styles.len() > MAX_STYLES {
                state.styles.clear();
                state.since = revision;
            }
        });
    }

    /// How the build of `worker` stands, until this is called again. While it has failed and nothing
    /// of the worker serves, requests are answered at once with what is wrong.
    pub fn set_build(&self, worker: &WorkerName, build: Build) {
        let standing = Standing::of(build);
        if self.build(worker) == standing {
            return;
        }
        self.change(|state, revision| match standing {
            Some(standing) => drop(state.builds.insert(worker.clone(), (standing, revision))),
            None => drop(state.builds.remove(worker)),
        });
    }

    /// How many connected tabs show a page of `worker`.
    pub fn tabs(&self, worker: &WorkerName) -> usize {
        self.state().tabs.get(&Some(worker.clone())).copied().unwrap_or(0)
    }

    /// How the build of `worker` stands, if there is something to tell.
    pub(crate) fn build(&self, worker: &WorkerName) -> Option<Standing> {
        self.state().builds.get(worker).map(|(standing, _)| standing.clone())
    }

    /// For whoever waits for a change.
    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.revision.subscribe()
    }

    /// The revision of the latest change.
    fn revision(&self) -> u64 {
        *self.revision.borrow()
    }

    /// All that a page of `worker`, or of nobody's, is to know, as JSON.
    fn state_for(&self, worker: Option<&WorkerName>) -> String {
        let generation = self.generation_of(worker);
        let (pages, styles, build) = {
            let state = self.state();
            let pages = worker.and_then(|worker| state.pages.get(worker)).copied();
            let build = worker.and_then(|worker| state.builds.get(worker)).cloned();
            (pages.unwrap_or(0).max(state.since), state.styles.clone(), build)
        };
        json!({
            "generation": generation,
            "pages": pages,
            "styles": styles,
            "build": build.as_ref().map(|(standing, _)| standing.to_json(&self.settings.editor)),
            "build_revision": build.as_ref().map_or(0, |(_, revision)| *revision),
        })
        .to_string()
    }

    /// The generation of `worker` that serves; of several the oldest, as each may have made a page.
    /// 0 while none does. For pages of no worker's, which are about what there is no route for, it is
    /// the number of the table.
    fn generation_of(&self, worker: Option<&WorkerName>) -> u64 {
        let Some(worker) = worker else { return self.table.version() };
        let table = self.table.load();
        let route = table.of_worker(worker.as_str());
        route.and_then(|route| route.targets.oldest()).unwrap_or_default().0
    }

    fn change(&self, change: impl FnOnce(&mut State, u64)) {
        let mut state = self.state();
        let revision = self.revision() + 1;
        change(&mut state, revision);
        // Still locked, so that revisions are told in order.
        self.revision.send_replace(revision);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a tab until the place is dropped, if there are not too many.
    fn enter(self: &Arc<Self>, worker: Option<WorkerName>) -> Option<Tab> {
        let mut state = self.state();
        if state.tabs.values().sum::<usize>() >= MAX_SOCKETS {
            return None;
        }
        *state.tabs.entry(worker.clone()).or_default() += 1;
        Some(Tab { live: Arc::clone(self), worker })
    }
}

/// A connected tab, counted until dropped.
#[derive(Debug)]
struct Tab {
    live: Arc<Live>,
    worker: Option<WorkerName>,
}

impl Tab {
    /// See [`Live::state_for`].
    fn state(&self) -> String {
        self.live.state_for(self.worker.as_ref())
    }
}

impl Drop for Tab {
    fn drop(&mut self) {
        let mut state = self.live.state();
        if let Some(count) = state.tabs.get_mut(&self.worker) {
            *count -= 1;
            if *count == 0 {
                state.tabs.remove(&self.worker);
            }
        }
    }
}
