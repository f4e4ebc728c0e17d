//! `tqctl build`: a deployment of the commit that is checked out, or, with `--dev`, programs in
//! the source tree.

mod present;

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context;
use clap::Args;
use jiff::Timestamp;

use super::exit::{Exit, Failure};
use super::host::deployed_by;
use super::output::{Output, printable_lines};
use crate::build::production;
use crate::build::{BuildError, Project, dev, legacy};
use crate::config::settings::{Mode, Settings, sign_key};
use crate::config::{self, Environment, Sources};
use crate::store::activate::{HISTORY, Wish, activate_as};
use crate::store::deployment::Deployment;
use crate::store::layout::DeployDir;
use crate::store::lock::{DeployLock, LockError};
use crate::store::manifest::Manifest;
use crate::store::stage;
#[cfg(test)]
pub(in crate::ctl) use present::{DevDocument, Document};

/// `tqctl build`
#[derive(Debug, Args)]
pub struct BuildArgs {
    /// Build for development, into workers/*/bin
    #[arg(long, conflicts_with = "no_activate")]
    pub dev: bool,
    /// Leave deploy/manifest.json as it is
    #[arg(long)]
    pub no_activate: bool,
    /// Also put programs at bin/tqworker_*, where a server of the old layout looks for them
    #[arg(long)]
    pub legacy_output: bool,
    /// Sign the deployment with this key of gpg's: a fingerprint, or an e-mail address
    #[arg(long, value_name = "KEY", value_parser = sign_key, conflicts_with = "dev")]
    pub sign: Option<String>,
}

/// Builds the project in `root`. A program that does not build is [`Exit::BuildFailed`], and
/// another run that holds the deployment folder [`Exit::Locked`].
pub fn run(args: &BuildArgs, root: &Path, out: &Output) -> Result<Exit, Failure> {
    let started = Instant::now();
    let mode = if args.dev { Mode::Dev } else { Mode::Prod };
    let (mut project, _) = project(root, mode, out)?;
    if args.sign.is_some() {
        project.build.sign_key.clone_from(&args.sign);
    }
    if args.dev {
        let built = dev::build(&project, out).map_err(failure)?;
        let legacy = legacy_output(args, &project, &built.programs)?;
        present::dev(&built, &legacy, started.elapsed(), out)?;
        let failed = built.workers.iter().any(|(_, outcome)| *outcome == dev::Outcome::Failed);
        return Ok(if failed { Exit::BuildFailed } else { Exit::Ok });
    }
    let deploy = DeployDir::new(&project.deploy_dir);
    // Whether a program is unchanged is said of what was wanted until now.
    let before = Manifest::read(&deploy).ok().map(|(manifest, _)| manifest.deployment.deployment);
    let built = production::build(&project, Timestamp::now(), out).map_err(failure)?;
    if !args.no_activate {
        point_at(&deploy, &built.deployment)?;
    }
    let legacy = legacy_output(args, &project, &legacy::programs(&built))?;
    let outcome = present::Outcome {
        built: &built,
        legacy: &legacy,
        before: before.as_ref(),
        activated: !args.no_activate,
        duration: started.elapsed(),
    };
    outcome.print(&project.root, out)?;
    Ok(Exit::Ok)
}

/// Puts the programs where the old layout has them, if that is wished.
fn legacy_output(
    args: &BuildArgs,
    project: &Project,
    programs: &[legacy::Routed],
) -> Result<Vec<PathBuf>, Failure> {
    let programs = if args.legacy_output { programs } else { &[] };
    legacy::write(&project.root, programs).map_err(failure)
}

/// The project in `root` and its settings.
pub(super) fn project(
    root: &Path,
    mode: Mode,
    out: &Output,
) -> Result<(Project, Settings), Failure> {
    // As git and cargo name it, and so that the settings' paths begin with it.
    let root = root.canonicalize().with_context(|| root.display().to_string())?;
    let sources = Sources {
        mode: Some(mode),
        environment: Environment::of_process(),
        ..Sources::of_project(&root)
    };
    let loaded = config::load(&sources)?;
    for warning in &loaded.warnings {
        out.warning(printable_lines(&warning.to_string()));
    }
    let project = Project::new(&root, &loaded.settings, out.message_painter().is_coloured())?;
    Ok((project, loaded.settings))
}

pub(super) fn failure(error: BuildError) -> Failure {
    let exit = if error.is_build_failure() { Exit::BuildFailed } else { Exit::Failure };
    Failure::new(exit, error)
}

/// Makes the manifest point at a complete deployment.
fn point_at(deploy: &DeployDir, deployment: &Deployment) -> Result<(), Failure> {
    let now = Timestamp::now();
    let lock = DeployLock::try_acquire(deploy, "tqctl build", now).map_err(|error| {
        let exit = match error {
            LockError::Held { .. } => Exit::Locked,
            LockError::Io { .. } => Exit::Failure,
        };
        Failure::new(exit, error)
    })?;
    stage::clean(&lock)?;
    let wish = Wish { by: Some(deployed_by(None, "build")), canary: None };
    activate_as(&lock, deployment, wish, now, HISTORY)?;
    Ok(())
}
