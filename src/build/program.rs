//! The programs of a project, and how each is built.

use std::fmt;
use std::path::{Path, PathBuf};

use super::cargo::{Binary, Workspace};
use super::error::BuildError;
use super::inputs::Inputs;
use super::toolchain::{Missing, Toolchain};
use super::{Profile, Project, command, go};
use crate::config::discover::{self, DiscoveredWorker};
use crate::config::worker::WorkerFile;
use crate::ids::{RoutePath, WorkerName};

/// The package and program that is tqserver itself.
pub(super) const SERVER: &str = "tqserver";

/// A program to build.
pub(super) struct Program {
    pub(super) name: String,
    /// Its folder in a deployment: `workers/<name>` or `server`.
    pub(super) place: String,
    /// The worker's folder, or the server's package.
    pub(super) folder: PathBuf,
    pub(super) recipe: Recipe,
}

/// How a program is built.
pub(super) enum Recipe {
    /// By cargo.
    Cargo {
        /// Which of [`Catalogue::workspaces`].
        workspace: usize,
        binary: Binary,
    },
    /// By go, from `src/`.
    Go,
    /// By `build:` of its worker.yaml, into `bin/`.
    Command(Vec<String>),
    /// Not at all: `run:` of its worker.yaml interprets what is in `bin/`.
    Ready,
}

/// A worker of the project.
pub(super) struct Worker {
    pub(super) name: WorkerName,
    pub(super) route: RoutePath,
    /// Its executable below its folder: `bin/<name>`, or what `run:` names there.
    pub(super) binary: String,
    /// What it is written in, in a word.
    pub(super) language: String,
    pub(super) program: Program,
}

/// A folder that is passed over: it is no worker, or what its worker needs is not installed.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Skipped {
    /// Which.
    pub folder: PathBuf,
    /// Why.
    pub reason: String,
}

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.folder.file_name().unwrap_or(self.folder.as_os_str());
        write!(f, "{} ({})", name.display(), self.reason)
    }
}

/// A worker's folder, as far as it can be known without its toolchain.
struct Source {
    name: WorkerName,
    folder: PathBuf,
    file: WorkerFile,
    toolchain: Toolchain,
}

impl Source {
    fn read(name: WorkerName, folder: PathBuf) -> Result<Self, BuildError> {
        let path = folder.join(WorkerFile::PATH);
        let file =
            WorkerFile::read(&path).map_err(|error| BuildError::Config(error.to_string()))?;
        match Toolchain::of(&folder, &file) {
            Some(toolchain) => Ok(Self { name, folder, file, toolchain }),
            None => Err(BuildError::NoRecipe(folder)),
        }
    }

    /// The first program that it needs and that is not installed. Cargo is not looked for: whoever
    /// has Rust workers may have it in many places, and is told by [`BuildError::NoRust`].
    fn missing(&self) -> Option<Missing> {
        let builds = match &self.toolchain {
            Toolchain::Go => Some("go"),
            Toolchain::Command(words) => words.first().map(String::as_str),
            Toolchain::Cargo | Toolchain::Ready => None,
        };
        let runs = self.file.run.as_ref().and_then(|words| words.first()).map(String::as_str);
        // A relative path is a file of the project, which may yet have to be built.
        let elsewhere = |program: &&str| program.starts_with('/') || !program.contains('/');
        builds.into_iter().chain(runs).filter(elsewhere).find_map(Missing::check)
    }
}

/// What a worker is written in: of what a command builds or runs, the interpreter tells.
fn language(recipe: &Recipe, run: Option<&[String]>) -> String {
    let interpreter = || {
        let program = Path::new(run?.first()?);
        program.is_absolute().then(|| program.file_name()?.to_str()).flatten()
    };
    match recipe {
        Recipe::Cargo { .. } => "rust",
        Recipe::Go => "go",
        Recipe::Command(_) => interpreter().unwrap_or("command"),
        Recipe::Ready => interpreter().unwrap_or("script"),
    }
    .to_owned()
}

/// All programs of a project.
pub(super) struct Catalogue {
    pub(super) workspaces: Vec<Workspace>,
    pub(super) workers: Vec<Worker>,
    pub(super) server: Option<Program>,
    pub(super) skipped: Vec<Skipped>,
    profile: Profile,
}

impl Catalogue {
    /// Finds them. The server counts in releases, where the project contains it. In development
    /// a worker whose toolchain is not installed is passed over; in a release that is an error.
    pub(super) fn read(project: &Project, profile: Profile) -> Result<Self, BuildError> {
        let found = discover::discover(&project.discovery)
            .map_err(|error| BuildError::Config(error.to_string()))?;
        let skipped: Vec<_> =
            found.skipped.into_iter().map(|(folder, reason)| Skipped { folder, reason }).collect();
        let (mut sources, mut lacking) = (Vec::new(), Vec::new());
        for DiscoveredWorker { name, dir: folder } in found.workers {
            let source = Source::read(name, folder)?;
            match source.missing() {
                None => sources.push(source),
                Some(missing) => {
                    let (folder, reason) = (source.folder, missing.to_string());
                    lacking.push(Skipped { folder, reason });
                }
            }
        }
        if profile == Profile::Release && !lacking.is_empty() {
            return Err(BuildError::NoToolchain(lacking));
        }
        let mut skipped = [skipped, lacking].concat();
        skipped.sort_by(|one, other| one.folder.cmp(&other.folder));
        if sources.is_empty() {
            let folder = project.discovery.workers_dir.clone();
            return Err(BuildError::NoWorkers { folder, skipped });
        }
        let mut catalogue =
            Self { workspaces: Vec::new(), workers: Vec::new(), server: None, skipped, profile };
        catalogue.add_server(project)?;
        for source in sources {
            catalogue.add_worker(source)?;
        }
        Ok(catalogue)
    }

    fn add_server(&mut self, project: &Project) -> Result<(), BuildError> {
        let manifest = project.root.join("Cargo.toml");
        if !manifest.is_file() {
            return Ok(());
        }
        let workspace = Workspace::load(&manifest, self.profile)?;
        if let Some((binary, folder)) = workspace.binary_named(SERVER)
            && self.profile == Profile::Release
        {
            let recipe = Recipe::Cargo { workspace: 0, binary };
            let (name, place) = (SERVER.to_owned(), "server".to_owned());
            self.server = Some(Program { name, place, folder, recipe });
        }
        self.workspaces.push(workspace);
        Ok(())
    }

    fn add_worker(&mut self, source: Source) -> Result<(), BuildError> {
        let Source { name, folder, file, toolchain } = source;
        let recipe = match toolchain {
            Toolchain::Command(words) => Recipe::Command(words),
            Toolchain::Cargo => self.cargo_recipe(&folder, name.as_str())?,
            Toolchain::Go => Recipe::Go,
            Toolchain::Ready => Recipe::Ready,
        };
        let binary =
            file.program(&name).ok_or_else(|| BuildError::RunOutsideBin(folder.clone()))?;
        let route = file.route_for(&name);
        let language = language(&recipe, file.run.as_deref());
        let place = format!("workers/{name}");
        let program = Program { name: name.to_string(), place, folder, recipe };
        self.workers.push(Worker { name, route, binary, language, program });
        Ok(())
    }

    fn cargo_recipe(&mut self, folder: &Path, name: &str) -> Result<Recipe, BuildError> {
        let known = |workspaces: &[Workspace]| {
            workspaces.iter().enumerate().find_map(|(workspace, it)| {
                let binary = it.binary_in(folder, name)?;
                Some(binary.map(|binary| Recipe::Cargo { workspace, binary }))
            })
        };
        if let Some(recipe) = known(&self.workspaces) {
            return recipe;
        }
        let manifest = folder.join("Cargo.toml");
        self.workspaces.push(Workspace::load(&manifest, self.profile)?);
        known(&self.workspaces).unwrap_or(Err(BuildError::NoBinaryTarget {
            manifest,
            name: name.to_owned(),
            found: Vec::new(),
        }))
    }

    /// Every program: the workers' by name, then the server.
    pub(super) fn programs(&self) -> impl Iterator<Item = &Program> {
        self.workers.iter().map(|worker| &worker.program).chain(&self.server)
    }

    /// What a program is made from, as far as it is known before it is built.
    pub(super) fn inputs(
        &self,
        project: &Project,
        program: &Program,
    ) -> Result<Inputs, BuildError> {
        let mut inputs = Inputs::new(&project.root);
        let stamped = self.profile == Profile::Release && project.build.include_commit_in_binary;
        inputs.field("stamped", [u8::from(stamped)]);
        match &program.recipe {
            Recipe::Cargo { workspace, binary } => {
                inputs.field("recipe", "cargo");
                self.workspaces[*workspace].add_inputs(binary, self.profile, &mut inputs)?;
            }
            Recipe::Go => {
                inputs.field("recipe", "go");
                go::add_inputs(program, self.profile, &project.build, &mut inputs)?;
            }
            Recipe::Command(words) => {
                inputs.field("recipe", "command");
                command::add_inputs(program, words, &mut inputs)?;
            }
            Recipe::Ready => {
                inputs.field("recipe", "ready");
                command::add_ready(program, &mut inputs)?;
            }
        }
        Ok(inputs)
    }
}
