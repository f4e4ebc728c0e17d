//! Room on the disk: how much there is, and how much a deployment takes.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::path::{Path, PathBuf};

use super::walk::walk;

/// What must be left once a deployment is there, in bytes: tqserver's state and everybody's logs want
/// to be written, too.
pub const MARGIN: u64 = 64 << 20;

/// Why nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum SpaceError {
    /// Too little is left for it.
    #[error(
        "{}: {} are free, and {} are needed besides {} that must stay free; `tqctl prune --dry-run` \
         says which deployments can go",
        folder.display(), bytes(*free), bytes(*needed), bytes(MARGIN)
    )]
    TooLittle {
        /// Where it was to be written.
        folder: PathBuf,
        /// What is free there for us, in bytes.
        free: u64,
        /// What would be written, in bytes.
        needed: u64,
    },
    /// The disk does not say.
    #[error("{}: {source}", folder.display())]
    Io {
        /// The folder.
        folder: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Sees to it that `needed` bytes can be written below `folder` and [`MARGIN`] is left. What else is
/// written meanwhile may still use it up.
///
/// # Errors
/// When there is too little room.
pub fn require(folder: &Path, needed: u64) -> Result<(), SpaceError> {
    let found = rustix::fs::statvfs(folder)
        .map_err(|source| SpaceError::Io { folder: folder.to_owned(), source: source.into() })?;
    // Without what is reserved for root.
    let free = found.f_bavail.saturating_mul(found.f_frsize);
    if free >= needed.saturating_add(MARGIN) {
        return Ok(());
    }
    Err(SpaceError::TooLittle { folder: folder.to_owned(), free, needed })
}

/// How many bytes the files below a folder have. What cannot be read counts nothing.
pub fn size(folder: &Path) -> u64 {
    let mut sum = 0_u64;
    let _ = walk::<Infallible>(folder, &[], &mut |found| {
        sum += found.map_or(0, |found| u64::try_from(found.stat.st_size).unwrap_or(0));
        Ok(())
    });
    sum
}

/// What becomes free when the folders are removed, in bytes: a file that other folders have as well
/// (a hard link) stays where it is.
pub fn freed_by(folders: &[PathBuf]) -> u64 {
    // How many of a file's names are in the folders.
    let mut names: HashMap<(u64, u64), u64> = HashMap::new();
    let mut sum = 0_u64;
    for folder in folders {
        let _ = walk::<Infallible>(folder, &[], &mut |found| {
            let Ok(found) = found else { return Ok(()) };
            let seen = names.entry((found.stat.st_dev, found.stat.st_ino)).or_default();
            *seen += 1;
            if *seen == found.stat.st_nlink {
                // Of 512 bytes each, whatever the file system's (stat(2)).
                sum += 512 * u64::try_from(found.stat.st_blocks).unwrap_or(0);
            }
            Ok(())
        });
    }
    sum
}

/// A number of bytes for people.
pub fn bytes(count: u64) -> String {
    match count {
        0..1_000_000 => format!("{:.1} kB", count as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", count as f64 / 1e6),
        _ => format!("{:.1} GB", count as f64 / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_does_not_fit_is_refused_with_numbers() {
        let temp = tempfile::tempdir().unwrap();
        let error = require(temp.path(), u64::MAX / 2).unwrap_err().to_string();
        assert!(error.contains("9223372036.9 GB are needed besides 67.1 MB"), "{error}");
        let free = rustix::fs::statvfs(temp.path()).unwrap();
        let free = free.f_bavail * free.f_frsize;
        assert!(require(temp.path(), free - MARGIN + (1 << 30)).is_err(), "the margin counts");
        assert!(require(&temp.path().join("absent"), 0).is_err());
    }

    #[test]
    fn a_file_with_a_name_elsewhere_frees_nothing() {
        let temp = tempfile::tempdir().unwrap();
        let [one, two, three] = ["one", "two", "three"].map(|name| temp.path().join(name));
        for folder in [&one, &two, &three] {
            fs::create_dir(folder).unwrap();
        }
        fs::write(one.join("a"), [1; 100_000]).unwrap();
        fs::hard_link(one.join("a"), two.join("a")).unwrap();
        fs::hard_link(one.join("a"), three.join("a")).unwrap();
        let all = freed_by(&[one.clone(), two.clone(), three.clone()]);
        assert!(all >= 100_000, "{all}");
        assert_eq!(freed_by(&[one.clone(), two]), 0);
        assert_eq!(size(&one), 100_000);
    }
}
