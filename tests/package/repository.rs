//! A signed repository, as `packaging/apt-repo` makes it.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::deb;

/// A repository with a key of its own.
pub struct Repository {
    dir: TempDir,
}

impl Repository {
    /// Makes one of these packages.
    pub fn of(packages: &[PathBuf]) -> Self {
        let dir = tempfile::Builder::new().prefix("tqserver-repository-").tempdir().unwrap();
        let repository = Self { dir };
        // apt downloads as a user without rights.
        fs::set_permissions(repository.dir.path(), Permissions::from_mode(0o755)).unwrap();
        fs::create_dir(repository.path()).unwrap();
        fs::create_dir(repository.keys()).unwrap();
        fs::set_permissions(repository.keys(), Permissions::from_mode(0o700)).unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/apt-repo");
        let mut command = Command::new(script);
        command.env("GNUPGHOME", repository.keys()).arg("--generate-key");
        deb::run(command.arg(repository.path()).args(packages));
        repository
    }

    /// Its folder.
    pub fn path(&self) -> PathBuf {
        self.dir.path().join("repository")
    }

    fn keys(&self) -> PathBuf {
        self.dir.path().join("keys")
    }
}

impl Drop for Repository {
    fn drop(&mut self) {
        // The agent would notice a little later that its keys are gone.
        let _ = Command::new("gpgconf")
            .arg("--homedir")
            .arg(self.keys())
            .args(["--kill", "gpg-agent"])
            .status();
    }
}
