//! Performs what the controller decides, and tells it what came of it.
//!
//! One task owns the controller, the state file and the targets. Everything slow — loading and
//! verifying, systemd, probes, the journal — runs beside it and reports back, so that the actor
//! never waits and the data plane never waits for the actor.

mod canary;
mod go_back;
mod handle;
mod memory;
mod perform;
mod reload;
mod scaling;
mod succession;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{AbortHandle, JoinSet};

use super::controller::Controller;
use super::desired::Desired;
use super::event::{Event, RolloutId};
use super::last_lines::LastLines;
use super::launch_queue::{LaunchOutcome, LaunchQueue};
use super::load::{LoadError, Loader, Wanted};
use super::ports::{PortPool, can_bind};
use super::report::Report;
use super::soak::Before;
use super::state::{DeploymentRef, HistoryEntry, Refusal, State, StateFile};
use super::status::Snapshot;
use crate::config::settings::{RolloutSettings, Settings, SoakSettings};
use crate::control_group::ControlGroup;
use crate::ids::{UnitName, WorkerName};
use crate::launcher::{Launcher, LiveUnit, UnitEvent};
use crate::proxy::intake::Intake;
use crate::proxy::table::PublishedTable;
use crate::proxy::target::Target;
use crate::store::manifest::DeployedBy;
use crate::tls::Certificates;
use go_back::GoingBack;
use handle::Waiters;
pub use handle::{Command, GoBack, RolloutHandle, Suspended};
use reload::Asked;
use scaling::Scaling;

/// How many warnings are kept for `tqctl status`.
const WARNINGS: usize = 20;

/// What came back from beside the actor.
enum Done {
    Loaded(Loader, Box<Result<Wanted, LoadError>>),
    LoadedLastGood(Loader, Result<Arc<Desired>, LoadError>),
    LoadedBack(Loader, Box<GoingBack>, Result<Arc<Desired>, LoadError>),
    Probed(UnitName, Option<ControlGroup>, Result<(), String>),
    Drained(UnitName),
    WornOut(UnitName),
    Unwell(UnitName, String),
    Awaited(WorkerName),
    Judged(RolloutId, Option<(WorkerName, String)>),
    Reported(Waiters, Report),
    Saved(io::Result<()>),
}

/// Takes settings and certificates into use.
pub type Apply = Box<dyn Fn(&Settings, &Arc<Certificates>) + Send>;

/// What the actor is made with.
pub struct Parts<L> {
    /// Starts and stops units.
    pub launcher: Arc<L>,
    /// Where routes are published.
    pub table: Arc<PublishedTable>,
    /// Reads configuration, manifest and deployments.
    pub loader: Loader,
    /// Where the state is kept.
    pub state: StateFile,
    /// Where units' last words are found.
    pub last_lines: LastLines,
    /// Called with new settings once a reload has accepted them.
    pub apply: Apply,
    /// Whether the process before us still finishes requests: then nothing that lives is stopped
    /// before [`RolloutHandle::predecessor_gone`].
    pub predecessor: bool,
}

/// The task that owns the rollout.
pub struct Actor<L: Launcher> {
    controller: Controller,
    rollout_settings: RolloutSettings,
    /// What a canary may do worse than what serves.
    soak_limits: SoakSettings,
    launches: LaunchQueue<L>,
    table: Arc<PublishedTable>,
    targets: HashMap<UnitName, Arc<Target>>,
    /// Where the units' programs are.
    control_groups: HashMap<UnitName, ControlGroup>,
    /// What workers take in, which their targets share.
    intakes: HashMap<WorkerName, Arc<Intake>>,
    scaling: Scaling,
    /// What runs beside us for a unit: its probe, or the wait for its drain.
    errands: HashMap<UnitName, AbortHandle>,
    /// `None` while it is at work beside us.
    loader: Option<Loader>,
    state: State,
    state_file: StateFile,
    saved: State,
    saving: bool,
    last_lines: LastLines,
    apply: Apply,
    desired: Option<DeploymentRef>,
    /// Who activated that.
    desired_by: Option<DeployedBy>,
    /// What is to be gone back to, as soon as the loader is there.
    going_back: Option<GoingBack>,
    /// What is being gone back to, and on whose account.
    returning: Option<(DeploymentRef, Option<DeployedBy>)>,
    /// What workers had done when what is published came to be, and what that is.
    before: (Option<DeploymentRef>, Arc<BTreeMap<WorkerName, Before>>),
    /// When the rollouts under way began.
    begun: HashMap<RolloutId, Instant>,
    /// The state's history, for whoever asks.
    past: Arc<Vec<HistoryEntry>>,
    /// The same of its refusals.
    refused: Arc<Vec<Refusal>>,
    /// Asked for a reload that has not begun.
    asked: Asked,
    /// Wait for the load that is under way.
    loading: Asked,
    /// Wants us to stand still.
    suspending: Option<oneshot::Sender<Suspended>>,
    /// Wait for a rollout.
    waiting: HashMap<RolloutId, Waiters>,
    warnings: VecDeque<String>,
    beside: JoinSet<Done>,
    snapshot: watch::Sender<Arc<Snapshot>>,
}

impl<L: Launcher> Actor<L> {
    /// An actor and the way to talk to it. Nothing happens before [`Actor::run`].
    pub fn new(
        parts: Parts<L>,
        settings: &Settings,
    ) -> (Self, RolloutHandle, mpsc::Receiver<Command>) {
        let (state, complaint) = parts.state.load();
        let (state_history, refused) = (state.history.clone(), state.refused.clone());
        let rollout = settings.rollout.clone();
        let ports = PortPool::new(rollout.port_range_start, rollout.port_range_end, can_bind);
        let controller =
            Controller::new(rollout.clone(), ports, state.generations.clone(), fastrand::u64(..));
        let (commands, inbox) = mpsc::channel(64);
        let (snapshot, seen) = watch::channel(Arc::default());
        let mut actor = Self {
            controller,
            rollout_settings: rollout,
            soak_limits: settings.deployments.soak,
            launches: LaunchQueue::new(parts.launcher, parts.predecessor),
            table: parts.table,
            targets: HashMap::new(),
            control_groups: HashMap::new(),
            intakes: HashMap::new(),
            scaling: Scaling::default(),
            errands: HashMap::new(),
            loader: Some(parts.loader),
            saved: state.clone(),
            saving: false,
            state,
            state_file: parts.state,
            last_lines: parts.last_lines,
            apply: parts.apply,
            desired: None,
            desired_by: None,
            going_back: None,
            returning: None,
            before: Default::default(),
            begun: HashMap::new(),
            past: Arc::new(state_history),
            refused: Arc::new(refused),
            asked: Asked::default(),
            loading: Asked::default(),
            suspending: None,
            waiting: HashMap::new(),
            warnings: VecDeque::new(),
            beside: JoinSet::new(),
            snapshot,
        };
        complaint.into_iter().for_each(|text| actor.warn(text));
        (actor, RolloutHandle { commands, snapshot: seen }, inbox)
    }

    /// Adopts what lives, then follows events until told to shut down.
    pub async fn run(mut self, mut inbox: mpsc::Receiver<Command>) {
        let mut units = self.launches.events();
        // systemd may be long in answering, and we may be told to end before it has.
        let mut early = Vec::new();
        tokio::select! {
            () = self.begin() => {}
            done = until_shutdown(&mut inbox, &mut early) => {
                let _ = done.map(|done| done.send(()));
                return;
            }
        }
        early.into_iter().for_each(|command| self.heed(command));
        loop {
            self.save();
            self.publish_snapshot();
            if self.stand_still_when_asked().await {
                return self.dismissed(inbox).await;
            }
            let deadline = self.controller.next_deadline();
            tokio::select! {
                command = inbox.recv() => match command {
                    Some(Command::Shutdown(done)) => {
                        self.step(Event::Shutdown);
                        self.launches.settled().await;
                        self.save_last();
                        let _ = done.send(());
                        return;
                    }
                    Some(command) => self.heed(command),
                    None => return,
                },
                () = given_up(&mut self.suspending) => {
                    self.suspending = None;
                    self.load_when_asked();
                }
                event = units.recv() => match event {
                    Some(UnitEvent::Changed { unit, state }) => {
                        self.step(Event::Unit { unit, state });
                    }
                    // The list is from before the starts that we have queued since: ask again.
                    Some(UnitEvent::Resync(_)) => self.launches.list(),
                    // Without news of units nothing can be decided: the daemon ends, and its
                    // successor connects anew.
                    None => return,
                },
                outcome = self.launches.next() => self.launched(outcome),
                Some(done) = self.beside.join_next() => match done {
                    Ok(done) => self.done(done),
                    Err(error) if error.is_cancelled() => {}
                    Err(error) => std::panic::resume_unwind(error.into_panic()),
                },
                () = sleep_until(deadline) => self.step(Event::Tick),
                () = sleep_until(self.scaling.due) => self.measure(),
            }
        }
    }

    /// Invariant (systemd is the truth): nothing is decided before the living were listed.
    async fn begin(&mut self) {
        let found = self.launches.list_until_answered().await;
        let Some(mut loader) = self.loader.take() else { return };
        let remembered = self.state.current.clone();
        let alive = !found.is_empty();
        let (loader, current, wanted) = tokio::task::spawn_blocking(move || {
            let current = remembered.and_then(|d| match alive {
                true => loader.load_commit(&d.commit).ok(),
                false => loader.load_again(&d.commit).ok(),
            });
            let wanted = loader.load_wanted();
            (loader, current, wanted)
        })
        .await
        .unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
        // Without a memory of our own, what is wanted tells best what the living may be.
        let current = current.or_else(|| wanted.as_ref().ok().map(|w| Arc::clone(&w.desired)));
        let (serving, drained) = (self.state.serving.clone(), self.state.drained.clone());
        self.identify_all(&found);
        self.step(Event::Begin { current, serving, drained, found });
        self.loading.at_all = true;
        self.done(Done::Loaded(loader, Box::new(wanted)));
    }

    /// Takes a command that is not the end.
    fn heed(&mut self, command: Command) {
        match command {
            Command::Reload(waiter) => self.ask(true, Some(waiter)),
            Command::Restart(worker, waiter) => self.restart(worker, waiter),
            Command::TakeOut(worker, reply) => self.take_out(worker, reply),
            Command::Decide(decision, waiter) => self.decide(decision, waiter),
            Command::GoBack(wish, waiter) => self.go_back(wish, waiter),
            Command::ManifestChanged => self.ask(false, None),
            Command::Heavy(unit, bytes) => {
                let mib = bytes >> 20;
                self.warn(format!(
                    "{unit} uses {mib} MiB, more than memory_high, and is to be replaced"
                ));
                self.step(Event::WornOut(unit));
            }
            Command::Suspend(granted) => self.suspending = Some(granted),
            Command::PredecessorGone => self.launches.predecessor_gone(),
            Command::Shutdown(_) => {}
        }
    }

    fn step(&mut self, event: Event) {
        for effect in self.controller.step(now(), event) {
            self.perform(effect);
        }
    }

    fn done(&mut self, done: Done) {
        match done {
            Done::Loaded(loader, result) => {
                self.loader = Some(loader);
                match *result {
                    Ok(wanted) => self.wanted(wanted),
                    Err(error) => self.not_loaded(&error),
                }
                self.loading = Asked::default();
                self.load_when_asked();
            }
            Done::LoadedLastGood(loader, result) => {
                self.loader = Some(loader);
                match result {
                    Ok(desired) => self.step(Event::Desired { desired, proven: true }),
                    Err(error) => self.warn(error.to_string()),
                }
                self.load_when_asked();
            }
            Done::LoadedBack(loader, wish, result) => {
                self.loader = Some(loader);
                self.loaded_back(*wish, result);
                self.load_when_asked();
            }
            Done::Probed(unit, group, result) => {
                self.identify(&unit, group);
                self.step(Event::Probed { unit, result });
            }
            Done::Drained(unit) => self.step(Event::Drained(unit)),
            Done::WornOut(unit) => {
                tracing::info!(worker = %unit.worker, "{unit} has taken as many requests as it may");
                self.step(Event::WornOut(unit));
            }
            Done::Unwell(unit, answer) => {
                if let Some(target) = self.targets.get(&unit) {
                    target.set_unwell();
                }
                self.step(Event::Unwell { unit, answer });
            }
            Done::Awaited(worker) => {
                tracing::info!(%worker, "{worker} is asked for, and wakes");
                self.step(Event::Awaited(worker));
            }
            Done::Judged(id, worse) => self.judged(id, worse),
            Done::Saved(result) => {
                self.saving = false;
                if let Err(error) = result {
                    self.warn(format!("state not saved, a restart will know less: {error}"));
                }
            }
            Done::Reported(waiters, report) => {
                for line in &report.details {
                    tracing::error!("{line}");
                }
                waiters.answer(&report);
            }
        }
    }

    fn launched(&mut self, outcome: LaunchOutcome) {
        match outcome {
            LaunchOutcome::Started(_, Ok(())) | LaunchOutcome::Stopped(_, Ok(())) => {}
            LaunchOutcome::Started(unit, Err(error)) => {
                self.step(Event::StartRefused { unit, reason: error.to_string() });
            }
            LaunchOutcome::Stopped(unit, Err(error)) => {
                self.warn(format!("could not stop {unit}: {error}"));
            }
            LaunchOutcome::Listed(asked, Ok(found)) => {
                self.identify_all(&found);
                self.step(Event::Resync { asked, found });
            }
            LaunchOutcome::Listed(_, Err(error)) => {
                self.warn(format!("could not list units: {error}"))
            }
        }
    }

    /// Notes where units' programs are, as systemd says.
    fn identify_all(&mut self, found: &[LiveUnit]) {
        for live in found {
            self.identify(&live.unit, live.control_group);
        }
    }

    fn identify(&mut self, unit: &UnitName, group: Option<ControlGroup>) {
        let Some(group) = group else { return };
        self.control_groups.insert(unit.clone(), group);
        if let Some(target) = self.targets.get(unit) {
            target.set_control_group(group);
        }
    }

    fn warn(&mut self, text: String) {
        tracing::warn!("{text}");
        if self.warnings.len() == WARNINGS {
            self.warnings.pop_front();
        }
        self.warnings.push_back(text);
    }

    fn publish_snapshot(&mut self) {
        let warnings = self.warnings.iter().cloned().collect();
        let snapshot = Snapshot::of(
            &self.controller,
            &self.state,
            self.desired.as_ref(),
            &self.targets,
            now(),
        );
        let (past, refused) = (Arc::clone(&self.past), Arc::clone(&self.refused));
        let before = Arc::clone(&self.before.1);
        let snapshot = Snapshot { warnings, past, refused, before, ..snapshot };
        self.snapshot.send_replace(Arc::new(snapshot));
    }
}

/// Waits for the word to end, or for nobody to be left who could give it. What else is asked
/// meanwhile is remembered in `early`.
async fn until_shutdown(
    inbox: &mut mpsc::Receiver<Command>,
    early: &mut Vec<Command>,
) -> Option<oneshot::Sender<()>> {
    loop {
        match inbox.recv().await? {
            Command::Shutdown(done) => return Some(done),
            // The first load may have read it already. Many changes are one.
            Command::ManifestChanged
                if early.iter().any(|it| matches!(it, Command::ManifestChanged)) => {}
            command => early.push(command),
        }
    }
}

/// Completes when whoever wanted us to stand still does not any more.
async fn given_up(suspending: &mut Option<oneshot::Sender<Suspended>>) {
    match suspending {
        Some(granted) => granted.closed().await,
        None => std::future::pending().await,
    }
}

/// The paused clock of tests is tokio's, so ours is too.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
