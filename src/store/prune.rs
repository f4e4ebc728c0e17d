//! Which deployments can go, and that they go whole.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::PathBuf;

use jiff::{SignedDuration, Timestamp};

use super::deployment::Deployment;
use super::document::ReadError;
use super::layout::DeployDir;
use super::manifest::Manifest;
use super::space;
use crate::ids::CommitId;

/// How long deployments are kept that nothing needs. What one of the two keeps stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// As many of the newest.
    pub keep: usize,
    /// Those that came within so many days.
    pub days: u32,
}

/// Why a deployment stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// The manifest points at it.
    Wanted,
    /// Somebody needs it, who says what for.
    Needed(String),
    /// Its commit has a tag.
    Tagged(String),
    /// It is one of the newest.
    Newest,
    /// It came not long ago.
    Recent,
    /// Its record cannot be read, so that nobody knows whether it has a tag.
    Unreadable(String),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wanted => f.write_str("the manifest points at it"),
            Self::Needed(what_for) => f.write_str(what_for),
            Self::Tagged(tag) => write!(f, "has tag {tag}"),
            Self::Newest => f.write_str("is one of the newest"),
            Self::Recent => f.write_str("is recent"),
            Self::Unreadable(error) => write!(f, "cannot be read: {error}"),
        }
    }
}

/// A deployment that can go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removable {
    /// Its commit.
    pub commit: CommitId,
    /// When it came: was built, put there, or activated last.
    pub since: Timestamp,
}

/// What stays and what goes.
#[derive(Debug, PartialEq, Eq)]
pub struct Plan {
    /// What stays, newest first.
    pub kept: Vec<(CommitId, Reason)>,
    /// What goes, oldest first.
    pub removable: Vec<Removable>,
    /// What that frees, in bytes.
    pub bytes: u64,
}

/// Why nothing may go.
#[derive(Debug, thiserror::Error)]
pub enum PruneError {
    /// Without a manifest that can be read nobody knows what is wanted.
    #[error("nothing is removed while the manifest cannot be read: {0}")]
    Manifest(#[from] ReadError),
    /// The folder cannot be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Decides. `needed` are deployments that have to stay whatever their age, and why; what the manifest
/// points at does so anyway.
///
/// # Errors
/// See [`PruneError`].
pub fn plan(
    deploy: &DeployDir,
    rules: Rules,
    needed: &BTreeMap<CommitId, String>,
    now: Timestamp,
) -> Result<Plan, PruneError> {
    let manifest = match Manifest::read(deploy) {
        Ok((manifest, _)) => Some(manifest),
        Err(ReadError::Absent(_)) => None,
        Err(error) => return Err(error.into()),
    };
    let activated = manifest.as_ref().map(activations).unwrap_or_default();
    let io = |source| PruneError::Io { path: deploy.path().to_owned(), source };
    let mut found = Vec::new();
    for commit in deploy.deployments().map_err(io)? {
        let record = Deployment::read(deploy, &commit);
        let built = record.as_ref().map(|record| record.built_at).ok();
        let put_there = put_there(deploy, &commit).map_err(io)?;
        let last = activated.get(&commit).copied();
        let since = [built, put_there, last].into_iter().flatten().max().unwrap_or(now);
        found.push((commit, since, record));
    }
    found.sort_by_key(|(_, since, _)| std::cmp::Reverse(*since));

    let young = SignedDuration::from_hours(24 * i64::from(rules.days));
    let wanted = manifest.as_ref().map(|manifest| &manifest.current_deployment);
    let (mut kept, mut removable) = (Vec::new(), Vec::new());
    for (place, (commit, since, record)) in found.into_iter().enumerate() {
        let reason = if wanted == Some(&commit) {
            Reason::Wanted
        } else if let Some(what_for) = needed.get(&commit) {
            Reason::Needed(what_for.clone())
        } else {
            match record {
                Err(error) => Reason::Unreadable(error.to_string()),
                Ok(Deployment { git_tag: Some(tag), .. }) => Reason::Tagged(tag),
                Ok(_) if place < rules.keep => Reason::Newest,
                Ok(_) if now.duration_since(since) < young => Reason::Recent,
                Ok(_) => {
                    removable.push(Removable { commit, since });
                    continue;
                }
            }
        };
        kept.push((commit, reason));
    }
    removable.reverse();
    let folders: Vec<_> = removable.iter().map(|it| deploy.commit_dir(&it.commit)).collect();
    Ok(Plan { kept, removable, bytes: space::freed_by(&folders) })
}

/// When each deployment was activated last, as far as the manifest remembers.
fn activations(manifest: &Manifest) -> BTreeMap<CommitId, Timestamp> {
    let earlier = manifest.previous_deployments.iter();
    let mut all: BTreeMap<_, _> =
        earlier.map(|it| (it.git_commit.clone(), it.deployed_at)).collect();
    all.insert(manifest.current_deployment.clone(), manifest.deployment.deployed_at);
    all
}

/// When a deployment's folder was completed here.
fn put_there(deploy: &DeployDir, commit: &CommitId) -> io::Result<Option<Timestamp>> {
    match deploy.commit_dir(commit).symlink_metadata() {
        Ok(found) => Ok(Timestamp::try_from(found.modified()?).ok()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
