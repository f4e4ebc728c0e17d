//! From noticed files to what is done about them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use tokio::time::Instant;

use super::super::meaning::{Meaning, Places, Resources};
use super::{Beside, Session, millis};
use crate::admin::events::EventKind;
use crate::build::Concern;
use crate::ids::WorkerName;
use crate::rollout::actor::RolloutHandle;
use crate::watch::contents::Different;
use crate::watch::tree::Changes;

impl Session {
    /// Looks, beside us, at what of the files noticed so far has another content than before.
    pub(super) fn peek(&mut self, paths: BTreeSet<PathBuf>) {
        let Some(contents) = self.contents.take() else { return };
        self.beside.spawn_blocking(move || {
            let different = contents.peek(&paths);
            Beside::Peeked(contents, different)
        });
    }

    /// Looks, beside us, at what of the noticed files has another content than before.
    pub(super) fn compare(&mut self, changes: Changes) {
        let Some(mut contents) = self.contents.take() else { return };
        self.beside.spawn_blocking(move || {
            let mut changed = contents.compare(&changes.paths);
            if changes.rescan {
                changed.extend(contents.compare_all());
            }
            Beside::Compared(contents, changed, changes)
        });
    }

    /// Acts on files that have another content than before.
    pub(super) async fn changed(
        &mut self,
        different: &Different,
        changes: Changes,
        rollout: &RolloutHandle,
    ) {
        if different.is_empty() {
            self.give_up_ahead();
            let paths: Vec<_> = changes.paths.iter().map(|path| self.shown(path)).collect();
            if !paths.is_empty() {
                self.feed.publish(EventKind::Unchanged { paths });
            }
            return;
        }
        let meaning = self.meaning(different);
        self.tell(&meaning);
        let begun = self.row_is_over(&meaning, different, changes.last);
        if meaning.reads_anew() {
            self.read_anew(changes.last).await;
        }
        if meaning.reads_anew() || !meaning.resources.is_empty() {
            // A folder of public files may have come or gone, and templates may call for a new
            // generation.
            self.reload(rollout, meaning.has_configuration());
        }
        for (worker, resources) in meaning.resources {
            self.resources_changed(worker, &resources, changes.last);
        }
        let others = meaning.sources.into_keys().filter(|worker| !begun.contains(worker));
        self.want(others, Some(changes.last));
    }

    pub(super) fn meaning(&self, different: &Different) -> Meaning {
        let places = Places {
            configuration: [&self.sources.server_yaml, &self.sources.deployment_yaml],
            workers_dir: &self.settings.discovery.workers_dir,
        };
        places.meaning(different.keys().cloned().collect(), |path| match &self.tree {
            Some(tree) => tree.concern(path),
            // Whatever has changed may have mended it.
            None => Concern::Structure,
        })
    }

    /// Says which files changed, as far as something is done about it.
    fn tell(&self, meaning: &Meaning) {
        let mut by_files: BTreeMap<&BTreeSet<PathBuf>, Vec<&WorkerName>> = BTreeMap::new();
        for (worker, files) in &meaning.sources {
            by_files.entry(files).or_default().push(worker);
        }
        for (files, workers) in by_files {
            // Sources that several workers are made from are nobody's own.
            let worker = match workers.as_slice() {
                [worker] => Some((*worker).clone()),
                _ => None,
            };
            self.publish_changed(worker, files);
        }
        for files in [&meaning.configuration, &meaning.structure] {
            if !files.is_empty() {
                self.publish_changed(None, files);
            }
        }
        if !meaning.others.is_empty() {
            self.publish_changed(None, &meaning.others);
            let text = "tqserver itself is made from that: end the session and begin it anew to \
                        use it";
            self.feed.publish(EventKind::Notice { text: text.to_owned() });
        }
    }

    fn publish_changed(&self, worker: Option<WorkerName>, files: &BTreeSet<PathBuf>) {
        let paths = files.iter().map(|path| self.shown(path)).collect();
        self.feed.publish(EventKind::Changed { worker, paths, more: 0 });
    }

    pub(super) fn resources_changed(
        &self,
        worker: Option<WorkerName>,
        resources: &Resources,
        written: Instant,
    ) {
        let owner = worker.as_ref().map_or("shared", |worker| worker.as_str());
        let folder = self.settings.discovery.workers_dir.join(owner);
        let paths = |kind: &str, files: &BTreeSet<PathBuf>| {
            let folder = folder.join(kind);
            files.iter().map(|file| self.shown(&folder.join(file))).collect::<Vec<_>>()
        };
        let paths =
            [paths("private", &resources.private), paths("public", &resources.public)].concat();
        let all = self.tree.iter().flat_map(|tree| tree.workers());
        let concerned = all.filter(|name| worker.as_ref().is_none_or(|worker| worker == *name));
        let prefix = self.settings.static_files.url_prefix.as_str();
        let tabs = self.browsers.resources_changed(concerned, resources, prefix);
        self.feed.publish(EventKind::Reloaded {
            worker,
            paths,
            style: resources.only_styles(),
            tabs,
            ms: millis(written.elapsed()),
        });
    }
}
