//! Builds programs: cargo once a workspace, everything else side by side.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::cargo::{CargoRun, files_read};
use super::error::BuildError;
use super::inputs::Inputs;
use super::program::{Catalogue, Program, Recipe};
use super::record::{self, Record};
use super::report::{Event, Report};
use super::{Profile, Project, Stamp, command, go};

/// What a build has left.
pub(super) enum Made {
    /// One executable, somewhere among the compiler's files.
    Executable(PathBuf),
    /// All of `bin/` of the worker's folder.
    BinFolder,
}

/// A program whose inputs have changed.
pub(super) struct Changed<'a> {
    pub(super) program: &'a Program,
    /// What it is made from, without what it embeds.
    pub(super) inputs: Inputs,
}

/// Takes what was built, along with the record of it.
pub(super) type Place<'a> = dyn Fn(&Program, Made, &Record) -> Result<(), BuildError> + Sync + 'a;

/// How to build.
pub(super) struct Runner<'a> {
    pub(super) project: &'a Project,
    pub(super) catalogue: &'a Catalogue,
    pub(super) profile: Profile,
    pub(super) stamp: Option<&'a Stamp>,
    pub(super) report: &'a dyn Report,
}

impl Runner<'_> {
    /// Builds all that can be built, hands each to `place`, and returns the names of those that
    /// failed.
    pub(super) fn run(
        &self,
        changed: &[Changed<'_>],
        place: &Place<'_>,
    ) -> Result<Vec<String>, BuildError> {
        if changed.is_empty() {
            return Ok(Vec::new());
        }
        let names: Vec<_> = changed.iter().map(|it| it.program.name.as_str()).collect();
        self.report.event(Event::Building(&names));
        let mut failed = Vec::new();
        for workspace in 0..self.catalogue.workspaces.len() {
            failed.extend(self.cargo(workspace, changed, place)?);
        }
        failed.extend(self.side_by_side(changed, place)?);
        Ok(failed)
    }

    fn cargo(
        &self,
        index: usize,
        changed: &[Changed<'_>],
        place: &Place<'_>,
    ) -> Result<Vec<String>, BuildError> {
        let of_workspace = |program| match program {
            &Program { recipe: Recipe::Cargo { workspace, ref binary }, .. }
                if workspace == index =>
            {
                Some(binary)
            }
            _ => None,
        };
        let wanted: Vec<_> = changed
            .iter()
            .filter_map(|changed| Some((changed, of_workspace(changed.program)?)))
            .collect();
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let together = self.catalogue.programs().filter_map(of_workspace);
        let target_dir = self.project.target_dir();
        fs::create_dir_all(&target_dir).map_err(|source| BuildError::io(&target_dir, source))?;
        let run = CargoRun {
            workspace: &self.catalogue.workspaces[index],
            together: together.map(|binary| &binary.package).collect::<BTreeSet<_>>(),
            binaries: wanted.iter().map(|(_, binary)| *binary).collect(),
            profile: self.profile,
            jobs: self.jobs(),
            target_dir: &target_dir,
            stamp: self.stamp,
            colour: self.project.colour,
        };
        let executables = run.run(self.report)?;
        let mut failed = Vec::new();
        for (changed, binary) in wanted {
            match executables.get(&binary.package) {
                Some(executable) => {
                    let record = self.record(changed, Some(executable))?;
                    place(changed.program, Made::Executable(executable.clone()), &record)?;
                }
                None => failed.push(changed.program.name.clone()),
            }
        }
        Ok(failed)
    }

    /// More compilers at once than processors would only cost memory.
    fn jobs(&self) -> usize {
        let processors = thread::available_parallelism().map_or(1, usize::from);
        self.project.build.parallel_builds.clamp(1, processors)
    }

    fn side_by_side(
        &self,
        changed: &[Changed<'_>],
        place: &Place<'_>,
    ) -> Result<Vec<String>, BuildError> {
        let others = changed.iter().filter(|it| !matches!(it.program.recipe, Recipe::Cargo { .. }));
        let others: Vec<_> = others.collect();
        let next = Mutex::new(others.iter());
        let worker = || -> Result<Vec<String>, BuildError> {
            let mut failed = Vec::new();
            loop {
                // The guard must not outlive this line, or builds would wait for each other.
                let taken = next.lock().unwrap_or_else(PoisonError::into_inner).next();
                let Some(changed) = taken else { return Ok(failed) };
                match self.alone(changed.program)? {
                    Some(made) => place(changed.program, made, &self.record(changed, None)?)?,
                    None => failed.push(changed.program.name.clone()),
                }
            }
        };
        let threads = self.project.build.parallel_builds.clamp(1, others.len().max(1));
        thread::scope(|scope| {
            let handles: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
            let mut failed = Vec::new();
            for handle in handles {
                match handle.join() {
                    Ok(result) => failed.extend(result?),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
            failed.sort();
            Ok(failed)
        })
    }

    /// Builds a program that has nothing to do with cargo; `None` when it does not build.
    fn alone(&self, program: &Program) -> Result<Option<Made>, BuildError> {
        let settings = &self.project.build;
        match &program.recipe {
            Recipe::Command(words) => {
                let built = command::build(program, words, self.stamp, self.report)?;
                Ok(built.then_some(Made::BinFolder))
            }
            Recipe::Go => {
                let folder = self.project.own_dir().join("go").join(self.profile.cargo_name());
                let prepare = || {
                    fs::create_dir_all(&folder)?;
                    record::ignore(&self.project.own_dir())
                };
                prepare().map_err(|source| BuildError::io(&folder, source))?;
                let output = folder.join(&program.name);
                let built = go::build(program, settings, self.stamp, &output, self.report)?;
                Ok(built.then_some(Made::Executable(output)))
            }
            Recipe::Ready | Recipe::Cargo { .. } => Ok(Some(Made::BinFolder)),
        }
    }

    /// What to remember of a build: files of the project that the compiler has read besides the
    /// known inputs are inputs from now on.
    fn record(
        &self,
        changed: &Changed<'_>,
        executable: Option<&Path>,
    ) -> Result<Record, BuildError> {
        let read = match executable {
            Some(path) => files_read(path).map_err(|source| BuildError::io(path, source))?,
            None => Vec::new(),
        };
        let target_dir = self.project.target_dir();
        let mut embedded: Vec<PathBuf> = read
            .into_iter()
            // What a build script generated follows from its own inputs.
            .filter(|file| !file.starts_with(&target_dir) && !changed.inputs.has(file))
            .filter_map(|file| Some(file.strip_prefix(&self.project.root).ok()?.to_owned()))
            .collect();
        embedded.sort();
        let inputs_md5 = changed.inputs.digest_with(&embedded)?;
        Ok(Record { inputs_md5, embedded })
    }
}
