//! Opening what lies beneath a public folder, and nothing else.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;

/// Whether opening may wait for a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wait {
    /// Only look at what the kernel has in memory, else [`OpenError::WouldBlock`].
    Never,
    /// Wait as long as it takes; not on a runtime's thread.
    AsNeeded,
}

/// An open regular file, as it was when it was opened.
#[derive(Debug, Clone)]
pub(super) struct OpenFile {
    /// The file, read only by position.
    pub(super) file: Arc<File>,
    /// Which content it had.
    pub(super) version: FileVersion,
}

/// What changes whenever a file's content does, as far as the kernel can tell us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct FileVersion {
    dev: u64,
    ino: u64,
    /// The file's length in bytes.
    pub(super) len: u64,
    /// Seconds since 1970, and nanoseconds.
    mtime: (i64, i64),
    ctime: (i64, i64),
}

/// Why there is no file to be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum OpenError {
    /// No such name: another folder may have it.
    #[error("no such file")]
    Missing,
    /// There is something, which is not ours to give: a symbolic link, a way out of the folder,
    /// a folder, a pipe, a device.
    #[error("it is not a regular file beneath its folder")]
    Refused,
    /// The file's mode keeps us out.
    #[error("permission denied; public files must be readable by the user tqserver runs as")]
    Denied,
    /// Too many open files, or no memory: later it may work.
    #[error("out of resources: {0}")]
    Exhausted(io::Error),
    /// The answer is not in memory, and we were told not to wait.
    #[error("the disk must be asked")]
    WouldBlock,
    /// Anything else; the disk, probably.
    #[error(transparent)]
    Io(io::Error),
}

/// Opens the regular file `name` beneath `root`.
///
/// The kernel resolves the whole path in one step, without following a symbolic link and without
/// leaving `root` (openat2(2)), so there is no moment between a check and the use of what was
/// checked.
pub(super) fn open_beneath(root: &File, name: &str, wait: Wait) -> Result<OpenFile, OpenError> {
    let mut resolve =
        ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    if wait == Wait::Never {
        resolve |= ResolveFlags::CACHED;
    }
    // NONBLOCK: opening a pipe waits for its writer otherwise. It means nothing to regular files.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let fd = openat2(root, name, flags, Mode::empty(), resolve)
        .map_err(|errno| classify(errno, wait))?;
    let file = File::from(fd);
    let metadata = file.metadata().map_err(OpenError::Io)?;
    if !metadata.is_file() {
        return Err(OpenError::Refused);
    }
    Ok(OpenFile { version: FileVersion::of(&metadata), file: Arc::new(file) })
}

fn classify(errno: Errno, wait: Wait) -> OpenError {
    match errno {
        Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG => OpenError::Missing,
        // NXIO is a socket.
        Errno::LOOP | Errno::XDEV | Errno::NXIO => OpenError::Refused,
        Errno::ACCESS | Errno::PERM => OpenError::Denied,
        Errno::MFILE | Errno::NFILE | Errno::NOMEM => OpenError::Exhausted(errno.into()),
        Errno::AGAIN if wait == Wait::Never => OpenError::WouldBlock,
        other => OpenError::Io(other.into()),
    }
}

impl FileVersion {
    fn of(metadata: &std::fs::Metadata) -> Self {
        Self {
            dev: metadata.dev(),
            ino: metadata.ino(),
            len: metadata.len(),
            mtime: (metadata.mtime(), metadata.mtime_nsec()),
            ctime: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// The version `file` has now.
    pub(super) fn current(file: &File) -> io::Result<Self> {
        file.metadata().map(|metadata| Self::of(&metadata))
    }

    /// Whether the last change is so long ago, at `now`, that another one would show: file
    /// systems stamp changes with a clock that ticks rarely, some once in two seconds.
    pub(super) fn is_settled(&self, now: SystemTime) -> bool {
        const COARSEST_CLOCK: Duration = Duration::from_secs(2);
        // Not the mtime alone: anybody may set that, and copying does.
        let changed = timestamp(self.mtime.max(self.ctime));
        changed.and_then(|changed| now.duration_since(changed).ok()) >= Some(COARSEST_CLOCK)
    }

    /// Whether the content was written before that of `other`.
    pub(super) fn is_older_than(&self, other: &Self) -> bool {
        self.mtime < other.mtime
    }

    /// The date for `Last-Modified`, in whole seconds.
    ///
    /// `None` where it would say nothing: later than `now` (RFC 9110 section 8.8.2.1), or the
    /// beginning of time, which reproducible archives give to every file.
    pub(super) fn last_modified(&self, now: SystemTime) -> Option<SystemTime> {
        timestamp((self.mtime.0, 0)).filter(|date| *date > SystemTime::UNIX_EPOCH && *date <= now)
    }
}

fn timestamp((seconds, nanoseconds): (i64, i64)) -> Option<SystemTime> {
    let since_epoch = Duration::new(seconds.try_into().ok()?, nanoseconds.try_into().ok()?);
    SystemTime::UNIX_EPOCH.checked_add(since_epoch)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn version(mtime: i64, ctime: i64) -> FileVersion {
        FileVersion { dev: 1, ino: 1, len: 1, mtime: (mtime, 0), ctime: (ctime, 0) }
    }

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[rstest]
    #[case(version(100, 100), 102, true)]
    #[case(version(100, 100), 101, false)]
    #[case(version(50, 101), 102, false)]
    #[case(version(101, 50), 102, false)]
    #[case(version(100, 200), 102, false)]
    fn settling(#[case] version: FileVersion, #[case] now: u64, #[case] settled: bool) {
        assert_eq!(version.is_settled(at(now)), settled);
    }

    #[rstest]
    #[case(100, Some(at(100)))]
    #[case(103, None)]
    #[case(0, None)]
    #[case(-5, None)]
    #[case(i64::MAX, None)]
    fn dates(#[case] mtime: i64, #[case] date: Option<SystemTime>) {
        assert_eq!(version(mtime, 0).last_modified(at(102)), date);
    }

    #[rstest]
    #[case(Errno::NOENT, "Missing")]
    #[case(Errno::NOTDIR, "Missing")]
    #[case(Errno::NAMETOOLONG, "Missing")]
    #[case(Errno::LOOP, "Refused")]
    #[case(Errno::XDEV, "Refused")]
    #[case(Errno::NXIO, "Refused")]
    #[case(Errno::ACCESS, "Denied")]
    #[case(Errno::MFILE, "Exhausted")]
    #[case(Errno::NFILE, "Exhausted")]
    #[case(Errno::AGAIN, "Io")]
    #[case(Errno::IO, "Io")]
    fn errors(#[case] errno: Errno, #[case] kind: &str) {
        let error = format!("{:?}", classify(errno, Wait::AsNeeded));
        assert!(error.starts_with(kind), "{error}");
        assert!(matches!(classify(Errno::AGAIN, Wait::Never), OpenError::WouldBlock));
    }
}
