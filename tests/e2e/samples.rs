//! The sample workers in Rust as a git project of their own, built by `tqctl build`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;
use tqserver::ids::CommitId;
use tqserver::store::deployment::Deployment;
use tqserver::store::layout::DeployDir;

/// The root manifest: what the workers inherit from the real one, and a profile that compiles fast.
pub const MANIFEST: &str = r#"[workspace]
members = ["workers/*"]
resolver = "3"

[workspace.package]
version = "0.1.0"
edition = "2024"
rust-version = "1.89"
license = "Apache-2.0"

[workspace.lints]

[profile.release]
opt-level = 1
codegen-units = 16
debug = false
"#;

/// What it has of `workers/`: what needs no toolchain but cargo.
const WORKERS: [&str; 3] = ["shared", "index", "api_users"];

/// A checkout of the sample workers in Rust.
pub struct Samples {
    dir: TempDir,
}

impl Samples {
    /// The samples, committed.
    pub fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("tqserver-samples-").tempdir().unwrap();
        let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
        let samples = Self { dir };
        let root = samples.path();
        for worker in WORKERS.map(|name| Path::new("workers").join(name)) {
            copy(&repository.join(&worker), &root.join(&worker));
        }
        fs::copy(repository.join("Cargo.lock"), root.join("Cargo.lock")).unwrap();
        fs::write(root.join("Cargo.toml"), MANIFEST).unwrap();
        fs::write(root.join(".gitignore"), "/target\n/deploy\n/workers/*/bin\n/*.log\n").unwrap();
        fs::create_dir_all(root.join("config")).unwrap();
        fs::create_dir_all(root.join("deploy")).unwrap();
        samples.git(&["init", "--quiet", "--initial-branch=main"]);
        samples.run("cargo", &["metadata", "--format-version=1"]);
        samples
    }

    /// Its folder.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Its deployments.
    pub fn deploy_dir(&self) -> DeployDir {
        DeployDir::new(self.path().join("deploy"))
    }

    /// Writes server.yaml; it is committed with the next commit.
    pub fn configure(&self, workers: &str) {
        let text = format!("server:\n  deployment_mode: prod\nworkers:\n{workers}");
        fs::write(self.path().join("config/server.yaml"), text).unwrap();
    }

    /// Replaces a text in a file.
    pub fn edit(&self, path: &str, from: &str, to: &str) {
        let path = self.path().join(path);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{from:?} is not in {}", path.display());
        fs::write(path, text.replacen(from, to, 1)).unwrap();
    }

    /// Commits everything, builds it without activating, and returns the deployment.
    pub fn build(&self, message: &str) -> Deployment {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--message", message]);
        self.run(env!("CARGO_BIN_EXE_tqctl"), &["build", "--no-activate"]);
        let commit: CommitId = self.git(&["rev-parse", "HEAD"]).trim().parse().unwrap();
        Deployment::read(&self.deploy_dir(), &commit).unwrap()
    }

    fn git(&self, args: &[&str]) -> String {
        let identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org"];
        self.run("git", &[&identity, args].concat())
    }

    fn run(&self, program: &str, args: &[&str]) -> String {
        let output = Command::new(program)
            .args(args)
            .current_dir(self.path())
            .env("CARGO_TARGET_DIR", target_dir())
            .output()
            .unwrap_or_else(|error| panic!("{program}: {error}"));
        let (stdout, stderr) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{program} {args:?}: {stdout}{stderr}");
        stdout.into_owned()
    }
}

/// One for all runs, so that dependencies are compiled once.
pub fn target_dir() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("samples")
}

/// Copies a folder of sources, without what was built in it.
pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            if entry.file_name() != "bin" {
                copy(&entry.path(), &target);
            }
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
