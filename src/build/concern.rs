//! Which programs a changed file concerns, without a look at all the others: what a development
//! session goes by between two full comparisons ([`super::dev`]).

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::Project;
use super::cargo::{in_other_package, is_source};
use super::go;
use super::program::{Catalogue, Recipe, Worker};
use super::record::Record;
use super::{Profile, command};
use crate::config::worker::WorkerFile;
use crate::ids::WorkerName;

/// What a change of a file means to the programs of a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Concern {
    /// Nothing.
    None,
    /// These are made from it.
    Sources(BTreeSet<WorkerName>),
    /// It says what there is to build, or how: the project is to be read anew.
    Structure,
}

/// Where a program's sources are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// A cargo package's source folder.
    Cargo,
    /// The module of a Go program.
    Go,
    /// The folder of a worker with a command of its own.
    Command,
    /// The `bin/` of a worker that needs no build.
    Ready,
}

impl Kind {
    /// Whether a file counts, by its path below the folder.
    fn has(self, folder: &Path, below: &Path) -> bool {
        match self {
            Self::Cargo => is_source(below) && !in_other_package(folder, below),
            Self::Go => go::is_source(below),
            Self::Command => command::is_source(below),
            Self::Ready => true,
        }
    }
}

/// The sources of all programs, as folders and single files.
#[derive(Debug, Default)]
pub(super) struct Concerns {
    folders: BTreeMap<(PathBuf, Kind), BTreeSet<WorkerName>>,
    /// Files outside of them that programs embed.
    embedded: BTreeMap<PathBuf, BTreeSet<WorkerName>>,
    structure: BTreeSet<PathBuf>,
    workers_dir: PathBuf,
}

impl Concerns {
    pub(super) fn of(project: &Project, catalogue: &Catalogue) -> Self {
        let workers_dir = project.discovery.workers_dir.clone();
        let mut concerns = Self { workers_dir, ..Self::default() };
        for worker in &catalogue.workers {
            concerns.add(project, catalogue, worker);
        }
        concerns
    }

    fn add(&mut self, project: &Project, catalogue: &Catalogue, worker: &Worker) {
        let program = &worker.program;
        self.structure.insert(program.folder.join(WorkerFile::PATH));
        let (kind, folders) = match &program.recipe {
            Recipe::Cargo { workspace, binary } => {
                let workspace = &catalogue.workspaces[*workspace];
                self.structure.extend(workspace.manifests(binary));
                (Kind::Cargo, workspace.source_folders(binary))
            }
            Recipe::Go => {
                let module = go::module(&program.folder, &project.root);
                self.structure.extend(["go.mod", "go.sum"].map(|name| module.join(name)));
                (Kind::Go, vec![module])
            }
            Recipe::Command(_) => (Kind::Command, vec![program.folder.clone()]),
            Recipe::Ready => (Kind::Ready, vec![program.folder.join("bin")]),
        };
        for folder in folders {
            let workers = self.folders.entry((folder, kind)).or_default();
            workers.insert(worker.name.clone());
        }
        let record = Record::read(project, Profile::Dev, program);
        for file in record.into_iter().flat_map(|record| record.embedded) {
            let workers = self.embedded.entry(project.root.join(file)).or_default();
            workers.insert(worker.name.clone());
        }
    }

    /// What a change of `path` means.
    pub(super) fn of_file(&self, path: &Path) -> Concern {
        if self.structure.contains(path) || self.makes_a_worker(path) {
            return Concern::Structure;
        }
        let mut workers = self.embedded.get(path).cloned().unwrap_or_default();
        for ((folder, kind), of) in &self.folders {
            if let Ok(below) = path.strip_prefix(folder)
                && kind.has(folder, below)
            {
                workers.extend(of.iter().cloned());
            }
        }
        if workers.is_empty() { Concern::None } else { Concern::Sources(workers) }
    }

    /// Whether a file may make its folder a worker, or end that: an entry point or configuration.
    fn makes_a_worker(&self, path: &Path) -> bool {
        let Ok(below) = path.strip_prefix(&self.workers_dir) else { return false };
        let mut parts = below.iter();
        let (_, rest) = (parts.next(), parts.as_path());
        let names = ["Cargo.toml", "go.mod", "src/main.rs", "src/main.go", WorkerFile::PATH];
        let known =
            |folder: &Path| self.folders.keys().any(|(sources, _)| sources.starts_with(folder));
        names.iter().any(|name| rest == Path::new(name))
            && below.iter().next().is_some_and(|name| {
                !known(&self.workers_dir.join(name)) || path.symlink_metadata().is_err()
            })
    }

    /// The folders to watch with all that is below them, and single files elsewhere.
    pub(super) fn places(&self) -> (BTreeSet<&Path>, BTreeSet<&Path>) {
        let folders = self.folders.keys().map(|(folder, _)| folder.as_path()).collect();
        let files = self.structure.iter().chain(self.embedded.keys()).map(PathBuf::as_path);
        (folders, files.collect())
    }
}
