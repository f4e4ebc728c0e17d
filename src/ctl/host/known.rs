//! What there is on a host: deployments, their files, and how they served.

use std::collections::HashMap;
use std::fs::File;
use std::path::PathBuf;

use jiff::Timestamp;

use super::protocol::{Deployments, Hello, Listed, ListedState, PROTOCOL};
use crate::admin::api::Status;
use crate::ctl::client::{Client, ClientError};
use crate::ctl::exit::Failure;
use crate::ids::{CommitId, Sha256};
use crate::store::deployment::Deployment;
use crate::store::digest::{self, DigestCache};
use crate::store::document::ReadError;
use crate::store::layout::DeployDir;
use crate::store::manifest::{Manifest, PreviousStatus};
use crate::store::verify::{Scope, verify};

/// How many deployments are looked through for files to take over.
const LOOKED_THROUGH: usize = 20;

/// How the host stands, for whoever begins a session.
pub(super) fn hello(deploy: &DeployDir, client: &Client) -> Result<Hello, Failure> {
    let mut warnings = Vec::new();
    let manifest = manifest(deploy, &mut warnings)?;
    let status = match super::verdict::block_on(client.status())? {
        Ok(status) => Some(status),
        Err(error) => {
            warnings.push(unasked(&error));
            None
        }
    };
    let serving = status.as_ref().and_then(|status| status.actual.as_ref());
    let serving = serving.and_then(|commit| Deployment::read(deploy, commit).ok());
    let current = serving.or_else(|| manifest.map(|it| it.deployment.deployment));
    Ok(Hello {
        protocol: PROTOCOL,
        version: crate::version::VERSION_LINE.clone(),
        rsync: on_path("rsync"),
        current: current.map(|it| String::from_utf8_lossy(&it.to_json()).into_owned()),
        last_good: status.and_then(|status| status.last_good),
        warnings,
    })
}

/// What it means that tqserver cannot be asked.
fn unasked(error: &ClientError) -> String {
    match error {
        ClientError::Denied(socket) => format!(
            "{user} may not use {}: `systemctl reload` alone tells whether tqserver has switched, \
             without a reason, nothing is watched afterwards, and there is no history; to be told, as \
             root there: usermod --append --groups tqserver-admin {user}",
            socket.display(),
            user = super::user()
        ),
        other => other.to_string(),
    }
}

/// The manifest; none where it is damaged, which is told.
fn manifest(deploy: &DeployDir, warnings: &mut Vec<String>) -> Result<Option<Manifest>, Failure> {
    match Manifest::read(deploy) {
        Ok((manifest, _)) => Ok(Some(manifest)),
        Err(ReadError::Absent(_)) => Ok(None),
        Err(error @ ReadError::Io { .. }) => Err(error.into()),
        Err(error) => {
            warnings.push(error.to_string());
            Ok(None)
        }
    }
}

/// Whether a program is in the search path.
fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// The files of the deployments that are there, by their content.
pub(super) struct Content {
    /// Newest first.
    deployments: Vec<Deployment>,
    files: HashMap<Sha256, PathBuf>,
}

impl Content {
    /// What the records say. A record that cannot be read has no files.
    pub(super) fn of(deploy: &DeployDir) -> Result<Self, Failure> {
        let commits = deploy.deployments()?;
        let mut deployments: Vec<_> =
            commits.iter().filter_map(|commit| Deployment::read(deploy, commit).ok()).collect();
        deployments.sort_by_key(|deployment| std::cmp::Reverse(deployment.built_at));
        deployments.truncate(LOOKED_THROUGH);
        let mut files = HashMap::new();
        for deployment in &deployments {
            let folder = deploy.commit_dir(&deployment.git_commit);
            for (path, sum) in deployment.files() {
                files.entry(*sum).or_insert_with(|| folder.join(path));
            }
        }
        Ok(Self { deployments, files })
    }

    /// The files of `record` whose content is not there.
    pub(super) fn lacks(&self, record: &Deployment) -> Vec<String> {
        let lacking = record.files().filter(|(_, sum)| !self.files.contains_key(sum));
        lacking.map(|(path, _)| path).collect()
    }

    /// A file with this content, which is looked at: records tell what was.
    pub(super) fn file(&self, sum: &Sha256) -> Option<&PathBuf> {
        let path = self.files.get(sum)?;
        let read = File::open(path).and_then(|mut file| digest::read(&mut file, false)).ok()?;
        (read.sha256 == *sum).then_some(path)
    }

    /// The newest deployments that have a file of the same path as one of `paths`.
    pub(super) fn resembling(&self, paths: &[String], most: usize) -> Vec<CommitId> {
        let has = |deployment: &&Deployment| {
            deployment.files().any(|(path, _)| paths.binary_search(&path).is_ok())
        };
        let found = self.deployments.iter().filter(has).take(most);
        found.map(|deployment| deployment.git_commit.clone()).collect()
    }
}

/// The deployments there are and were, and what became of them.
pub(super) fn list(
    deploy: &DeployDir,
    client: &Client,
    verify_files: bool,
) -> Result<Deployments, Failure> {
    let mut found = Deployments::default();
    let manifest = manifest(deploy, &mut found.warnings)?;
    let status = super::verdict::block_on(client.status())?;
    match super::verdict::block_on(client.past_rollouts())? {
        Ok(past) => (found.rollouts, found.refused) = (past.rollouts, past.refused),
        Err(error) => found.warnings.push(unasked(&error)),
    }
    let status = status.ok();
    let present = deploy.deployments()?;
    for entry in entries(manifest) {
        found.deployments.push(entry);
    }
    for commit in &present {
        if found.deployments.iter().all(|entry| entry.commit != *commit) {
            found.deployments.push(blank(commit.clone()));
        }
    }
    let mut cache = DigestCache::default();
    for entry in &mut found.deployments {
        let is_there = present.contains(&entry.commit);
        entry.state = state(entry, is_there, status.as_ref(), &found.rollouts);
        if !is_there {
            continue;
        }
        let checked = Deployment::read(deploy, &entry.commit).map_err(|error| error.to_string());
        let checked = checked.and_then(|record| {
            entry.tag.clone_from(&record.git_tag);
            match verify_files {
                true => verify(deploy, &record, Scope::Whole, &mut cache, Timestamp::now())
                    .map_err(|error| error.to_string()),
                false => Ok(()),
            }
        });
        entry.damage = checked.err();
    }
    Ok(found)
}

fn blank(commit: CommitId) -> Listed {
    Listed {
        commit,
        tag: None,
        deployed_at: None,
        deployed_by: None,
        state: ListedState::Unknown,
        damage: None,
    }
}

/// What the manifest tells of, newest first; the wanted one is [`ListedState::Wanted`] so far.
fn entries(manifest: Option<Manifest>) -> Vec<Listed> {
    let Some(manifest) = manifest else { return Vec::new() };
    let current = Listed {
        deployed_at: Some(manifest.deployment.deployed_at),
        deployed_by: manifest.deployed_by,
        state: ListedState::Wanted,
        ..blank(manifest.current_deployment)
    };
    let previous = manifest.previous_deployments.into_iter().map(|entry| Listed {
        tag: entry.git_tag,
        deployed_at: Some(entry.deployed_at),
        deployed_by: entry.deployed_by,
        state: match entry.status {
            PreviousStatus::RollbackAvailable => ListedState::Unknown,
            PreviousStatus::Removed => ListedState::Removed,
        },
        ..blank(entry.git_commit)
    });
    std::iter::once(current).chain(previous).collect()
}

fn state(
    entry: &Listed,
    is_there: bool,
    status: Option<&Status>,
    rollouts: &[crate::admin::api::PastRollout],
) -> ListedState {
    let wanted = entry.state == ListedState::Wanted;
    let last = rollouts.iter().find(|rollout| rollout.commit == entry.commit);
    match status {
        Some(status) if status.actual.as_ref() == Some(&entry.commit) => ListedState::Current,
        None if wanted => ListedState::Current,
        Some(_) if wanted => ListedState::Wanted,
        _ if !is_there => ListedState::Removed,
        _ => match last.map(|rollout| rollout.failure.is_some()) {
            Some(true) => ListedState::Failed,
            Some(false) => ListedState::Good,
            None => ListedState::Unknown,
        },
    }
}
