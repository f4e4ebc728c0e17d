//! `tqctl prune`: removes deployments that nothing needs any more.

mod present;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use clap::Args;
use jiff::Timestamp;

use super::client::Client;
use super::exit::{Exit, Failure};
use super::output::{Output, printable_lines};
use crate::admin::retention::Retention;
use crate::config::settings::{DeploymentSettings, Mode, RetentionSettings};
use crate::config::{self, Environment, Sources};
use crate::ids::CommitId;
use crate::store::activate;
use crate::store::document::ReadError;
use crate::store::layout::DeployDir;
use crate::store::lock::{DeployLock, LockError};
use crate::store::manifest::Manifest;
use crate::store::prune::{Plan, Rules, plan};
use crate::store::stage;
#[cfg(test)]
pub(in crate::ctl) use present::Document;
use present::Outcome;

/// `tqctl prune`
#[derive(Debug, Args)]
pub struct PruneArgs {
    /// Say what would be removed, and write nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Wait for whoever holds the lock on the deployments, instead of giving up
    #[arg(long)]
    pub lock_wait: bool,
    /// The project's own deployments, from which no tqserver serves, as where they are only built
    #[arg(long)]
    pub no_daemon: bool,
}

/// Removes what neither the manifest nor tqserver needs and the retention rules do not keep. tqserver
/// says where deployments are, and which it needs; where it does not answer, nothing is removed.
pub async fn run(
    args: &PruneArgs,
    root: &Path,
    client: &Client,
    out: &Output,
) -> Result<Exit, Failure> {
    let source =
        if args.no_daemon { Source::Project(project(root, out)?) } else { Source::Daemon(client) };
    let deploy = DeployDir::new(source.deploy_dir().await?);
    if args.dry_run {
        let plan = source.plan(&deploy).await?;
        Outcome { plan: &plan, deploy: &deploy, removed: None, left_over: &[] }.print(out)?;
        return Ok(Exit::Ok);
    }
    let lock = lock(&deploy, args.lock_wait)?;
    // Only now nobody can make another deployment the wanted one.
    let plan = source.plan(&deploy).await?;
    let left_over = stage::clean(&lock)?;
    let mut removed = Vec::new();
    let mut exit = Exit::Ok;
    for it in &plan.removable {
        match stage::discard(&lock, &it.commit) {
            Ok(()) => removed.push(&it.commit),
            Err(error) => {
                out.error(printable_lines(&error.to_string()));
                exit = Exit::Failure;
            }
        }
    }
    Outcome { plan: &plan, deploy: &deploy, removed: Some(&removed), left_over: &left_over }
        .print(out)?;
    // Of earlier runs as well, which may have been killed before they came to it.
    if let Err(error) = activate::retell(&lock, Timestamp::now()) {
        out.error(printable_lines(&error.to_string()));
        exit = Exit::Failure;
    }
    Ok(exit)
}

fn lock(deploy: &DeployDir, wait: bool) -> Result<DeployLock, Failure> {
    let acquire = if wait { DeployLock::acquire } else { DeployLock::try_acquire };
    acquire(deploy, "tqctl prune", Timestamp::now()).map_err(|error| {
        let exit = match error {
            LockError::Held { .. } => Exit::Locked,
            LockError::Io { .. } => Exit::Failure,
        };
        Failure::new(exit, error)
    })
}

/// Who says what is needed.
enum Source<'a> {
    /// tqserver, each time it is asked anew.
    Daemon(&'a Client),
    /// Nobody but the manifest.
    Project(DeploymentSettings),
}

impl Source<'_> {
    async fn deploy_dir(&self) -> Result<PathBuf, Failure> {
        match self {
            Self::Daemon(client) => Ok(ask(client).await?.deploy_dir),
            Self::Project(settings) => Ok(settings.deploy_dir.clone()),
        }
    }

    async fn plan(&self, deploy: &DeployDir) -> Result<Plan, Failure> {
        let (rules, needed) = match self {
            Self::Daemon(client) => {
                let Retention { deploy_dir, rules, needed, .. } = ask(client).await?;
                if deploy_dir != deploy.path() {
                    return Err(anyhow!("tqserver was replaced meanwhile; try again").into());
                }
                let needed = needed.into_iter();
                // One reason is enough to be told: the first, which here comes last and stays.
                let needed = needed.rev().map(|it| (it.commit, it.reason.as_str().to_owned()));
                (rules, needed.collect())
            }
            Self::Project(settings) => (settings.retention, needed_without(settings, deploy)?),
        };
        let RetentionSettings { keep, days } = rules;
        let rules = Rules { keep: usize::try_from(keep)?, days };
        Ok(plan(deploy, rules, &needed, Timestamp::now())?)
    }
}

/// What tqserver needs; an error is the reason why nothing is removed.
async fn ask(client: &Client) -> Result<Retention, Failure> {
    client.retention().await.map_err(|error| {
        let failure = error.into_failure();
        let ours = "nothing is removed without its word; where no tqserver serves from the project's \
                    deployments: --no-daemon";
        let hint = match failure.hint() {
            Some(hint) => format!("{hint}; {ours}"),
            None => ours.to_owned(),
        };
        failure.with_hint(Some(hint))
    })
}

/// What may be needed where nobody can be asked: all that was ever activated here, as far as the
/// manifest remembers, and what is pinned.
fn needed_without(
    settings: &DeploymentSettings,
    deploy: &DeployDir,
) -> Result<BTreeMap<CommitId, String>, Failure> {
    let mut needed = BTreeMap::new();
    match Manifest::read(deploy) {
        Ok((manifest, _)) => {
            let earlier = manifest.previous_deployments.into_iter();
            needed.extend(earlier.map(|it| (it.git_commit, "is in the history".to_owned())));
        }
        Err(ReadError::Absent(_)) => {}
        Err(error) => return Err(error.into()),
    }
    let pinned = settings.pins.iter();
    needed.extend(pinned.map(|(it, pin)| (pin.commit.clone(), format!("{it} is pinned to it"))));
    Ok(needed)
}

fn project(root: &Path, out: &Output) -> Result<DeploymentSettings, Failure> {
    let root = root.canonicalize().with_context(|| root.display().to_string())?;
    let sources = Sources {
        mode: Some(Mode::Prod),
        environment: Environment::of_process(),
        ..Sources::of_project(&root)
    };
    let loaded = config::load(&sources)?;
    for warning in &loaded.warnings {
        out.warning(printable_lines(&warning.to_string()));
    }
    Ok(loaded.settings.deployments)
}
