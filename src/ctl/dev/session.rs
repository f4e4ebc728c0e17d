//! What makes one session: its units and files, named after the project's folder, so that several
//! projects can be served side by side, and each once.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use md5::Digest;
use tokio::time::sleep;

use super::systemctl;
use crate::ids::Md5;

/// How much of the folder's digest is in the name.
const DIGITS: usize = 12;

/// Between two attempts to take the lock.
const RETRY: Duration = Duration::from_millis(50);

/// The session of one project.
#[derive(Debug)]
pub(super) struct Session {
    root: PathBuf,
    /// `$XDG_RUNTIME_DIR`
    user_runtime: PathBuf,
    digits: String,
}

impl Session {
    /// The session of the project in `root`, a canonical path.
    pub(super) fn of(root: &Path, user_runtime: &Path) -> Self {
        let digest = md5::Md5::digest(root.as_os_str().as_encoded_bytes());
        let mut digits = Md5::new(digest.into()).to_string();
        digits.truncate(DIGITS);
        Self { root: root.to_owned(), user_runtime: user_runtime.to_owned(), digits }
    }

    /// The project's folder.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// What its units are called, without the ending.
    pub(super) fn name(&self) -> String {
        format!("tqserver-dev-{}", self.digits)
    }

    /// tqserver.
    pub(super) fn service(&self) -> String {
        format!("{}.service", self.name())
    }

    /// Its listener.
    pub(super) fn socket(&self) -> String {
        format!("{}.socket", self.name())
    }

    /// `RuntimeDirectory=` of the service, which systemd makes and removes.
    pub(super) fn runtime_directory(&self) -> String {
        format!("tqserver/dev-{}", self.digits)
    }

    /// The same folder, by its path.
    pub(super) fn runtime_dir(&self) -> PathBuf {
        self.user_runtime.join(self.runtime_directory())
    }

    /// Where tqctl finds it.
    pub(super) fn control_socket(&self) -> PathBuf {
        self.runtime_dir().join("control.sock")
    }

    /// tqserver's own log. Beside the runtime directory, which is gone when a start has failed and
    /// the log is wanted.
    pub(super) fn log(&self) -> PathBuf {
        self.user_runtime.join(format!("{}.log", self.runtime_directory()))
    }

    /// The folder of a user's sessions in `$XDG_RUNTIME_DIR`.
    pub(super) fn folder(&self) -> PathBuf {
        self.user_runtime.join("tqserver")
    }

    /// Where the manager looks for units that go with the user's last session.
    pub(super) fn unit_folder(&self) -> PathBuf {
        self.user_runtime.join("systemd/user")
    }

    /// Keeps other runs of `tqctl dev` from starting and ending sessions meanwhile.
    pub(super) async fn lock(&self) -> anyhow::Result<File> {
        let what = || format!("cannot lock {}", self.user_runtime.display());
        let folder = File::open(&self.user_runtime).with_context(what)?;
        loop {
            match folder.try_lock() {
                Ok(()) => return Ok(folder),
                // To wait in the kernel would keep us from heeding signals.
                Err(TryLockError::WouldBlock) => sleep(RETRY).await,
                Err(TryLockError::Error(error)) => return Err(error).with_context(what),
            }
        }
    }

    /// Whether tqserver runs, or is being started or stopped.
    pub(super) async fn is_served(&self) -> anyhow::Result<bool> {
        Ok(!systemctl::have_ended(&[&self.service()]).await?)
    }

    /// Where a browser finds it.
    pub(super) async fn url(&self) -> anyhow::Result<String> {
        let listen = systemctl::show("Listen", &[&self.socket()]).await?;
        let address = listen.first().and_then(|listen| listen.split_whitespace().next());
        let address = address.with_context(|| format!("{} does not listen", self.socket()))?;
        Ok(match address.parse::<std::net::SocketAddr>() {
            Ok(it) if it.ip().is_loopback() || it.ip().is_unspecified() => {
                format!("http://localhost:{}", it.port())
            }
            _ => format!("http://{address}"),
        })
    }

    /// Makes the folder of sessions, and an empty log in it.
    pub(super) fn make_log(&self) -> anyhow::Result<()> {
        let log = self.log();
        fs::create_dir_all(self.folder())
            .and_then(|()| File::create(&log).map(drop))
            .with_context(|| log.display().to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_named_after_its_folder() {
        let of = |root: &str| Session::of(root.as_ref(), "/run/user/1000".as_ref());
        let (shop, blog) = (of("/home/ada/shop"), of("/home/ada/blog"));
        assert_eq!(shop.name(), of("/home/ada/shop").name());
        assert_ne!(shop.name(), blog.name());
        assert_ne!(shop.control_socket(), blog.control_socket());
        assert!(shop.name().starts_with("tqserver-dev-") && shop.name().len() == 25);
        assert!(shop.control_socket().starts_with("/run/user/1000/tqserver"));
    }
}
