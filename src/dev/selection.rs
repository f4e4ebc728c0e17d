//! What of a project a session looks at: what `watch_patterns` say, and what programs are made from.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::pattern::PathPattern;
use crate::build::Concern;
use crate::build::dev::SourceTree;
use crate::config::Sources;
use crate::config::settings::{Settings, WatchSettings};
use crate::watch::selection::Selection;

/// See [`Selection`].
pub(super) struct Selected {
    root: PathBuf,
    workers_dir: PathBuf,
    patterns: Vec<PathPattern>,
    /// Folders that hold sources, with all that is below them.
    folders: BTreeSet<PathBuf>,
    /// Single files elsewhere.
    files: BTreeSet<PathBuf>,
    tree: Option<Arc<SourceTree>>,
}

impl Selected {
    /// The selection for a project with these sources. Without a `tree`, which takes manifests that
    /// can be read, it is what patterns say.
    pub(super) fn new(
        sources: &Sources,
        settings: &Settings,
        watch: &WatchSettings,
        tree: Option<Arc<SourceTree>>,
    ) -> Arc<Self> {
        let owned = |paths: BTreeSet<&Path>| paths.into_iter().map(Path::to_owned).collect();
        let (folders, mut files): (BTreeSet<_>, BTreeSet<_>) = match &tree {
            Some(tree) => {
                let (folders, files) = tree.places();
                (owned(folders), owned(files))
            }
            None => Default::default(),
        };
        files.extend([sources.server_yaml.clone(), sources.deployment_yaml.clone()]);
        let manifests = ["Cargo.toml", "Cargo.lock", "go.mod", "go.work"];
        files.extend(manifests.map(|name| sources.root.join(name)));
        Arc::new(Self {
            root: sources.root.clone(),
            workers_dir: settings.discovery.workers_dir.clone(),
            patterns: watch.patterns.iter().map(|text| PathPattern::new(text)).collect(),
            folders,
            files,
            tree,
        })
    }

    /// Whether it is a worker's `bin/`, where its build puts programs.
    fn is_output(&self, folder: &Path) -> bool {
        let below = folder.strip_prefix(&self.workers_dir);
        below.is_ok_and(|below| below.iter().count() == 2 && below.ends_with("bin"))
    }
}

impl Selection for Selected {
    fn enters(&self, folder: &Path) -> bool {
        let leads_to = |path: &PathBuf| path.starts_with(folder);
        if self.folders.iter().any(leads_to) || self.files.iter().any(leads_to) {
            return true;
        }
        let name = folder.file_name().unwrap_or_default();
        if name == "target" || name == "node_modules" || self.is_output(folder) {
            return self.folders.iter().any(|source| {
                source != &self.root && folder.starts_with(source) && self.is_output(source)
            });
        }
        // A folder that may become a worker.
        folder.parent() == Some(&self.workers_dir)
            || self.folders.iter().any(|source| folder.starts_with(source))
            || folder
                .strip_prefix(&self.root)
                .is_ok_and(|below| self.patterns.iter().any(|pattern| pattern.may_be_below(below)))
    }

    fn wants(&self, file: &Path) -> bool {
        let by_pattern = |below: &Path| self.patterns.iter().any(|pattern| pattern.has(below));
        file.strip_prefix(&self.root).is_ok_and(by_pattern)
            || self.files.contains(file)
            || self.tree.as_ref().is_some_and(|tree| tree.concern(file) != Concern::None)
    }
}
