//! The program that this process runs, and whether the file it came from is another one by now.

use std::ffi::OsString;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// An executable file, and what is to be found there for it to be the one that runs.
#[derive(Debug, Clone)]
pub(in crate::daemon) struct Program {
    path: PathBuf,
    running: Identity,
}

/// What tells one file from its replacement. The time tells a file that was written over, for
/// which the inode stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
    modified: (i64, i64),
}

impl Identity {
    fn of(path: &Path) -> io::Result<Self> {
        let file = fs::metadata(path)?;
        let modified = (file.mtime(), file.mtime_nsec());
        Ok(Self { device: file.dev(), inode: file.ino(), modified })
    }
}

/// What the kernel adds to the path of a program whose file is gone (proc(5)).
const DELETED: &str = " (deleted)";

impl Program {
    /// The program of this process. The path is the one it was started by, so that a symbolic link
    /// that is pointed elsewhere counts as a replacement; else the kernel's.
    ///
    /// # Errors
    /// When there is no proc(5).
    pub(in crate::daemon) fn of_process() -> io::Result<Self> {
        let running = Identity::of("/proc/self/exe".as_ref())?;
        let started_by = env::args_os().next().map(PathBuf::from).filter(|path| path.is_absolute());
        let same = |path: &PathBuf| Identity::of(path).is_ok_and(|found| found == running);
        let path = match started_by.filter(same) {
            Some(path) => path,
            None => without_suffix(fs::read_link("/proc/self/exe")?),
        };
        Ok(Self { path, running })
    }

    /// Whether there is another program in its place. A file that is missing is none.
    pub(in crate::daemon) fn is_replaced(&self) -> bool {
        Identity::of(&self.path).is_ok_and(|found| found != self.running)
    }

    /// Where it is.
    pub(in crate::daemon) fn path(&self) -> &Path {
        &self.path
    }
}

fn without_suffix(path: PathBuf) -> PathBuf {
    match path.to_str().and_then(|text| text.strip_suffix(DELETED)) {
        Some(text) if !path.exists() => PathBuf::from(text),
        _ => path,
    }
}

/// The arguments of this process, without those of a handover that it came from itself.
pub(super) fn arguments() -> impl Iterator<Item = OsString> {
    env::args_os().skip(1).filter(|argument| {
        !argument.to_str().is_some_and(|argument| argument.starts_with("--take-over="))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn program_at(path: PathBuf) -> Program {
        Program { running: Identity::of(&path).unwrap(), path }
    }

    #[test]
    fn a_file_put_in_its_place_is_another_program() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tqserver");
        fs::write(&path, "one").unwrap();
        let program = program_at(path.clone());
        assert!(!program.is_replaced());
        fs::remove_file(&path).unwrap();
        assert!(!program.is_replaced(), "there is nothing to run");
        fs::write(dir.path().join("new"), "two").unwrap();
        // Kept, so that the inode of the first is not given to the second.
        fs::rename(dir.path().join("new"), &path).unwrap();
        assert!(program.is_replaced());
    }

    #[test]
    fn a_link_pointed_elsewhere_is_another_program() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name| dir.path().join(name);
        fs::write(at("1.0"), "one").unwrap();
        fs::write(at("1.1"), "two").unwrap();
        std::os::unix::fs::symlink(at("1.0"), at("tqserver")).unwrap();
        let program = program_at(at("tqserver"));
        assert!(!program.is_replaced());
        std::os::unix::fs::symlink(at("1.1"), at("link")).unwrap();
        fs::rename(at("link"), at("tqserver")).unwrap();
        assert!(program.is_replaced());
    }

    #[rstest]
    #[case::replaced("/nowhere/tqserver (deleted)", "/nowhere/tqserver")]
    #[case::there("/proc/self/exe", "/proc/self/exe")]
    fn the_kernels_remark_is_no_part_of_the_path(#[case] link: &str, #[case] path: &str) {
        assert_eq!(without_suffix(link.into()), PathBuf::from(path));
    }
}
