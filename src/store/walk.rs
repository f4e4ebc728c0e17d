//! Walks a folder without ever following a link.
//!
//! Every step is taken from the opened folder before it (openat(2) with `O_NOFOLLOW`), so that
//! nobody can lead the walk elsewhere by swapping a folder for a link while it is under way.

use std::ffi::{CStr, OsStr};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat};

/// How deep folders may be nested: every level holds a descriptor and a stack frame.
const MAX_DEPTH: usize = 64;

/// Why a folder cannot be taken as it is.
#[derive(Debug, thiserror::Error)]
pub enum WalkError {
    /// Links could lead out of the folder, and change what is served without changing the folder.
    #[error("{}: is a symbolic link; put the file itself there", .0.display())]
    Symlink(PathBuf),
    /// A socket, pipe or device.
    #[error("{}: is not a regular file or folder", .0.display())]
    Special(PathBuf),
    /// A name that no JSON document can hold.
    #[error("{}: has a name that is not UTF-8; rename it", .0.display())]
    NotUtf8(PathBuf),
    /// Folders in folders in folders.
    #[error("{}: lies more than {MAX_DEPTH} folders deep", .0.display())]
    TooDeep(PathBuf),
    /// It could not be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl WalkError {
    pub(crate) fn io(path: impl Into<PathBuf>, source: impl Into<io::Error>) -> Self {
        Self::Io { path: path.into(), source: source.into() }
    }
}

/// A regular file that was found, not opened yet.
pub(crate) struct Found<'a> {
    /// Below the root of the walk, separated by `/`.
    pub(crate) path: &'a str,
    /// What lstat(2) said of it.
    pub(crate) stat: Stat,
    folder: BorrowedFd<'a>,
    name: &'a CStr,
}

impl Found<'_> {
    /// Opens it for reading. What is there by now may differ from [`stat`](Self::stat), but it is
    /// no link, and opening it does not block.
    pub(crate) fn open(&self) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = File::from(rustix::fs::openat(self.folder, self.name, flags, Mode::empty())?);
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("was replaced while it was being read"));
        }
        Ok(file)
    }
}

/// Which folders below the root of a walk are not entered, by their path below it.
pub(crate) type Skip<'s> = &'s dyn Fn(&str) -> bool;

/// Takes each finding of a walk; its error ends the walk.
pub(crate) type Visit<'v, E> = dyn FnMut(Result<Found<'_>, WalkError>) -> Result<(), E> + 'v;

/// Calls `visit` with every file at or below `folders` of `root` (all of `root` when there are
/// none), and with every finding that is not acceptable; an error of `visit` ends the walk.
/// Folders that are absent have no files. Order is the file system's.
///
/// # Errors
/// Those of `visit`.
pub(crate) fn walk<E>(root: &Path, folders: &[&str], visit: &mut Visit<'_, E>) -> Result<(), E> {
    if folders.is_empty() {
        return walk_outside(root, &|_| false, visit);
    }
    let Some(opened) = open_root(root, visit)? else { return Ok(()) };
    let mut walk = Walk { root, skip: &|_| false, visit };
    for folder in folders {
        match open_folder(opened.as_fd(), Path::new(folder)) {
            Ok(Some(fd)) => walk.folder(&fd, folder, 1)?,
            Ok(None) => {}
            Err(source) => {
                let error = refusal(opened.as_fd(), Path::new(folder), root.join(folder), source);
                (walk.visit)(Err(error))?;
            }
        }
    }
    Ok(())
}

/// [`walk`] of all of `root`, but for the folders to `skip`: they are neither opened nor missed.
///
/// # Errors
/// Those of `visit`.
pub(crate) fn walk_outside<E>(
    root: &Path,
    skip: Skip<'_>,
    visit: &mut Visit<'_, E>,
) -> Result<(), E> {
    match open_root(root, visit)? {
        Some(opened) => Walk { root, skip, visit }.folder(&opened, "", 0),
        None => Ok(()),
    }
}

fn open_root<E>(root: &Path, visit: &mut Visit<'_, E>) -> Result<Option<OwnedFd>, E> {
    open_folder(CWD, root).or_else(|source| {
        visit(Err(refusal(CWD, root, root.to_path_buf(), source)))?;
        Ok(None)
    })
}

struct Walk<'a, 'v, E> {
    root: &'a Path,
    skip: Skip<'a>,
    visit: &'a mut Visit<'v, E>,
}

impl<E> Walk<'_, '_, E> {
    fn folder(&mut self, folder: &OwnedFd, path: &str, depth: usize) -> Result<(), E> {
        let here = || self.root.join(path);
        if depth > MAX_DEPTH {
            return (self.visit)(Err(WalkError::TooDeep(here())));
        }
        let entries = match Dir::read_from(folder) {
            Ok(entries) => entries,
            Err(source) => return (self.visit)(Err(WalkError::io(here(), source))),
        };
        for entry in entries {
            match entry {
                Ok(entry) if matches!(entry.file_name().to_bytes(), b"." | b"..") => {}
                Ok(entry) => self.entry(folder, path, entry.file_name(), depth)?,
                Err(source) => return (self.visit)(Err(WalkError::io(here(), source))),
            }
        }
        Ok(())
    }

    fn entry(&mut self, folder: &OwnedFd, above: &str, name: &CStr, depth: usize) -> Result<(), E> {
        let full = || self.root.join(above).join(OsStr::from_bytes(name.to_bytes()));
        let Ok(text) = name.to_str() else {
            return (self.visit)(Err(WalkError::NotUtf8(full())));
        };
        let path = if above.is_empty() { text.to_owned() } else { format!("{above}/{text}") };
        let stat = match rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            // Gone since the folder was listed.
            Err(rustix::io::Errno::NOENT) => return Ok(()),
            Err(source) => return (self.visit)(Err(WalkError::io(full(), source))),
        };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {
                (self.visit)(Ok(Found { path: &path, stat, folder: folder.as_fd(), name }))
            }
            FileType::Directory if (self.skip)(&path) => Ok(()),
            FileType::Directory => match open_folder(folder.as_fd(), name) {
                Ok(Some(below)) => self.folder(&below, &path, depth + 1),
                Ok(None) => Ok(()),
                Err(source) => (self.visit)(Err(WalkError::io(full(), source))),
            },
            FileType::Symlink => (self.visit)(Err(WalkError::Symlink(full()))),
            _ => (self.visit)(Err(WalkError::Special(full()))),
        }
    }
}

/// Opens a folder that is no link; `None` where there is nothing.
pub(crate) fn open_folder(
    at: BorrowedFd<'_>,
    path: impl rustix::path::Arg,
) -> Result<Option<OwnedFd>, rustix::io::Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::openat(at, path, flags, Mode::empty()) {
        Ok(fd) => Ok(Some(fd)),
        Err(rustix::io::Errno::NOENT) => Ok(None),
        Err(source) => Err(source),
    }
}

/// Why a folder did not open: with `O_DIRECTORY`, openat(2) says `ENOTDIR` of a link as well.
fn refusal(at: BorrowedFd<'_>, path: &Path, full: PathBuf, source: rustix::io::Errno) -> WalkError {
    match rustix::fs::statat(at, path, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink => {
            WalkError::Symlink(full)
        }
        _ => WalkError::io(full, source),
    }
}
