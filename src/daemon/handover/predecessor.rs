//! The process before this one, as the new one sees it.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::sync::watch;
use tokio::time::timeout;

use super::program::arguments;
use super::wire::{self, Channel, Message};
use super::{Stage, take_over};
use crate::ids::WorkerName;
use crate::rollout::status::Snapshot;
use crate::sd::sockets::InheritedSockets;

/// How much later than it said it may be gone.
const LATE: Duration = Duration::from_secs(5);

/// The most of an error that is worth telling, in characters.
const MAX_REASON: usize = 4 << 10;

/// [`Stage::Relay`]: starts the process that will take over, tells the old one which it is, and
/// ends. The standard input is the connection to the old one.
///
/// # Errors
/// When it was not the old one that started this, or there can be no further process.
pub(in crate::daemon) fn relay() -> anyhow::Result<()> {
    let program = std::env::args_os().next().map(PathBuf::from).context("there is no argv[0]")?;
    // Inherits the standard input.
    let launched = Command::new(&program).args(arguments()).arg(take_over(Stage::Serve)).spawn();
    let launched = launched.with_context(|| program.display().to_string())?;
    let pid = i32::try_from(launched.id()).context("a process id is beyond its range")?;
    wire::send(io::stdin().as_fd(), &Message::Launched { pid }, &[])
        .context("--take-over is for tqserver itself")
}

/// Who hands over to us.
#[derive(Debug)]
pub(in crate::daemon) struct Predecessor {
    channel: Channel,
}

impl Predecessor {
    /// [`Stage::Serve`]: takes the connection, which is the standard input, and the sockets.
    pub(in crate::daemon) async fn meet() -> anyhow::Result<(Self, InheritedSockets)> {
        let end: OwnedFd = io::stdin().as_fd().try_clone_to_owned()?;
        // Nothing that we start may keep the connection open.
        rustix::stdio::dup2_stdin(std::fs::File::open("/dev/null")?)?;
        let channel = Channel::new(end)?;
        let packet = channel.receive_with().await.context("--take-over is for tqserver itself")?;
        let this = Self { channel };
        let sockets = match packet {
            Some((Message::Offer { protocol: wire::PROTOCOL, sockets }, descriptors))
                if sockets.len() == descriptors.len() =>
            {
                let sockets = sockets.into_iter().zip(descriptors).collect();
                InheritedSockets::handed_over(sockets).map_err(anyhow::Error::from)
            }
            Some((message, _)) => Err(anyhow::anyhow!(
                "the running tqserver hands over in a way that this version does not know \
                 ({message:?}): restart the service"
            )),
            None => Err(gone()),
        };
        match sockets {
            Ok(sockets) => Ok((this, sockets)),
            Err(error) => {
                this.failed(&error).await;
                Err(error)
            }
        }
    }

    /// Says why we cannot take over.
    pub(in crate::daemon) async fn failed(&self, error: &anyhow::Error) {
        let reason = format!("{error:#}").chars().take(MAX_REASON).collect();
        // Where nobody listens any more, the log has it.
        let _ = self.channel.send(&Message::Failed(reason)).await;
    }

    /// Says that we have all that we need, and waits for our turn. Returns the workers that are
    /// served.
    pub(in crate::daemon) async fn our_turn(&self) -> anyhow::Result<Vec<WorkerName>> {
        self.channel.send(&Message::Prepared).await?;
        match self.channel.receive().await? {
            Some(Message::Yours { serving }) => Ok(serving),
            other => Err(unexpected(other)),
        }
    }

    /// Waits until all of `serving` are served by us as well, as far as they are still wanted.
    pub(in crate::daemon) async fn served(
        &self,
        serving: &[WorkerName],
        mut snapshots: watch::Receiver<Arc<Snapshot>>,
    ) -> anyhow::Result<()> {
        let all_served = async {
            // The first comes once the units that live are known.
            while snapshots.changed().await.is_ok() {
                if serves(&snapshots.borrow_and_update(), serving) {
                    return Ok(());
                }
            }
            Err(anyhow::anyhow!("the rollout has ended"))
        };
        tokio::select! {
            served = all_served => served,
            said = self.channel.receive() => Err(unexpected(said?)),
        }
    }

    /// Says that we accept connections, and waits until we are the service. Returns how long the
    /// old process may still finish requests.
    pub(in crate::daemon) async fn retires(&self) -> anyhow::Result<Duration> {
        self.channel.send(&Message::Ready).await?;
        match self.channel.receive().await? {
            Some(Message::Main { gone_within_ms }) => Ok(Duration::from_millis(gone_within_ms)),
            other => Err(unexpected(other)),
        }
    }

    /// Waits until it is gone, or should have been long ago.
    pub(in crate::daemon) async fn gone(&self, within: Duration) {
        // Whatever it says, nothing is expected but its end.
        let gone = async { while let Ok(Some(_)) = self.channel.receive().await {} };
        if timeout(within + LATE, gone).await.is_err() {
            tracing::warn!("the tqserver before this one should have ended; not waiting any more");
        }
    }

    /// Asks it to end streams now.
    pub(in crate::daemon) async fn hurry(&self) {
        // It may be gone.
        let _ = self.channel.send(&Message::Hurry).await;
    }
}

/// Whether every one of `workers` is served, or is not part of what is published.
fn serves(snapshot: &Snapshot, workers: &[WorkerName]) -> bool {
    workers.iter().all(|name| {
        let worker = snapshot.workers.iter().find(|worker| worker.name == *name);
        match worker.filter(|worker| worker.route.is_some()) {
            Some(worker) => worker.is_up(),
            None => snapshot.decided,
        }
    })
}

fn gone() -> anyhow::Error {
    anyhow::anyhow!("the tqserver before this one has ended or given up")
}

fn unexpected(said: Option<Message>) -> anyhow::Error {
    said.map_or_else(gone, |message| anyhow::anyhow!("not expected in a handover: {message:?}"))
}
