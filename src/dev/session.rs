//! The loop of a development session.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::Instant;

use super::announce::{Announcer, Cycle, NowServing};
use super::browsers::Browsers;
use super::job::{Done, Job};
use super::meaning::{Meaning, Places, Resources};
use super::queue::Queue;
use super::selection::Selected;
use crate::admin::events::{EventKind, ProjectWorker};
use crate::admin::feed::Feed;
use crate::build::dev::{Outcome, SourceTree, Together};
use crate::build::{Concern, Project};
use crate::config::settings::{Settings, WatchSettings};
use crate::config::{self, Sources};
use crate::ids::WorkerName;
use crate::proxy::Live;
use crate::rollout::actor::RolloutHandle;
use crate::rollout::load::HeldBack;
use crate::rollout::report::{Report, ReportResult};
use crate::rollout::status::Snapshot;
use crate::watch::contents::Contents;
use crate::watch::tree::{Changes, TreeWatch};

/// What a session is made with.
pub struct Parts {
    /// Where the configuration is.
    pub sources: Sources,
    /// What it says.
    pub settings: Settings,
    /// Where it is told what happens.
    pub feed: Feed,
    /// The browsers to be told, unless pages are left as they are.
    pub live: Option<Arc<Live>>,
    /// Asks for everything to be built anew.
    pub rebuild: mpsc::Receiver<()>,
}

/// Watches, builds, and has the rollout serve what was built.
pub struct Session {
    sources: Sources,
    settings: Settings,
    watch_settings: WatchSettings,
    feed: Feed,
    rebuild: mpsc::Receiver<()>,
    held_back: Arc<HeldBack>,
    /// `None` while the project's manifests cannot be read.
    tree: Option<Arc<SourceTree>>,
    watch: TreeWatch,
    /// `None` while it is read beside us.
    contents: Option<Contents>,
    queue: Queue<Together, WorkerName>,
    /// Of each build that runs, whether its sources have changed since it began.
    outdated: BTreeMap<Together, Arc<AtomicBool>>,
    /// When the sources were written that each worker waits to be built for.
    written: BTreeMap<WorkerName, Instant>,
    announcer: Announcer,
    browsers: Browsers,
    done: (mpsc::UnboundedSender<Done>, mpsc::UnboundedReceiver<Done>),
    beside: JoinSet<Beside>,
}

/// What comes back from beside the session.
enum Beside {
    Contents(Contents),
    /// What has changed of what was noticed, and when that was written.
    Compared(Contents, BTreeSet<PathBuf>, Changes),
    Job,
    /// What a reload came to, and whether configuration had changed before it.
    Reloaded(Report, bool),
}

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
                // Watched first: what is written from now on is noticed.
                let watch = TreeWatch::new(
                    &sources.root,
                    Arc::clone(&selected) as _,
                    watch_settings.debounce,
                );
                let stale = tree.as_ref().map(|tree| tree.stale());
                let stale = match stale {
                    Ok(stale) => stale.map_err(|error| error.to_string()),
                    Err(error) => Err(error.clone()),
                };
                (tree, stale, selected, watch, watch_settings)
            })
        };
        let (tree, stale, selected, watch, watch_settings) =
            read.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
        let mut beside = JoinSet::new();
        let root = sources.root.clone();
        beside.spawn_blocking(move || Beside::Contents(Contents::read(&root, selected)));

        let tree = tree.ok();
        let mut session = Self {
            queue: Queue::new(settings.build.parallel_builds),
            sources,
            settings,
            watch_settings,
            feed,
            rebuild,
            held_back: Arc::default(),
            tree,
            watch,
            contents: None,
            outdated: BTreeMap::new(),
            written: BTreeMap::new(),
            announcer: Announcer::default(),
            browsers: Browsers::new(live),
            done: mpsc::unbounded_channel(),
            beside,
        };
        session.introduce();
        match stale {
            Ok(stale) => {
                session.held_back.store(Arc::new(stale.iter().cloned().collect()));
                session.want(stale, None);
            }
            Err(error) => session.unreadable(error),
        }
        Some(session)
    }

    /// The workers that are being built for the first time, see [`HeldBack`].
    pub fn held_back(&self) -> Arc<HeldBack> {
        Arc::clone(&self.held_back)
    }

    /// Follows changes for as long as the daemon runs.
    pub async fn run(mut self, rollout: RolloutHandle) {
        let mut snapshots = rollout.snapshots();
        self.look(&mut snapshots);
        loop {
            self.build();
            tokio::select! {
                changes = self.watch.changed(), if self.contents.is_some() => {
                    self.compare(changes);
                }
                Some(done) = self.done.1.recv() => self.built(done, &rollout),
                Some(back) = self.beside.join_next() => {
                    let back = back.unwrap_or_else(|e| std::panic::resume_unwind(e.into_panic()));
                    self.back(back, &rollout).await;
                }
                Ok(()) = snapshots.changed() => self.look(&mut snapshots),
                Some(()) = self.rebuild.recv() => self.rebuild_all(&rollout).await,
            }
        }
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

    /// The project's manifests cannot be read: nothing can be built until they can.
    fn unreadable(&self, error: String) {
        self.feed.publish(EventKind::BuildFailed {
            workers: Vec::new(),
            seconds: 0.0,
            serving: None,
            place: None,
            log: error,
        });
    }

    /// Looks, beside us, at what of the noticed files has another content than before.
    fn compare(&mut self, changes: Changes) {
        let Some(mut contents) = self.contents.take() else { return };
        self.beside.spawn_blocking(move || {
            let mut changed = contents.compare(&changes.paths);
            if changes.rescan {
                changed.extend(contents.compare_all());
            }
            Beside::Compared(contents, changed, changes)
        });
    }

    async fn back(&mut self, back: Beside, rollout: &RolloutHandle) {
        match back {
            Beside::Contents(contents) => self.contents = Some(contents),
            Beside::Compared(contents, changed, changes) => {
                self.contents = Some(contents);
                self.changed(changed, changes, rollout).await;
            }
            Beside::Job => {}
            Beside::Reloaded(report, configured) => {
                let refused =
                    report.reason.clone().filter(|_| report.result == ReportResult::Refused);
                if configured || refused.is_some() {
                    self.feed.publish(EventKind::Configuration { refused });
                }
                self.not_serving(&report);
            }
        }
    }

    /// Tells of workers whose new generation does not come to serve.
    fn not_serving(&mut self, report: &Report) {
        if report.result != ReportResult::Failed {
            return;
        }
        let (reason, details) = (report.reason.clone().unwrap_or_default(), &report.details);
        for worker in &report.failed {
            self.browsers.not_started(worker, &reason, details);
            self.feed.publish(EventKind::NotServing {
                worker: worker.clone(),
                reason: reason.clone(),
                details: details.clone(),
                serving: self.announcer.serving(worker),
            });
        }
    }

    /// Acts on files that have another content than before.
    async fn changed(
        &mut self,
        changed: BTreeSet<PathBuf>,
        changes: Changes,
        rollout: &RolloutHandle,
    ) {
        if changed.is_empty() {
            let paths: Vec<_> = changes.paths.iter().map(|path| self.shown(path)).collect();
            if !paths.is_empty() {
                self.feed.publish(EventKind::Unchanged { paths });
            }
            return;
        }
        let meaning = self.meaning(changed);
        let read_anew = !meaning.configuration.is_empty() || !meaning.structure.is_empty();
        self.tell(&meaning);
        if read_anew {
            self.read_anew(changes.last).await;
        }
        if read_anew || !meaning.resources.is_empty() {
            // A folder of public files may have come or gone, and templates may call for a new
            // generation.
            self.reload(rollout, meaning.has_configuration());
        }
        for (worker, resources) in meaning.resources {
            self.resources_changed(worker, &resources, changes.last);
        }
        for (worker, _) in meaning.sources {
            self.want([worker], Some(changes.last));
        }
    }

    fn meaning(&self, changed: BTreeSet<PathBuf>) -> Meaning {
        let places = Places {
            configuration: [&self.sources.server_yaml, &self.sources.deployment_yaml],
            workers_dir: &self.settings.discovery.workers_dir,
        };
        places.meaning(changed, |path| match &self.tree {
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

    /// Reads configuration and manifests again, and builds what is stale by them.
    async fn read_anew(&mut self, written: Instant) {
        let (sources, before) = (self.sources.clone(), self.settings.clone());
        let read = spawn_blocking(move || {
            // One that is refused is told of by the rollout's own reading of it.
            let settings = config::load(&sources).map_or(before, |loaded| loaded.settings);
            let tree = read_tree(&sources, &settings);
            let stale = match &tree {
                Ok(tree) => tree.stale().map_err(|error| error.to_string()),
                Err(error) => Err(error.clone()),
            };
            (settings, tree, stale)
        });
        let (settings, tree, stale) =
            read.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
        self.settings = settings;
        self.queue.set_parallel(self.settings.build.parallel_builds);
        if let Some(watch) = &self.settings.watch {
            self.watch_settings = watch.clone();
        }
        match stale {
            Ok(stale) => {
                self.tree = tree.ok();
                self.select();
                self.want(stale, Some(written));
            }
            Err(error) => self.unreadable(error),
        }
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

    async fn rebuild_all(&mut self, rollout: &RolloutHandle) {
        let text = "building everything anew".to_owned();
        self.feed.publish(EventKind::Notice { text });
        let now = Instant::now();
        self.read_anew(now).await;
        let all: Vec<_> = self.tree.iter().flat_map(|tree| tree.workers()).cloned().collect();
        self.want(all, Some(now));
        self.reload(rollout, false);
    }

    /// Has workers built.
    fn want(&mut self, workers: impl IntoIterator<Item = WorkerName>, written: Option<Instant>) {
        let Some(tree) = self.tree.clone() else { return };
        for worker in workers {
            let Some(group) = tree.together(&worker) else { continue };
            if let Some(outdated) = self.outdated.get(&group) {
                outdated.store(true, Ordering::Release);
            }
            if let Some(written) = written {
                self.written.insert(worker.clone(), written);
            }
            self.queue.want(group, worker);
        }
    }

    /// Begins the builds that can begin.
    fn build(&mut self) {
        let Some(tree) = self.tree.clone() else { return };
        while let Some((group, workers)) = self.queue.next() {
            self.feed.publish(EventKind::Building { workers: workers.iter().cloned().collect() });
            for worker in workers.iter().filter(|it| self.announcer.serving(it).is_none()) {
                self.browsers.building(worker);
            }
            let outdated = Arc::new(AtomicBool::new(false));
            self.outdated.insert(group.clone(), Arc::clone(&outdated));
            let job = Job { group, workers, tree: Arc::clone(&tree), outdated };
            let done = self.done.0.clone();
            self.beside.spawn_blocking(move || {
                job.run(&done);
                Beside::Job
            });
        }
    }

    /// A build has ended: has served what came out.
    fn built(&mut self, done: Done, rollout: &RolloutHandle) {
        let Done { group, workers, outcomes, mut said } = done;
        let took = said.took;
        self.queue.finished(&group);
        self.outdated.remove(&group);
        let mut failed = Vec::new();
        let mut reload = false;
        if let Err(error) = &outcomes {
            said.log.push_str(error);
        }
        let outcomes = outcomes.unwrap_or_default();
        for worker in workers {
            let written = self.written.remove(&worker);
            match outcomes.get(&worker) {
                Some(outcome @ (Outcome::Built | Outcome::Unchanged)) => {
                    let changed = *outcome == Outcome::Built;
                    reload |= changed | self.let_go(&worker);
                    if let Some(written) = written.filter(|_| changed) {
                        let tabs = self.browsers.tabs(&worker);
                        let cycle = Cycle { written, compiling: took, tabs };
                        self.announcer.built(worker.clone(), cycle);
                    }
                    self.browsers.built(&worker);
                    let seconds = took.as_secs_f64();
                    self.feed.publish(EventKind::Built { worker, seconds, changed });
                }
                // What there was before is better than nothing.
                Some(Outcome::Failed | Outcome::UpToDate) | None => {
                    reload |= self.let_go(&worker);
                    self.browsers.failed(&worker, &said, &self.sources.root);
                    failed.push(worker);
                }
            }
        }
        if let Some(first) = failed.first() {
            let place = said.places.first().map(|place| {
                format!("{}:{}:{}", self.shown(&place.file), place.line, place.column)
            });
            self.feed.publish(EventKind::BuildFailed {
                seconds: took.as_secs_f64(),
                serving: self.announcer.serving(first),
                workers: failed,
                place,
                log: said.log,
            });
        }
        if reload {
            self.reload(rollout, false);
        }
    }

    /// Lets the loader start a worker; returns whether it was held back.
    fn let_go(&self, worker: &WorkerName) -> bool {
        let held = self.held_back.load();
        if !held.contains(worker) {
            return false;
        }
        let rest = held.iter().filter(|other| *other != worker).cloned().collect();
        self.held_back.store(Arc::new(rest));
        true
    }

    fn reload(&mut self, rollout: &RolloutHandle, configured: bool) {
        let report = rollout.reload();
        self.beside.spawn(async move { Beside::Reloaded(report.await, configured) });
    }

    fn resources_changed(
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

    fn look(&mut self, snapshots: &mut watch::Receiver<Arc<Snapshot>>) {
        let snapshot = Arc::clone(&snapshots.borrow_and_update());
        for NowServing { worker, generation, event } in
            self.announcer.look(&snapshot, Instant::now())
        {
            let about = self.tree.as_ref().and_then(|tree| tree.about(&worker));
            let language = about.map_or(String::new(), |(_, language)| language.to_owned());
            self.browsers.serves(&worker);
            self.feed.publish(EventKind::Serving {
                worker,
                route: event.route,
                language,
                generation,
                ready_ms: millis(event.ready),
                tabs: event.tabs,
                overhead_ms: event.overhead.map(millis),
            });
        }
    }

    /// A path as people see it: below the root.
    fn shown(&self, path: &Path) -> String {
        path.strip_prefix(&self.sources.root).unwrap_or(path).display().to_string()
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The project's programs, or why there is nothing to be read of them.
fn read_tree(sources: &Sources, settings: &Settings) -> Result<Arc<SourceTree>, String> {
    let project =
        Project::new(&sources.root, settings, false).map_err(|error| error.to_string())?;
    let project = Project { progress: false, ..project };
    SourceTree::read(project).map(Arc::new).map_err(|error| error.to_string())
}
