//! How a session begins.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::{JoinSet, spawn_blocking};

use super::super::announce::Announcer;
use super::super::browsers::Browsers;
use super::super::queue::Queue;
use super::super::selection::Selected;
use super::ahead::Wishes;
use super::reading::{Reading, read_tree};
use super::{Beside, Parts, Session};
use crate::admin::events::{EventKind, ProjectWorker};
use crate::build::dev::SourceTree;
use crate::ids::WorkerName;
use crate::rollout::load::HeldBack;
use crate::watch::contents::Contents;
use crate::watch::tree::TreeWatch;

impl Session {
    /// Finds out what there is to build, and what of it is older than its sources: until that is
    /// built, the loader starts none of it ([`Session::held_back`]). `None` where nothing is to be
    /// watched.
    pub async fn open(parts: Parts) -> Option<Self> {
        let Parts { sources, settings, feed, live, rebuild } = parts;
        let watch_settings = settings.watch.clone()?;
        let read = {
            let (sources, settings) = (sources.clone(), settings.clone());
            spawn_blocking(move || {
                let tree = read_tree(&sources, &settings);
                let found = tree.as_ref().ok().map(Arc::clone);
                let selected = Selected::new(&sources, &settings, &watch_settings, found);
                // Watched before anything is compared: what is written from now on is noticed.
                let selection = Arc::clone(&selected) as _;
                let watch = TreeWatch::new(&sources.root, selection, watch_settings.debounce);
                let read = tree.and_then(Reading::of);
                (read, selected, watch, watch_settings)
            })
        };
        let (read, selected, watch, watch_settings) =
            read.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
        let mut beside = JoinSet::new();
        let root = sources.root.clone();
        beside.spawn_blocking(move || Beside::Contents(Contents::read(&root, selected)));

        let mut session = Self {
            queue: Queue::new(settings.build.parallel_builds),
            sources,
            settings,
            watch_settings,
            feed,
            rebuild,
            held_back: Arc::default(),
            tree: None,
            watch,
            contents: None,
            outdated: BTreeMap::new(),
            written: BTreeMap::new(),
            announcer: Announcer::default(),
            browsers: Browsers::new(live),
            wishes: Wishes::new(),
            ahead: BTreeMap::new(),
            ended: mpsc::unbounded_channel(),
            beside,
        };
        match read {
            Ok(Reading { tree, stale }) => {
                session.tree = Some(tree);
                session.introduce();
                session.held_back.store(Arc::new(stale.iter().cloned().collect()));
                session.want(stale, None);
            }
            Err(error) => {
                session.introduce();
                session.unreadable(error);
            }
        }
        Some(session)
    }

    /// The workers that are being built for the first time, see [`HeldBack`].
    pub fn held_back(&self) -> Arc<HeldBack> {
        Arc::clone(&self.held_back)
    }

    /// Says what there is.
    fn introduce(&self) {
        let about = |tree: &SourceTree, name: &WorkerName| {
            let (route, language) = tree.about(name)?;
            let (route, language) = (route.clone(), language.to_owned());
            Some(ProjectWorker { name: name.clone(), route, language })
        };
        let workers = self.tree.iter().flat_map(|tree| {
            tree.workers().filter_map(|name| about(tree, name)).collect::<Vec<_>>()
        });
        self.feed.publish(EventKind::Watching {
            workers: workers.collect(),
            directories: self.watch.folders(),
            polling: self.watch.polling().map(str::to_owned),
        });
        for skipped in self.tree.iter().flat_map(|tree| tree.skipped()) {
            self.feed.publish(EventKind::Skipped {
                folder: self.shown(&skipped.folder),
                reason: skipped.reason.clone(),
            });
        }
    }
}
