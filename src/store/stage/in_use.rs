//! Tells a staging folder in use from one left behind, by a lock on the folder itself (flock(2)),
//! which ends with its process.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;

/// Creates and locks a folder, which nobody else can enter; `None` when it is in use.
pub(super) fn claim(path: &Path) -> io::Result<Option<File>> {
    loop {
        match DirBuilder::new().mode(0o700).create(path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                // Of an earlier process with our number, unless it is our own.
                if !remove_unused(path)? {
                    return Ok(None);
                }
                continue;
            }
            Err(error) => return Err(error),
        }
        let claimed = || -> io::Result<Option<File>> {
            let folder = File::open(path)?;
            folder.lock()?;
            let (ours, there) = (folder.metadata()?, path.symlink_metadata()?);
            Ok(((ours.dev(), ours.ino()) == (there.dev(), there.ino())).then_some(folder))
        };
        match claimed() {
            Ok(Some(folder)) => return Ok(Some(folder)),
            // `clean` came between creating and locking it.
            Ok(None) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
}

/// Removes a staging folder unless it is in use, and whatever else has such a name.
pub(super) fn remove_unused(path: &Path) -> io::Result<bool> {
    let flags = (OFlags::NOFOLLOW | OFlags::DIRECTORY).bits() as i32;
    let folder = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Ok(folder) => folder,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            return fs::remove_file(path).map(|()| true);
        }
        Err(error) => return Err(error),
    };
    match folder.try_lock() {
        Ok(()) => fs::remove_dir_all(path).map(|()| true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}
