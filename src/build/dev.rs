//! Builds workers into the source tree: `workers/<name>/bin/<name>`.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;
use std::process;
use std::sync::{Mutex, PoisonError};

use super::error::BuildError;
use super::program::{Catalogue, Program, Worker};
use super::record::Record;
use super::report::Report;
use super::runner::{Changed, Made, Runner};
use super::{Profile, Project, Skipped};
use crate::ids::WorkerName;

/// What became of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
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
    /// Folders that are no workers.
    pub skipped: Vec<Skipped>,
}

/// Builds the workers whose inputs have changed since they were last built here. A program that
/// runs is not disturbed: its file is replaced, never written to.
///
/// # Errors
/// See [`BuildError`]; a worker that does not build is none, but [`Outcome::Failed`].
pub fn build(project: &Project, report: &dyn Report) -> Result<DevBuild, BuildError> {
    let catalogue = Catalogue::read(project, Profile::Dev)?;
    let mut changed = Vec::new();
    for worker in &catalogue.workers {
        let program = &worker.program;
        let inputs = catalogue.inputs(project, program)?;
        if !is_up_to_date(project, worker, |embedded| inputs.digest_with(embedded))? {
            changed.push(Changed { program, inputs });
        }
    }
    let replaced = Mutex::new(BTreeSet::new());
    let place = |program: &Program, made: Made, record: &Record| {
        let is_new = match made {
            Made::Executable(path) => install(&path, &program.folder.join("bin"), &program.name)?,
            Made::BinFolder => true,
        };
        if is_new {
            let mut replaced = replaced.lock().unwrap_or_else(PoisonError::into_inner);
            replaced.insert(program.name.clone());
        }
        record.write(project, Profile::Dev, program)
    };
    let catalogue_ref = &catalogue;
    let runner =
        Runner { project, catalogue: catalogue_ref, profile: Profile::Dev, stamp: None, report };
    let failed = runner.run(&changed, &place)?;
    let replaced = replaced.into_inner().unwrap_or_else(PoisonError::into_inner);
    let outcome = |name: &str| {
        if failed.iter().any(|failed| failed == name) {
            Outcome::Failed
        } else if replaced.contains(name) {
            Outcome::Built
        } else if changed.iter().any(|changed| changed.program.name == name) {
            Outcome::Unchanged
        } else {
            Outcome::UpToDate
        }
    };
    let workers = catalogue.workers.iter().map(|it| (it.name.clone(), outcome(it.name.as_str())));
    let workers = workers.collect();
    Ok(DevBuild { workers, skipped: catalogue.skipped })
}

fn is_up_to_date(
    project: &Project,
    worker: &Worker,
    digest_with: impl Fn(&[std::path::PathBuf]) -> Result<crate::ids::Md5, BuildError>,
) -> Result<bool, BuildError> {
    if !worker.program.folder.join(&worker.binary).is_file() {
        return Ok(false);
    }
    match Record::read(project, Profile::Dev, &worker.program) {
        Some(record) => Ok(digest_with(&record.embedded)? == record.inputs_md5),
        None => Ok(false),
    }
}

/// Puts `executable` at `bin/<name>` by rename, unless the same bytes are there.
fn install(executable: &Path, bin: &Path, name: &str) -> Result<bool, BuildError> {
    let target = bin.join(name);
    let temporary = bin.join(format!(".{name}.{}", process::id()));
    let put = || -> io::Result<bool> {
        let new = fs::read(executable)?;
        match fs::read(&target) {
            Ok(old) if old == new => return Ok(false),
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        fs::create_dir_all(bin)?;
        fs::copy(executable, &temporary)?;
        fs::rename(&temporary, &target)?;
        Ok(true)
    };
    put().map_err(|source| {
        // The first error is the one to tell.
        let _ = fs::remove_file(&temporary);
        BuildError::io(&target, source)
    })
}
