//! Builds programs: cargo once a workspace, everything else side by side.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use super::cargo::{CargoRun, Ending};
use super::error::BuildError;
use super::program::{Catalogue, Program, Recipe};
use super::record;
use super::report::{Event, Report};
use super::{Profile, Project, Stamp, Verdict, command, go};

/// What a build has left.
#[derive(Clone)]
pub(super) enum Made {
    /// One executable, somewhere among the compiler's files.
    Executable(PathBuf),
    /// All of `bin/` of the worker's folder.
    BinFolder,
}

/// Takes what was built.
pub(super) type Place<'a> = dyn Fn(&Program, &Made) -> Result<(), BuildError> + Sync + 'a;

/// How to build.
pub(super) struct Runner<'a> {
    pub(super) project: &'a Project,
    pub(super) catalogue: &'a Catalogue,
    pub(super) profile: Profile,
    pub(super) stamp: Option<&'a Stamp>,
    /// Of a build that is begun ahead.
    pub(super) ahead: Option<&'a Arc<Verdict>>,
    pub(super) report: &'a dyn Report,
}

/// What became of a build.
#[derive(Default)]
pub(super) struct Ran {
    /// The names of the programs that failed.
    pub(super) failed: Vec<String>,
    /// Calls of cargo that have not ended: in development, where nothing waits for that but a
    /// [`Record`](super::record::Record).
    pub(super) endings: Vec<Ending>,
}

impl Runner<'_> {
    /// Builds all of `programs` that can be built, and hands each to `place`, once the build is
    /// wanted.
    pub(super) fn run(&self, programs: &[&Program], place: &Place<'_>) -> Result<Ran, BuildError> {
        if programs.is_empty() {
            return Ok(Ran::default());
        }
        let names: Vec<_> = programs.iter().map(|it| it.name.as_str()).collect();
        self.report.event(Event::Building(&names));
        let mut ran = Ran::default();
        for workspace in 0..self.catalogue.workspaces.len() {
            self.cargo(workspace, programs, place, &mut ran)?;
        }
        ran.failed.extend(self.side_by_side(programs, place)?);
        Ok(ran)
    }

    fn cargo(
        &self,
        index: usize,
        programs: &[&Program],
        place: &Place<'_>,
        ran: &mut Ran,
    ) -> Result<(), BuildError> {
        let of_workspace = |program| match program {
            &Program { recipe: Recipe::Cargo { workspace, ref binary }, .. }
                if workspace == index =>
            {
                Some(binary)
            }
            _ => None,
        };
        let wanted: Vec<_> = programs
            .iter()
            .filter_map(|&program| Some((program, of_workspace(program)?)))
            .collect();
        if wanted.is_empty() {
            return Ok(());
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
            ahead: self.ahead,
            colour: self.project.colour,
            progress: self.project.progress,
        };
        let built = self.timed(|| run.run(self.report));
        if let Err(stopped) = self.decided() {
            built.into_iter().filter_map(|built| built.ending).for_each(Ending::wait);
            return Err(stopped);
        }
        let built = built?;
        for (program, binary) in wanted {
            match built.executables.get(&binary.package) {
                Some(executable) => place(program, &Made::Executable(executable.clone()))?,
                None => ran.failed.push(program.name.clone()),
            }
        }
        ran.endings.extend(built.ending);
        Ok(())
    }

    /// Waits, in a build that was begun ahead, until it is wanted or was stopped.
    fn decided(&self) -> Result<(), BuildError> {
        self.ahead.map_or(Ok(()), |verdict| verdict.wait())
    }

    /// Tells how long a compiler took.
    fn timed<T>(&self, compile: impl FnOnce() -> Result<T, BuildError>) -> Result<T, BuildError> {
        let began = Instant::now();
        let result = compile();
        self.report.event(Event::Compiled(began.elapsed()));
        result
    }

    /// More compilers at once than processors would only cost memory.
    fn jobs(&self) -> usize {
        let processors = thread::available_parallelism().map_or(1, usize::from);
        self.project.build.parallel_builds.clamp(1, processors)
    }

    fn side_by_side(
        &self,
        programs: &[&Program],
        place: &Place<'_>,
    ) -> Result<Vec<String>, BuildError> {
        let others = programs.iter().filter(|it| !matches!(it.recipe, Recipe::Cargo { .. }));
        let others: Vec<_> = others.collect();
        let next = Mutex::new(others.iter());
        let worker = || -> Result<Vec<String>, BuildError> {
            let mut failed = Vec::new();
            loop {
                // The guard must not outlive this line, or builds would wait for each other.
                let taken = next.lock().unwrap_or_else(PoisonError::into_inner).next();
                let Some(program) = taken else { return Ok(failed) };
                let made = self.timed(|| self.alone(program));
                self.decided()?;
                match made? {
                    Some(made) => place(program, &made)?,
                    None => failed.push(program.name.clone()),
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
                let go = go::Build { program, settings, stamp: self.stamp, ahead: self.ahead };
                let built = go.run(&output, self.report)?;
                Ok(built.then_some(Made::Executable(output)))
            }
            Recipe::Ready | Recipe::Cargo { .. } => Ok(Some(Made::BinFolder)),
        }
    }
}
