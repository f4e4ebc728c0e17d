//! Builds workers into the source tree: `workers/<name>/bin/<name>`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use jiff::Timestamp;

use super::cargo::Ending;
use super::concern::{Concern, Concerns};
use super::error::BuildError;
use super::inputs::Inputs;
use super::install::install;
use super::legacy::Routed;
use super::program::{Catalogue, Program, Recipe, Worker};
use super::record::Record;
use super::report::Report;
use super::runner::{Made, Ran, Runner};
use super::{Profile, Project, Skipped, Verdict};
use crate::ids::{RoutePath, WorkerName};
use crate::store::digest::{self, DigestCache};

/// What became of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Nothing it is made from has changed.
    UpToDate,
    /// It was built, and the result is what was there already: the file is untouched.
    Unchanged,
    /// It was built, and is another program now.
    Built,
    /// It does not build. What was there before stays.
    Failed,
}

/// A development build.
#[derive(Debug)]
pub struct DevBuild {
    /// Every worker, by name.
    pub workers: Vec<(WorkerName, Outcome)>,
    /// Folders that are no workers, and workers whose toolchain is not installed.
    pub skipped: Vec<Skipped>,
    /// The programs that are there now, but for those that `run:` starts.
    pub programs: Vec<Routed>,
}

/// The programs of a source tree, as the project's manifests describe them. Reading those takes a
/// compiler's help and so its time; whoever builds often keeps this until a manifest changes.
pub struct SourceTree {
    project: Project,
    catalogue: Catalogue,
    concerns: Concerns,
}

/// Workers that are built by one call of a compiler.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Together {
    /// All of a cargo workspace, by its folder.
    Workspace(PathBuf),
    /// One worker.
    Alone(WorkerName),
}

/// Builds the workers whose inputs have changed since they were last built here. A program that
/// runs is not disturbed: its file is replaced, never written to.
///
/// # Errors
/// See [`BuildError`]; a worker that does not build is none, but [`Outcome::Failed`].
pub fn build(project: &Project, report: &dyn Report) -> Result<DevBuild, BuildError> {
    let tree = SourceTree::read(project.clone())?;
    let stale = tree.stale()?;
    let built = tree.build(&stale, None, report)?.finish()?;
    let outcome = |name| built.get(name).copied().unwrap_or(Outcome::UpToDate);
    let workers = tree.workers().map(|name| (name.clone(), outcome(name))).collect();
    let programs = tree.programs();
    Ok(DevBuild { workers, skipped: tree.catalogue.skipped, programs })
}

impl SourceTree {
    /// Finds out what there is to build.
    ///
    /// # Errors
    /// See [`BuildError`].
    pub fn read(project: Project) -> Result<Self, BuildError> {
        let catalogue = Catalogue::read(&project, Profile::Dev)?;
        let concerns = Concerns::of(&project, &catalogue);
        Ok(Self { project, catalogue, concerns })
    }

    /// The workers, by name.
    pub fn workers(&self) -> impl Iterator<Item = &WorkerName> {
        self.catalogue.workers.iter().map(|worker| &worker.name)
    }

    /// Where a worker is to be mounted, and what it is written in; `None` where there is none.
    pub fn about(&self, worker: &WorkerName) -> Option<(&RoutePath, &str)> {
        self.worker(worker).map(|worker| (&worker.route, worker.language.as_str()))
    }

    /// Folders that are no workers.
    pub fn skipped(&self) -> &[Skipped] {
        &self.catalogue.skipped
    }

    /// What a change of the file at an absolute path means.
    pub fn concern(&self, path: &Path) -> Concern {
        self.concerns.of_file(path)
    }

    /// The folders to watch with all that is below them, and single files elsewhere.
    pub fn places(&self) -> (BTreeSet<&Path>, BTreeSet<&Path>) {
        self.concerns.places()
    }

    /// Whom a worker is built together with; `None` where there is no such worker.
    pub fn together(&self, worker: &WorkerName) -> Option<Together> {
        let worker = self.worker(worker)?;
        Some(match &worker.program.recipe {
            Recipe::Cargo { workspace, .. } => {
                Together::Workspace(self.catalogue.workspaces[*workspace].root.clone())
            }
            Recipe::Go | Recipe::Command(_) | Recipe::Ready => Together::Alone(worker.name.clone()),
        })
    }

    /// Whether a build of the worker can be begun ahead: cargo and go go on from wherever they were
    /// stopped, which is not to be expected of a command of the project's own.
    pub fn can_be_stopped(&self, worker: &WorkerName) -> bool {
        let recipe = self.worker(worker).map(|worker| &worker.program.recipe);
        matches!(recipe, Some(Recipe::Cargo { .. } | Recipe::Go))
    }

    /// The workers whose inputs have changed since they were last built here. Reads all of them.
    ///
    /// # Errors
    /// See [`BuildError`].
    pub fn stale(&self) -> Result<Vec<WorkerName>, BuildError> {
        let mut stale = Vec::new();
        for worker in &self.catalogue.workers {
            if !self.is_up_to_date(worker)? {
                stale.push(worker.name.clone());
            }
        }
        Ok(stale)
    }

    fn is_up_to_date(&self, worker: &Worker) -> Result<bool, BuildError> {
        let program = &worker.program;
        if !program.folder.join(&worker.binary).is_file() {
            return Ok(false);
        }
        let Some(record) = Record::read(&self.project, Profile::Dev, program) else {
            return Ok(false);
        };
        let inputs = self.catalogue.inputs(&self.project, program)?;
        Ok(inputs.digest_with(&record.embedded)? == record.inputs_md5)
    }

    /// Builds those of `workers` that there are. A build that is begun `ahead` compiles at once, and
    /// waits before anything comes of it. Blocks.
    ///
    /// # Errors
    /// See [`BuildError`]; a worker that does not build is none, but [`Outcome::Failed`].
    pub fn build(
        &self,
        workers: &[WorkerName],
        ahead: Option<&Arc<Verdict>>,
        report: &dyn Report,
    ) -> Result<Built<'_>, BuildError> {
        let wanted: Vec<_> = workers.iter().filter_map(|name| self.worker(name)).collect();
        let programs: Vec<_> = wanted.iter().map(|worker| &worker.program).collect();
        let made = Mutex::new(BTreeMap::new());
        let output = |program: &Program| {
            // One that cannot be read is none that could be the same.
            let bin = program.folder.join("bin");
            digest::tree(&bin, &mut DigestCache::default(), Timestamp::now()).ok()
        };
        let by_command = programs.iter().filter(|it| matches!(it.recipe, Recipe::Command(_)));
        let before: BTreeMap<_, _> = by_command.map(|it| (&it.name, output(it))).collect();
        let place = |program: &Program, result: &Made| {
            let is_new = match result {
                Made::Executable(path) => {
                    install(path, &program.folder.join("bin"), &program.name)?
                }
                // Of a program that needs no build, its sources are what runs.
                Made::BinFolder => before
                    .get(&program.name)
                    .is_none_or(|before| before.is_none() || *before != output(program)),
            };
            let mut made = made.lock().unwrap_or_else(PoisonError::into_inner);
            made.insert(program.name.clone(), (result.clone(), is_new));
            Ok(())
        };
        let runner = Runner {
            project: &self.project,
            catalogue: &self.catalogue,
            profile: Profile::Dev,
            stamp: None,
            ahead,
            report,
        };
        // What is digested beside the compiler may be newer than what that has read. It says so
        // with the next look at the sources, and costs no time until the program can be served.
        let digest = || programs.iter().map(|it| self.catalogue.inputs(&self.project, it));
        let (inputs, ran) = thread::scope(|scope| {
            let inputs = scope.spawn(|| digest().collect::<Result<Vec<_>, _>>());
            let ran = runner.run(&programs, &place);
            (inputs.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)), ran)
        });
        let Ran { failed, endings } = ran?;
        let mut made = made.into_inner().unwrap_or_else(PoisonError::into_inner);
        let programs = wanted
            .into_iter()
            .zip(inputs?)
            .map(|(worker, inputs)| {
                let made = made.remove(&worker.program.name);
                let made = made.filter(|_| !failed.contains(&worker.program.name));
                BuiltProgram { worker, inputs, made }
            })
            .collect();
        Ok(Built { project: &self.project, programs, endings })
    }

    fn programs(&self) -> Vec<Routed> {
        let own = |worker: &&Worker| worker.binary == format!("bin/{}", worker.name);
        let workers = self.catalogue.workers.iter().filter(own);
        let there = |(_, program): &Routed| program.is_file();
        workers
            .map(|it| (it.route.clone(), it.program.folder.join(&it.binary)))
            .filter(there)
            .collect()
    }

    fn worker(&self, name: &WorkerName) -> Option<&Worker> {
        self.catalogue.workers.iter().find(|worker| worker.name == *name)
    }
}

/// Programs that were built and lie in their places.
pub struct Built<'t> {
    project: &'t Project,
    programs: Vec<BuiltProgram<'t>>,
    endings: Vec<Ending>,
}

struct BuiltProgram<'t> {
    worker: &'t Worker,
    inputs: Inputs,
    /// What came out, and whether it is another program than before; `None` where it failed.
    made: Option<(Made, bool)>,
}

impl Built<'_> {
    /// What became of each.
    pub fn outcomes(&self) -> BTreeMap<WorkerName, Outcome> {
        let outcome = |program: &BuiltProgram<'_>| match program.made {
            Some((_, true)) => Outcome::Built,
            Some((_, false)) => Outcome::Unchanged,
            None => Outcome::Failed,
        };
        let outcomes = self.programs.iter();
        outcomes.map(|program| (program.worker.name.clone(), outcome(program))).collect()
    }

    /// Remembers what they were made from, for a later [`SourceTree::stale`]. Not to be called
    /// where a source has changed since the build began.
    ///
    /// # Errors
    /// When a record cannot be written.
    pub fn finish(self) -> Result<BTreeMap<WorkerName, Outcome>, BuildError> {
        let outcomes = self.outcomes();
        self.endings.into_iter().for_each(Ending::wait);
        for BuiltProgram { worker, inputs, made } in &self.programs {
            if let Some((made, _)) = made {
                let record = Record::of(self.project, inputs, made)?;
                record.write(self.project, Profile::Dev, &worker.program)?;
            }
        }
        Ok(outcomes)
    }
}

// Shared between the threads of a session.
const _: () = {
    const fn shared<T: Send + Sync>() {}
    shared::<SourceTree>();
};
