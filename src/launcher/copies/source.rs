//! Reads a deployment's folder without trusting it.
//!
//! Every step of a path is taken from the descriptor of the folder before it, follows no link and
//! crosses no mount: a deployer's FUSE mount could make a reader wait for ever. What a step finds
//! is looked at before it is opened for reading (`O_PATH`, open(2)), and then it is that very file
//! that is opened, whatever has taken its name meanwhile.
//!
//! openat2(2) would do, if a service could have both it and `RestrictSUIDSGID=`, which takes it
//! away up to systemd 252.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, StatxFlags, openat, statx};
use rustix::io::Errno;

use super::CopyError;
use crate::ids::{CommitId, WorkerName};
use crate::store::deployment::Deployment;
use crate::store::digest::DigestError;
use crate::store::document::{DocumentError, MAX_BYTES, ReadError};
use crate::store::layout::{DeployDir, RECORD, SIGNATURE};
use crate::store::signature::{self, Gate};
use crate::store::verify::Problem;

/// The folder of one deployment, held open.
pub(super) struct Deployed {
    folder: OwnedFd,
    mount: u64,
    path: PathBuf,
    commit: CommitId,
}

impl Deployed {
    /// Opens the folder of `commit`.
    pub(super) fn open(deploy: &DeployDir, commit: &CommitId) -> Result<Self, CopyError> {
        let path = deploy.commit_dir(commit);
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        // Root's configuration says where this is; what is below it is the deployers'.
        let all = openat(CWD, deploy.path(), flags, Mode::empty())
            .and_then(|all| Ok((look(&all)?.mount, all)));
        let (mount, all) = all.map_err(|error| CopyError::at(deploy.path())(error.into()))?;
        match step(all.as_fd(), commit.as_str(), mount) {
            Ok((folder, FileType::Directory)) => {
                Ok(Self { folder, mount, path, commit: commit.clone() })
            }
            Ok(_) => Err(CopyError::at(&path)(io::Error::other(
                "is not a folder; a deployment must lie there itself",
            ))),
            Err(Errno::NOENT) => Err(CopyError::NotDeployed {
                commit: commit.clone(),
                deploy: deploy.path().to_path_buf(),
            }),
            Err(error) => Err(CopyError::at(&path)(explained(error))),
        }
    }

    /// The deployment's record. Where there is a `gate`, it must be signed, and is not parsed before
    /// the signature was verified; and the deployment must be admitted for `worker` to start.
    pub(super) fn record(
        &self,
        gate: Option<&Gate>,
        worker: &WorkerName,
    ) -> Result<Deployment, CopyError> {
        let bytes = self.document(RECORD)?;
        let Some(gate) = gate else { return Ok(self.parse(&bytes)?) };
        let signature = signature::present(self.document(SIGNATURE))?;
        let authentic = gate.authenticate(&bytes, &signature, &self.path.join(SIGNATURE))?;
        let record = self.parse(&bytes)?;
        authentic.admit(&record, Some(worker), Timestamp::now())?;
        Ok(record)
    }

    fn parse(&self, bytes: &[u8]) -> Result<Deployment, ReadError> {
        let path = self.path.join(RECORD);
        let record = Deployment::parse(bytes).map_err(|error| error.in_file(&path))?;
        if record.git_commit != self.commit {
            return Err(ReadError::OtherCommit { path, found: record.git_commit });
        }
        Ok(record)
    }

    /// The content of a file that describes the deployment.
    fn document(&self, name: &str) -> Result<Vec<u8>, ReadError> {
        let path = self.path.join(name);
        let failed = |problem| match problem {
            Problem::Missing(_) => ReadError::Absent(path.clone()),
            Problem::Unacceptable(DigestError::Io { path, source }) => {
                ReadError::Io { path, source }
            }
            _ => ReadError::NotAFile(path.clone()),
        };
        let file = self.open_file(name).map_err(failed)?;
        let mut bytes = Vec::new();
        file.take(MAX_BYTES + 1)
            .read_to_end(&mut bytes)
            .map_err(|source| ReadError::Io { path: path.clone(), source })?;
        if bytes.len() as u64 > MAX_BYTES {
            return Err(DocumentError::TooLarge.in_file(&path));
        }
        Ok(bytes)
    }

    /// Opens the file at `path`, a relative one without `..` that a record has named.
    pub(super) fn file(&self, path: &str) -> Result<File, CopyError> {
        self.open_file(path).map_err(|problem| self.unsound(problem))
    }

    /// The error that `problem` is for this deployment.
    pub(super) fn unsound(&self, problem: Problem) -> CopyError {
        CopyError::Unsound { commit: self.commit.clone(), problem: Box::new(problem) }
    }

    fn open_file(&self, path: &str) -> Result<File, Problem> {
        let full = self.path.join(path);
        let failed = |error| match error {
            Errno::NOENT => Problem::Missing(path.to_owned()),
            error => DigestError::io(&full, explained(error)).into(),
        };
        let mut names = path.split('/').peekable();
        let mut at = self.folder.as_fd().try_clone_to_owned();
        while let Some(name) = names.next() {
            let folder = at.map_err(|error| DigestError::io(&full, error))?;
            let (found, kind) = step(folder.as_fd(), name, self.mount).map_err(failed)?;
            match (kind, names.peek()) {
                (FileType::Directory, Some(_)) => at = Ok(found),
                (FileType::RegularFile, None) => {
                    return reopen(&found).map_err(|error| DigestError::io(full, error).into());
                }
                (FileType::Symlink, _) => return Err(DigestError::Symlink(full).into()),
                _ => break,
            }
        }
        Err(DigestError::Special(full).into())
    }
}

/// What there is, as far as it matters before it is opened.
struct Look {
    kind: FileType,
    mount: u64,
}

fn look(fd: &OwnedFd) -> Result<Look, Errno> {
    // Without asking a file system that may not answer.
    let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
    let stat = statx(fd, c"", flags, StatxFlags::TYPE | StatxFlags::MNT_ID)?;
    Ok(Look { kind: FileType::from_raw_mode(stat.stx_mode.into()), mount: stat.stx_mnt_id })
}

/// Takes a step from the folder `at` to `name` in it: a handle that cannot be read from.
fn step(at: BorrowedFd<'_>, name: &str, mount: u64) -> Result<(OwnedFd, FileType), Errno> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let found = openat(at, Path::new(name), flags, Mode::empty())?;
    let look = look(&found)?;
    if look.mount != mount { Err(Errno::XDEV) } else { Ok((found, look.kind)) }
}

/// Opens the file behind a handle for reading.
fn reopen(handle: &OwnedFd) -> io::Result<File> {
    let nonblocking = OFlags::NONBLOCK.bits().cast_signed();
    let path = format!("/proc/self/fd/{}", handle.as_raw_fd());
    OpenOptions::new().read(true).custom_flags(nonblocking).open(path)
}

fn explained(error: Errno) -> io::Error {
    match error {
        Errno::XDEV => io::Error::other("is a mount, and none are crossed; put the files there"),
        error => error.into(),
    }
}
