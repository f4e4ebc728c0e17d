//! What browsers are told of a session, as far as there are any.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::job::Said;
use super::meaning::Resources;
use crate::ids::WorkerName;
use crate::proxy::{Build, Live, Place, Problems};

/// Browsers that show pages of the workers; none where pages are left as they are.
#[derive(Default)]
pub(super) struct Browsers {
    live: Option<Arc<Live>>,
    /// Workers whose problem is not that they do not build, but that they do not start.
    unstarted: BTreeSet<WorkerName>,
    /// Workers whose problem is that the project's manifests cannot be read.
    unreadable: BTreeSet<WorkerName>,
}

impl Browsers {
    pub(super) fn new(live: Option<Arc<Live>>) -> Self {
        Self { live, ..Self::default() }
    }

    /// How many tabs show a page of the worker.
    pub(super) fn tabs(&self, worker: &WorkerName) -> usize {
        self.live.as_ref().map_or(0, |live| live.tabs(worker))
    }

    /// A worker that does not serve is being built.
    pub(super) fn building(&self, worker: &WorkerName) {
        self.set(worker, Build::Building);
    }

    /// A worker's program is what its sources say.
    pub(super) fn built(&mut self, worker: &WorkerName) {
        if !self.unstarted.contains(worker) {
            self.set(worker, Build::Fine);
        }
    }

    /// A worker does not build.
    pub(super) fn failed(&mut self, worker: &WorkerName, said: &Said, root: &Path) {
        self.unstarted.remove(worker);
        let place = |place: &crate::build::report::Place| Place {
            file: place.file.clone(),
            shown: place.file.strip_prefix(root).unwrap_or(&place.file).display().to_string(),
            line: place.line,
            column: place.column,
            message: place.message.clone(),
        };
        let places = said.places.iter().map(place).collect();
        self.set(worker, Build::Failed(Problems { log: said.log.clone(), places }));
    }

    /// What the workers are made from cannot be told.
    pub(super) fn unreadable(&mut self, workers: &[WorkerName], log: &str) {
        self.unreadable.extend(workers.iter().cloned());
        for worker in workers {
            let problems = Problems { log: log.to_owned(), places: Vec::new() };
            self.set(worker, Build::Failed(problems));
        }
    }

    /// It can be told again.
    pub(super) fn readable(&mut self) {
        for worker in std::mem::take(&mut self.unreadable) {
            self.set(&worker, Build::Fine);
        }
    }

    /// A worker was built and does not start.
    pub(super) fn not_started(&mut self, worker: &WorkerName, reason: &str, details: &[String]) {
        let log = format!("{reason}\n{}", details.join("\n"));
        self.unstarted.insert(worker.clone());
        self.set(worker, Build::Failed(Problems { log, places: Vec::new() }));
    }

    /// A new generation of the worker serves.
    pub(super) fn serves(&mut self, worker: &WorkerName) {
        if self.unstarted.remove(worker) {
            self.set(worker, Build::Fine);
        }
    }

    /// Files that are served as they are have changed: of one worker, or of all that are named.
    /// Public files are at `/static/<worker>/…`, below `static_prefix`. Returns how many tabs hear of
    /// it.
    pub(super) fn resources_changed<'w>(
        &self,
        workers: impl Iterator<Item = &'w WorkerName>,
        resources: &Resources,
        static_prefix: &str,
    ) -> usize {
        let Some(live) = &self.live else { return 0 };
        let mut tabs = 0;
        for worker in workers {
            tabs += live.tabs(worker);
            if resources.only_styles() {
                let url = |file: &PathBuf| format!("{static_prefix}/{worker}/{}", encoded(file));
                live.styles_changed(resources.public.iter().map(url));
            } else {
                live.pages_changed(worker);
            }
        }
        tabs
    }

    fn set(&self, worker: &WorkerName, build: Build) {
        if let Some(live) = &self.live {
            live.set_build(worker, build);
        }
    }
}

/// A path as a URL has it.
fn encoded(path: &Path) -> String {
    /// All but what RFC 3986 lets stand in a path, section 3.3.
    const ESCAPED: &percent_encoding::AsciiSet = &percent_encoding::CONTROLS
        .add(b' ')
        .add(b'"')
        .add(b'#')
        .add(b'%')
        .add(b'<')
        .add(b'>')
        .add(b'?')
        .add(b'[')
        .add(b'\\')
        .add(b']')
        .add(b'^')
        .add(b'`')
        .add(b'{')
        .add(b'|')
        .add(b'}');
    let bytes = path.as_os_str().as_encoded_bytes();
    percent_encoding::percent_encode(bytes, ESCAPED).to_string()
}
