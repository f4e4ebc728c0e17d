//! What files contain, so that one that was written and has not changed can be told from one that
//! has.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use md5::{Digest, Md5};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, open, statat};

use super::selection::{Found, Selection, walk};

/// Files larger than this, in bytes, are not read: they count as changed when their times do.
const LARGEST: u64 = 4 << 20;

/// How long a folder must have been left alone before its times are believed: a name that came within
/// the granularity of the file system's clock would not change them.
const SETTLED: Duration = Duration::from_secs(2);

/// Files that are not what they were, with what they are now; `None` where they are gone.
pub type Different = BTreeMap<PathBuf, Option<Known>>;

/// The selected files of a project, as they were last looked at.
pub struct Contents {
    root: PathBuf,
    selection: Arc<dyn Selection>,
    folders: BTreeMap<PathBuf, Folder>,
}

/// What a folder has, but for the folders in it.
#[derive(Default, Clone)]
struct Folder {
    /// While the folder has these times it has the same names; `None` where that is not sure.
    settled: Option<Stamp>,
    files: BTreeMap<OsString, Known>,
}

/// What is known of a file that was looked at. Whoever writes to it makes another of it, even with
/// the same content: in between there may be half of that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    stamp: Stamp,
    content: Content,
}

/// What tells one version of a file or folder from another without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    size: u64,
    modified: (i64, u64),
    changed: (i64, u64),
}

impl Stamp {
    // Field types of `struct stat` differ between architectures.
    #[allow(clippy::unnecessary_cast, clippy::useless_conversion)]
    fn of(stat: &Stat) -> Self {
        Self {
            inode: stat.st_ino as u64,
            size: stat.st_size as u64,
            modified: (stat.st_mtime as i64, stat.st_mtime_nsec as u64),
            changed: (stat.st_ctime as i64, stat.st_ctime_nsec as u64),
        }
    }
}

/// What counts of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Content {
    /// The digest of its bytes, and whether it may be executed.
    Digest([u8; 16], bool),
    /// Of a file too large to be read: its times.
    Unread(Stamp),
}

impl Contents {
    /// Reads every selected file below `root`. Blocks.
    pub fn read(root: &Path, selection: Arc<dyn Selection>) -> Self {
        let mut contents = Self { root: root.to_owned(), selection, folders: BTreeMap::new() };
        contents.enter(root, &mut Different::new());
        contents
    }

    /// Has another selection from now on; files that are new in it are no changes, and what changed
    /// of the others is still to be told. Blocks.
    pub fn select(&mut self, selection: Arc<dyn Selection>) {
        self.selection = selection;
        let before = std::mem::take(&mut self.folders);
        self.enter(&self.root.clone(), &mut Different::new());
        for (path, folder) in before {
            let Some(now) = self.folders.get_mut(&path) else { continue };
            for (name, known) in folder.files {
                now.files.entry(name).and_modify(|now| *now = known);
            }
        }
    }

    /// How many files there are.
    pub fn files(&self) -> usize {
        self.folders.values().map(|folder| folder.files.len()).sum()
    }

    /// Looks at `paths`, which may be folders or gone, and returns those files that are not what
    /// they were. Blocks.
    pub fn compare(&mut self, paths: &BTreeSet<PathBuf>) -> Different {
        let mut changed = Different::new();
        // A folder's rules apply to all of its files: they are read once for each folder.
        let mut by_folder: BTreeMap<&Path, BTreeSet<OsString>> = BTreeMap::new();
        for path in paths {
            if path.is_dir() {
                if self.selection.enters(path) {
                    self.list(path, &|_| true, &mut changed);
                    self.enter_new(path, &mut changed);
                }
            } else if let (Some(folder), Some(name)) = (path.parent(), path.file_name()) {
                self.forget_below(path, &mut changed);
                by_folder.entry(folder).or_default().insert(name.to_owned());
            }
        }
        for (folder, names) in by_folder {
            // One that is not known is left out, or was named itself.
            if self.folders.contains_key(folder) {
                self.list(folder, &|name| names.contains(name), &mut changed);
            }
        }
        changed
    }

    /// What [`Contents::compare`] would return, which it goes on to do. Blocks.
    pub fn peek(&self, paths: &BTreeSet<PathBuf>) -> Different {
        let mut folders = BTreeMap::new();
        for path in paths {
            let folder = path.parent().and_then(|folder| self.folders.get_key_value(folder));
            let below = self.folders.range(path.clone()..);
            let below = below.take_while(|(folder, _)| folder.starts_with(path));
            let all = folder.into_iter().chain(below);
            folders.extend(all.map(|(path, folder)| (path.clone(), folder.clone())));
        }
        let (root, selection) = (self.root.clone(), Arc::clone(&self.selection));
        Self { root, selection, folders }.compare(paths)
    }

    /// Looks at all files, and returns those that are not what they were. Reads only those whose
    /// times have changed, and lists only folders that may have other names in them. Blocks.
    pub fn compare_all(&mut self) -> Different {
        let mut changed = Different::new();
        let folders: Vec<_> = self.folders.keys().cloned().collect();
        for path in folders {
            let Some(folder) = self.folders.get_mut(&path) else { continue };
            match open(&path, OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW, Mode::empty()) {
                Ok(opened) => {
                    let stamp = rustix::fs::fstat(&opened).map(|stat| Stamp::of(&stat)).ok();
                    if stamp.is_some() && stamp == folder.settled {
                        folder.compare(&path, &opened, &mut changed);
                    } else {
                        self.list(&path, &|_| false, &mut changed);
                        self.enter_new(&path, &mut changed);
                    }
                }
                Err(_) => self.forget_below(&path, &mut changed),
            }
        }
        changed
    }

    /// Looks through a folder and all that is below it.
    fn enter(&mut self, path: &Path, changed: &mut Different) {
        for folder in walk(path, &self.selection, false).folders {
            self.list(&folder, &|_| true, changed);
        }
    }

    /// Looks through folders directly in `path` that are not known.
    fn enter_new(&mut self, path: &Path, changed: &mut Different) {
        let folders = walk(path, &self.selection, true).folders;
        for folder in folders.iter().filter(|folder| *folder != path) {
            if !self.folders.contains_key(folder) {
                self.enter(folder, changed);
            }
        }
    }

    /// Looks through the files directly in `path`. `anew` says of a name whether the file is to be
    /// read whatever its times say: it was written to, and the clock of a file system may be too
    /// coarse to tell.
    fn list(
        &mut self,
        path: &Path,
        anew: &dyn Fn(&std::ffi::OsStr) -> bool,
        changed: &mut Different,
    ) {
        // Before the names are read: one that comes later must not be taken for known.
        let settled = settled(path);
        let Found { files, .. } = walk(path, &self.selection, true);
        let folder = self.folders.entry(path.to_owned()).or_default();
        folder.settled = settled;
        let mut before = std::mem::take(&mut folder.files);
        for file in files {
            let Some(name) = file.file_name() else { continue };
            let known = before.remove(name);
            match known_now(&file, known, anew(name)) {
                Some(now) => {
                    if known.map(|known| known.content) != Some(now.content) {
                        changed.insert(file.clone(), Some(now));
                    }
                    folder.files.insert(name.to_owned(), now);
                }
                None if known.is_some() => drop(changed.insert(file, None)),
                None => {}
            }
        }
        changed.extend(before.into_keys().map(|name| (path.join(name), None)));
    }

    /// Forgets a folder that is gone, and all that is below it.
    fn forget_below(&mut self, path: &Path, changed: &mut Different) {
        let below = self.folders.range(path.to_owned()..).map(|(folder, _)| folder);
        let gone: Vec<_> = below.take_while(|folder| folder.starts_with(path)).cloned().collect();
        for path in gone {
            let folder = self.folders.remove(&path).unwrap_or_default();
            changed.extend(folder.files.into_keys().map(|name| (path.join(name), None)));
        }
    }
}

impl Folder {
    /// Looks at the files whose names are known, in the folder that is open.
    fn compare(&mut self, path: &Path, opened: &impl std::os::fd::AsFd, changed: &mut Different) {
        for (name, known) in &mut self.files {
            let stat = statat(opened, name, AtFlags::SYMLINK_NOFOLLOW);
            if stat.is_ok_and(|stat| Stamp::of(&stat) == known.stamp) {
                continue;
            }
            let file = path.join(name);
            // One that is gone changes the folder's times, and is found by those.
            let Some(now) = known_now(&file, Some(*known), false) else { continue };
            if now.content != known.content {
                changed.insert(file, Some(now));
            }
            *known = now;
        }
    }
}

/// What is known of a file once it was looked at; `None` where there is none.
fn known_now(file: &Path, before: Option<Known>, anew: bool) -> Option<Known> {
    let stat = rustix::fs::lstat(file).ok()?;
    let stamp = Stamp::of(&stat);
    match before.filter(|before| before.stamp == stamp && !anew) {
        Some(before) => Some(before),
        None => Some(Known { stamp, content: content(file, &stat, stamp).ok()? }),
    }
}

fn content(file: &Path, stat: &Stat, stamp: Stamp) -> io::Result<Content> {
    let executable = stat.st_mode & 0o111 != 0;
    let bytes = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Symlink => file.read_link()?.into_os_string().into_encoded_bytes(),
        FileType::RegularFile if stamp.size <= LARGEST => {
            let mut bytes = Vec::new();
            // One that grows meanwhile will be told of again.
            File::open(file)?.take(LARGEST).read_to_end(&mut bytes)?;
            bytes
        }
        _ => return Ok(Content::Unread(stamp)),
    };
    Ok(Content::Digest(Md5::digest(&bytes).into(), executable))
}

/// The times of a folder, where a later change of it is sure to change them.
fn settled(folder: &Path) -> Option<Stamp> {
    let stamp = Stamp::of(&rustix::fs::lstat(folder).ok()?);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    let changed = Duration::from_secs(u64::try_from(stamp.changed.0).ok()?);
    (now.checked_sub(changed)? > SETTLED).then_some(stamp)
}

#[cfg(test)]
mod tests;
