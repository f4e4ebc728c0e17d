//! Digests of files and folders: what tells that something changed, and that something is what was
//! built.

mod cache;
mod sums;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use jiff::Timestamp;
use md5::Digest;
use serde::{Deserialize, Serialize};

use super::walk::{Found, WalkError, walk};
use crate::ids::{Md5, Sha256};
pub use cache::DigestCache;
pub use sums::WorkerSums;
pub(crate) use sums::is_built;

/// Why a folder has no digest, with the path concerned.
pub type DigestError = WalkError;

/// A file's content, and whether it may be executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileDigest {
    /// For comparing with what was.
    pub md5: Md5,
    /// For comparing with what was built.
    pub sha256: Sha256,
    /// In bytes.
    pub size: u64,
    /// Whether any execute bit is set.
    pub executable: bool,
}

/// The files of a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeDigest {
    /// The digest of all of them: of paths, execute bits and contents, so that a renamed file and
    /// a changed mode count as changes. Empty folders do not count, as in git.
    pub md5: Md5,
    /// The files by their path below the folder, separated by `/`.
    pub files: BTreeMap<String, FileDigest>,
}

impl TreeDigest {
    pub(crate) fn new(files: BTreeMap<String, FileDigest>) -> Self {
        Self { md5: combine(&files), files }
    }

    /// The digest of those files that lie below any of `folders`, which are paths below this
    /// folder. Equal to the `md5` of [`subtrees`] for the same folders.
    pub fn md5_of(&self, folders: &[&str]) -> Md5 {
        combine(
            self.files
                .iter()
                .filter(|(path, _)| folders.iter().any(|folder| below(folder, path).is_some())),
        )
    }

    /// What [`tree`] would say of `folder`, a path below this one.
    pub fn subtree(&self, folder: &str) -> Self {
        Self::new(self.below(folder).map(|(path, file)| (path.to_owned(), *file)).collect())
    }

    /// The files below `folder`, by their path below it.
    pub fn below(&self, folder: &str) -> impl Iterator<Item = (&str, &FileDigest)> {
        self.files.iter().filter_map(move |(path, file)| Some((below(folder, path)?, file)))
    }
}

/// The part of `path` that is below `folder`.
pub(super) fn below<'p>(folder: &str, path: &'p str) -> Option<&'p str> {
    path.strip_prefix(folder)?.strip_prefix('/')
}

/// One sum of many files, in the order of their paths.
fn combine<'a>(files: impl IntoIterator<Item = (&'a String, &'a FileDigest)>) -> Md5 {
    let mut sum = md5::Md5::new();
    for (path, file) in files {
        // Unambiguous: no path has a NUL in it, and what follows it has a fixed length.
        sum.update(path.as_bytes());
        sum.update([0, u8::from(file.executable)]);
        sum.update(file.sha256.as_bytes());
    }
    Md5::new(sum.finalize().into())
}

/// The MD5 of some bytes.
pub fn md5(bytes: &[u8]) -> Md5 {
    Md5::new(md5::Md5::digest(bytes).into())
}

/// Digests every file below `root`, which may be absent and then has none.
///
/// `now` is the time before the call, see [`DigestCache`]. Blocks: reads every file that the cache
/// does not know.
///
/// # Errors
/// The first link, special file, name that is not UTF-8, or failure to read, with its path.
pub fn tree(
    root: &Path,
    cache: &mut DigestCache,
    now: Timestamp,
) -> Result<TreeDigest, DigestError> {
    subtrees(root, &[], cache, now)
}

/// As [`tree`], but reads only those `folders`, each a name directly below `root`. Paths still
/// begin with the folder's name. No folders at all means everything.
///
/// # Errors
/// Those of [`tree`].
pub fn subtrees(
    root: &Path,
    folders: &[&str],
    cache: &mut DigestCache,
    now: Timestamp,
) -> Result<TreeDigest, DigestError> {
    let mut files = BTreeMap::new();
    walk(root, folders, &mut |found| {
        let found = found?;
        let digest = file(&found, cache, now)
            .map_err(|source| WalkError::io(root.join(found.path), source))?;
        files.insert(found.path.to_owned(), digest);
        Ok(())
    })?;
    Ok(TreeDigest::new(files))
}

/// Digests a file that a walk found, out of the cache where it is known.
pub(super) fn file(
    found: &Found<'_>,
    cache: &mut DigestCache,
    now: Timestamp,
) -> io::Result<FileDigest> {
    let key = cache::Key::of(&found.stat);
    if let Some(digest) = cache.get(&key) {
        return Ok(digest);
    }
    let mut opened = found.open()?;
    let before = rustix::fs::fstat(&opened)?;
    let digest = read(&mut opened, before.st_mode & 0o111 != 0)?;
    let after = rustix::fs::fstat(&opened)?;
    // A file that was written to meanwhile has a digest of neither content.
    if cache::Key::of(&before) == cache::Key::of(&after) {
        cache.insert(cache::Key::of(&after), digest, now);
    }
    Ok(digest)
}

/// Digests what is left to read of `file`.
pub(crate) fn read(file: &mut File, executable: bool) -> io::Result<FileDigest> {
    let (mut md5, mut sha256) = (md5::Md5::new(), sha2::Sha256::new());
    let mut buffer = vec![0; 128 * 1024];
    let mut size = 0;
    loop {
        let count = match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        md5.update(&buffer[..count]);
        sha256.update(&buffer[..count]);
        size += count as u64;
    }
    Ok(FileDigest {
        md5: Md5::new(md5.finalize().into()),
        sha256: Sha256::new(sha256.finalize().into()),
        size,
        executable,
    })
}
