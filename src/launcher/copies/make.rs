//! Makes one copy: where nobody takes it for one, until it is complete and verified.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Seek};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process;
use std::time::Instant;

use super::source::Deployed;
use super::{CopyError, Limits, UNFINISHED, soundness};
use crate::ids::WorkerName;
use crate::store::deployment::WorkerPart;
use crate::store::digest::{self, FileDigest, TreeDigest};
use crate::store::verify::Problem;

/// How much is copied between two looks at the clock, in bytes.
const CHUNK: u64 = 16 << 20;

/// A copy in the making. Dropped, it is removed.
pub(super) struct Making {
    folder: PathBuf,
    limits: Limits,
    deadline: Instant,
}

impl Making {
    /// Makes an empty folder in `root`, without any of the same name that a killed process left.
    pub(super) fn begin(root: &Path, limits: Limits, deadline: Instant) -> Result<Self, CopyError> {
        let folder = root.join(format!("{UNFINISHED}{}", process::id()));
        let make = || {
            fs::create_dir_all(root)?;
            match fs::remove_dir_all(&folder) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            make_folder(&folder)
        };
        make().map_err(CopyError::at(&folder))?;
        Ok(Self { folder, limits, deadline })
    }

    /// Copies every file of `part`, and compares the copies with it.
    pub(super) fn fill(
        &self,
        deployed: &Deployed,
        worker: &WorkerName,
        part: &WorkerPart,
        before: &mut dyn FnMut(&str),
    ) -> Result<(), CopyError> {
        let (count, limit) = (part.sha256.len(), self.limits.files);
        if count > limit {
            return Err(CopyError::TooMany { count, limit });
        }
        for folder in folders(part) {
            let path = self.folder.join(folder);
            make_folder(&path).map_err(CopyError::at(&path))?;
        }
        let mut room = self.limits.bytes;
        let mut files = BTreeMap::new();
        for (path, expected) in &part.sha256 {
            before(path);
            self.in_time()?;
            let source = format!("{}/{path}", part.path);
            let digest = self.file(deployed.file(&source)?, path, room)?;
            if digest.sha256 != *expected {
                let (found, expected) = (digest.sha256, *expected);
                return Err(deployed.unsound(Problem::Changed { path: source, found, expected }));
            }
            room = room.saturating_sub(digest.size);
            files.insert(path.clone(), digest);
        }
        let found = TreeDigest::new(files);
        soundness::check(&self.folder, worker, part, &found)
            .map_err(|problem| deployed.unsound(problem))
    }

    /// Gives the copy its name.
    pub(super) fn finish(self, folder: &Path) -> Result<(), CopyError> {
        let rename = || {
            fs::create_dir_all(folder.parent().unwrap_or(folder))?;
            fs::rename(&self.folder, folder)
        };
        rename().map_err(CopyError::at(folder))
    }

    /// Copies one file to `path`, and says what the copy, not its source, has in it.
    fn file(&self, source: File, path: &str, room: u64) -> Result<FileDigest, CopyError> {
        let target = self.folder.join(path);
        let failed = || CopyError::at(&target);
        let executable = source.metadata().map_err(failed())?.permissions().mode() & 0o111 != 0;
        let mut copy = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&target)
            .map_err(failed())?;
        self.content(&source, &mut copy, room)?.map_err(failed())?;
        copy.rewind().map_err(failed())?;
        let digest = digest::read(&mut copy, executable).map_err(failed())?;
        let mode = if executable { 0o755 } else { 0o644 };
        copy.set_permissions(Permissions::from_mode(mode)).map_err(failed())?;
        Ok(digest)
    }

    fn in_time(&self) -> Result<(), CopyError> {
        let over = Instant::now() > self.deadline;
        if over { Err(CopyError::TooSlow(self.limits.time)) } else { Ok(()) }
    }

    /// Shares the blocks where the file system can, else copies, and is bounded by `room` and time
    /// in any case: the source may grow meanwhile.
    fn content(
        &self,
        mut source: &File,
        copy: &mut File,
        room: u64,
    ) -> Result<io::Result<()>, CopyError> {
        let too_large = CopyError::TooLarge(self.limits.bytes);
        if rustix::fs::ioctl_ficlone(&*copy, source).is_ok() {
            return match copy.metadata() {
                Ok(stat) if stat.len() > room => Err(too_large),
                read => Ok(read.map(drop)),
            };
        }
        let mut copied = 0;
        loop {
            self.in_time()?;
            match io::copy(&mut source.by_ref().take(CHUNK), copy) {
                Ok(0) => return Ok(Ok(())),
                Ok(count) => copied += count,
                Err(error) => return Ok(Err(error)),
            }
            if copied > room {
                return Err(too_large);
            }
        }
    }
}

impl Drop for Making {
    fn drop(&mut self) {
        // Gone by its new name, where it was finished. Cleaning gets what is left.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// The folders that the files of `part` lie in, each after the one it is in.
fn folders(part: &WorkerPart) -> BTreeSet<&Path> {
    let ancestors = |path| Path::new(path).ancestors().skip(1);
    let all = part.sha256.keys().flat_map(ancestors);
    all.filter(|folder| !folder.as_os_str().is_empty()).collect()
}

/// A folder that workers may read, whatever the umask.
fn make_folder(path: &Path) -> io::Result<()> {
    fs::create_dir(path)?;
    fs::set_permissions(path, Permissions::from_mode(0o755))
}
