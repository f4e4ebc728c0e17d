//! Where everything lies below the deployment folder.
//!
//! ```text
//! deploy/
//!   manifest.json        which deployment is wanted
//!   manifest.json.md5    its sum, where somebody wants that compared
//!   .lock                held by whoever changes anything here
//!   .tmp-<commit>-<pid>/ a deployment that is being put together
//!   <commit>/            a complete deployment, never changed again
//!     deployment.json
//!     deployment.json.asc  where it was signed, maybe later
//!     server/ workers/<name>/
//! ```

use std::io;
use std::path::{Path, PathBuf};

use crate::ids::{CommitId, WorkerName};

/// The record's name in a deployment's folder.
pub const RECORD: &str = "deployment.json";

/// The name of the record's signature, beside it.
pub const SIGNATURE: &str = "deployment.json.asc";

/// What a folder's name begins with while it is being put together.
pub(crate) const STAGING_PREFIX: &str = ".tmp-";

/// The deployment folder, usually `deploy`; nothing is opened until it is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeployDir {
    path: PathBuf,
}

impl DeployDir {
    /// The deployment folder at `path`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// `manifest.json`.
    pub fn manifest(&self) -> PathBuf {
        self.path.join("manifest.json")
    }

    /// `manifest.json.new`, which is renamed to [`manifest`](Self::manifest) when it is complete.
    pub fn manifest_new(&self) -> PathBuf {
        self.path.join("manifest.json.new")
    }

    /// `manifest.json.md5`, which nobody has to write.
    pub fn manifest_sum(&self) -> PathBuf {
        self.path.join("manifest.json.md5")
    }

    /// `.lock`, see [`DeployLock`](super::lock::DeployLock).
    pub fn lock_file(&self) -> PathBuf {
        self.path.join(".lock")
    }

    /// The folder of one deployment.
    pub fn commit_dir(&self, commit: &CommitId) -> PathBuf {
        self.path.join(commit.as_str())
    }

    /// The `deployment.json` of one deployment.
    pub fn record(&self, commit: &CommitId) -> PathBuf {
        self.commit_dir(commit).join(RECORD)
    }

    /// The `deployment.json.asc` of one deployment, which it has only where it was signed.
    pub fn signature(&self, commit: &CommitId) -> PathBuf {
        self.commit_dir(commit).join(SIGNATURE)
    }

    /// The folder of one worker in one deployment.
    pub fn worker_dir(&self, commit: &CommitId, worker: &WorkerName) -> PathBuf {
        self.commit_dir(commit).join("workers").join(worker.as_str())
    }

    /// Where process `pid` puts the deployment of `commit` together.
    pub fn staging(&self, commit: &CommitId, pid: u32) -> PathBuf {
        self.path.join(format!("{STAGING_PREFIX}{commit}-{pid}"))
    }

    /// The complete deployments there are, sorted by commit. None, where the folder is absent.
    ///
    /// A folder is complete when it has a commit's name and a record: it gets that name by rename,
    /// after its last file was written. Symbolic links do not count.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn deployments(&self) -> io::Result<Vec<CommitId>> {
        let entries = match self.path.read_dir() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry?;
            let Some(commit) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            if entry.file_type()?.is_dir() && is_file(&self.record(&commit))? {
                found.push(commit);
            }
        }
        found.sort();
        Ok(found)
    }
}

/// Whether a file of this name, beside the parts of a deployment, describes it and is none of it.
/// A signature may be added to a deployment that is in use, and has another name for a moment.
pub(crate) fn describes(name: &str) -> bool {
    name == RECORD || name.strip_prefix(SIGNATURE).is_some_and(|rest| matches!(rest, "" | ".new"))
}

/// Whether a regular file, not a link to one, is at `path`.
fn is_file(path: &Path) -> io::Result<bool> {
    match path.symlink_metadata() {
        Ok(metadata) => Ok(metadata.is_file()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn commit(digit: char) -> CommitId {
        String::from(digit).repeat(40).parse().unwrap()
    }

    #[test]
    fn only_complete_folders_are_deployments() {
        let temp = tempfile::tempdir().unwrap();
        let deploy = DeployDir::new(temp.path());
        for digit in ['b', 'a'] {
            fs::create_dir(deploy.commit_dir(&commit(digit))).unwrap();
            fs::write(deploy.record(&commit(digit)), "{}").unwrap();
        }
        let no_record = commit('c');
        fs::create_dir(deploy.commit_dir(&no_record)).unwrap();
        symlink(deploy.commit_dir(&commit('a')), deploy.commit_dir(&commit('d'))).unwrap();
        let staging = deploy.staging(&commit('e'), 7);
        fs::create_dir(&staging).unwrap();
        fs::write(staging.join(RECORD), "{}").unwrap();
        fs::write(deploy.commit_dir(&commit('f')), "a file").unwrap();
        fs::create_dir_all(temp.path().join("abc1234")).unwrap();

        assert_eq!(deploy.deployments().unwrap(), [commit('a'), commit('b')]);
    }

    #[test]
    fn an_absent_folder_has_no_deployments() {
        let temp = tempfile::tempdir().unwrap();
        assert_eq!(DeployDir::new(temp.path().join("deploy")).deployments().unwrap(), []);
    }
}
