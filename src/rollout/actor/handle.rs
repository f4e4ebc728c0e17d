//! How the rest of the program talks to the actor.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

use super::super::event::Decision;
use super::super::report::Report;
use super::super::status::Snapshot;
use crate::ids::{CommitId, UnitName, WorkerName};

/// A request to the actor.
#[derive(Debug)]
pub enum Command {
    /// Look at configuration and manifest again, and try even what failed before.
    Reload(oneshot::Sender<Report>),
    /// Give a worker a new generation of what serves.
    Restart(WorkerName, oneshot::Sender<Report>),
    /// Take a worker out of service; the answer is why not.
    TakeOut(WorkerName, oneshot::Sender<Result<(), String>>),
    /// A canary is to serve whole, or not at all.
    Decide(Decision, oneshot::Sender<Report>),
    /// Go back to what served before.
    GoBack(GoBack, oneshot::Sender<Report>),
    /// The manifest may have changed.
    ManifestChanged,
    /// An instance uses more memory than it may for long.
    Heavy(UnitName, u64),
    /// Stand still as soon as nothing is under way, for another process to take over.
    Suspend(oneshot::Sender<Suspended>),
    /// The process before this one has no requests any more.
    PredecessorGone,
    /// Stop what does not serve yet, and end.
    Shutdown(oneshot::Sender<()>),
}

/// What is to be gone back from, and why.
#[derive(Debug)]
pub struct GoBack {
    /// The deployment that serves.
    pub from: CommitId,
    /// What is wrong with it.
    pub reason: String,
    /// How long that was watched.
    pub watched: Duration,
}

/// The actor stands still for as long as this lives; dropped, it goes on with a fresh look at
/// what there is.
#[derive(Debug)]
pub struct Suspended {
    pub(super) handed_over: oneshot::Sender<()>,
}

impl Suspended {
    /// Another process decides from now on: the actor never moves again, and says so to whoever
    /// asks it.
    pub fn handed_over(self) {
        // Where there is no actor any more there is nobody to tell.
        let _ = self.handed_over.send(());
    }
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
        self.ask(Command::Reload)
    }

    /// Asks for a new generation of a worker, here and now; the future is the verdict. It is refused while
    /// a rollout is under way, and where no such worker is deployed. Dropping the future gives up the
    /// verdict, not the restart.
    pub fn restart(&self, worker: WorkerName) -> impl Future<Output = Report> + Send + use<> {
        self.ask(|reply| Command::Restart(worker, reply))
    }

    /// Takes a worker out of service until it is restarted: from the answer on no request is sent to it.
    ///
    /// # Errors
    /// Why not: no such worker is deployed, or tqserver is about to end.
    pub async fn take_out(&self, worker: WorkerName) -> Result<(), String> {
        let ended = || "tqserver has ended".to_owned();
        let (reply, answer) = oneshot::channel();
        let command = Command::TakeOut(worker, reply);
        self.commands.send(command).await.map_err(|_| ended())?;
        answer.await.unwrap_or_else(|_| Err(ended()))
    }

    /// Decides about the canary, here and now; the future is the verdict. It is refused where there is none.
    /// Dropping the future gives up the verdict, not the decision.
    pub fn decide(&self, decision: Decision) -> impl Future<Output = Report> + Send + use<> {
        self.ask(|reply| Command::Decide(decision, reply))
    }

    /// Asks, here and now, to go back from a deployment that serves to the last that served well before
    /// it, whatever the manifest says; the future is the verdict. Dropping it gives up the verdict.
    pub fn go_back(
        &self,
        from: CommitId,
        reason: String,
        watched: Duration,
    ) -> impl Future<Output = Report> + Send + use<> {
        self.ask(move |reply| Command::GoBack(GoBack { from, reason, watched }, reply))
    }

    fn ask<F: FnOnce(oneshot::Sender<Report>) -> Command>(
        &self,
        command: F,
    ) -> impl Future<Output = Report> + Send + use<F> {
        let (reply, report) = oneshot::channel();
        let asked = self.commands.try_send(command(reply));
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

    /// Says that an instance has been using so many bytes, which is more than it may: it is replaced, its
    /// successor first.
    pub async fn heavy(&self, unit: UnitName, bytes: u64) {
        let _ = self.commands.send(Command::Heavy(unit, bytes)).await;
    }

    /// Has the actor stand still: no load, no rollout and no write is under way then, and what
    /// happens is remembered for later. Completes when the rollout that is under way has ended;
    /// dropping the future takes the wish back. `None` when there is no actor any more.
    pub async fn suspend(&self) -> Option<Suspended> {
        let (granted, suspended) = oneshot::channel();
        self.commands.send(Command::Suspend(granted)).await.ok()?;
        suspended.await.ok()
    }

    /// Says that the process before this one has no requests at any generation any more, see
    /// [`Parts::predecessor`](super::Parts::predecessor).
    pub async fn predecessor_gone(&self) {
        let _ = self.commands.send(Command::PredecessorGone).await;
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
