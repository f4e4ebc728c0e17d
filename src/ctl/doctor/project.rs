//! The project: configuration, workers, and what git knows of it.

use std::path::{Path, PathBuf};

use super::ask::{self, Answer};
use super::check::{Check, EDITOR, quoted};
use crate::build::{Skipped, Toolchain};
use crate::config::settings::{Mode, Settings};
use crate::config::worker::WorkerFile;
use crate::config::{self, ConfigErrors, Environment, Loaded, Sources, discover};

/// What is in a project's folder.
#[derive(Debug)]
pub(super) struct Facts {
    /// Its folder, as the person named it.
    pub(super) root: PathBuf,
    /// What is configured.
    pub(super) loaded: Result<Loaded, ConfigErrors>,
    /// The globs that development watches.
    pub(super) watch_patterns: Vec<String>,
    /// The folders that are workers, or why they cannot be looked for.
    pub(super) workers: Result<Vec<Worker>, String>,
    /// The folders beside them that are none.
    pub(super) skipped: Vec<Skipped>,
    /// What git says.
    pub(super) git: Git,
}

/// A worker's folder.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) name: String,
    pub(super) folder: PathBuf,
    /// Its `worker.yaml`.
    pub(super) file: Result<WorkerFile, ConfigErrors>,
    /// What builds it, if anything says so.
    pub(super) toolchain: Option<Toolchain>,
}

/// What git knows of the project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Git {
    /// There is no git to ask.
    Missing,
    NoRepository,
    NoCommit,
    /// It complains.
    Failed(String),
    /// There is a commit; what builds write and git does not ignore.
    Repository {
        unignored: Vec<String>,
    },
}

impl Facts {
    /// Reads the project in `root`; `None` where there is none.
    pub(super) async fn gather(root: &Path) -> Option<Self> {
        if !root.join("config/server.yaml").exists() && !root.join("workers").is_dir() {
            return None;
        }
        let sources =
            Sources { environment: Environment::of_process(), ..Sources::of_project(root) };
        let loaded = config::load(&sources);
        let settings = loaded.as_ref().map_or_else(|_| defaults(root), |it| it.settings.clone());
        // Watching is development's, whatever this project is configured for.
        let development = config::load(&Sources { mode: Some(Mode::Dev), ..sources });
        let watch = development.map_or_else(|_| settings.clone(), |it| it.settings).watch;
        let (workers, skipped) = match discover::discover(&settings.discovery) {
            Ok(found) => (Ok(found.workers), found.skipped),
            Err(error) => (Err(error.to_string()), Vec::new()),
        };
        let workers = workers.map(|found| found.into_iter().map(Worker::read).collect());
        let skip = |(folder, reason)| Skipped { folder, reason };
        let outputs = outputs(root, &settings, workers.as_deref().unwrap_or_default());
        Some(Self {
            git: git(root, &outputs).await,
            root: root.to_owned(),
            loaded,
            watch_patterns: watch.map(|it| it.patterns).unwrap_or_default(),
            workers,
            skipped: skipped.into_iter().map(skip).collect(),
        })
    }

    /// What is configured; where that is unreadable, what holds without configuration.
    pub(super) fn settings(&self) -> Settings {
        self.loaded.as_ref().map_or_else(|_| defaults(&self.root), |it| it.settings.clone())
    }

    /// The workers, as far as there are any.
    pub(super) fn workers(&self) -> &[Worker] {
        self.workers.as_deref().unwrap_or_default()
    }
}

/// The settings of empty files.
pub(super) fn defaults(root: &Path) -> Settings {
    let sources = Sources { mode: Some(Mode::Dev), ..Sources::of_project(root) };
    config::parse(&sources, b"", None).expect("every key has a default").settings
}

impl Worker {
    fn read(found: discover::DiscoveredWorker) -> Self {
        let file = WorkerFile::read(&found.dir.join(WorkerFile::PATH));
        let toolchain = file.as_ref().ok().and_then(|file| Toolchain::of(&found.dir, file));
        Self { name: found.name.to_string(), folder: found.dir, file, toolchain }
    }
}

/// What builds write below `root`, as git is asked for it: a file, as some patterns are of folders
/// only. A `bin/` that nothing is built into is somebody's work.
fn outputs(root: &Path, settings: &Settings, workers: &[Worker]) -> Vec<String> {
    let is_built =
        |worker: &&Worker| worker.toolchain.as_ref().is_some_and(|it| *it != Toolchain::Ready);
    let bins = workers.iter().filter(is_built).map(|worker| worker.folder.join("bin"));
    let folders = [root.join("target"), settings.deployments.deploy_dir.clone()];
    let below =
        |folder: PathBuf| Some(folder.strip_prefix(root).ok()?.join("x").to_str()?.to_owned());
    folders.into_iter().chain(bins).filter_map(below).collect()
}

async fn git(root: &Path, outputs: &[String]) -> Git {
    let head = ["git", "rev-parse", "--verify", "--quiet", "HEAD^{commit}"];
    let top = ["git", "rev-parse", "--show-toplevel"];
    let mut ignore = vec!["git", "check-ignore", "--no-index", "--"];
    ignore.extend(outputs.iter().map(String::as_str));
    let (top, head, ignored) = tokio::join!(
        ask::program(&top, root),
        ask::program(&head, root),
        ask::program(&ignore, root)
    );
    match (top, head) {
        (Answer::Missing, _) => Git::Missing,
        (Answer::Failed(said), _) if said.contains("not a git repository") => Git::NoRepository,
        (Answer::Failed(said), _) => Git::Failed(said),
        (Answer::Said(_), Answer::Said(_)) => {
            // It fails where none is ignored.
            let ignored = if let Answer::Said(ignored) = ignored { ignored } else { String::new() };
            let is_ignored = |output: &str| ignored.lines().any(|line| line == output);
            let unignored = outputs.iter().filter(|output| !is_ignored(output));
            let folder = |output: &String| output.trim_end_matches('x').to_owned();
            Git::Repository { unignored: unignored.map(folder).collect() }
        }
        (Answer::Said(_), _) => Git::NoCommit,
    }
}

/// How the project stands, if there is one.
pub(super) fn judge(facts: Option<&Facts>) -> Vec<Check> {
    let Some(facts) = facts else {
        let found = "none here, so it is left out: no config/server.yaml, no workers/";
        return vec![Check::info("project", found)];
    };
    let mut checks = configuration(facts);
    checks.push(workers(facts));
    for worker in facts.workers() {
        match &worker.file {
            Err(errors) => checks.extend(wrong(&worker.name, errors)),
            Ok(_) if worker.toolchain.is_none() => checks.push(Check::failed(
                &worker.name,
                "nothing says how to build it: it needs a Cargo.toml, a src/main.go, or `build:` \
                 or `run:` in config/worker.yaml",
            )),
            Ok(_) => {}
        }
    }
    checks.extend(facts.skipped.iter().map(|it| Check::info("skipped", it.to_string())));
    checks.extend(repository(&facts.root, &facts.git));
    checks
}

fn configuration(facts: &Facts) -> Vec<Check> {
    let loaded = match &facts.loaded {
        Err(errors) => return wrong("configuration", errors),
        Ok(loaded) => loaded,
    };
    let mode = loaded.settings.mode.as_str();
    let mut checks = vec![Check::ok("configuration", format!("valid, for {mode}"))];
    let warnings = loaded.warnings.iter();
    checks.extend(warnings.map(|it| Check::warning("configuration", it.to_string())));
    checks
}

/// Every error of a file, with the command that opens it there.
fn wrong(name: &str, errors: &ConfigErrors) -> Vec<Check> {
    /// Who has more mends these first.
    const SHOWN: usize = 5;
    let found = errors.diagnostics();
    let check = |it: &config::Diagnostic| {
        let file = quoted(&it.file.to_string_lossy());
        let check = Check::failed(name, it.to_string());
        match it.position {
            Some(at) => check.mend(format!("{EDITOR} +{} {file}", at.line)),
            None if !it.file.exists() => {
                let folder = it.file.parent().unwrap_or(Path::new("."));
                let folder = quoted(&folder.to_string_lossy());
                check.mend(format!("mkdir -p {folder} && touch {file}"))
            }
            None => check,
        }
    };
    let mut checks: Vec<_> = found.iter().take(SHOWN).map(check).collect();
    if let Some(more @ 1..) = found.len().checked_sub(SHOWN) {
        checks.push(Check::failed(name, format!("… and {more} more")));
    }
    checks
}

fn workers(facts: &Facts) -> Check {
    let workers = match &facts.workers {
        Err(error) => {
            return Check::failed("workers", error)
                .mend(format!("mkdir {}", quoted(&facts.root.join("workers").to_string_lossy())));
        }
        Ok(workers) => workers,
    };
    if workers.is_empty() {
        let found = "none: a folder in workers/ with src/main.rs, src/main.go, or `run:` in its \
                     config/worker.yaml is one";
        return Check::failed("workers", found);
    }
    let names: Vec<_> = workers.iter().map(|worker| worker.name.as_str()).collect();
    let folders = workers.iter().map(|it| format!("{}: {}", it.name, it.folder.display()));
    Check::ok("workers", names.join(", ")).details(folders)
}

fn repository(root: &Path, git: &Git) -> Vec<Check> {
    let name = "git";
    let needed = "a production build is named by its commit";
    let unignored = match git {
        // Its absence is said among the tools.
        Git::Missing => return Vec::new(),
        Git::NoRepository => {
            return vec![
                Check::failed(name, format!("not a repository; {needed}"))
                    .mend("git init && git add --all && git commit"),
            ];
        }
        Git::NoCommit => {
            return vec![
                Check::failed(name, format!("no commit yet; {needed}"))
                    .mend("git add --all && git commit"),
            ];
        }
        Git::Failed(said) => {
            let check = Check::failed(name, said);
            let root = root.canonicalize().unwrap_or_else(|_| root.to_owned());
            let root = quoted(&root.to_string_lossy());
            return vec![match said.contains("dubious ownership") {
                true => check.mend(format!("git config --global --add safe.directory {root}")),
                false => check,
            }];
        }
        Git::Repository { unignored } => unignored,
    };
    let mut checks = vec![Check::ok(name, "a repository with a commit")];
    if unignored.is_empty() {
        checks.push(Check::ok(".gitignore", "covers what builds write"));
    } else {
        let found = format!("does not cover what builds write: {}", unignored.join(", "));
        let lines: Vec<_> = unignored.iter().map(|folder| quoted(&format!("/{folder}"))).collect();
        let file = quoted(&root.join(".gitignore").to_string_lossy());
        checks.push(
            Check::warning(".gitignore", found)
                .mend(format!(r"printf '%s\n' {} >> {file}", lines.join(" "))),
        );
    }
    checks
}
