//! Follows a deployment that serves by degrees until it serves whole, or not at all.

use std::time::Instant;

use super::protocol::Reply;
use super::verdict::{PATIENCE, PAUSE, block_on};
use super::wire::Wire;
use crate::admin::api::{CanaryStatus, Status};
use crate::ctl::client::{Client, ClientError};
use crate::ctl::exit::Failure;
use crate::ids::CommitId;

/// How a canary has ended, for whom it was to follow.
pub(super) enum Followed {
    /// It serves whole.
    Serves,
    /// It does not, for this reason.
    GivenUp(String),
    /// It goes on until somebody decides.
    Waits,
}

/// Tells each step, until the end. tqserver goes by itself: where it does not answer, as it is restarted, it
/// is asked again for a while.
pub(super) fn follow(
    client: &Client,
    commit: &CommitId,
    wire: &mut Wire,
) -> Result<Followed, Failure> {
    let (mut told, mut heard) = (None, Instant::now());
    loop {
        let status = match block_on(client.status())? {
            Ok(status) => status,
            Err(ClientError::Connection { .. } | ClientError::NotRunning(_))
                if heard.elapsed() < PATIENCE =>
            {
                std::thread::sleep(PAUSE);
                continue;
            }
            Err(error) => return Err(error.into_failure()),
        };
        heard = Instant::now();
        let canary = status.canary.as_ref().filter(|it| it.commit.as_ref() == Some(commit));
        if let Some(CanaryStatus { share_percent, next_at, .. }) = canary {
            if told != Some(*share_percent) {
                told = Some(*share_percent);
                wire.say(&Reply::Canary { share_percent: *share_percent });
            }
            if next_at.is_none() {
                return Ok(Followed::Waits);
            }
        } else if let Some(end) = end(&status, commit) {
            return Ok(end);
        }
        std::thread::sleep(PAUSE);
    }
}

/// What became of it; `None` where it is being begun anew.
fn end(status: &Status, commit: &CommitId) -> Option<Followed> {
    if status.actual.as_ref() == Some(commit) {
        return Some(Followed::Serves);
    }
    if let Some(failed) = status.failed.as_ref().filter(|failed| failed.commit == *commit) {
        return Some(Followed::GivenUp(failed.reason.clone()));
    }
    let other = status.desired.as_ref().filter(|desired| *desired != commit)?;
    Some(Followed::GivenUp(format!("{} is wanted instead", other.short())))
}
