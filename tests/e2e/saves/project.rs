//! A project that is developed: Rust workers of one workspace, and one that a command builds.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// What all Rust workers are made from.
pub const WORKER: &str = include_str!("../../fixtures/hello.rs");

/// The source of a worker that says this.
pub fn saying(text: &str) -> String {
    WORKER.replace("\"first\"", &format!("{text:?}"))
}

/// A project in its folder, not built yet.
pub struct Project {
    dir: TempDir,
}

impl Project {
    /// A git project with these Rust workers.
    pub fn new(workers: &[&str]) -> Self {
        let dir = tempfile::Builder::new().prefix("tqserver-dev-").tempdir().unwrap();
        let project = Self { dir };
        project.write(
            "Cargo.toml",
            "[workspace]\nresolver = \"3\"\nmembers = [\"workers/*\"]\nexclude = [\"workers/shell\"]\n\
             [profile.dev]\ndebug = false\n",
        );
        for name in workers {
            project.add(name);
        }
        project
            .write(".gitignore", "/target\n/workers/*/bin/\n/tqserver.log\n/config/server.yaml\n");
        project.write("config/deployment.yaml", "deployment: {mode: dev}\n");
        project.git(&["init", "--quiet"]);
        project
    }

    /// One more Rust worker.
    pub fn add(&self, name: &str) {
        let manifest =
            format!("[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n");
        self.write(&format!("workers/{name}/private/page.html"), "<p>one</p>");
        self.write(&format!("workers/{name}/src/main.rs"), WORKER);
        self.write(&format!("workers/{name}/Cargo.toml"), &manifest);
    }

    /// Writes server.yaml, with these lines in its `workers:` section.
    pub fn configure(&self, workers: &str) {
        self.write("config/server.yaml", &format!("workers:\n{workers}"));
    }

    /// Its folder.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// A file of it.
    pub fn file(&self, path: &str) -> PathBuf {
        self.path().join(path)
    }

    /// Writes a file in place.
    pub fn write(&self, path: &str, text: &str) {
        let path = self.file(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Has a Rust worker say something else.
    pub fn says(&self, worker: &str, text: &str) {
        self.write(&format!("workers/{worker}/src/main.rs"), &saying(text));
    }

    /// Runs git in it.
    pub fn git(&self, args: &[&str]) {
        let identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org"];
        let mut git = Command::new("git");
        let output = git.args(identity).args(args).current_dir(self.path()).output().unwrap();
        assert!(output.status.success(), "git {args:?}: {output:?}");
    }
}
