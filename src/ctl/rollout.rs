//! `tqctl rollout`: how far what is wanted is from what serves, and what is to become of a canary.

use std::time::Duration;

use anyhow::anyhow;
use clap::{Args, Subcommand};
use jiff::Timestamp;
use tokio::time::{Instant, sleep};

use super::client::Client;
use super::exit::{Exit, Failure};
use super::output::{Output, Painter, Role, printable, printable_lines};
use crate::admin::api::{ReloadOutcome, ServerState, Status, WorkerState};
use crate::ids::CommitId;

/// Between two looks while it waits.
const INTERVAL: Duration = Duration::from_millis(200);

/// `tqctl rollout`
#[derive(Debug, Args)]
pub struct RolloutArgs {
    /// What of it
    #[command(subcommand)]
    pub what: What,
}

/// What of a rollout.
#[derive(Debug, Subcommand)]
pub enum What {
    /// Say whether what is wanted serves, and what is still to come
    Status,
    /// Wait until what is wanted serves, or has failed
    Wait {
        /// How long to wait, in seconds
        #[arg(long, value_name = "SECONDS", default_value_t = 300)]
        timeout: u32,
    },
    /// Have a canary serve whole, without waiting for its further steps
    Promote,
    /// Give a canary up: what served before serves all requests again
    Abort,
}

/// How a rollout stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stand {
    Done,
    UnderWay,
    Failed,
}

/// Tells, or waits. What has failed is [`Exit::NotSwitched`], and what is under way
/// [`Exit::Degraded`].
pub async fn run(args: &RolloutArgs, client: &Client, out: &Output) -> Result<Exit, Failure> {
    let timeout = match args.what {
        What::Status => Duration::ZERO,
        What::Wait { timeout } => Duration::from_secs(timeout.into()),
        What::Promote => return decide(true, client, out).await,
        What::Abort => return decide(false, client, out).await,
    };
    let deadline = Instant::now() + timeout;
    loop {
        let status = client.status().await.map_err(|error| error.into_failure())?;
        let stand = stand(&status);
        let is_late = Instant::now() >= deadline;
        if stand == Stand::UnderWay && !is_late {
            sleep(INTERVAL).await;
            continue;
        }
        out.document(&status)?;
        out.line(render(&status, stand, out.painter()))?;
        return match stand {
            Stand::Done => Ok(Exit::Ok),
            Stand::Failed => Ok(Exit::NotSwitched),
            Stand::UnderWay if matches!(args.what, What::Status) => Ok(Exit::Degraded),
            Stand::UnderWay => {
                let error = anyhow!("it did not come to serve within {} s", timeout.as_secs());
                let hint = "tqctl status says what is missing, tqctl logs why".to_owned();
                Err(Failure::new(Exit::Degraded, error).with_hint(Some(hint)))
            }
        };
    }
}

/// Decides about a canary. That it does not serve is what who aborts it wants.
async fn decide(promote: bool, client: &Client, out: &Output) -> Result<Exit, Failure> {
    let verdict = client.decide(promote).await.map_err(|error| error.into_failure())?;
    out.document(&verdict)?;
    out.line(super::reload::render(&verdict, out.painter()))?;
    let is_done = match promote {
        true => verdict.ok,
        false => verdict.outcome == ReloadOutcome::Failed,
    };
    if is_done && !promote {
        out.hint("the manifest still asks for it: tqctl rollback TARGET, or deploy another");
    }
    Ok(if is_done { Exit::Ok } else { Exit::NotSwitched })
}

fn stand(status: &Status) -> Stand {
    let has_failed = status.failed.as_ref().is_some_and(|failed| {
        status.desired.as_ref().is_none_or(|desired| *desired == failed.commit)
    });
    match status.state {
        ServerState::Serving => Stand::Done,
        _ if has_failed => Stand::Failed,
        _ => Stand::UnderWay,
    }
}

fn render(status: &Status, stand: Stand, paint: Painter) -> String {
    let name = |commit: &Option<CommitId>| {
        commit.as_ref().map_or_else(|| "the source tree".to_owned(), |c| c.short().to_owned())
    };
    match (stand, &status.failed) {
        (Stand::Done, _) => {
            format!("{} {} serves", paint.paint(Role::Good, "✓"), name(&status.actual))
        }
        (Stand::Failed, Some(failed)) => {
            let mark = paint.paint(Role::Bad, "✗");
            let reason = printable_lines(&failed.reason).replace('\n', "\n    ");
            format!("{mark} {} failed: {reason}", failed.commit.short())
        }
        _ if status.canary.is_some() => {
            let canary = status.canary.iter();
            canary.map(|it| super::status::canary(it, Timestamp::now()).painted(paint)).collect()
        }
        _ => {
            let mark = paint.paint(Role::Warning, "·");
            let is_up = |state| {
                matches!(state, WorkerState::Serving | WorkerState::Asleep | WorkerState::Drained)
            };
            let not_serving = status.workers.iter().filter(|w| !is_up(w.state));
            let words: Vec<_> =
                not_serving.map(|w| format!("{} {}", w.name, w.state.as_str())).collect();
            let of =
                if words.is_empty() { String::new() } else { format!(": {}", words.join(", ")) };
            format!("{mark} {} is under way{}", name(&status.desired), printable(&of))
        }
    }
}
