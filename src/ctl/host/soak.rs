//! Has tqserver watch a deployment that has just come to serve.

use std::time::{Duration, Instant};

use super::verdict::{PATIENCE, PAUSE, block_on};
use crate::admin::soak::{SoakOutcome, SoakVerdict};
use crate::ctl::client::{Client, ClientError};
use crate::ctl::exit::Failure;
use crate::ids::CommitId;

/// What tqserver says of it. One that was restarted meanwhile is asked again, for the time that is left;
/// that it does not answer at all is no reason to go back, as the workers outlive it.
pub(super) fn watch(
    client: &Client,
    commit: &CommitId,
    time: Duration,
) -> Result<SoakVerdict, Failure> {
    let end = Instant::now() + time;
    loop {
        let now = Instant::now();
        match block_on(client.soak(commit, end.saturating_duration_since(now)))? {
            Err(ClientError::Connection { .. } | ClientError::NotRunning(_))
                if now < end + PATIENCE =>
            {
                std::thread::sleep(PAUSE);
            }
            Ok(SoakVerdict { outcome: SoakOutcome::HandedOver, .. }) if now < end + PATIENCE => {
                std::thread::sleep(PAUSE);
            }
            Err(error) => return Ok(unwatched(&error)),
            Ok(verdict) => return Ok(verdict),
        }
    }
}

fn unwatched(error: &ClientError) -> SoakVerdict {
    SoakVerdict {
        schema: crate::admin::api::SCHEMA,
        outcome: SoakOutcome::Well,
        reason: format!("not watched: {error}"),
        obstacle: None,
    }
}
