//! `worker.yaml`: what a worker says of itself.
//!
//! It travels with the deployment and is the deployer's word. So it sees no variables of the
//! server's environment, where secrets may be.

use std::collections::BTreeSet;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use http::uri::PathAndQuery;

use super::diagnostic::ConfigErrors;
use super::document::Document;
use super::limits;
use super::scope::{BIN_DIR, Scope};
use super::section::{Section, read_root};
use super::settings::{CredentialName, Ready, WorkerOverrides};
use super::sources;
use crate::ids::{RoutePath, WorkerName};

pub use super::effective::{WorkerVars, effective};

/// A worker's own file. Absent is the same as empty.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct WorkerFile {
    /// Where it wants to be mounted; its folder's name decides where this is `None`.
    pub route: Option<RoutePath>,
    /// Whether the mount point is taken off; `None` means yes.
    pub strip_prefix: Option<bool>,
    /// How it says that it is ready.
    pub ready: Ready,
    /// What the probe asks for; `None` means `/health`.
    pub health_path: Option<String>,
    /// The command that builds it; `None` where cargo or go does.
    pub build: Option<Vec<String>>,
    /// The command that runs it; `None` for `bin/<name>`.
    pub run: Option<Vec<String>>,
    /// How long it may say nothing to its watchdog; `None` for no watchdog.
    pub watchdog: Option<Duration>,
    /// Whether a change of `private/` in the source tree calls for a new generation.
    pub restart_on_private: bool,
    /// The credentials it asks for.
    pub credentials: BTreeSet<CredentialName>,
    /// What it changes of the defaults, or asks for beyond them.
    pub overrides: WorkerOverrides,
}

impl WorkerFile {
    /// Where the file is in a worker's folder.
    pub const PATH: &str = "config/worker.yaml";

    /// Reads the file at `path`; none is the same as an empty one.
    ///
    /// # Errors
    /// Everything that is wrong in it.
    pub fn read(path: &Path) -> Result<Self, ConfigErrors> {
        match sources::read(path)? {
            Some(bytes) => Self::parse(&bytes, path),
            None => Ok(Self::default()),
        }
    }

    /// Parses a file's content; errors name `display_path`.
    ///
    /// # Errors
    /// Everything that is wrong in it.
    pub fn parse(bytes: &[u8], display_path: &Path) -> Result<Self, ConfigErrors> {
        let document = match Document::parse(display_path, bytes) {
            Ok(document) => document,
            Err(found) => return ConfigErrors::check(found).map(|()| Self::default()),
        };
        let mut scope = Scope::new(&document, None);
        let file = read_root(&mut scope, read_keys);
        ConfigErrors::check(scope.finish()).map(|()| file)
    }

    /// The file below the worker's folder that runs: `bin/<name>`, or the one of `bin/` that `run:`
    /// names first; `None` where it names none.
    pub fn program(&self, name: &WorkerName) -> Option<String> {
        program(self.run.as_deref(), name)
    }

    /// Where the worker is mounted.
    pub fn route_for(&self, name: &WorkerName) -> RoutePath {
        self.route.clone().unwrap_or_else(|| RoutePath::from_worker_name(name))
    }
}

/// See [`WorkerFile::program`].
pub(super) fn program(run: Option<&[String]>, name: &WorkerName) -> Option<String> {
    let Some(words) = run else { return Some(format!("{BIN_DIR}/{name}")) };
    let inside = |word: &&str| word.strip_prefix(BIN_DIR).is_some_and(|it| it.starts_with('/'));
    let mut words = words.iter().map(|word| word.strip_prefix("./").unwrap_or(word));
    words.find(inside).map(str::to_owned)
}

/// Reads every key the file may have.
pub(super) fn read_keys(file: &mut Section<'_, '_>) -> WorkerFile {
    let ready = file.parsed("ready", |text| match text {
        "notify" => Ok(Ready::Notify),
        "http" => Ok(Ready::Http),
        other => Err(format!("{other:?} is neither notify nor http")),
    });
    let run = command(file, "run").filter(|words| {
        let refused = words.first().and_then(|word| refusal(word));
        if let Some(reason) = &refused {
            let at = file.position("run");
            file.error(at, format!("`run`: {reason}"));
        }
        refused.is_none()
    });
    WorkerFile {
        route: file.parsed("route", RoutePath::from_str).map(|found| found.value),
        strip_prefix: file.flag("strip_prefix").map(|found| found.value),
        ready: ready.map_or(Ready::Notify, |found| found.value),
        health_path: file.parsed("health_path", health_path).map(|found| found.value),
        build: command(file, "build"),
        run,
        // Beyond an hour there is no telling a worker that hangs from one that does not.
        watchdog: file.seconds("watchdog_seconds", 1..=3600),
        restart_on_private: file.flag("restart_on_private").is_some_and(|found| found.value),
        credentials: file
            .list("credentials", CredentialName::from_str)
            .into_iter()
            .flatten()
            .collect(),
        overrides: limits::read(file),
    }
}

/// A command: a list of words, or one text whose words are parted by spaces.
pub(super) fn command(file: &mut Section<'_, '_>, key: &'static str) -> Option<Vec<String>> {
    let words = if file.is_list(key) {
        file.list(key, |word| {
            if word.contains('\0') {
                Err("a word cannot have a NUL in it")
            } else {
                Ok(word.into())
            }
        })?
    } else {
        file.parsed(key, split_words)?.value
    };
    if words.first().is_none_or(String::is_empty) {
        let at = file.position(key);
        file.error(at, format!("`{key}` names no program"));
        return None;
    }
    Some(words)
}

/// Splits at spaces. Whoever needs quotes is told to write a list, rather than to guess whose
/// quoting rules these are.
fn split_words(text: &str) -> Result<Vec<String>, &'static str> {
    if text.contains(['"', '\'', '\\', '\0']) {
        return Err(
            "with quotes or backslashes, write a list of words: [\"program\", \"argument\"]",
        );
    }
    Ok(text.split_ascii_whitespace().map(str::to_owned).collect())
}

/// Why a program may not be run: what is run must be part of the deployment, and hashed with it,
/// or belong to the system.
fn refusal(program: &str) -> Option<String> {
    let clean = |path: &str| path.split('/').all(|part| !["", ".", ".."].contains(&part));
    let inside = program.strip_prefix(BIN_DIR).and_then(|rest| rest.strip_prefix('/'));
    match program.strip_prefix('/').or(inside) {
        Some(path) if clean(path) => None,
        Some(_) => Some(format!("{program:?} must not have `.`, `..` or empty parts")),
        None => Some(format!(
            "{program:?} must be a file under bin/, or an absolute path such as /usr/bin/node"
        )),
    }
}

fn health_path(text: &str) -> Result<String, String> {
    let wrong = || format!("{text:?} is not a path such as /health");
    let path = PathAndQuery::from_str(text).map_err(|_| wrong())?;
    // The parser would take a fragment off; as sent, the two must be the same.
    (text.starts_with('/') && path.as_str() == text).then(|| text.to_owned()).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn parse(text: &str) -> Result<WorkerFile, ConfigErrors> {
        WorkerFile::parse(text.as_bytes(), Path::new("worker.yaml"))
    }

    #[test]
    fn says_everything() {
        let file = parse(
            "route: /shop\nstrip_prefix: false\nready: http\nhealth_path: /up?deep=1\n\
             build: npm ci\nrun: [/usr/bin/node, bin/server.js]\nmemory_max: 256M\n\
             cpu_quota: 50%\ntasks_max: 64\ngo_max_procs: 2\nmax_requests: 10\n\
             read_timeout_seconds: 5\nenv: {A: '${WORKER_BASE}/x'}\nstate_directory: true\n\
             credentials: [db]\nsandbox: {memory_deny_write_execute: false}\n\
             restart_on_private: true\nwatchdog_seconds: 20\n",
        )
        .unwrap();
        assert_eq!(file.route_for(&"index".parse().unwrap()).as_str(), "/shop");
        assert_eq!(file.strip_prefix, Some(false));
        assert_eq!(file.ready, Ready::Http);
        assert_eq!(file.health_path.as_deref(), Some("/up?deep=1"));
        assert_eq!(file.build.unwrap(), ["npm", "ci"]);
        assert_eq!(file.run.unwrap(), ["/usr/bin/node", "bin/server.js"]);
        assert!(file.restart_on_private);
        assert_eq!(file.watchdog, Some(Duration::from_secs(20)));
        assert_eq!(file.overrides.memory_max, Some(256 << 20));
        assert_eq!(file.overrides.cpu_quota_percent, Some(50));
        assert_eq!(file.overrides.tasks_max, Some(64));
        assert_eq!(file.overrides.state_directory, Some(true));
        assert_eq!(file.overrides.sandbox.memory_deny_write_execute, Some(false));
        assert!(file.credentials.contains(&"db".parse().unwrap()));
        assert_eq!(file.overrides.go_max_procs, Some(2));
        assert_eq!(file.overrides.env["A"], "${WORKER_BASE}/x");
    }

    #[rstest]
    #[case("run: bin/serve", true)]
    #[case("run: /usr/bin/python3 bin/app.py", true)]
    #[case("run: [bin/a b]", true)]
    #[case("run: serve", false)]
    #[case("run: src/main.py", false)]
    #[case("run: bin/../../x", false)]
    #[case("run: bin/", false)]
    #[case("run: //usr/bin/node", false)]
    #[case("run: 'bin/serve \"a b\"'", false)]
    #[case("run: []", false)]
    #[case("health_path: /up#x", false)]
    #[case("health_path: up", false)]
    #[case("watchdog_seconds: 0", false)]
    #[case("watchdog_seconds: 3601", false)]
    #[case("health_path: http://x/up", false)]
    #[case("env: {SECRET: '${DATABASE_URL}'}", false)]
    #[case("route: '${ROUTE}'", false)]
    #[case("memory_max: 256", false)]
    fn decides(#[case] text: &str, #[case] valid: bool) {
        assert_eq!(parse(text).is_ok(), valid, "{text}");
    }

    #[test]
    fn no_file_is_an_empty_file() {
        let folder = tempfile::tempdir().unwrap();
        let read = WorkerFile::read(&folder.path().join(WorkerFile::PATH));
        assert_eq!(read, Ok(WorkerFile::default()));
        assert_eq!(parse(""), Ok(WorkerFile::default()));
    }
}
