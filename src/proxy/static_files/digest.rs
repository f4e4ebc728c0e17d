//! The MD5 sum of a file's content, computed once for every version of it.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::SystemTime;

use md5::{Digest as _, Md5 as Hasher};
use tokio::sync::OnceCell;

use super::open::{FileVersion, OpenFile};
use super::read::CHUNK;
use crate::ids::Md5;

/// A sum that is known, or that one task is computing while others wait for it.
type Cell = Arc<OnceCell<Md5>>;

/// The sums this process knows, of all trees and for all threads.
static KNOWN: LazyLock<Mutex<Recent>> = LazyLock::new(Mutex::default);

/// A map that forgets what was not asked for lately: when the young half is full, it becomes the
/// old half, and the old half goes.
#[derive(Debug, Default)]
struct Recent {
    young: HashMap<FileVersion, Cell>,
    old: HashMap<FileVersion, Cell>,
}

impl Recent {
    /// Entries in each half: about a megabyte in all.
    const HALF: usize = 4096;

    fn cell(&mut self, version: FileVersion) -> Cell {
        if let Some(cell) = self.young.get(&version) {
            return Arc::clone(cell);
        }
        if self.young.len() >= Self::HALF {
            self.old = std::mem::take(&mut self.young);
        }
        let cell = self.old.remove(&version).unwrap_or_default();
        Arc::clone(self.young.entry(version).or_insert(cell))
    }
}

/// The sum of what `open` holds; `None` when it changed while it was read.
///
/// `immutable` says that the file never changes under its version. Otherwise a version that is
/// only just settling is not remembered: another change might not show in it.
pub(super) async fn digest(open: &OpenFile, immutable: bool) -> io::Result<Option<Md5>> {
    if !(immutable || open.version.is_settled(SystemTime::now())) {
        return settle(compute(open.clone()).await);
    }
    let cell = KNOWN.lock().unwrap_or_else(PoisonError::into_inner).cell(open.version);
    if let Some(sum) = cell.get() {
        return Ok(Some(*sum));
    }
    let open = open.clone();
    // A task of its own, because a client that leaves must not throw away work that others wait
    // for, nor start it anew by coming back. It ends with the file.
    let task = tokio::spawn(async move { cell.get_or_try_init(|| compute(open)).await.copied() });
    settle(task.await?)
}

/// Why there is no sum.
#[derive(Debug, thiserror::Error)]
enum DigestError {
    #[error("the file changed while it was read")]
    Changed,
    #[error(transparent)]
    Io(#[from] io::Error),
}

fn settle(sum: Result<Md5, DigestError>) -> io::Result<Option<Md5>> {
    match sum {
        Ok(sum) => Ok(Some(sum)),
        Err(DigestError::Changed) => Ok(None),
        Err(DigestError::Io(error)) => Err(error),
    }
}

async fn compute(open: OpenFile) -> Result<Md5, DigestError> {
    tokio::task::spawn_blocking(move || {
        let sum = hash(&open.file)?;
        if FileVersion::current(&open.file)? != open.version {
            return Err(DigestError::Changed);
        }
        Ok(sum)
    })
    .await
    .map_err(io::Error::from)?
}

fn hash(file: &File) -> io::Result<Md5> {
    let mut hasher = Hasher::new();
    let mut chunk = vec![0; CHUNK];
    let mut at = 0;
    loop {
        match file.read_at(&mut chunk, at)? {
            0 => return Ok(Md5::new(hasher.finalize().into())),
            len => {
                hasher.update(&chunk[..len]);
                at += len as u64;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::proxy::static_files::open::{Wait, open_beneath};

    /// A file of `content` in a folder of its own, and the handle it can be written through.
    fn file(content: &[u8]) -> (tempfile::TempDir, File, OpenFile) {
        let folder = tempfile::tempdir().unwrap();
        let mut file = File::create(folder.path().join("f")).unwrap();
        file.write_all(content).unwrap();
        let root = File::open(folder.path()).unwrap();
        let open = open_beneath(&root, "f", Wait::AsNeeded).unwrap();
        (folder, file, open)
    }

    #[tokio::test]
    async fn sums_are_those_of_rfc_1321() {
        let (_folder, _file, open) = file(b"message digest");
        let sum = digest(&open, true).await.unwrap().unwrap();
        assert_eq!(sum.to_string(), "f96b697d7cb7938d525a2f31aaf161d0");
    }

    #[tokio::test]
    async fn a_settled_version_is_read_once() {
        let (_folder, mut file, open) = file(b"before");
        let first = digest(&open, true).await.unwrap();
        file.write_all(b" and after").unwrap();
        assert_eq!(digest(&open, true).await.unwrap(), first);
    }

    #[tokio::test]
    async fn a_change_after_opening_leaves_no_sum() {
        let (_folder, mut file, open) = file(b"before");
        file.write_all(b" and after").unwrap();
        assert_eq!(digest(&open, false).await.unwrap(), None);
        assert_eq!(digest(&open, true).await.unwrap(), None);
    }

    #[test]
    fn the_memory_is_bounded_and_keeps_what_is_used() {
        let (_folder, _file, open) = file(b"x");
        let version = |len| {
            let mut version = open.version;
            version.len = len;
            version
        };
        let mut recent = Recent::default();
        let used = recent.cell(version(0));
        for len in 1..4 * Recent::HALF as u64 {
            recent.cell(version(len));
            if len % 1000 == 0 {
                assert!(Arc::ptr_eq(&used, &recent.cell(version(0))));
            }
            assert!(recent.young.len() + recent.old.len() <= 2 * Recent::HALF);
        }
    }
}
