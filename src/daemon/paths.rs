//! Where the daemon reads and writes.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::Args;
use crate::config::{Environment, Sources};
use crate::launcher::output::OutputDir;

/// The daemon's folders, absolute.
#[derive(Debug)]
pub(super) struct Paths {
    root: PathBuf,
    config: PathBuf,
    /// StateDirectory=, or for a session that has none its runtime folder.
    state: PathBuf,
    /// RuntimeDirectory=, or `$XDG_RUNTIME_DIR/tqserver`.
    runtime: PathBuf,
}

impl Paths {
    /// Finds them, and makes those that systemd has not made.
    pub(super) fn new(args: &Args, env: &Environment) -> anyhow::Result<Self> {
        let root = fs::canonicalize(&args.root)
            .with_context(|| format!("--root {}", args.root.display()))?;
        let config = match &args.config {
            Some(dir) => {
                fs::canonicalize(dir).with_context(|| format!("--config {}", dir.display()))?
            }
            None => Some(root.join("config"))
                .filter(|dir| dir.is_dir())
                .unwrap_or_else(|| PathBuf::from("/etc/tqserver")),
        };
        // systemd.exec(5): several directories are separated by colons.
        let given = |name| {
            let dirs = env.get(name).filter(|dirs| !dirs.is_empty())?;
            dirs.split(':').next().map(PathBuf::from)
        };
        let runtime = given("RUNTIME_DIRECTORY")
            .or_else(|| given("XDG_RUNTIME_DIR").map(|dir| dir.join("tqserver")))
            .context("neither RUNTIME_DIRECTORY nor XDG_RUNTIME_DIR is set")?;
        let state = given("STATE_DIRECTORY").unwrap_or_else(|| runtime.clone());
        for dir in [&runtime, &state] {
            // A read-only one is reported where it is written to; it does not stop the service.
            let _ = fs::create_dir_all(dir);
        }
        Ok(Self { root, config, state, runtime })
    }

    /// The configuration files, for the command line's mode and the given environment.
    pub(super) fn sources(&self, args: &Args, env: Environment) -> Sources {
        Sources {
            root: self.root.clone(),
            server_yaml: self.config.join("server.yaml"),
            deployment_yaml: self.config.join("deployment.yaml"),
            environment: env,
            mode: args.mode(),
        }
    }

    /// Where the daemon remembers things.
    pub(super) fn state(&self) -> &Path {
        &self.state
    }

    /// What is touched when another deployment has come to serve.
    pub(super) fn served_stamp(&self) -> PathBuf {
        self.state.join("served")
    }

    /// Where workers' output goes without a journal.
    pub(super) fn output(&self) -> OutputDir {
        OutputDir::new(self.runtime.join("output"))
    }

    /// A control socket of our own, where none was passed: in a try-out, or a session that was
    /// made with systemd-run, which makes one socket unit only.
    pub(super) fn bind_control(&self) -> anyhow::Result<UnixListener> {
        let path = self.runtime.join("control.sock");
        // What an earlier session left. Were it still served, it would be cut off from new
        // clients, as with any two sessions of one user.
        let _ = fs::remove_file(&path);
        let listener = UnixListener::bind(&path).with_context(|| path.display().to_string())?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    }
}
