//! Has tqserver switch to a deployment and, when that comes to nothing, puts the manifest back.
//!
//! All of it happens here, on the host, so that it goes on when nobody listens any more.

use std::fs;
use std::time::Duration;

use jiff::Timestamp;

use super::protocol::{Outcome, Reply, RolledOut};
use super::soak::{self, Soak};
use super::verdict;
use super::wire::Wire;
use crate::admin::api::{ReloadOutcome, ReloadVerdict};
use crate::ctl::client::{Client, ClientError};
use crate::ctl::exit::Failure;
use crate::ids::CommitId;
use crate::store::activate::{HISTORY, activate_by};
use crate::store::atomic;
use crate::store::deployment::Deployment;
use crate::store::digest::DigestCache;
use crate::store::layout::DeployDir;
use crate::store::lock::DeployLock;
use crate::store::manifest::{DeployedBy, Manifest};
use crate::store::verify::{Scope, verify};

/// One rollout to be.
pub(super) struct Rollout<'s> {
    pub(super) lock: &'s DeployLock,
    pub(super) client: &'s Client,
    pub(super) by: &'s DeployedBy,
    /// How long it is watched; zero: not at all.
    pub(super) soak: Duration,
}

impl Rollout<'_> {
    /// Performs it. An error says that nothing was changed.
    pub(super) fn run(&self, commit: &CommitId, wire: &mut Wire) -> Result<RolledOut, Failure> {
        let deploy = self.lock.deploy();
        let record = Deployment::read(deploy, commit)?;
        verify(deploy, &record, Scope::Whole, &mut DigestCache::default(), Timestamp::now())?;
        // Where nobody could switch, nothing is changed.
        let status = match verdict::block_on(self.client.status())? {
            Ok(status) => Some(status),
            Err(ClientError::Denied(_)) => None,
            Err(error) => return Err(error.into_failure()),
        };
        let soak = status.filter(|_| !self.soak.is_zero()).map(|status| Soak::begin(&status));
        let before = Before::read(deploy)?;
        activate_by(self.lock, &record, Some(self.by.clone()), Timestamp::now(), HISTORY)?;
        wire.say(&Reply::Activated);
        let verdict = match verdict::reload(self.client) {
            Ok(verdict) => verdict,
            Err(failure) => {
                // Nobody has said that it serves.
                return Ok(before.put_back_after(&self.failed(&failure), self));
            }
        };
        let mut rolled_out = told(&verdict, before.commit.clone());
        if !verdict.ok {
            return Ok(before.put_back_after(&rolled_out, self));
        }
        wire.say(&Reply::Serving {
            started: rolled_out.started.clone(),
            kept: rolled_out.kept.clone(),
        });
        let Some(soak) = soak else {
            if !self.soak.is_zero() {
                rolled_out.notes.push("not watched: the control socket may not be used".to_owned());
            }
            return Ok(rolled_out);
        };
        match soak.watch(self.client, commit, self.soak) {
            soak::Finding::Well(note) => {
                rolled_out.notes.push(note);
                Ok(rolled_out)
            }
            soak::Finding::Bad(reason) => {
                let bad =
                    RolledOut { outcome: Outcome::RolledBack, reason: Some(reason), ..rolled_out };
                Ok(before.put_back_after(&bad, self))
            }
        }
    }

    fn failed(&self, failure: &Failure) -> RolledOut {
        RolledOut {
            outcome: Outcome::NotSwitched,
            before: None,
            started: Vec::new(),
            kept: Vec::new(),
            reason: Some(failure.to_string()),
            details: Vec::new(),
            notes: Vec::new(),
        }
    }
}

fn told(verdict: &ReloadVerdict, before: Option<CommitId>) -> RolledOut {
    let outcome = match verdict.outcome {
        _ if !verdict.ok => Outcome::NotSwitched,
        ReloadOutcome::Unchanged => Outcome::Unchanged,
        _ => Outcome::Switched,
    };
    RolledOut {
        outcome,
        before,
        started: verdict.started.clone(),
        kept: verdict.kept.clone(),
        reason: verdict.reason.clone(),
        details: verdict.details.clone(),
        notes: Vec::new(),
    }
}

/// The manifest as it was.
struct Before {
    commit: Option<CommitId>,
    /// `None` where there was none.
    bytes: Option<Vec<u8>>,
    mode: u32,
}

impl Before {
    fn read(deploy: &DeployDir) -> Result<Self, Failure> {
        use std::os::unix::fs::PermissionsExt;
        let path = deploy.manifest();
        let bytes = match fs::read(&path) {
            Ok(bytes) => Some(bytes),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => {
                return Err(anyhow::Error::new(error).context(path.display().to_string()).into());
            }
        };
        let commit = bytes.as_deref().and_then(|bytes| Manifest::parse(bytes).ok());
        let mode = fs::metadata(&path).map_or(0o644, |it| it.permissions().mode() & 0o777);
        Ok(Self { commit: commit.map(|manifest| manifest.current_deployment), bytes, mode })
    }

    /// Puts it back, has tqserver look at it, and adds to `rolled_out` what came of that.
    fn put_back_after(&self, rolled_out: &RolledOut, rollout: &Rollout<'_>) -> RolledOut {
        let mut told = RolledOut { before: self.commit.clone(), ..rolled_out.clone() };
        match self.put_back(rollout) {
            Ok(()) => {}
            Err(reason) => {
                told.notes.push(format!("could not go back: {reason}"));
                told.outcome = Outcome::RollbackFailed;
            }
        }
        told
    }

    fn put_back(&self, rollout: &Rollout<'_>) -> Result<(), String> {
        let path = rollout.lock.deploy().manifest();
        let Some(bytes) = &self.bytes else {
            // Nothing served before, and nothing does now.
            return fs::remove_file(&path).map_err(|error| format!("{}: {error}", path.display()));
        };
        atomic::write(&path, bytes, self.mode)
            .map_err(|error| format!("{}: {error}", path.display()))?;
        let verdict = verdict::reload(rollout.client).map_err(|failure| failure.to_string())?;
        match verdict.ok {
            true => Ok(()),
            false => Err(verdict.reason.unwrap_or_else(|| "tqserver does not serve it".to_owned())),
        }
    }
}
