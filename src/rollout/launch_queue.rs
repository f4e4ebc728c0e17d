//! The calls to the launcher, one after the other, in the order they were decided.
//!
//! Order matters: a stop that overtook its start would leave a unit that nobody knows of, and a
//! list must tell of every start asked for before it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::ids::UnitName;
use crate::launcher::{LaunchError, Launcher, LiveUnit, StartRequest, UnitEvent};

/// How long the end of the daemon waits for calls that are under way.
const SETTLE_WITHIN: Duration = Duration::from_secs(5);

/// The longest pause between two attempts to reach systemd at the start.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

#[derive(Debug)]
enum Call {
    Start(StartRequest),
    Stop(UnitName),
    List(Instant),
}

/// What came of a call.
#[derive(Debug)]
pub enum LaunchOutcome {
    /// A start was taken or refused.
    Started(UnitName, Result<(), LaunchError>),
    /// A stop was taken or refused.
    Stopped(UnitName, Result<(), LaunchError>),
    /// The units there are, and when they were asked for.
    Listed(Instant, Result<Vec<LiveUnit>, LaunchError>),
}

/// A launcher behind a queue.
pub struct LaunchQueue<L> {
    launcher: Arc<L>,
    calls: mpsc::UnboundedSender<Call>,
    outcomes: mpsc::UnboundedReceiver<LaunchOutcome>,
    unanswered: usize,
    caller: JoinHandle<()>,
}

impl<L: Launcher> LaunchQueue<L> {
    /// A queue whose calls are made by a task of its own. Bounded by the number of generations:
    /// each has at most a start and a few stops.
    pub fn new(launcher: Arc<L>) -> Self {
        let (calls, inbox) = mpsc::unbounded_channel();
        let (outbox, outcomes) = mpsc::unbounded_channel();
        let caller = tokio::spawn(make_calls(Arc::clone(&launcher), inbox, outbox));
        Self { launcher, calls, outcomes, unanswered: 0, caller }
    }

    /// The launcher's own events.
    pub fn events(&self) -> mpsc::Receiver<UnitEvent> {
        self.launcher.events()
    }

    /// Asks for a generation.
    pub fn start(&mut self, request: StartRequest) {
        self.call(Call::Start(request));
    }

    /// Asks for the end of one.
    pub fn stop(&mut self, unit: UnitName) {
        self.call(Call::Stop(unit));
    }

    /// Asks what there is.
    pub fn list(&mut self) {
        self.call(Call::List(tokio::time::Instant::now().into_std()));
    }

    /// The outcome of the next call that has ended. Cancel safe.
    pub async fn next(&mut self) -> LaunchOutcome {
        match self.outcomes.recv().await {
            Some(outcome) => {
                self.unanswered -= 1;
                outcome
            }
            None => std::future::pending().await,
        }
    }

    /// Waits for the calls under way, for a bounded time.
    pub async fn settled(&mut self) {
        let all = async {
            while self.unanswered > 0 {
                self.next().await;
            }
        };
        if timeout(SETTLE_WITHIN, all).await.is_err() {
            tracing::warn!("systemd did not answer in time");
        }
    }

    /// The units there are; asks until systemd answers. Only before anything was queued.
    pub async fn list_until_answered(&self) -> Vec<LiveUnit> {
        let mut pause = Duration::from_millis(50);
        loop {
            match self.launcher.list().await {
                Ok(found) => return found,
                Err(error) => tracing::warn!("cannot ask systemd for worker units yet: {error}"),
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn call(&mut self, call: Call) {
        if self.calls.send(call).is_ok() {
            self.unanswered += 1;
        }
    }
}

impl<L> Drop for LaunchQueue<L> {
    fn drop(&mut self) {
        self.caller.abort();
    }
}

async fn make_calls<L: Launcher>(
    launcher: Arc<L>,
    mut calls: mpsc::UnboundedReceiver<Call>,
    outcomes: mpsc::UnboundedSender<LaunchOutcome>,
) {
    while let Some(call) = calls.recv().await {
        let outcome = match call {
            Call::Start(request) => {
                LaunchOutcome::Started(request.unit(), launcher.start(&request).await)
            }
            Call::Stop(unit) => {
                let stopped = launcher.stop(&unit).await;
                LaunchOutcome::Stopped(unit, stopped)
            }
            Call::List(asked) => LaunchOutcome::Listed(asked, launcher.list().await),
        };
        if outcomes.send(outcome).is_err() {
            return;
        }
    }
}
