//! Has tqserver switch to a deployment and, when that comes to nothing, puts the manifest back.
//!
//! All of it happens here, on the host, so that it goes on when nobody listens any more.

use std::time::Duration;

use anyhow::Context;
use jiff::Timestamp;

use super::canary::{self, Followed};
use super::protocol::{Outcome, Reply, RolledOut};
use super::soak;
use super::verdict;
use super::wire::Wire;
use crate::admin::api::{ReloadOutcome, ReloadVerdict};
use crate::admin::soak::{SoakOutcome, SoakVerdict};
use crate::canary::CanaryPlan;
use crate::ctl::client::{Client, ClientError};
use crate::ctl::exit::Failure;
use crate::ids::CommitId;
use crate::store::activate::{HISTORY, Wish, activate_as};
use crate::store::deployment::Deployment;
use crate::store::digest::DigestCache;
use crate::store::lock::DeployLock;
use crate::store::manifest::DeployedBy;
use crate::store::verify::{Scope, verify};
use crate::store::way_back::WayBack;

/// One rollout to be.
pub(super) struct Rollout<'s> {
    pub(super) lock: &'s DeployLock,
    pub(super) client: &'s Client,
    pub(super) by: &'s DeployedBy,
    /// How it is to come to serve by degrees; `None`: at once.
    pub(super) canary: Option<CanaryPlan>,
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
        let may_ask = match verdict::block_on(self.client.status())? {
            Ok(_) => true,
            Err(ClientError::Denied(_)) => false,
            Err(error) => return Err(error.into_failure()),
        };
        let back = WayBack::prepare(self.lock)?;
        let wish = Wish { by: Some(self.by.clone()), canary: self.canary.clone() };
        if let Err(error) = activate_as(self.lock, &record, wish, Timestamp::now(), HISTORY) {
            // What could not be flushed to the disk is there nevertheless.
            back.take(self.lock).context("and the manifest could not be put back")?;
            return Err(error.into());
        }
        wire.say(&Reply::Activated);
        let verdict = match verdict::reload(self.client) {
            Ok(verdict) => verdict,
            Err(failure) => {
                return Ok(self.put_back_after(failed(&failure, &back), &back));
            }
        };
        let mut rolled_out = told(&verdict, back.commit().cloned());
        if !verdict.ok {
            return Ok(self.put_back_after(rolled_out, &back));
        }
        if verdict.outcome == ReloadOutcome::Canary {
            match canary::follow(self.client, commit, wire)? {
                Followed::Serves => rolled_out.outcome = Outcome::Switched,
                Followed::Waits => return Ok(rolled_out),
                Followed::GivenUp(reason) => {
                    let (outcome, reason) = (Outcome::NotSwitched, Some(reason));
                    let told = RolledOut { outcome, reason, ..rolled_out };
                    return Ok(self.put_back_after(told, &back));
                }
            }
        }
        if !may_ask {
            rolled_out.notes.push("`systemctl reload` alone says so".to_owned());
        }
        wire.say(&Reply::Serving {
            started: rolled_out.started.clone(),
            kept: rolled_out.kept.clone(),
            notes: rolled_out.notes.clone(),
        });
        if self.soak.is_zero() {
            return Ok(rolled_out);
        }
        if rolled_out.outcome == Outcome::Unchanged {
            rolled_out.notes.push("not watched, as it served already".to_owned());
            return Ok(rolled_out);
        }
        if !may_ask {
            rolled_out.notes.push("not watched, as the control socket may not be used".to_owned());
            return Ok(rolled_out);
        }
        let SoakVerdict { outcome, reason, obstacle, .. } =
            soak::watch(self.client, commit, self.soak)?;
        match outcome {
            SoakOutcome::Well | SoakOutcome::HandedOver => {
                rolled_out.notes.push(reason);
                Ok(rolled_out)
            }
            // tqserver has gone back already, and the manifest follows.
            SoakOutcome::WentBack => {
                let (outcome, reason) = (Outcome::RolledBack, Some(reason));
                Ok(self.put_back_after(RolledOut { outcome, reason, ..rolled_out }, &back))
            }
            // What serves is what is wanted, bad as it is.
            SoakOutcome::Stayed => {
                let (outcome, reason) = (Outcome::RollbackFailed, Some(reason));
                let obstacle = obstacle.unwrap_or_else(|| "see its log".to_owned());
                rolled_out.notes.push(format!("could not go back: {obstacle}"));
                Ok(RolledOut { outcome, reason, ..rolled_out })
            }
        }
    }

    /// Puts the manifest back, has tqserver look at it, and adds to `told` what came of that.
    fn put_back_after(&self, mut told: RolledOut, back: &WayBack) -> RolledOut {
        if let Err(reason) = self.put_back(back) {
            told.notes.push(format!("could not go back: {reason}"));
            told.outcome = Outcome::RollbackFailed;
        }
        told
    }

    fn put_back(&self, back: &WayBack) -> Result<(), String> {
        let path = self.lock.deploy().manifest();
        back.take(self.lock).map_err(|error| format!("{}: {error}", path.display()))?;
        if !path.exists() {
            // Nothing served before, and nothing does now.
            return Ok(());
        }
        let verdict = verdict::reload(self.client).map_err(|failure| failure.to_string())?;
        match verdict.ok {
            true => Ok(()),
            false => Err(verdict.reason.unwrap_or_else(|| "tqserver does not serve it".to_owned())),
        }
    }
}

/// Nobody has said that it serves.
fn failed(failure: &Failure, back: &WayBack) -> RolledOut {
    RolledOut {
        outcome: Outcome::NotSwitched,
        before: back.commit().cloned(),
        started: Vec::new(),
        kept: Vec::new(),
        reason: Some(failure.to_string()),
        details: Vec::new(),
        notes: Vec::new(),
    }
}

fn told(verdict: &ReloadVerdict, before: Option<CommitId>) -> RolledOut {
    let outcome = match verdict.outcome {
        _ if !verdict.ok => Outcome::NotSwitched,
        ReloadOutcome::Unchanged => Outcome::Unchanged,
        ReloadOutcome::Canary => Outcome::Canary,
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
