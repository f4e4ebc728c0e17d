//! What a build reads, as one digest: equal inputs need no second build.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use md5::Digest;

use super::error::BuildError;
use super::git;
use crate::ids::Md5;

/// Adds up named fields and files. What has been added can be told apart by labels and lengths, so
/// that different inputs never add up to the same bytes.
#[derive(Clone)]
pub(super) struct Inputs {
    project: PathBuf,
    sum: md5::Md5,
    files: BTreeSet<PathBuf>,
}

impl Inputs {
    /// Nothing yet. Files are named by their path below `project`, so that the digest is the same
    /// in every clone.
    pub(super) fn new(project: &Path) -> Self {
        Self { project: project.to_owned(), sum: md5::Md5::new(), files: BTreeSet::new() }
    }

    /// Adds a fact.
    pub(super) fn field(&mut self, label: &str, value: impl AsRef<[u8]>) {
        for part in [label.as_bytes(), value.as_ref()] {
            self.sum.update((part.len() as u64).to_le_bytes());
            self.sum.update(part);
        }
    }

    /// Adds a file's path, execute bit and content, or that it is absent. A link counts as where
    /// it points to.
    pub(super) fn file(&mut self, path: &Path) -> Result<(), BuildError> {
        if !self.files.insert(path.to_owned()) {
            return Ok(());
        }
        let content = content(path).map_err(|source| BuildError::io(path, source))?;
        let name = path.strip_prefix(&self.project).unwrap_or(path).as_os_str().as_bytes();
        self.field("file", name);
        match content {
            Some((kind, bytes)) => self.field(kind, bytes),
            None => self.field("absent", []),
        }
        Ok(())
    }

    /// Whether a file was added.
    pub(super) fn has(&self, path: &Path) -> bool {
        self.files.contains(path)
    }

    /// The digest of all that was added, and of further files, named by their path below the
    /// project.
    pub(super) fn digest_with(&self, files: &[PathBuf]) -> Result<Md5, BuildError> {
        let mut all = self.clone();
        for file in files {
            all.file(&self.project.join(file))?;
        }
        Ok(Md5::new(all.sum.finalize().into()))
    }
}

fn content(path: &Path) -> io::Result<Option<(&'static str, Vec<u8>)>> {
    let metadata = match path.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    if metadata.is_symlink() {
        return Ok(Some(("link", fs::read_link(path)?.as_os_str().as_bytes().to_vec())));
    }
    let executable = metadata.permissions().mode() & 0o111 != 0;
    Ok(Some((if executable { "program" } else { "text" }, fs::read(path)?)))
}

/// The source files below `folder`: tracked by git or not ignored by it. Where git has nothing to
/// say, all but hidden files and folders and the usual output folders.
///
/// `keep` is asked with each path below `folder`. An absent folder has no files.
pub(super) fn sources(
    folder: &Path,
    keep: &dyn Fn(&Path) -> bool,
) -> Result<Vec<PathBuf>, BuildError> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    match git::files(folder)? {
        Some(files) => {
            for file in files.iter().map(Path::new).filter(|file| keep(file)) {
                let path = folder.join(file);
                match path.symlink_metadata() {
                    // A submodule.
                    Ok(metadata) if metadata.is_dir() => found.extend(sources(&path, &|_| true)?),
                    Ok(_) => found.push(path),
                    // Deleted, not yet committed.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(source) => return Err(BuildError::io(path, source)),
                }
            }
        }
        None => {
            walk(folder, Path::new(""), keep, &mut found)
                .map_err(|source| BuildError::io(folder, source))?;
            found.sort();
        }
    }
    Ok(found)
}

fn walk(
    folder: &Path,
    below: &Path,
    keep: &dyn Fn(&Path) -> bool,
    found: &mut Vec<PathBuf>,
) -> io::Result<()> {
    for entry in folder.join(below).read_dir()? {
        let entry = entry?;
        let name = entry.file_name();
        let hidden = name.as_bytes().starts_with(b".");
        if hidden || name == "target" || name == "node_modules" {
            continue;
        }
        let path = below.join(name);
        if entry.file_type()?.is_dir() {
            walk(folder, &path, keep, found)?;
        } else if keep(&path) {
            found.push(folder.join(path));
        }
    }
    Ok(())
}
