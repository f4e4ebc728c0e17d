//! The calls to the launcher, one after the other, in the order they were decided.
//!
//! Order matters: a stop that overtook its start would leave a unit that nobody knows of, and a
//! list must tell of every start asked for before it.
//!
//! Invariant (nothing is stopped under a predecessor's requests): while the process before us
//! still serves, no unit that it may have requests at is stopped, whatever is decided about it.

use std::collections::BTreeSet;
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
    /// While a predecessor lives.
    spared: Option<Spared>,
    caller: JoinHandle<()>,
}

/// Units that were there before us, of which a predecessor may use any.
#[derive(Debug, Default)]
struct Spared {
    units: BTreeSet<UnitName>,
    /// Those to be stopped as soon as it is gone.
    condemned: BTreeSet<UnitName>,
}

impl<L: Launcher> LaunchQueue<L> {
    /// A queue whose calls are made by a task of its own. Bounded by the number of generations:
    /// each has at most a start and a few stops. With a `predecessor`, the units that
    /// [`Self::list_until_answered`] finds are not stopped before [`Self::predecessor_gone`].
    pub fn new(launcher: Arc<L>, predecessor: bool) -> Self {
        let (calls, inbox) = mpsc::unbounded_channel();
        let (outbox, outcomes) = mpsc::unbounded_channel();
        let caller = tokio::spawn(make_calls(Arc::clone(&launcher), inbox, outbox));
        let spared = predecessor.then(Spared::default);
        Self { launcher, calls, outcomes, unanswered: 0, spared, caller }
    }

    /// The launcher's own events.
    pub fn events(&self) -> mpsc::Receiver<UnitEvent> {
        self.launcher.events()
    }

    /// The launcher itself, for questions that nothing else need wait for.
    pub fn launcher(&self) -> Arc<L> {
        Arc::clone(&self.launcher)
    }

    /// Asks for a generation.
    pub fn start(&mut self, request: StartRequest) {
        self.call(Call::Start(request));
    }

    /// Asks for the end of one, now or as soon as it may be.
    pub fn stop(&mut self, unit: UnitName) {
        if let Some(spared) = &mut self.spared
            && spared.units.contains(&unit)
        {
            spared.condemned.insert(unit);
            return;
        }
        self.call(Call::Stop(unit));
    }

    /// A unit is gone: its name may come to mean another one.
    pub fn forget(&mut self, unit: &UnitName) {
        if let Some(spared) = &mut self.spared {
            spared.units.remove(unit);
            spared.condemned.remove(unit);
        }
    }

    /// Nobody but us has requests at any unit from now on.
    pub fn predecessor_gone(&mut self) {
        for unit in self.spared.take().unwrap_or_default().condemned {
            self.call(Call::Stop(unit));
        }
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
    pub async fn list_until_answered(&mut self) -> Vec<LiveUnit> {
        let mut pause = Duration::from_millis(50);
        loop {
            match self.launcher.list().await {
                Ok(found) => {
                    if let Some(spared) = &mut self.spared {
                        spared.units.extend(found.iter().map(|live| live.unit.clone()));
                    }
                    return found;
                }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control_group::ControlGroup;
    use crate::ids::{Generation, Port};
    use crate::launcher::{Source, UnitState};

    /// A systemd with one unit, that takes every call.
    struct Willing(LiveUnit);

    impl Launcher for Willing {
        async fn start(&self, _: &StartRequest) -> Result<(), LaunchError> {
            Ok(())
        }

        async fn stop(&self, _: &UnitName) -> Result<(), LaunchError> {
            Ok(())
        }

        async fn list(&self) -> Result<Vec<LiveUnit>, LaunchError> {
            Ok(vec![self.0.clone()])
        }

        async fn control_group(&self, _: &UnitName) -> Option<ControlGroup> {
            None
        }

        fn events(&self) -> mpsc::Receiver<UnitEvent> {
            mpsc::channel(1).1
        }
    }

    fn unit(port: u16) -> UnitName {
        UnitName { worker: "app".parse().unwrap(), port: Port::new(port).unwrap() }
    }

    async fn queue_beside_a_predecessor() -> LaunchQueue<Willing> {
        let live = LiveUnit {
            unit: unit(9001),
            source: Source::Tree,
            generation: Generation(1),
            fingerprint: "d41d8cd98f00b204e9800998ecf8427e".parse().unwrap(),
            main_pid: None,
            control_group: None,
            state: UnitState::Active,
        };
        let mut queue = LaunchQueue::new(Arc::new(Willing(live)), true);
        queue.list_until_answered().await;
        queue
    }

    async fn next_stopped(queue: &mut LaunchQueue<Willing>) -> UnitName {
        match queue.next().await {
            LaunchOutcome::Stopped(unit, Ok(())) => unit,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn what_a_predecessor_may_use_is_stopped_after_its_end() {
        let mut queue = queue_beside_a_predecessor().await;
        queue.stop(unit(9001));
        queue.stop(unit(9002));
        assert_eq!(next_stopped(&mut queue).await, unit(9002), "ours");
        queue.predecessor_gone();
        assert_eq!(next_stopped(&mut queue).await, unit(9001));
    }

    #[tokio::test]
    async fn a_name_that_comes_again_is_another_unit() {
        let mut queue = queue_beside_a_predecessor().await;
        queue.stop(unit(9001));
        queue.forget(&unit(9001));
        queue.predecessor_gone();
        queue.stop(unit(9003));
        assert_eq!(next_stopped(&mut queue).await, unit(9003), "nothing was left to stop");
    }
}
