//! A project that is served from its source tree.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::samples::{copy, target_dir};
use crate::session::{PATIENCE, Session, get, send};
use crate::support::wait::await_until;

/// A folder with `config/server.yaml` and `workers/`.
pub struct SourceTree {
    dir: TempDir,
}

impl SourceTree {
    /// One with these folders of the repository's `workers/`.
    pub fn with(workers: &[&str]) -> Self {
        let dir = tempfile::Builder::new().prefix("tqserver-tree-").tempdir().unwrap();
        fs::create_dir_all(dir.path().join("config")).unwrap();
        fs::create_dir_all(dir.path().join("workers")).unwrap();
        fs::write(dir.path().join("config/server.yaml"), "").unwrap();
        let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
        for worker in workers.iter().map(|name| Path::new("workers").join(name)) {
            copy(&repository.join(&worker), &dir.path().join(&worker));
        }
        Self { dir }
    }

    /// Its folder.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Runs tqctl in it.
    pub fn tqctl(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tqctl"));
        command.args(args).current_dir(self.path()).env("CARGO_TARGET_DIR", target_dir());
        command.output().unwrap()
    }

    /// Adds a worker with `tqctl new`.
    #[track_caller]
    pub fn create(&self, name: &str, language: &str) {
        let output = self.tqctl(&["new", name, "--lang", language]);
        assert!(output.status.success(), "{output:?}");
        assert_eq!(String::from_utf8_lossy(&output.stderr).matches("warning").count(), 0);
    }

    /// Gives it a file of the repository.
    pub fn copy_file(&self, from: &str, to: &str) {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join(from);
        fs::copy(from, self.path().join(to)).unwrap();
    }

    /// Gives it a file of one's own.
    pub fn write(&self, path: &str, text: &str) {
        fs::write(self.path().join(path), text).unwrap();
    }

    /// `tqctl build --dev`, which must build these and no others.
    #[track_caller]
    pub fn build(&self, workers: &[&str]) {
        let output = self.tqctl(&["build", "--dev"]);
        let built: String = workers.iter().map(|name| format!("✓ {name} built\n")).collect();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(String::from_utf8_lossy(&output.stdout), built, "{said}");
        assert!(output.status.success(), "{said}");
    }

    /// A tqserver that serves it in development mode.
    pub fn serve(&self) -> Session {
        let session = Session::user(self.path(), |ports| {
            // Time enough for an interpreter on a busy machine to end by itself.
            let text = format!("workers:\n  shutdown_grace_period_ms: 20000\n{ports}");
            fs::write(self.path().join("config/server.yaml"), text).unwrap();
        });
        let mode = "[Service]\nEnvironment=DEPLOYMENT_MODE=dev\n";
        session.edit_unit("tqserver.service", mode);
        session
    }
}

/// A generation that serves.
pub struct Generation<'s> {
    session: &'s Session,
    unit: String,
    port: u16,
}

impl<'s> Generation<'s> {
    /// That of `worker`.
    #[track_caller]
    pub fn of(session: &'s Session, worker: &str) -> Self {
        let status = session.status();
        let workers = status["workers"].as_array().expect("a list of workers");
        let found = workers.iter().find(|it| it["name"] == worker);
        let port = found.and_then(|it| it["port"].as_u64()).unwrap_or_else(|| panic!("{status}"));
        let unit = format!("tq-worker@{worker}-{port}.service");
        Self { session, unit, port: port.try_into().unwrap() }
    }

    /// Opens an endless answer at the worker itself, waits until `mark` has come twice, and stops
    /// the worker. Returns all that came until it closed the connection.
    #[track_caller]
    pub fn stop_within(&self, path: &str, mark: &str) -> String {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let (mut text, mut buffer) = (String::new(), [0; 4096]);
        while text.matches(mark).count() < 2 {
            let length = stream.read(&mut buffer).unwrap();
            assert_ne!(length, 0, "no {mark:?} in {text:?}");
            text.push_str(std::str::from_utf8(&buffer[..length]).unwrap());
        }
        self.stop();
        let ended = stream.read_to_string(&mut text);
        ended.unwrap_or_else(|error| panic!("{}: {error} behind {text}", self.unit));
        text
    }

    /// What it answers at /health itself.
    pub fn health(&self) -> String {
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        send(addr, &get("/health")).unwrap().head
    }

    /// Stops it, which is SIGTERM and, if that does not end it, SIGKILL.
    #[track_caller]
    pub fn stop(&self) {
        self.session.systemctl(&["stop", "--no-block", &self.unit]);
    }

    /// Waits until the last line that it wrote is this one. Who is killed writes no last line.
    #[track_caller]
    pub fn await_last_line(&self, line: &str) {
        let name = self.unit.trim_start_matches("tq-worker@").trim_end_matches(".service");
        let file = self.session.runtime_file(&format!("output/{name}.log"));
        let what = format!("{line:?} at the end of {}", file.display());
        await_until(&what, PATIENCE, || {
            let text = fs::read_to_string(&file).unwrap_or_default();
            text.lines().last().is_some_and(|last| last.contains(line))
        });
    }
}
