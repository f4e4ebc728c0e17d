//! What changed files mean.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::build::Concern;
use crate::config::worker::WorkerFile;
use crate::ids::WorkerName;

/// What a set of changed files means, all together.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Meaning {
    /// server.yaml or deployment.yaml: everything may be different.
    pub(super) configuration: BTreeSet<PathBuf>,
    /// What says which programs there are and how they are built.
    pub(super) structure: BTreeSet<PathBuf>,
    /// Sources, by the worker that is made from them.
    pub(super) sources: BTreeMap<WorkerName, BTreeSet<PathBuf>>,
    /// Templates and public files, by the worker whose they are; `None` for `workers/shared`.
    pub(super) resources: BTreeMap<Option<WorkerName>, Resources>,
    /// What is watched and none of the above, such as the sources of the server itself.
    pub(super) others: BTreeSet<PathBuf>,
}

impl Meaning {
    /// Whether it is to be found out anew what there is to build.
    pub(super) fn reads_anew(&self) -> bool {
        !self.configuration.is_empty() || !self.structure.is_empty()
    }

    /// Whether any of it is configuration: the server's, or a worker's own.
    pub(super) fn has_configuration(&self) -> bool {
        !self.configuration.is_empty()
            || self.structure.iter().any(|path| path.ends_with(WorkerFile::PATH))
    }
}

/// Changed files that are served as they are.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Resources {
    /// Of `public/`, by their path below that.
    pub(super) public: BTreeSet<PathBuf>,
    /// Of `private/`, by their path below that.
    pub(super) private: BTreeSet<PathBuf>,
}

impl Resources {
    /// Whether these are style sheets and nothing else, which a page takes without being loaded
    /// anew.
    pub(super) fn only_styles(&self) -> bool {
        let is_style = |path: &PathBuf| path.extension().is_some_and(|it| it == "css");
        self.private.is_empty() && self.public.iter().all(is_style)
    }
}

/// Where things are in a project.
pub(super) struct Places<'p> {
    /// The configuration files.
    pub(super) configuration: [&'p Path; 2],
    /// `workers/`
    pub(super) workers_dir: &'p Path,
}

impl Places<'_> {
    /// Sorts changed files. `concern` says what one means to the programs.
    pub(super) fn meaning(
        &self,
        changed: BTreeSet<PathBuf>,
        concern: impl Fn(&Path) -> Concern,
    ) -> Meaning {
        let mut meaning = Meaning::default();
        for path in changed {
            if self.configuration.contains(&&*path) {
                meaning.configuration.insert(path);
                continue;
            }
            let mut known = true;
            match concern(&path) {
                Concern::Structure => {
                    meaning.structure.insert(path.clone());
                }
                Concern::Sources(workers) => {
                    for worker in workers {
                        meaning.sources.entry(worker).or_default().insert(path.clone());
                    }
                }
                Concern::None => known = false,
            }
            if let Some((owner, kind, below)) = self.resource(&path) {
                let resources = meaning.resources.entry(owner).or_default();
                let set =
                    if kind == "public" { &mut resources.public } else { &mut resources.private };
                set.insert(below);
            } else if !known {
                meaning.others.insert(path);
            }
        }
        meaning
    }

    /// Whose resource a file is, of which folder, and its path below that.
    fn resource<'f>(&self, path: &'f Path) -> Option<(Option<WorkerName>, &'f str, PathBuf)> {
        let mut parts = path.strip_prefix(self.workers_dir).ok()?.iter();
        let (owner, kind) = (parts.next()?.to_str()?, parts.next()?.to_str()?);
        let owner = if owner == "shared" { None } else { Some(owner.parse().ok()?) };
        ["public", "private"].contains(&kind).then(|| (owner, kind, parts.as_path().to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_sorted_by_what_they_mean() {
        let index: WorkerName = "index".parse().unwrap();
        let places = Places {
            configuration: [Path::new("/p/config/server.yaml"), Path::new("/p/config/d.yaml")],
            workers_dir: Path::new("/p/workers"),
        };
        let concern = |path: &Path| match path.extension().and_then(|it| it.to_str()) {
            Some("rs") if path.starts_with("/p/workers") => {
                Concern::Sources([index.clone()].into())
            }
            Some("toml") => Concern::Structure,
            _ => Concern::None,
        };
        let changed = [
            "/p/config/server.yaml",
            "/p/Cargo.toml",
            "/p/workers/index/src/main.rs",
            "/p/workers/index/public/css/a.css",
            "/p/workers/index/private/views/a.html",
            "/p/workers/shared/public/b.css",
            "/p/src/server.rs",
        ];
        let meaning = places.meaning(changed.map(PathBuf::from).into(), concern);
        assert_eq!(meaning.configuration, [PathBuf::from("/p/config/server.yaml")].into());
        assert_eq!(meaning.structure, [PathBuf::from("/p/Cargo.toml")].into());
        let source = [PathBuf::from("/p/workers/index/src/main.rs")].into();
        assert_eq!(meaning.sources, [(index.clone(), source)].into());
        assert_eq!(meaning.others, [PathBuf::from("/p/src/server.rs")].into());
        let own = &meaning.resources[&Some(index)];
        assert_eq!(own.public, [PathBuf::from("css/a.css")].into());
        assert_eq!(own.private, [PathBuf::from("views/a.html")].into());
        assert!(!own.only_styles());
        assert!(meaning.resources[&None].only_styles());
    }
}
