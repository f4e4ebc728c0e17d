//! Does what was planned. Each step is one rename that never replaces anything, so that wherever it
//! ends, every file is at its old place or at its new one.

use std::fs;
use std::io;
use std::path::Path;

use anyhow::Context;
use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::plan::{Plan, Written};

/// Writes, moves, and removes the folders that are empty then.
///
/// # Errors
/// At the first step that fails.
pub(super) fn perform(root: &Path, plan: &Plan) -> anyhow::Result<()> {
    for file in &plan.written {
        write(root, file).with_context(|| file.path.display().to_string())?;
    }
    for step in &plan.moves {
        rename(&root.join(&step.from), &root.join(&step.to))
            .with_context(|| format!("{} → {}", step.from.display(), step.to.display()))?;
    }
    for folder in ["pages", "templates", "bin"] {
        remove_empty(&root.join(folder)).with_context(|| folder.to_owned())?;
    }
    Ok(())
}

fn write(root: &Path, file: &Written) -> io::Result<()> {
    let path = root.join(&file.path);
    if path.exists() {
        // As an earlier run wrote it, or it would have been a conflict.
        return Ok(());
    }
    // Of one name, so that the next run replaces what an interrupted one left.
    let temporary = path.with_extension("yaml.new");
    fs::create_dir_all(path.parent().unwrap_or(root))?;
    fs::write(&temporary, &file.text)?;
    rename(&temporary, &path)
}

fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to.parent().unwrap_or(to))?;
    Ok(renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE)?)
}

/// Removes a folder and those in it, as far as there are no files in them.
fn remove_empty(folder: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_empty(&entry.path())?;
        }
    }
    match fs::remove_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::DirectoryNotEmpty => Err(error),
        _ => Ok(()),
    }
}
