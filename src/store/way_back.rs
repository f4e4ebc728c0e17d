//! The way back to the manifest as it is, prepared before it is replaced: it must be there when the disk
//! has become full, too.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process;

use rustix::fs::{AtFlags, CWD, Mode, OFlags};

use super::atomic;
use super::document::{self, ReadError};
use super::layout::{DeployDir, STAGING_PREFIX};
use super::lock::DeployLock;
use super::manifest::Manifest;
use super::manifest_sum;
use super::modes::Writers;
use crate::ids::CommitId;

/// The manifest as it was.
#[derive(Debug)]
pub struct WayBack {
    /// `None` where there was none.
    manifest: Option<Vec<u8>>,
    commit: Option<CommitId>,
    mode: u32,
    /// Complete copies that have no name yet: of the manifest, and of its sum, if there was one. Empty
    /// where the file system cannot have such files.
    copies: Vec<(PathBuf, File)>,
}

impl WayBack {
    /// Remembers the manifest that is there. What it is remembered in goes with the process.
    ///
    /// # Errors
    /// When it cannot be read, or there is no room to remember it: then it is not to be replaced.
    pub fn prepare(lock: &DeployLock) -> Result<Self, ReadError> {
        let deploy = lock.deploy();
        let read = |path: &Path| match document::read(path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(ReadError::Absent(_)) => Ok(None),
            Err(error) => Err(error),
        };
        let failed = |source| ReadError::Io { path: deploy.manifest(), source };
        let (manifest, sum) = (read(&deploy.manifest())?, read(&deploy.manifest_sum())?);
        let parsed = manifest.as_deref().and_then(|bytes| Manifest::parse(bytes).ok());
        let folder = fs::metadata(deploy.path()).map_err(failed)?;
        let mode = Writers::of(&folder).document();
        let mut copies = Vec::new();
        for (path, bytes) in [(deploy.manifest(), &manifest), (deploy.manifest_sum(), &sum)] {
            let Some(bytes) = bytes else { continue };
            let copy = nameless(deploy.path(), bytes, mode).map_err(failed)?;
            copies.extend(copy.map(|copy| (path, copy)));
        }
        let commit = parsed.map(|manifest| manifest.current_deployment);
        Ok(Self { manifest, commit, mode, copies })
    }

    /// What the manifest pointed at, if there was one that could be read.
    pub fn commit(&self) -> Option<&CommitId> {
        self.commit.as_ref()
    }

    /// Puts the manifest back; removes what is there now where there was none.
    ///
    /// # Errors
    /// When that fails. The manifest is then what it was before this was called.
    pub fn take(&self, lock: &DeployLock) -> io::Result<()> {
        let deploy = lock.deploy();
        let now = document::read(&deploy.manifest()).ok();
        let Some(bytes) = &self.manifest else {
            return if now.is_some() { fs::remove_file(deploy.manifest()) } else { Ok(()) };
        };
        if now.as_ref() == Some(bytes) {
            return Ok(());
        }
        match manifest_sum::write(deploy, bytes, self.mode) {
            Err(_) if !self.copies.is_empty() => self.name_copies(deploy),
            written => written,
        }
    }

    /// The manifest before its sum; who reads them meanwhile looks again.
    fn name_copies(&self, deploy: &DeployDir) -> io::Result<()> {
        let between = deploy.path().join(format!("{STAGING_PREFIX}back-{}", process::id()));
        for (path, copy) in &self.copies {
            match fs::remove_file(&between) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            // The only way to it without a capability (open(2), O_TMPFILE).
            let fd = format!("/proc/self/fd/{}", copy.as_raw_fd());
            rustix::fs::linkat(CWD, fd, CWD, &between, AtFlags::SYMLINK_FOLLOW)?;
            fs::rename(&between, path)?;
        }
        atomic::flush_folder(deploy.path())
    }
}

/// A complete file without a name, on the file system of `folder`; `None` where that has no such files.
fn nameless(folder: &Path, bytes: &[u8], mode: u32) -> io::Result<Option<File>> {
    use rustix::io::Errno;
    let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
    let mut file = match rustix::fs::openat(CWD, folder, flags, Mode::RUSR | Mode::WUSR) {
        Ok(file) => File::from(file),
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    file.set_permissions(Permissions::from_mode(mode))?;
    file.write_all(bytes)?;
    file.sync_all()?;
    Ok(Some(file))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::store::activate::activate;
    use crate::store::deployment::Deployment;
    use crate::store::stage::Staging;
    use crate::store::testing::{commit, fill, record};

    fn deployed(deploy: &DeployDir, digit: char) -> Deployment {
        let staging = Staging::begin(deploy, &commit(digit)).unwrap();
        fill(staging.path());
        let record = record(staging.path(), &commit(digit));
        staging.finish(&record).unwrap();
        record
    }

    /// Two deployments, the first of which is wanted; with a file of sums beside, or without.
    fn two(with_sum: bool) -> (tempfile::TempDir, DeployLock, Deployment) {
        let temp = tempfile::tempdir().unwrap();
        let deploy = DeployDir::new(temp.path());
        let [first, second] = ['a', 'b'].map(|digit| deployed(&deploy, digit));
        let lock = DeployLock::try_acquire(&deploy, "test", Timestamp::UNIX_EPOCH).unwrap();
        activate(&lock, &first, Timestamp::UNIX_EPOCH, 5).unwrap();
        if with_sum {
            let sum = super::super::digest::md5(&fs::read(deploy.manifest()).unwrap());
            fs::write(deploy.manifest_sum(), format!("{sum}  manifest.json\n")).unwrap();
        }
        (temp, lock, second)
    }

    #[test]
    fn the_manifest_and_its_sum_are_what_they_were_also_where_nothing_can_be_written() {
        for with_sum in [false, true] {
            for full in [false, true] {
                let (_temp, lock, second) = two(with_sum);
                let deploy = lock.deploy();
                let before = fs::read(deploy.manifest()).unwrap();
                let back = WayBack::prepare(&lock).unwrap();
                assert_eq!(back.commit(), Some(&commit('a')));
                activate(&lock, &second, Timestamp::UNIX_EPOCH, 5).unwrap();
                if full {
                    // As good as a disk that is full, for who wants to write beside it first.
                    fs::create_dir(deploy.manifest_new()).unwrap();
                }
                back.take(&lock).unwrap();
                assert_eq!(fs::read(deploy.manifest()).unwrap(), before);
                let (manifest, _) = Manifest::read(deploy).unwrap();
                assert_eq!(manifest.current_deployment, commit('a'));
                assert_eq!(deploy.manifest_sum().exists(), with_sum);
            }
        }
    }

    #[test]
    fn where_there_was_none_there_is_none() {
        let (_temp, lock, second) = two(false);
        fs::remove_file(lock.deploy().manifest()).unwrap();
        let back = WayBack::prepare(&lock).unwrap();
        activate(&lock, &second, Timestamp::UNIX_EPOCH, 5).unwrap();
        back.take(&lock).unwrap();
        assert!(!lock.deploy().manifest().exists());
    }
}
