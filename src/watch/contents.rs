//! What files contain, so that one that was written and has not changed can be told from one that
//! has.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use md5::{Digest, Md5};

use super::selection::{Selection, walk};

/// Files larger than this, in bytes, are not read: they count as changed when their times do.
const LARGEST: u64 = 4 << 20;

/// The selected files of a project, as they were last looked at.
pub struct Contents {
    root: PathBuf,
    selection: Arc<dyn Selection>,
    files: BTreeMap<PathBuf, Known>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Known {
    stamp: Stamp,
    content: Content,
}

/// What tells one version of a file from another without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(meta: &Metadata) -> Self {
        Self {
            inode: meta.ino(),
            size: meta.size(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        }
    }
}

/// What counts of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Content {
    /// The digest of its bytes, and whether it may be executed.
    Digest([u8; 16], bool),
    /// Of a file too large to be read.
    Unread(Stamp),
}

impl Contents {
    /// Reads every selected file below `root`. Blocks.
    pub fn read(root: &Path, selection: Arc<dyn Selection>) -> Self {
        let mut contents = Self { root: root.to_owned(), selection, files: BTreeMap::new() };
        contents.compare_all();
        contents
    }

    /// Has another selection from now on; files that are new in it are no changes. Blocks.
    pub fn select(&mut self, selection: Arc<dyn Selection>) {
        self.selection = selection;
        self.compare_all();
    }

    /// Looks at `paths`, which may be folders or gone, and returns those files that are not what
    /// they were. Blocks.
    pub fn compare(&mut self, paths: &BTreeSet<PathBuf>) -> BTreeSet<PathBuf> {
        let mut changed = BTreeSet::new();
        // A folder's rules apply to all of its files: they are read once for each folder.
        let mut folders: BTreeMap<&Path, Vec<&Path>> = BTreeMap::new();
        for path in paths {
            if path.is_dir() {
                let found = walk(path, &self.selection, false).files;
                self.forget_below(path, &found, &mut changed);
                found.iter().for_each(|file| self.look_at(file, true, &mut changed));
            } else if let Some(folder) = path.parent() {
                folders.entry(folder).or_default().push(path);
            }
        }
        for (folder, files) in folders {
            let selected: BTreeSet<_> =
                walk(folder, &self.selection, true).files.into_iter().collect();
            for file in files {
                if selected.contains(file) {
                    self.look_at(file, true, &mut changed);
                } else {
                    self.forget_below(file, &[], &mut changed);
                }
            }
        }
        changed
    }

    /// Looks at all files, and returns those that are not what they were. Reads only those whose
    /// times have changed. Blocks.
    pub fn compare_all(&mut self) -> BTreeSet<PathBuf> {
        let mut changed = BTreeSet::new();
        let root = self.root.clone();
        let found = walk(&root, &self.selection, false).files;
        self.forget_below(&root, &found, &mut changed);
        found.iter().for_each(|file| self.look_at(file, false, &mut changed));
        changed
    }

    /// How many files there are.
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Forgets the files that are `path` or lie below it and are not in `found`.
    fn forget_below(&mut self, path: &Path, found: &[PathBuf], changed: &mut BTreeSet<PathBuf>) {
        let found: BTreeSet<_> = found.iter().collect();
        let below = self.files.range(path.to_owned()..).map(|(file, _)| file);
        let gone: Vec<_> = below
            .take_while(|file| file.starts_with(path))
            .filter(|file| !found.contains(file))
            .cloned()
            .collect();
        for file in gone {
            self.files.remove(&file);
            changed.insert(file);
        }
    }

    /// `anew` reads it whatever its times say: it was written to, and the clock of a file system
    /// may be too coarse to tell.
    fn look_at(&mut self, file: &Path, anew: bool, changed: &mut BTreeSet<PathBuf>) {
        let before = self.files.get(file).copied();
        let now = file.symlink_metadata().and_then(|meta| {
            let stamp = Stamp::of(&meta);
            match before.filter(|before| before.stamp == stamp && !anew) {
                Some(before) => Ok(before),
                None => Ok(Known { stamp, content: content(file, &meta, stamp)? }),
            }
        });
        let now = now.ok();
        if now.map(|now| now.content) != before.map(|before| before.content) {
            changed.insert(file.to_owned());
        }
        match now {
            Some(now) => self.files.insert(file.to_owned(), now),
            None => self.files.remove(file),
        };
    }
}

fn content(file: &Path, meta: &Metadata, stamp: Stamp) -> io::Result<Content> {
    let executable = meta.permissions().mode() & 0o111 != 0;
    if meta.is_symlink() {
        let target = file.read_link()?;
        return Ok(Content::Digest(digest(target.as_os_str().as_encoded_bytes()), executable));
    }
    if !meta.is_file() || meta.len() > LARGEST {
        return Ok(Content::Unread(stamp));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(meta.len()).unwrap_or_default());
    // One that grows meanwhile will be told of again.
    File::open(file)?.take(LARGEST).read_to_end(&mut bytes)?;
    Ok(Content::Digest(digest(&bytes), executable))
}

fn digest(bytes: &[u8]) -> [u8; 16] {
    Md5::digest(bytes).into()
}
