//! Remembers the digests of files that have not changed since.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use jiff::Timestamp;
use rustix::fs::Stat;
use serde::{Deserialize, Serialize};

use super::FileDigest;
use crate::store::atomic;

/// How many files are remembered; about 5 MB on disk, and far more than a deployment has.
const MAX_FILES: usize = 16_384;

/// A cache file larger than this was not written by us.
const MAX_BYTES: u64 = 32 << 20;

/// How long a file must have been left alone before its digest is kept, in seconds: a write within
/// the granularity of the file system's clock would not change its times (git's "racy" index
/// entries).
const SETTLED_SECONDS: i64 = 2;

/// What identifies a content without reading it. A change of the content changes `ctime`, which
/// nobody can set back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Key {
    dev: u64,
    inode: u64,
    size: u64,
    mtime: (i64, u64),
    ctime: (i64, u64),
}

impl Key {
    // Field types of `struct stat` differ between architectures.
    #[allow(clippy::unnecessary_cast, clippy::useless_conversion)]
    pub(super) fn of(stat: &Stat) -> Self {
        Self {
            dev: stat.st_dev as u64,
            inode: stat.st_ino as u64,
            size: stat.st_size as u64,
            mtime: (stat.st_mtime as i64, stat.st_mtime_nsec as u64),
            ctime: (stat.st_ctime as i64, stat.st_ctime_nsec as u64),
        }
    }

    /// Whether a later change is sure to show in the times. A file of the future has not settled.
    fn settled(&self, now: Timestamp) -> bool {
        now.as_second().saturating_sub(self.ctime.0) > SETTLED_SECONDS
    }
}

#[derive(Debug, Clone, Copy)]
struct Known {
    digest: FileDigest,
    /// The round it was last asked for in.
    used: u64,
}

/// Digests by device, inode, size, mtime and ctime. With a warm one, digesting a folder costs a
/// stat for every file.
///
/// Files that changed less than two seconds ago are not kept. Holds at most some ten thousand
/// files; those not asked for longest make room.
#[derive(Debug, Clone, Default)]
pub struct DigestCache {
    files: HashMap<Key, Known>,
    round: u64,
    /// Whether a file has come to be known since the cache was read or written.
    has_news: bool,
}

impl DigestCache {
    /// Reads a cache back. One that is absent, unreadable or damaged is empty: it costs time, and
    /// nothing else.
    ///
    /// Whoever can write the file can vouch for contents: keep it where deployers cannot.
    pub fn load(path: &Path) -> Self {
        let read = || -> io::Result<Vec<(Key, FileDigest)>> {
            let mut bytes = Vec::new();
            File::open(path)?.take(MAX_BYTES).read_to_end(&mut bytes)?;
            Ok(serde_json::from_slice(&bytes)?)
        };
        let mut cache = Self::default();
        for (key, digest) in read().unwrap_or_default().into_iter().take(MAX_FILES) {
            cache.files.insert(key, Known { digest, used: 0 });
        }
        cache
    }

    /// Writes the cache, readable to its owner only, if it knows more than when it was last read or
    /// written.
    ///
    /// # Errors
    /// When the file cannot be replaced; the old one is then as it was.
    pub fn save(&mut self, path: &Path) -> io::Result<()> {
        if !self.has_news {
            return Ok(());
        }
        let rows: Vec<_> = self.files.iter().map(|(key, known)| (key, known.digest)).collect();
        atomic::write(path, &serde_json::to_vec(&rows)?, 0o600)?;
        self.has_news = false;
        Ok(())
    }

    /// How many files it knows.
    #[cfg(test)]
    pub(in crate::store) fn len(&self) -> usize {
        self.files.len()
    }

    pub(super) fn get(&mut self, key: &Key) -> Option<FileDigest> {
        self.round += 1;
        let known = self.files.get_mut(key)?;
        known.used = self.round;
        Some(known.digest)
    }

    pub(super) fn insert(&mut self, key: Key, digest: FileDigest, now: Timestamp) {
        if !key.settled(now) {
            return;
        }
        if self.files.len() >= MAX_FILES {
            self.forget_half();
        }
        self.files.insert(key, Known { digest, used: self.round });
        self.has_news = true;
    }

    /// Drops the half that was not asked for longest.
    fn forget_half(&mut self) {
        let mut uses: Vec<_> = self.files.values().map(|known| known.used).collect();
        let middle = uses.len() / 2;
        let (_, median, _) = uses.select_nth_unstable(middle);
        let median = *median;
        self.files.retain(|_, known| known.used > median);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(inode: u64, ctime: i64) -> Key {
        Key { dev: 1, inode, size: 0, mtime: (0, 0), ctime: (ctime, 0) }
    }

    fn digest(size: u64) -> FileDigest {
        FileDigest {
            md5: crate::ids::Md5::new([0; 16]),
            sha256: crate::ids::Sha256::new([0; 32]),
            size,
            executable: false,
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_file_is_kept_once_it_was_left_alone_for_two_seconds() {
        for (age, kept) in [(-5, false), (0, false), (2, false), (3, true)] {
            let mut cache = DigestCache::default();
            cache.insert(key(1, 1000), digest(1), at(1000 + age));
            assert_eq!(cache.get(&key(1, 1000)).is_some(), kept, "{age} s old");
        }
    }

    #[test]
    fn what_is_asked_for_stays_when_the_rest_makes_room() {
        let mut cache = DigestCache::default();
        for inode in 0..MAX_FILES as u64 {
            cache.insert(key(inode, 0), digest(inode), at(100));
            cache.get(&key(inode, 0));
            cache.get(&key(0, 0));
        }
        cache.insert(key(u64::MAX, 0), digest(0), at(100));
        assert!(cache.len() <= MAX_FILES / 2 + 1, "{}", cache.len());
        assert_eq!(cache.get(&key(0, 0)), Some(digest(0)));
        assert_eq!(cache.get(&key(MAX_FILES as u64 - 1, 0)), Some(digest(MAX_FILES as u64 - 1)));
        assert_eq!(cache.get(&key(1, 0)), None);
        assert!(cache.get(&key(u64::MAX, 0)).is_some());
    }

    #[test]
    fn a_saved_cache_is_read_back_and_a_damaged_one_is_empty() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("digests.json");
        let mut cache = DigestCache::default();
        cache.insert(key(7, 0), digest(3), at(100));
        cache.save(&path).unwrap();
        let mut read = DigestCache::load(&path);
        assert_eq!(read.get(&key(7, 0)), Some(digest(3)));
        let other = temp.path().join("other.json");
        read.save(&other).unwrap();
        assert!(!other.exists(), "there is nothing new to write");

        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        assert_eq!(DigestCache::load(&path).len(), 0);
        assert_eq!(DigestCache::load(&temp.path().join("absent")).len(), 0);
    }
}
