//! Which folders are workers.

use std::io;
use std::path::{Path, PathBuf};

use super::settings::DiscoverySettings;
use super::worker::WorkerFile;
use crate::ids::WorkerName;

/// What there is in the workers' folder.
#[derive(Debug, Default, PartialEq)]
pub struct Discovered {
    /// The workers, by name.
    pub workers: Vec<DiscoveredWorker>,
    /// Folders that are no workers, and why.
    pub skipped: Vec<(PathBuf, String)>,
}

/// A worker's sources.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DiscoveredWorker {
    /// Its name: the folder's.
    pub name: WorkerName,
    /// Its folder.
    pub dir: PathBuf,
}

/// Looks through the workers' folder. A folder is a worker if one of the patterns finds a file in
/// it, or if its `config/worker.yaml` has `run:`. `shared`, dotfolders and plain files are passed
/// over in silence.
///
/// # Errors
/// If the workers' folder cannot be read.
pub fn discover(settings: &DiscoverySettings) -> io::Result<Discovered> {
    let mut found = Discovered::default();
    let entries = std::fs::read_dir(&settings.workers_dir).map_err(|error| {
        let dir = settings.workers_dir.display();
        io::Error::new(error.kind(), format!("{dir}: {error}"))
    })?;
    for entry in entries {
        let entry = entry?;
        let (dir, kind) = (entry.path(), entry.file_type()?);
        let name = entry.file_name().to_string_lossy().into_owned();
        if kind.is_symlink() && dir.is_dir() {
            found.skipped.push((dir, "a symbolic link; workers are folders".into()));
        } else if kind.is_dir() && name != "shared" && !name.starts_with('.') {
            match examine(settings, &name, &dir) {
                Ok(name) => found.workers.push(DiscoveredWorker { name, dir }),
                Err(reason) => found.skipped.push((dir, reason)),
            }
        }
    }
    found.workers.sort();
    found.skipped.sort();
    Ok(found)
}

/// The name of the worker in `dir`, or why there is none.
fn examine(settings: &DiscoverySettings, name: &str, dir: &Path) -> Result<WorkerName, String> {
    let patterns = settings.include_patterns.as_slice();
    let worker = patterns.iter().any(|pattern| has_match(settings, name, pattern)) || {
        let file = WorkerFile::read(&dir.join(WorkerFile::PATH));
        file.map_err(|errors| errors.to_string())?.run.is_some()
    };
    if !worker {
        let patterns = patterns.join(", ");
        let file = WorkerFile::PATH;
        return Err(format!("nothing in it matches {patterns}, and no {file} has `run:`"));
    }
    name.parse().map_err(|error: crate::ids::InvalidId| error.to_string())
}

/// Whether `pattern` finds a file inside the folder `name`. The first part of a pattern stands
/// for that folder, so the search never leaves it.
fn has_match(settings: &DiscoverySettings, name: &str, pattern: &str) -> bool {
    let Some((folder, rest)) = pattern.split_once('/') else { return false };
    if !glob::Pattern::new(folder).is_ok_and(|folder| folder.matches(name)) {
        return false;
    }
    let dir = settings.workers_dir.join(name);
    let inside = format!("{}/{rest}", glob::Pattern::escape(&dir.to_string_lossy()));
    glob::glob(&inside).is_ok_and(|mut paths| paths.any(|path| path.is_ok_and(|p| p.is_file())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> (tempfile::TempDir, DiscoverySettings) {
        // A folder whose name is a glob itself must not matter.
        let root = tempfile::Builder::new().prefix("a[b]*").tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let include_patterns = vec!["*/src/main.rs".into(), "*/src/main.go".into()];
        let settings = DiscoverySettings { workers_dir: root.path().into(), include_patterns };
        (root, settings)
    }

    #[test]
    fn finds_workers_and_says_what_is_none() {
        let (root, settings) = tree(&[
            ("index/src/main.rs", ""),
            ("api_users/src/main.go", ""),
            ("node/config/worker.yaml", "run: bin/serve"),
            ("shared/src/main.rs", ""),
            (".git/src/main.rs", ""),
            ("README.md", ""),
            ("notes/todo.txt", ""),
            ("Bad-Name/src/main.rs", ""),
            ("broken/config/worker.yaml", "run: nowhere"),
        ]);
        std::os::unix::fs::symlink(root.path().join("index"), root.path().join("link")).unwrap();
        let found = discover(&settings).unwrap();
        let names: Vec<_> = found.workers.iter().map(|worker| worker.name.as_str()).collect();
        assert_eq!(names, ["api_users", "index", "node"]);
        assert_eq!(found.workers[1].dir, root.path().join("index"));
        let skipped: Vec<_> = found
            .skipped
            .iter()
            .map(|(dir, reason)| (dir.file_name().unwrap().to_str().unwrap(), reason.as_str()))
            .collect();
        let [(bad, name), (broken, error), (link, symlink), (notes, nothing)] = skipped[..] else {
            panic!("{skipped:?}");
        };
        assert_eq!((bad, broken, link, notes), ("Bad-Name", "broken", "link", "notes"));
        assert!(name.contains("is not a worker name"), "{name}");
        assert!(error.contains("worker.yaml:1:6"), "{error}");
        assert!(symlink.contains("symbolic link"), "{symlink}");
        assert!(nothing.contains("*/src/main.rs"), "{nothing}");
    }

    #[test]
    fn a_missing_folder_is_named() {
        let settings =
            DiscoverySettings { workers_dir: "/nowhere/workers".into(), include_patterns: vec![] };
        let error = discover(&settings).unwrap_err();
        assert!(error.to_string().contains("/nowhere/workers"), "{error}");
    }
}
