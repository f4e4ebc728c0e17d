//! Removes copies that nobody uses.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::Copies;
use crate::ids::WorkerName;

impl Copies {
    /// Removes every copy whose folder is not `in_use`, and whatever a killed process left
    /// unfinished. Returns what was removed. Must not be called while a copy is being made.
    ///
    /// # Errors
    /// When the folder of copies cannot be read, or one not removed.
    pub fn retain(&self, in_use: &BTreeSet<PathBuf>) -> io::Result<Vec<PathBuf>> {
        let mut removed = Vec::new();
        for folder in entries(&self.root)? {
            let of_worker = folder.file_name().and_then(|name| name.to_str());
            if of_worker.is_none_or(|name| name.parse::<WorkerName>().is_err()) {
                remove(folder, &mut removed)?;
                continue;
            }
            let copies = entries(&folder)?;
            let kept = copies.iter().filter(|copy| in_use.contains(*copy)).count();
            copies
                .into_iter()
                .filter(|copy| !in_use.contains(copy))
                .try_for_each(|copy| remove(copy, &mut removed))?;
            if kept == 0 {
                fs::remove_dir(&folder)?;
            }
        }
        Ok(removed)
    }
}

fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    entries.map(|entry| Ok(entry?.path())).collect()
}

fn remove(path: PathBuf, removed: &mut Vec<PathBuf>) -> io::Result<()> {
    fs::remove_dir_all(&path)?;
    removed.push(path);
    Ok(())
}
