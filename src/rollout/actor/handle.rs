//! How the rest of the program talks to the actor.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};

use super::super::report::Report;
use super::super::status::Snapshot;

/// A request to the actor.
#[derive(Debug)]
pub enum Command {
    /// Look at configuration and manifest again, and try even what failed before.
    Reload(oneshot::Sender<Report>),
    /// The manifest may have changed.
    ManifestChanged,
    /// Stop what does not serve yet, and end.
    Shutdown(oneshot::Sender<()>),
}

/// A way to ask the actor for things. Asking never waits.
#[derive(Debug, Clone)]
pub struct RolloutHandle {
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) snapshot: watch::Receiver<Arc<Snapshot>>,
}

impl RolloutHandle {
    /// Asks for a reload, here and now; the future is its verdict: that of the first reload that
    /// looks at files after this call. Dropping it gives up the verdict, not the reload.
    pub fn reload(&self) -> impl Future<Output = Report> + Send + use<> {
        let (reply, report) = oneshot::channel();
        let asked = self.commands.try_send(Command::Reload(reply));
        async move {
            match asked {
                Ok(()) => report.await.unwrap_or_else(|_| Report::refused("tqserver has ended")),
                Err(mpsc::error::TrySendError::Full(_)) => {
                    Report::refused("too many reloads are asked for at once; try again")
                }
                Err(mpsc::error::TrySendError::Closed(_)) => {
                    Report::refused("tqserver is about to end")
                }
            }
        }
    }

    /// Says that the manifest may have changed.
    pub async fn manifest_changed(&self) {
        let _ = self.commands.send(Command::ManifestChanged).await;
    }

    /// Stops what does not serve yet. Completes when systemd has taken the stops.
    pub async fn shut_down(&self) {
        let (done, waiting) = oneshot::channel();
        if self.commands.send(Command::Shutdown(done)).await.is_ok() {
            let _ = waiting.await;
        }
    }

    /// The states to come.
    pub fn snapshots(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.snapshot.clone()
    }

    /// The state of this moment.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshot.borrow())
    }
}

/// Who waits for a verdict.
#[derive(Debug, Default)]
pub(super) struct Waiters(Vec<oneshot::Sender<Report>>);

impl Waiters {
    /// One more.
    pub(super) fn add(&mut self, waiter: oneshot::Sender<Report>) {
        self.0.push(waiter);
    }

    /// All of these, too.
    pub(super) fn join(&mut self, others: Self) {
        self.0.extend(others.0);
    }

    /// All of them, leaving nobody.
    pub(super) fn take(&mut self) -> Self {
        std::mem::take(self)
    }

    /// Tells them.
    pub(super) fn answer(self, report: &Report) {
        for waiter in self.0 {
            // Who asked may have gone away.
            let _ = waiter.send(report.clone());
        }
    }
}
