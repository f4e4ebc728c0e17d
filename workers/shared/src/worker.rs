//! The worker: what its handlers share.

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::templates::Templates;
use crate::{BuildInfo, Result, Settings, log};

/// What a worker's handlers share. Cheap to clone; the state of its router, or a part of it.
#[derive(Clone)]
pub struct Worker(Arc<Inner>);

struct Inner {
    settings: Settings,
    templates: Templates,
    stopping: CancellationToken,
    tasks: TaskTracker,
}

impl Worker {
    /// Reads the environment and sets up the log, on stderr (RUST_LOG selects; `info` by default).
    /// With `--version` as the first argument it prints which build this is, and exits.
    ///
    /// # Errors
    /// All variables that are missing or make no sense; RUST_LOG that cannot be understood.
    pub fn from_env(build: BuildInfo) -> Result<Self> {
        if std::env::args_os().nth(1).is_some_and(|argument| argument == "--version") {
            writeln!(std::io::stdout(), "{}", build.version_line())?;
            std::process::exit(0);
        }
        log::init()?;
        Ok(Self::new(Settings::from_vars(build.name, |name| std::env::var(name).ok())?))
    }

    /// A worker with the given settings. Programs use [`Worker::from_env`]; this is for tests.
    pub fn new(settings: Settings) -> Self {
        let templates = Templates::new(&settings);
        let (stopping, tasks) = (CancellationToken::new(), TaskTracker::new());
        Self(Arc::new(Inner { settings, templates, stopping, tasks }))
    }

    /// What tqserver told it.
    pub fn settings(&self) -> &Settings {
        &self.0.settings
    }

    /// A file of the worker's `private` folder.
    pub fn private(&self, path: &str) -> PathBuf {
        self.0.settings.base.join("private").join(path)
    }

    /// Completes when the worker was told to stop. Streams without an end of their own must end
    /// then; answers that do have one are finished.
    pub fn stopping(&self) -> impl Future<Output = ()> + Send + use<> {
        self.0.stopping.clone().cancelled_owned()
    }

    /// Makes the end of the process wait for `future`: for WebSockets, which the server no longer
    /// counts once they are upgraded.
    pub fn track<F: Future>(&self, future: F) -> impl Future<Output = F::Output> + use<F> {
        self.0.tasks.track_future(future)
    }

    /// Makes [`Worker::stopping`] complete.
    pub(crate) fn stop(&self) {
        self.0.stopping.cancel();
    }

    /// Completes when nothing that is tracked is left.
    pub(crate) async fn tracked_ended(&self) {
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }

    pub(crate) fn templates(&self) -> &Templates {
        &self.0.templates
    }
}
