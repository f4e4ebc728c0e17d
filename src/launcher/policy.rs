//! What a generation's unit looks like. Every property comes from configuration and deployment;
//! the caller of a launcher only names a worker, a port, a source and a generation.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use super::facts::Facts;
use super::sandbox::Sandbox;
use super::{LaunchError, LauncherConfig, Output, Source, StartRequest};
use crate::config::settings::{Mode, Ready, WorkerSettings};
use crate::ids::{UnitName, WorkerName};

/// `TQ_COMMIT` of a worker that runs from the source tree.
pub(super) const TREE_COMMIT: &str = "dev";

/// Where a sandboxed worker can write: a folder of its own unit, gone with it (`PrivateTmp=`).
const PRIVATE_TMP: &str = "/tmp";

/// A transient unit to be, in the terms of systemd.service(5) and systemd.exec(5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitSpec {
    /// Its name.
    pub unit: UnitName,
    /// `Description=`, for people.
    pub description: String,
    /// `ExecStart=`: an absolute program, and its arguments. systemd replaces `$NAME` in these
    /// from the environment.
    pub exec: Vec<String>,
    /// `WorkingDirectory=`, absolute: the worker's folder.
    pub working_directory: String,
    /// `Environment=`, by name.
    pub environment: BTreeMap<String, String>,
    /// Decides `Type=`: `notify`, or `exec` for programs that cannot.
    pub ready: Ready,
    /// `TimeoutStartSec=`: until READY=1.
    pub start_timeout: Duration,
    /// `TimeoutStopSec=`: from SIGTERM to SIGKILL.
    pub stop_timeout: Duration,
    /// `WatchdogSec=`: the longest silence before it counts as hanging; `None` for no watchdog.
    pub watchdog: Option<Duration>,
    /// `MemoryHigh=` in bytes.
    pub memory_high: Option<u64>,
    /// `MemoryMax=` in bytes.
    pub memory_max: Option<u64>,
    /// `CPUQuota=` in percent of one CPU.
    pub cpu_quota_percent: Option<u32>,
    /// `TasksMax=`
    pub tasks_max: Option<u64>,
    /// `LogExtraFields=`: journal fields of every line it writes.
    pub log_fields: Vec<(&'static str, String)>,
    /// The file its output is appended to; `None` where there is a journal.
    pub output: Option<String>,
    /// The sandbox around a verified copy of the worker's folder; `None` where it runs from the
    /// folder itself, as whoever the manager runs as.
    pub sandbox: Option<Sandbox>,
}

/// The unit that `request` asks for, given what is known of its worker.
///
/// `copy` is the verified copy of the worker's folder, which only a privileged launcher has. With
/// it the unit is sandboxed.
///
/// # Errors
/// [`LaunchError::Refused`] when `run:` names a program that a worker may not be, or a path is
/// not UTF-8, which D-Bus cannot carry.
pub fn unit_spec(
    config: &LauncherConfig,
    request: &StartRequest,
    facts: &Facts,
    copy: Option<&Path>,
) -> Result<UnitSpec, LaunchError> {
    let worker = &request.worker;
    let refuse = |reason| LaunchError::Refused { worker: worker.clone(), reason };
    let unit = request.unit();
    let (commit, short) = match &request.source {
        Source::Deployment(commit) => (commit.as_str(), commit.short()),
        Source::Tree => (TREE_COMMIT, TREE_COMMIT),
    };
    let output = match &config.output {
        Output::Journal => None,
        Output::Files(dir) => Some(text(&dir.file(&unit)).map_err(refuse)?),
    };
    let settings = &facts.settings;
    Ok(UnitSpec {
        description: format!(
            "tqserver worker {worker} {} on port {}, {}",
            request.generation, request.port, short,
        ),
        exec: exec(worker, &request.source, facts).map_err(refuse)?,
        working_directory: text(&facts.base).map_err(refuse)?,
        environment: environment(config, request, commit, facts, copy.is_some()).map_err(refuse)?,
        ready: settings.ready,
        start_timeout: config.start_timeout,
        stop_timeout: config.shutdown_grace_period,
        watchdog: settings.watchdog,
        memory_high: settings.memory_high,
        memory_max: settings.memory_max,
        cpu_quota_percent: settings.cpu_quota_percent,
        tasks_max: settings.tasks_max,
        log_fields: vec![
            ("TQ_WORKER", worker.to_string()),
            ("TQ_COMMIT", commit.to_owned()),
            ("TQ_GENERATION", request.generation.0.to_string()),
        ],
        output,
        sandbox: copy
            .map(|copy| Sandbox::new(config, worker, facts, copy))
            .transpose()
            .map_err(refuse)?,
        unit,
    })
}

/// The environment of the worker contract, and what is configured.
fn environment(
    config: &LauncherConfig,
    request: &StartRequest,
    commit: &str,
    facts: &Facts,
    sandboxed: bool,
) -> Result<BTreeMap<String, String>, String> {
    let settings = &facts.settings;
    let mut env = settings.env.clone();
    // An explicit `env:` entry is more particular than the settings these are derived from.
    for (name, value) in tuning(settings) {
        env.entry(name.to_owned()).or_insert(value);
    }
    if sandboxed {
        // systemd would say `/`, which cannot be written, and programs keep caches there.
        env.entry("HOME".to_owned()).or_insert_with(|| PRIVATE_TMP.to_owned());
    }
    // These say what is so, and adoption reads them back: nothing configured may differ.
    env.retain(|name, _| name != "PORT" && !name.starts_with("TQ_"));
    let port = request.port.to_string();
    let contract = [
        ("PORT", port.clone()),
        ("TQ_PORT", port),
        ("TQ_MODE", config.mode.as_str().to_owned()),
        ("TQ_WORKER", request.worker.to_string()),
        ("TQ_ROUTE", settings.route.to_string()),
        ("TQ_WORKER_BASE", text(&facts.base)?),
        ("TQ_COMMIT", commit.to_owned()),
        ("TQ_GENERATION", request.generation.0.to_string()),
        ("TQ_FINGERPRINT", facts.fingerprint.to_string()),
        ("TQ_CACHE_TEMPLATES", settings.cache_templates.to_string()),
        ("TQ_WATCH_RESOURCES", settings.watch_resources.to_string()),
    ];
    env.extend(contract.map(|(name, value)| (name.to_owned(), value)));
    if config.mode == Mode::Dev {
        // A build copies what is shared into each worker; the tree has it in one place.
        env.insert("TQ_SHARED_BASE".to_owned(), text(&config.workers_dir.join("shared"))?);
    }
    Ok(env)
}

fn tuning(settings: &WorkerSettings) -> impl Iterator<Item = (&'static str, String)> {
    let procs = settings.go_max_procs.map(|count| count.to_string());
    [
        ("GOMAXPROCS", procs.clone()),
        ("TOKIO_WORKER_THREADS", procs),
        ("GOMEMLIMIT", settings.go_mem_limit.clone()),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name, value?)))
}

/// The command line: `bin/<name>`, or `run:` with its first word made absolute.
fn exec(worker: &WorkerName, source: &Source, facts: &Facts) -> Result<Vec<String>, String> {
    let default = [format!("bin/{worker}")];
    let command = facts.settings.run.as_deref().unwrap_or(&default);
    let [program, arguments @ ..] = command else {
        return Err("run: is empty; name a program, or leave it out to run bin/<name>".to_owned());
    };
    let path = Path::new(program);
    let program = if path.is_absolute() {
        if matches!(source, Source::Deployment(_)) {
            check_interpreter(path)?;
        }
        path.to_owned()
    } else {
        let plain = path.components().all(|part| matches!(part, Component::Normal(_)));
        if !plain || !path.starts_with("bin") {
            return Err(format!(
                "run: names {program:?}; it must be below bin/, where it is part of what is \
                 compared and verified, or an absolute path"
            ));
        }
        facts.base.join(path)
    };
    Ok(std::iter::once(text(&program)?).chain(arguments.iter().cloned()).collect())
}

/// What is not part of the deployment must at least be part of the machine: root's, and writable
/// to nobody else, as must be the folders on the way, in which another could be put in its place.
fn check_interpreter(path: &Path) -> Result<(), String> {
    let unusable = |error| format!("run: names {}, which cannot be used: {error}", path.display());
    let real = std::fs::canonicalize(path).map_err(unusable)?;
    let is_file = real.is_file();
    for part in path.ancestors().chain(real.ancestors()) {
        let stat = part.symlink_metadata().map_err(unusable)?;
        // A link's own mode means nothing (symlink(7)).
        let fixed = stat.is_symlink() || stat.mode() & 0o022 == 0;
        if !is_file || stat.uid() != 0 || !fixed {
            return Err(format!(
                "run: names {}; a program outside the deployment must be a file that belongs to \
                 root and that nobody else can write, in folders of which the same is true",
                path.display()
            ));
        }
    }
    Ok(())
}

/// A path as D-Bus carries it.
pub(super) fn text(path: &Path) -> Result<String, String> {
    let text = PathBuf::from(path).into_os_string().into_string();
    text.map_err(|path| format!("{} is not UTF-8", path.display()))
}

#[cfg(test)]
mod tests;
