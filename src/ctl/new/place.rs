//! Puts a worker's files in place, all at once.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process;

use anyhow::Context;
use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::files::File;

/// A folder that was put in place.
pub(super) struct Placed {
    /// Its files, by their path below it.
    pub(super) files: Vec<&'static str>,
}

impl Placed {
    /// Writes `files` into a folder that is called `folder` only when all are there.
    ///
    /// # Errors
    /// When something is at `folder` by then, or a file cannot be written. Nothing is left behind.
    pub(super) fn write(folder: &Path, files: &[File]) -> anyhow::Result<Self> {
        let workers = folder.parent().unwrap_or(folder);
        fs::create_dir_all(workers).with_context(|| workers.display().to_string())?;
        let temporary = temporary(folder, workers);
        let place = || -> io::Result<()> {
            for (path, text) in files {
                let path = temporary.join(path);
                fs::create_dir_all(path.parent().unwrap_or(&temporary))?;
                fs::write(path, text)?;
            }
            Ok(renameat_with(CWD, &temporary, CWD, folder, RenameFlags::NOREPLACE)?)
        };
        place()
            .inspect_err(|_| {
                // The first error is the one to tell.
                let _ = fs::remove_dir_all(&temporary);
            })
            .with_context(|| folder.display().to_string())?;
        Ok(Self { files: files.iter().map(|(path, _)| *path).collect() })
    }
}

/// Beside the workers' folder: in it, cargo would take it for a member of the workspace while it is
/// there, or for good if we are killed.
fn temporary(folder: &Path, workers: &Path) -> PathBuf {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let name = format!(".tqctl-new-{name}-{}", process::id());
    workers.parent().unwrap_or(workers).join(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_come_there_meanwhile_stays_and_nothing_is_left_behind() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("workers/shop");
        fs::create_dir_all(&folder).unwrap();
        let files = [("src/main.py", "print()\n".to_owned())];
        let error = Placed::write(&folder, &files).err().unwrap();
        assert!(format!("{error:#}").contains("File exists"), "{error:#}");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);

        fs::remove_dir(&folder).unwrap();
        Placed::write(&folder, &files).unwrap();
        assert_eq!(fs::read_to_string(folder.join("src/main.py")).unwrap(), "print()\n");
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
    }
}
