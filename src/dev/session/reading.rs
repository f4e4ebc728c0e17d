//! What there is to build, read from the project's manifests and sources.

use std::sync::Arc;

use tokio::task::spawn_blocking;
use tokio::time::Instant;

use super::super::selection::Selected;
use super::{Beside, Session};
use crate::admin::events::EventKind;
use crate::build::Project;
use crate::build::dev::SourceTree;
use crate::config::settings::Settings;
use crate::config::{self, Sources};
use crate::ids::WorkerName;

/// A project as it was found.
pub(super) struct Reading {
    pub(super) tree: Arc<SourceTree>,
    /// Workers that are older than their sources.
    pub(super) stale: Vec<WorkerName>,
}

impl Reading {
    /// Compares programs with their sources. Blocks.
    pub(super) fn of(tree: Arc<SourceTree>) -> Result<Self, String> {
        let stale = tree.stale().map_err(|error| error.to_string())?;
        Ok(Self { tree, stale })
    }
}

/// The project's programs, or why they cannot be told. Blocks.
pub(super) fn read_tree(sources: &Sources, settings: &Settings) -> Result<Arc<SourceTree>, String> {
    let project = Project::new(&sources.root, settings, false);
    let project = project.map_err(|error| error.to_string())?;
    let project = Project { progress: false, ..project };
    SourceTree::read(project).map(Arc::new).map_err(|error| error.to_string())
}

impl Session {
    /// Reads configuration and manifests again, and builds what is stale by them.
    pub(super) async fn read_anew(&mut self, written: Instant) {
        let (sources, before) = (self.sources.clone(), self.settings.clone());
        let read = spawn_blocking(move || {
            // One that is refused is told of by the rollout's own reading of it.
            let settings = config::load(&sources).map_or(before, |loaded| loaded.settings);
            let read = read_tree(&sources, &settings).and_then(Reading::of);
            (settings, read)
        });
        let (settings, read) =
            read.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
        self.settings = settings;
        self.queue.set_parallel(self.settings.build.parallel_builds);
        if let Some(watch) = &self.settings.watch {
            self.watch_settings = watch.clone();
        }
        match read {
            Ok(Reading { tree, stale }) => {
                self.tree = Some(tree);
                self.browsers.readable();
                self.select();
                self.want(stale, Some(written));
            }
            Err(error) => self.unreadable(error),
        }
    }

    /// The project's manifests cannot be read: until they can, nothing of it is built.
    pub(super) fn unreadable(&mut self, log: String) {
        let workers: Vec<_> = self.tree.iter().flat_map(|tree| tree.workers()).cloned().collect();
        self.browsers.unreadable(&workers, &log);
        let serving = workers.first().and_then(|worker| self.announcer.serving(worker));
        let seconds = 0.0;
        self.feed.publish(EventKind::BuildFailed { workers, seconds, serving, place: None, log });
    }

    /// Watches what the settings and the project say now.
    fn select(&mut self) {
        let tree = self.tree.clone();
        let selected = Selected::new(&self.sources, &self.settings, &self.watch_settings, tree);
        self.watch.select(Arc::clone(&selected) as _, self.watch_settings.debounce);
        if let Some(mut contents) = self.contents.take() {
            self.beside.spawn_blocking(move || {
                contents.select(selected);
                Beside::Contents(contents)
            });
        }
    }
}
