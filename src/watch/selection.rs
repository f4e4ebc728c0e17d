//! What of a project is looked at.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ignore::WalkBuilder;

/// Decides what of a project is looked at. What `.gitignore` leaves out and hidden files and
/// folders never are, and need not be asked about.
pub trait Selection: Send + Sync + 'static {
    /// Whether files in this folder, or below it, may be wanted.
    fn enters(&self, folder: &Path) -> bool;

    /// Whether a change of this file matters.
    fn wants(&self, file: &Path) -> bool;
}

/// Folders and files that were found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Each before what is in it.
    pub(super) folders: Vec<PathBuf>,
    pub(super) files: Vec<PathBuf>,
}

/// Finds what is selected in `folder` and, unless `flat`, below it. What cannot be read is passed
/// over: it may be gone by now.
pub(super) fn walk(folder: &Path, selection: &Arc<dyn Selection>, flat: bool) -> Found {
    let chosen = Arc::clone(selection);
    let mut found = Found::default();
    let walk = WalkBuilder::new(folder)
        .standard_filters(false)
        .hidden(true)
        .parents(true)
        .git_ignore(true)
        .git_exclude(true)
        .git_global(true)
        // The files say what is left out, also where git is not used.
        .require_git(false)
        .max_depth(flat.then_some(1))
        .filter_entry(move |entry| {
            let is_folder = entry.file_type().is_some_and(|kind| kind.is_dir());
            entry.depth() == 0
                || if is_folder { chosen.enters(entry.path()) } else { !is_scrap(entry.path()) }
        })
        .build();
    for entry in walk.flatten() {
        let is_folder = entry.file_type().is_some_and(|kind| kind.is_dir());
        let path = entry.into_path();
        if is_folder {
            found.folders.push(path);
        } else if selection.wants(&path) {
            found.files.push(path);
        }
    }
    found
}

/// Whether a name is one that editors give to what they write beside a file: backups (`x~`),
/// autosaves (`#x#`), trials whether a folder can be written to (vim's `4913`), and halves of a
/// replacement (JetBrains').
fn is_scrap(path: &Path) -> bool {
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else { return false };
    name.ends_with('~')
        || name.starts_with('#')
        || name == "4913"
        || name.ends_with("___jb_tmp___")
        || name.ends_with("___jb_old___")
}
