//! The control socket's view of the daemon.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use jiff::Timestamp;
use tokio::sync::mpsc;

use super::metrics::Moment;
use super::reloads::Reloads;
use super::retention;
use super::samples::Samples;
use super::soaks::Soaks;
use super::steps::Steps;
use crate::access_log::AccessLog;
use crate::admin::api::{
    BreakerState, CanaryStatus, Control, Counters, ExitKind, FailedDeployment, GenerationBeside,
    Initiator, InstanceStatus, LastExit, PastRollout, PastRollouts, RefusedWish, ReloadOutcome,
    ReloadVerdict, SCHEMA, ServerState, Status, WorkerState, WorkerStatus,
};
use crate::admin::feed::Feed;
use crate::admin::retention::Retention;
use crate::admin::soak::SoakVerdict;
use crate::config::settings::{DeploymentSettings, Mode};
use crate::ids::{CommitId, WorkerName};
use crate::launcher::{ExitReason, Source};
use crate::proxy::CountersReader;
use crate::proxy::table::PublishedTable;
use crate::rollout::actor::RolloutHandle;
use crate::rollout::controller::Breaker;
use crate::rollout::event::{Cause, Decision};
use crate::rollout::report::{Report, ReportResult};
use crate::rollout::state::{HistoryEntry, Refusal};
use crate::rollout::status::{
    CanarySnapshot, ExitSnapshot, GenerationSnapshot, Snapshot, WorkerSnapshot,
};
use crate::store::manifest::DeployedBy;
use crate::tls::PublishedTls;

/// What is counted and watched.
pub(super) struct Observed {
    pub(super) counters: CountersReader,
    pub(super) table: Arc<PublishedTable>,
    pub(super) samples: Arc<Samples>,
    pub(super) certificates: Arc<PublishedTls>,
    pub(super) access_log: Arc<AccessLog>,
    pub(super) steps: Arc<Steps>,
    /// Whether the kernel tells of a new manifest; `None` where none is looked for.
    pub(super) manifest_told: Option<Arc<AtomicBool>>,
}

/// Answers what the control socket is asked.
pub(super) struct DaemonControl {
    rollout: RolloutHandle,
    reloads: Reloads,
    soaks: Soaks,
    observed: Observed,
    feed: Feed,
    /// `None` where nothing is built.
    rebuild: Option<mpsc::Sender<()>>,
    mode: Mode,
    /// As they are in effect.
    deployments: Arc<ArcSwap<DeploymentSettings>>,
    started_at: Timestamp,
    stopping: AtomicBool,
}

impl DaemonControl {
    pub(super) fn new(
        rollout: RolloutHandle,
        reloads: Reloads,
        observed: Observed,
        feed: Feed,
        rebuild: Option<mpsc::Sender<()>>,
        mode: Mode,
        deployments: Arc<ArcSwap<DeploymentSettings>>,
    ) -> Self {
        let (started_at, stopping) = (Timestamp::now(), AtomicBool::new(false));
        let soaks = Soaks::default();
        Self {
            rollout,
            reloads,
            soaks,
            observed,
            feed,
            rebuild,
            mode,
            deployments,
            started_at,
            stopping,
        }
    }

    /// The daemon was told to stop.
    pub(super) fn stopping(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    fn state(&self, snapshot: &Snapshot) -> ServerState {
        let desired = snapshot.desired.as_ref().map(|desired| &desired.commit);
        let all_are_up = snapshot
            .workers
            .iter()
            .filter(|worker| worker.route.is_some() && !worker.drained)
            .all(WorkerSnapshot::is_up);
        if self.stopping.load(Ordering::Relaxed) {
            ServerState::Draining
        } else if !snapshot.decided {
            if snapshot.failed.is_some() { ServerState::Degraded } else { ServerState::Starting }
        } else if all_are_up && desired == snapshot.actual.as_ref() {
            ServerState::Serving
        } else {
            ServerState::Degraded
        }
    }
}

impl Control for DaemonControl {
    fn status(&self) -> Status {
        let snapshot = self.rollout.snapshot();
        let (counters, mut loads) = (self.observed.counters.sum(), self.observed.samples.loads());
        let mut worker_status = |worker| {
            let mut status = worker_status(worker)?;
            status.load = loads.remove(&status.name);
            self.observed.samples.tell_usage(&mut status);
            Some(status)
        };
        Status {
            schema: SCHEMA,
            version: crate::version::VERSION_LINE.clone(),
            mode: self.mode,
            state: self.state(&snapshot),
            started_at: self.started_at,
            desired: snapshot.desired.as_ref().map(|desired| desired.commit.clone()),
            actual: snapshot.actual.clone(),
            branch: snapshot.branch.clone(),
            tag: snapshot.tag.clone(),
            last_good: snapshot.last_good.as_ref().map(|good| good.commit.clone()),
            failed: snapshot.failed.as_ref().map(|failed| FailedDeployment {
                commit: failed.deployment.commit.clone(),
                reason: failed.reason.clone(),
                at: failed.at,
            }),
            canary: snapshot.canary.as_ref().map(canary_status),
            workers: snapshot.workers.iter().filter_map(&mut worker_status).collect(),
            counters: Counters {
                requests: counters.requests,
                in_flight: counters.in_flight,
                held: counters.held,
                client_errors: counters.responses[3],
                server_errors: counters.responses[4],
                connections: counters.open_connections,
            },
            warnings: snapshot.warnings.clone(),
        }
    }

    fn reload(&self) -> impl Future<Output = ReloadVerdict> + Send {
        let asked = Instant::now();
        let report = self.reloads.reload();
        async move {
            let report = report.await;
            let duration_ms = u64::try_from(asked.elapsed().as_millis()).unwrap_or(u64::MAX);
            verdict(report, duration_ms)
        }
    }

    fn restart(&self, worker: WorkerName) -> impl Future<Output = ReloadVerdict> + Send {
        let asked = Instant::now();
        let report = self.rollout.restart(worker);
        async move {
            let report = report.await;
            let duration_ms = u64::try_from(asked.elapsed().as_millis()).unwrap_or(u64::MAX);
            verdict(report, duration_ms)
        }
    }

    fn drain(&self, worker: WorkerName) -> impl Future<Output = Result<(), String>> + Send {
        let rollout = self.rollout.clone();
        async move { rollout.take_out(worker).await }
    }

    fn decide(&self, promote: bool) -> impl Future<Output = ReloadVerdict> + Send {
        let asked = Instant::now();
        let by_hand = || Decision::GiveUp { worker: None, reason: "by hand".to_owned() };
        let decision = if promote { Decision::Promote } else { by_hand() };
        let report = self.rollout.decide(decision);
        async move {
            let report = report.await;
            let duration_ms = u64::try_from(asked.elapsed().as_millis()).unwrap_or(u64::MAX);
            verdict(report, duration_ms)
        }
    }

    fn soak(
        &self,
        commit: CommitId,
        time: Duration,
    ) -> impl Future<Output = Result<SoakVerdict, String>> + Send {
        self.soaks.begin(self.rollout.clone(), commit, time, self.deployments.load().soak)
    }

    fn past_rollouts(&self) -> PastRollouts {
        let snapshot = self.rollout.snapshot();
        let rollouts = snapshot.past.iter().rev().map(past_rollout).collect();
        let refused = snapshot.refused.iter().rev().map(refused_wish).collect();
        PastRollouts { schema: SCHEMA, rollouts, refused }
    }

    fn metrics(&self) -> String {
        let Observed { counters, table, samples, certificates, access_log, .. } = &self.observed;
        let manifest_told = self.observed.manifest_told.as_ref();
        let moment = Moment {
            counters: counters.sum(),
            workers: table.figures(),
            snapshot: &self.rollout.snapshot(),
            samples,
            started_at: self.started_at.as_millisecond() as f64 / 1000.0,
            certificate_expiry: certificates.expiry().map(|expiry| expiry.as_second() as f64),
            access_log: [access_log.written(), access_log.dropped()],
            steps: self.observed.steps.sum(),
            builds: self.feed.builds(),
            manifest_told: manifest_told.map(|told| told.load(Ordering::Relaxed)),
        };
        moment.render()
    }

    fn events(&self) -> &Feed {
        &self.feed
    }

    fn retention(&self) -> Result<Retention, String> {
        match self.mode {
            Mode::Prod => retention::needed(&self.rollout.snapshot(), &self.deployments.load()),
            Mode::Dev => {
                Err("workers run from the source tree: no deployment is needed".to_owned())
            }
        }
    }

    fn rebuild(&self) -> Result<(), String> {
        if let Some(rebuild) = &self.rebuild {
            // One that is asked for already will see what this one would.
            let _ = rebuild.try_send(());
            return Ok(());
        }
        Err(match self.mode {
            Mode::Prod => "this is no development mode: workers run from deployments".to_owned(),
            Mode::Dev => "nothing is watched here (deployment.dev.file_watcher.enabled): \
                          tqctl build --dev"
                .to_owned(),
        })
    }
}

fn past_rollout(entry: &HistoryEntry) -> PastRollout {
    PastRollout {
        commit: entry.deployment.commit.clone(),
        deployment_id: entry.deployment.deployment_id.clone(),
        at: entry.at,
        took_ms: entry.took_ms,
        failure: entry.failure.clone(),
        started: entry.started.clone(),
        by: entry.deployed_by.clone().map(initiator),
    }
}

fn refused_wish(refusal: &Refusal) -> RefusedWish {
    let deployment = refusal.deployment.clone();
    RefusedWish {
        commit: deployment.as_ref().map(|deployment| deployment.commit.clone()),
        deployment_id: deployment.and_then(|deployment| deployment.deployment_id),
        at: refusal.at,
        reason: refusal.reason.clone(),
        by: refusal.deployed_by.clone().map(initiator),
    }
}

fn initiator(by: DeployedBy) -> Initiator {
    let DeployedBy { user, from, client, verb } = by;
    Initiator { user, from, client, verb }
}

fn verdict(report: Report, duration_ms: u64) -> ReloadVerdict {
    let outcome = match report.result {
        ReportResult::Switched => ReloadOutcome::Switched,
        ReportResult::Unchanged => ReloadOutcome::Unchanged,
        ReportResult::Canary { .. } => ReloadOutcome::Canary,
        ReportResult::Failed => ReloadOutcome::Failed,
        ReportResult::Refused => ReloadOutcome::Refused,
        ReportResult::HandedOver => ReloadOutcome::HandedOver,
    };
    ReloadVerdict {
        schema: SCHEMA,
        ok: report.reason.is_none(),
        commit: report.commit,
        outcome,
        started: report.started,
        kept: report.kept,
        reason: report.reason,
        details: report.details,
        duration_ms,
    }
}

/// A worker that is not part of the published deployment, and only has generations that end, has
/// no route and is not shown.
fn worker_status(worker: &WorkerSnapshot) -> Option<WorkerStatus> {
    let of = |phases: &[&str]| {
        worker.generations.iter().rev().find(|generation| phases.contains(&generation.phase))
    };
    let coming = || of(&["Starting", "Probing", "Ready"]).or_else(|| of(&["Queued"]));
    let newest = of(&["Serving"]).or_else(coming);
    let state = match newest.and_then(state) {
        _ if worker.drained => WorkerState::Drained,
        Some(state) => state,
        None if worker.next_attempt.is_some() => WorkerState::Backoff,
        None if worker.asleep => WorkerState::Asleep,
        None => WorkerState::Stopped,
    };
    let number = newest.map(|generation| generation.generation);
    let of_newest = worker.generations.iter().filter(|it| Some(it.generation) == number);
    let instances: Vec<_> = of_newest.filter_map(instance).collect();
    let several = worker.instances > 1 || instances.len() > 1;
    Some(WorkerStatus {
        name: worker.name.clone(),
        route: worker.route.clone()?,
        state,
        generation: number,
        port: newest.map(|generation| generation.unit.port),
        unit: newest.map(|generation| generation.unit.clone()),
        commit: newest.and_then(commit),
        pinned: worker.pinned.clone(),
        since: newest.and_then(|generation| generation.since),
        fingerprint: newest.map(|generation| generation.fingerprint),
        load: None,
        memory_bytes: None,
        cpus_busy: None,
        in_flight: instances.iter().map(|instance| instance.in_flight).sum(),
        instances_wanted: several.then_some(worker.instances),
        instances: if several { instances } else { Vec::new() },
        draining: beside(worker, "Draining"),
        canaries: beside(worker, "Canary"),
        last_failure: worker.last_failure.clone(),
        restarts: worker.restarts,
        breaker: match worker.breaker {
            Breaker::Closed => BreakerState::Closed,
            Breaker::Open => BreakerState::Open,
            Breaker::HalfOpen => BreakerState::HalfOpen,
        },
        next_attempt: worker.next_attempt,
        last_exit: worker.last_exit.as_ref().map(last_exit),
        loosened: worker.loosened.clone(),
    })
}

/// Where it stands; `None` where it is about to end.
fn state(generation: &GenerationSnapshot) -> Option<WorkerState> {
    match generation.phase {
        "Serving" => Some(WorkerState::Serving),
        "Queued" => Some(WorkerState::Queued),
        "Starting" => Some(WorkerState::Starting),
        "Probing" | "Ready" => Some(WorkerState::Probing),
        _ => None,
    }
}

fn instance(generation: &GenerationSnapshot) -> Option<InstanceStatus> {
    Some(InstanceStatus {
        state: state(generation)?,
        port: generation.unit.port,
        unit: generation.unit.clone(),
        since: generation.since,
        in_flight: in_flight(generation),
        memory_bytes: None,
        cpus_busy: None,
    })
}

/// What ended a worker's process.
pub(super) fn exit_kind(exit: &ExitSnapshot) -> ExitKind {
    kind_and_code(exit).0
}

fn kind_and_code(exit: &ExitSnapshot) -> (ExitKind, Option<i32>) {
    match &exit.cause {
        Cause::Exited(ExitReason::Exited(status)) => (ExitKind::Exited, Some(*status)),
        Cause::Exited(ExitReason::Signal(signal)) => (ExitKind::Signal, Some(*signal)),
        Cause::Exited(ExitReason::OutOfMemory) => (ExitKind::OutOfMemory, None),
        Cause::Exited(ExitReason::Watchdog) => (ExitKind::Watchdog, None),
        Cause::Exited(ExitReason::Timeout) => (ExitKind::Timeout, None),
        Cause::Stopped => (ExitKind::Stopped, None),
        Cause::Exited(ExitReason::Other(_))
        | Cause::Probe(_)
        | Cause::Refused(_)
        | Cause::Canary(_) => (ExitKind::Other, None),
    }
}

pub(super) fn last_exit(exit: &ExitSnapshot) -> LastExit {
    let (kind, code) = kind_and_code(exit);
    LastExit {
        kind,
        code,
        reason: exit.cause.to_string(),
        generation: exit.generation,
        unit: exit.unit.clone(),
        at: exit.at,
    }
}

/// A worker's generations in a phase beside the one that serves.
fn beside(worker: &WorkerSnapshot, phase: &str) -> Vec<GenerationBeside> {
    let beside = |generation: &GenerationSnapshot| GenerationBeside {
        generation: generation.generation,
        port: generation.unit.port,
        unit: generation.unit.clone(),
        commit: commit(generation),
        in_flight: in_flight(generation),
    };
    worker.generations.iter().filter(|generation| generation.phase == phase).map(beside).collect()
}

fn canary_status(canary: &CanarySnapshot) -> CanaryStatus {
    let steps = canary.plan.as_ref().map_or(&[][..], |plan| &plan.steps);
    CanaryStatus {
        commit: canary.commit.clone(),
        share_percent: canary.share,
        next_percents: steps.get(canary.step + 1..).unwrap_or_default().to_vec(),
        next_at: canary.next_step,
        testers: canary.plan.as_ref().and_then(|plan| Some(plan.testers.as_ref()?.to_string())),
    }
}

fn in_flight(generation: &GenerationSnapshot) -> u64 {
    generation.target.as_ref().map_or(0, |target| Arc::as_ref(target).in_flight())
}

fn commit(generation: &GenerationSnapshot) -> Option<CommitId> {
    match &generation.source {
        Source::Deployment(commit) => Some(commit.clone()),
        Source::Tree => None,
    }
}
