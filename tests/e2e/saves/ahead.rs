//! Builds that begin before a row of changes is over: a compiler to watch at it.

use std::fs::{self, File, TryLockError};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use super::project::Project;
use crate::session::PATIENCE;
use crate::support::wait::await_until;

/// Takes rustc's place. What says `for ever` it never compiles, and then it heeds no SIGTERM. Its
/// files are hidden, so that nothing watches them.
const RUSTC: &str = r#"#!/bin/sh
case "$*" in *"--crate-name index "*) ;; *) exec "$@" ;; esac
exec 9>>.compiling
flock --shared 9
if grep -q 'for ever' workers/index/src/main.rs; then
    trap '' TERM
    : >.begun
    while :; do sleep 1000; done
fi
"$@"
status=$?
: >.compiled
exit $status
"#;

/// What is seen of compilers of the worker `index`.
pub struct Compilers<'p>(&'p Project);

impl<'p> Compilers<'p> {
    /// Watches those of a project in which rows of changes last for five seconds.
    pub fn of(project: &'p Project) -> Self {
        let watcher = "deployment: {mode: dev, dev: {file_watcher: {debounce_ms: 5000}}}\n";
        project.write("config/deployment.yaml", watcher);
        project.write(".rustc", RUSTC);
        fs::set_permissions(project.file(".rustc"), fs::Permissions::from_mode(0o755)).unwrap();
        let wrapper = format!("[build]\nrustc-wrapper = {:?}\n", project.file(".rustc"));
        project.write(".cargo/config.toml", &wrapper);
        Self(project)
    }

    fn trace(&self, name: &str) -> PathBuf {
        self.0.file(name)
    }

    /// Waits until one has begun that never ends by itself.
    #[track_caller]
    pub fn await_begun(&self) {
        await_until("a compiler begins", PATIENCE, || self.trace(".begun").exists());
    }

    /// Forgets those that were waited for.
    pub fn forget(&self) {
        for name in [".begun", ".compiled"] {
            let _ = fs::remove_file(self.trace(name));
        }
    }

    /// Waits until one has ended by itself that was not forgotten.
    #[track_caller]
    pub fn await_compiled(&self) {
        await_until("a compiler ends", PATIENCE, || self.trace(".compiled").exists());
    }

    /// Whether any process of one is left: each holds a lock, those that it starts as well.
    pub fn is_any_left(&self) -> bool {
        let lock = File::open(self.trace(".compiling")).unwrap();
        match lock.try_lock() {
            Ok(()) => false,
            Err(TryLockError::WouldBlock) => true,
            Err(TryLockError::Error(error)) => panic!("{error}"),
        }
    }
}

mod user_bed {
    use std::fs;

    use super::super::developer::Developer;
    use super::super::project::{Project, WORKER};
    use super::Compilers;

    #[test]
    fn only_the_end_of_a_row_is_built_and_told_of() {
        let project = Project::new(&["index"]);
        let compilers = Compilers::of(&project);
        let mut developer = Developer::begin(&project);
        developer.serves("index");
        project.says("index", "for ever");
        compilers.await_begun();
        // The same once more: the compiler may have read half of that.
        compilers.forget();
        project.says("index", "for ever");
        compilers.await_begun();
        project.says("index", "second");
        assert_eq!(developer.serves("index"), 2);
        assert!(!compilers.is_any_left());
        assert_eq!(developer.session.get("/").body, "second g2\n");
        let told = ["changed", "building", "built"].map(|kind| developer.count(kind));
        assert_eq!(told, [1, 2, 2], "one of each, after the first build");
    }

    #[test]
    fn nothing_comes_of_a_build_before_its_row_is_over() {
        let project = Project::new(&["index"]);
        let compilers = Compilers::of(&project);
        let mut developer = Developer::begin(&project);
        developer.serves("index");
        let program = project.file("workers/index/bin/index");
        let before = fs::read(&program).unwrap();
        compilers.forget();
        project.says("index", "second");
        compilers.await_compiled();
        assert!(fs::read(&program).unwrap() == before, "the program is in its place already");
        assert_eq!(developer.session.get("/").body, "first g1\n");
        assert_eq!(developer.serves("index"), 2);
        assert_eq!(developer.session.get("/").body, "second g2\n");
        assert_eq!(developer.count("building"), 2);
    }

    #[test]
    fn what_is_taken_back_in_a_row_is_not_built() {
        let project = Project::new(&["index"]);
        let compilers = Compilers::of(&project);
        let mut developer = Developer::begin(&project);
        developer.serves("index");
        project.says("index", "for ever");
        compilers.await_begun();
        project.write("workers/index/src/main.rs", WORKER);
        let unchanged = developer.hears("unchanged", |_| true);
        assert_eq!(unchanged["paths"][0], "workers/index/src/main.rs", "{unchanged}");
        project.says("index", "second");
        assert_eq!(developer.serves("index"), 2);
        assert!(!compilers.is_any_left());
        assert_eq!(developer.count("building"), 2);
    }

    /// Such a command is not to be stopped, so it runs once, and when the row is over.
    #[test]
    fn a_command_of_the_projects_own_is_not_begun_ahead() {
        let project = Project::new(&["index"]);
        let compilers = Compilers::of(&project);
        let worker = "build: [sh, build.sh]\nrun: [bin/serve]\n";
        project.write("workers/shell/config/worker.yaml", worker);
        let build = "cat text >>../../.builds\nmkdir -p bin\ncp serve bin/\n";
        project.write("workers/shell/build.sh", build);
        project.write("workers/shell/text", "one\n");
        project.write("workers/shell/private/mode", "well");
        let serve = "tests/fixtures/web.pl";
        let serve = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(serve);
        fs::copy(serve, project.file("workers/shell/serve")).unwrap();
        let mut developer = Developer::begin(&project);
        developer.serves("index");
        developer.session.await_workers(2);
        project.write("workers/shell/text", "two\n");
        project.says("index", "for ever");
        // What can be begun was begun.
        compilers.await_begun();
        project.write("workers/shell/text", "three\n");
        project.says("index", "second");
        developer.hears("built", |event| event["worker"] == "shell" && event["changed"] == false);
        assert_eq!(developer.serves("index"), 2);
        assert_eq!(fs::read_to_string(project.file(".builds")).unwrap(), "one\nthree\n");
    }

    #[test]
    fn a_session_that_ends_stops_what_it_has_begun_ahead() {
        let project = Project::new(&["index"]);
        let compilers = Compilers::of(&project);
        let mut developer = Developer::begin(&project);
        developer.serves("index");
        project.says("index", "for ever");
        compilers.await_begun();
        developer.session.systemctl(&["stop", "tqserver.socket", "tqserver.service"]);
        assert!(!compilers.is_any_left());
        let show = ["show", "--property=Result", "tqserver.service"];
        assert_eq!(developer.session.systemctl(&show).trim(), "Result=success");
    }
}
