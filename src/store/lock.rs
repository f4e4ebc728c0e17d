//! One at a time changes the deployment folder.

use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::PathBuf;
use std::process;

use jiff::Timestamp;
use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};

use super::layout::DeployDir;
use super::modes::Writers;

/// Who has the lock, as it says itself in the lock file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Its process.
    pub pid: u32,
    /// Since when.
    pub since: Timestamp,
    /// What for: `tqctl deploy`.
    pub purpose: String,
}

/// Why there is no lock.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Somebody else has it.
    #[error("{}: is locked by {}; wait for it to finish", path.display(), describe(holder))]
    Held {
        /// The lock file.
        path: PathBuf,
        /// Who, unless it has not said so yet.
        holder: Option<Holder>,
    },
    /// The lock file cannot be used.
    #[error("{}: {source}", path.display())]
    Io {
        /// The lock file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

fn describe(holder: &Option<Holder>) -> String {
    match holder {
        Some(Holder { pid, since, purpose }) => format!("{purpose} (process {pid}, since {since})"),
        None => "another process".to_owned(),
    }
}

/// The right to change the deployment folder: flock(2) on `deploy/.lock`, which ends with the
/// process, however that ends.
#[derive(Debug)]
pub struct DeployLock {
    deploy: DeployDir,
    file: File,
}

impl DeployLock {
    /// Takes the lock, or says who has it.
    ///
    /// # Errors
    /// [`LockError::Held`] at once when somebody else has it.
    pub fn try_acquire(
        deploy: &DeployDir,
        purpose: &str,
        now: Timestamp,
    ) -> Result<Self, LockError> {
        let mut lock = Self::open(deploy)?;
        match lock.file.try_lock() {
            Ok(()) => lock.sign(purpose, now),
            Err(TryLockError::Error(source)) => Err(lock.failed(source)),
            Err(TryLockError::WouldBlock) => {
                let holder = lock.holder();
                Err(LockError::Held { path: deploy.lock_file(), holder })
            }
        }
    }

    /// Takes the lock, waiting for whoever has it. `now` is the time before the wait.
    ///
    /// # Errors
    /// When the lock file cannot be used.
    pub fn acquire(deploy: &DeployDir, purpose: &str, now: Timestamp) -> Result<Self, LockError> {
        let lock = Self::open(deploy)?;
        lock.file.lock().map_err(|source| lock.failed(source))?;
        lock.sign(purpose, now)
    }

    /// The folder that is locked.
    pub fn deploy(&self) -> &DeployDir {
        &self.deploy
    }

    fn open(deploy: &DeployDir) -> Result<Self, LockError> {
        let path = deploy.lock_file();
        let open = || {
            let mode = Writers::of(&fs::metadata(deploy.path())?).document();
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(mode)
                .custom_flags(OFlags::NOFOLLOW.bits() as i32)
                .open(&path)?;
            // The umask may have taken the group's bit. Only the owner can give it back, and for
            // all others who have come this far it is there.
            let _ = file.set_permissions(Permissions::from_mode(mode));
            Ok(file)
        };
        match open() {
            Ok(file) => Ok(Self { deploy: deploy.clone(), file }),
            Err(source) => Err(LockError::Io { path, source }),
        }
    }

    fn sign(mut self, purpose: &str, since: Timestamp) -> Result<Self, LockError> {
        let holder = Holder { pid: process::id(), since, purpose: purpose.to_owned() };
        let mut write = || {
            self.file.set_len(0)?;
            self.file.write_all(&serde_json::to_vec(&holder)?)
        };
        write().map_err(|source| self.failed(source))?;
        Ok(self)
    }

    fn holder(&mut self) -> Option<Holder> {
        let mut text = Vec::new();
        self.file.rewind().ok()?;
        (&self.file).take(4096).read_to_end(&mut text).ok()?;
        serde_json::from_slice(&text).ok()
    }

    fn failed(&self, source: io::Error) -> LockError {
        LockError::Io { path: self.deploy.lock_file(), source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_learns_who_was_first_and_gets_its_turn() {
        let temp = tempfile::tempdir().unwrap();
        let deploy = DeployDir::new(temp.path());
        let now = Timestamp::from_second(1_700_000_000).unwrap();
        let first = DeployLock::try_acquire(&deploy, "tqctl deploy", now).unwrap();
        let error = DeployLock::try_acquire(&deploy, "tqctl build", now).unwrap_err();
        let LockError::Held { holder: Some(holder), .. } = &error else { panic!("{error}") };
        assert_eq!((holder.pid, holder.since), (process::id(), now));
        let text = error.to_string();
        assert!(text.contains("tqctl deploy") && text.contains(&process::id().to_string()));

        std::thread::scope(|scope| {
            let second = scope.spawn(|| DeployLock::acquire(&deploy, "a", now).map(drop));
            drop(first);
            second.join().unwrap().unwrap();
        });
        // A shorter signature replaces a longer one wholly.
        let _third = DeployLock::try_acquire(&deploy, "b", now).unwrap();
        let error = DeployLock::try_acquire(&deploy, "c", now).unwrap_err();
        assert!(error.to_string().contains("by b (process"), "{error}");
    }

    #[test]
    fn without_a_folder_the_error_names_it() {
        let temp = tempfile::tempdir().unwrap();
        let deploy = DeployDir::new(temp.path().join("absent"));
        let error = DeployLock::acquire(&deploy, "a", Timestamp::UNIX_EPOCH).unwrap_err();
        assert!(error.to_string().contains("absent/.lock"), "{error}");
    }
}
