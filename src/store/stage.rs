//! Puts a deployment together where nobody takes it for one, and gives it its name at the end.

mod in_use;
#[cfg(test)]
mod tests;

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process;

use nix::unistd::geteuid;
use rustix::fs::{CWD, RenameFlags};

use super::atomic;
use super::consistency::stays_inside;
use super::deployment::Deployment;
use super::document::{Document, DocumentError, MAX_BYTES};
use super::layout::{DeployDir, RECORD, STAGING_PREFIX};
use super::lock::DeployLock;
use super::modes::{self, Writers, is_guarded};
use super::walk::{WalkError, walk};
use crate::ids::CommitId;

/// The largest record that is written, in bytes: the manifest repeats it, indented further and
/// beside its history, and must be readable as well.
const MAX_RECORD_BYTES: u64 = MAX_BYTES / 4 * 3;

/// Why there is no new deployment. What was staged is removed.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// This process is staging the same commit already.
    #[error("{}: is in use", .0.display())]
    Busy(PathBuf),
    /// The deployment is there already: verify it and use it.
    #[error("{}: exists already", .0.display())]
    Exists(PathBuf),
    /// A link, a special file or a failure to read, in what was to be copied.
    #[error(transparent)]
    Source(#[from] WalkError),
    /// The record is so large that it would be refused when it is read.
    #[error(
        "{RECORD}: has {0} bytes, and at most {MAX_RECORD_BYTES} are read; keep such numbers of \
         files outside of the deployment"
    )]
    TooManyFiles(usize),
    /// The record contradicts itself.
    #[error("{RECORD}: {0}")]
    Record(DocumentError),
    /// Writing failed.
    #[error("{}: {source}", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl StageError {
    fn at(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { path: path.to_path_buf(), source }
    }
}

/// A deployment in the making, in `deploy/.tmp-<commit>-<pid>`. Dropped, it is removed.
///
/// The folder itself is locked (flock(2)) while this lives, so that a folder left behind by a
/// process that was killed can be told from one in use.
#[derive(Debug)]
pub struct Staging {
    deploy: DeployDir,
    commit: CommitId,
    path: PathBuf,
    renamed: bool,
    _in_use: File,
}

impl Staging {
    /// Creates an empty staging folder.
    ///
    /// # Errors
    /// [`StageError::Busy`] when this process has one for this commit, or when it cannot be
    /// created.
    pub fn begin(deploy: &DeployDir, commit: &CommitId) -> Result<Self, StageError> {
        let path = deploy.staging(commit, process::id());
        let failed = StageError::at(&path);
        let in_use =
            in_use::claim(&path).map_err(failed)?.ok_or_else(|| StageError::Busy(path.clone()))?;
        Ok(Self {
            deploy: deploy.clone(),
            commit: commit.clone(),
            path,
            renamed: false,
            _in_use: in_use,
        })
    }

    /// The folder to fill.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Copies every file below the folder `from`, which may be absent, to the folder `to` below
    /// the staging folder. A file that is there already is replaced; empty folders are left out.
    ///
    /// # Errors
    /// The first link or special file, or failure to read or write.
    pub fn copy_tree(&self, from: &Path, to: &str) -> Result<(), StageError> {
        walk(from, &[], &mut |found| {
            let found = found?;
            let source = from.join(found.path);
            let opened = found.open().map_err(|error| WalkError::io(&source, error))?;
            self.copy(&opened, &source, &format!("{to}/{}", found.path))
        })
    }

    /// Copies one file to `to` below the staging folder, with its execute bit. Follows links.
    ///
    /// # Errors
    /// When reading or writing fails.
    pub fn copy_file(&self, from: &Path, to: &str) -> Result<(), StageError> {
        let opened = File::open(from).map_err(|error| WalkError::io(from, error))?;
        self.copy(&opened, from, to)
    }

    fn copy(&self, mut from: &File, source: &Path, to: &str) -> Result<(), StageError> {
        let mode = from.metadata().map_err(|error| WalkError::io(source, error))?.mode();
        let (path, mut file) = self.create(to, mode)?;
        // copy_file_range(2) on Linux: shares the blocks where the file system can.
        io::copy(&mut from, &mut file).map_err(StageError::at(&path))?;
        Ok(())
    }

    /// Takes a file of an earlier deployment over to `to` below the staging folder, without a copy
    /// where that can be: a hard link to a file that is the caller's own. Nothing writes into a
    /// deployed file, and whoever replaces one does so by rename, so that the earlier deployment
    /// stays as it is. Returns whether it is one and the same file now.
    ///
    /// # Errors
    /// When neither can be done.
    pub fn take_over(&self, from: &Path, to: &str) -> Result<bool, StageError> {
        let opened = File::open(from).map_err(|error| WalkError::io(from, error))?;
        let metadata = opened.metadata().map_err(|error| WalkError::io(from, error))?;
        if can_be_linked(&metadata) {
            let (path, file) = self.create(to, metadata.mode())?;
            drop(file);
            let link = || {
                fs::remove_file(&path)?;
                fs::hard_link(from, &path)
            };
            match link() {
                Ok(()) => return Ok(true),
                // Another file system, or one without hard links; too many of them.
                Err(error) if may_be_copied(&error) => {}
                Err(error) => return Err(StageError::at(&path)(error)),
            }
        }
        self.copy(&opened, from, to).map(|()| false)
    }

    /// Writes what is left of `content` to `to` below the staging folder, and returns how much.
    ///
    /// # Errors
    /// When reading or writing fails.
    pub fn receive(
        &self,
        content: &mut impl io::Read,
        executable: bool,
        to: &str,
    ) -> Result<u64, StageError> {
        let (path, mut file) = self.create(to, if executable { 0o755 } else { 0o644 })?;
        io::copy(content, &mut file).map_err(StageError::at(&path))
    }

    /// Writes a file of the deployment that has no source, at `to` below the staging folder.
    ///
    /// # Errors
    /// When writing fails.
    pub fn write(&self, to: &str, bytes: &[u8]) -> Result<(), StageError> {
        let (path, mut file) = self.create(to, 0o644)?;
        file.write_all(bytes).map_err(StageError::at(&path))
    }

    fn create(&self, to: &str, mode: u32) -> Result<(PathBuf, File), StageError> {
        let path = self.path.join(to);
        let create = || {
            if !stays_inside(to) {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, "is no path to stage at"));
            }
            fs::create_dir_all(path.parent().unwrap_or(&self.path))?;
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            OpenOptions::new().write(true).create_new(true).mode(modes::of_file(mode)).open(&path)
        };
        let file = create().map_err(StageError::at(&path))?;
        Ok((path, file))
    }

    /// Writes the record, flushes everything to the disk, and makes it the deployment of its
    /// commit. Files become 0644, those with an execute bit 0755, and folders as
    /// [`Writers::folder`] says, whatever the umask.
    ///
    /// # Errors
    /// [`StageError::Exists`] when there is one already, which is then untouched.
    pub fn finish(mut self, record: &Deployment) -> Result<(), StageError> {
        record.check().map_err(StageError::Record)?;
        let target = self.deploy.commit_dir(&self.commit);
        let json = record.to_json();
        if json.len() as u64 > MAX_RECORD_BYTES {
            return Err(StageError::TooManyFiles(json.len()));
        }
        self.write(RECORD, &json)?;
        settle(&self.path, "")?;
        rustix::fs::renameat_with(CWD, &self.path, CWD, &target, RenameFlags::NOREPLACE).map_err(
            |error| match error {
                rustix::io::Errno::EXIST => StageError::Exists(target.clone()),
                error => StageError::at(&target)(error.into()),
            },
        )?;
        self.renamed = true;
        atomic::flush_folder(self.deploy.path()).map_err(StageError::at(self.deploy.path()))
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if !self.renamed {
            // Best effort: `clean` gets what is left.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// Whether [`Staging::take_over`] takes no room for a file, as far as can be told before.
pub fn is_linked(from: &Path) -> bool {
    from.symlink_metadata().is_ok_and(|metadata| can_be_linked(&metadata))
}

/// `finish` sets modes, which only the owner can, and must find nothing to change.
fn can_be_linked(metadata: &fs::Metadata) -> bool {
    let mode = metadata.mode() & 0o7777;
    metadata.uid() == geteuid().as_raw() && mode == modes::of_file(mode)
}

/// Whether a hard link failed for a reason that a copy does not have.
fn may_be_copied(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::CrossesDevices
            | io::ErrorKind::TooManyLinks
            | io::ErrorKind::PermissionDenied
            | io::ErrorKind::Unsupported
    )
}

/// Removes the staging folders of processes that are gone, and returns them. Those of other users
/// are left to them: nobody else can look into a folder that is not finished.
///
/// # Errors
/// When the deployment folder cannot be read, or one of them not removed.
pub fn clean(lock: &DeployLock) -> Result<Vec<PathBuf>, StageError> {
    let folder = lock.deploy().path();
    let mut removed = Vec::new();
    for entry in folder.read_dir().map_err(StageError::at(folder))? {
        let entry = entry.map_err(StageError::at(folder))?;
        let staging = entry.file_name().to_str().is_some_and(|n| n.starts_with(STAGING_PREFIX));
        let path = entry.path();
        if !staging {
            continue;
        }
        match in_use::remove_unused(&path) {
            Ok(true) => removed.push(path),
            Ok(false) => {}
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
            Err(error) => return Err(StageError::at(&path)(error)),
        }
    }
    Ok(removed)
}

/// Removes a complete deployment. First it gets the name of a staging folder, so that what is left when
/// we are killed is never taken for a deployment, and [`clean`] removes it. Links are not followed.
///
/// # Errors
/// When it cannot be renamed: then it is as it was; or not removed: then it is no deployment any more.
pub fn discard(lock: &DeployLock, commit: &CommitId) -> Result<(), StageError> {
    let deploy = lock.deploy();
    let (folder, leaving) = (deploy.commit_dir(commit), deploy.staging(commit, process::id()));
    rustix::fs::renameat_with(CWD, &folder, CWD, &leaving, RenameFlags::NOREPLACE)
        .map_err(|error| StageError::at(&folder)(error.into()))?;
    atomic::flush_folder(deploy.path()).map_err(StageError::at(deploy.path()))?;
    in_use::remove_unused(&leaving).map_err(StageError::at(&leaving))?;
    Ok(())
}

/// Sets the modes of everything in a folder, which is `path` below the deployment's, and of itself
/// last; and flushes it to the disk.
fn settle(folder: &Path, path: &str) -> Result<(), StageError> {
    for entry in folder.read_dir().map_err(StageError::at(folder))? {
        let entry = entry.map_err(StageError::at(folder))?;
        let full = entry.path();
        let kind = entry.file_type().map_err(StageError::at(&full))?;
        if kind.is_dir() {
            let Ok(name) = entry.file_name().into_string() else {
                return Err(WalkError::NotUtf8(full).into());
            };
            let below = if path.is_empty() { name } else { format!("{path}/{name}") };
            settle(&full, &below)?;
        } else if kind.is_file() {
            let flush = || {
                let file = File::open(&full)?;
                let mode = modes::of_file(file.metadata()?.mode());
                file.set_permissions(Permissions::from_mode(mode))?;
                file.sync_all()
            };
            flush().map_err(StageError::at(&full))?;
        } else if kind.is_symlink() {
            return Err(WalkError::Symlink(full).into());
        } else {
            return Err(WalkError::Special(full).into());
        }
    }
    let flush = || {
        let mode = Writers::of(&folder.metadata()?).folder(is_guarded(path));
        fs::set_permissions(folder, Permissions::from_mode(mode))?;
        atomic::flush_folder(folder)
    };
    flush().map_err(StageError::at(folder))
}
