//! What Prometheus is told. Every series is bounded: labels are names of workers, classes of statuses and
//! words of ours, and nothing that a client says.

use std::collections::BTreeMap;

use crate::admin::exposition::{Exposition, Kind};
use crate::ids::WorkerName;
use crate::launcher::Usage;
use crate::proxy::durations::{self, DurationSums};
use crate::proxy::{CLASSES, Counters, WorkerFigures};
use crate::rollout::status::Snapshot;

use super::samples::{RolloutCounts, Samples};
use super::steps::Counted;

/// The classes of answers, 1xx to 5xx.
const CLASS_NAMES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];
/// Every other bound of the durations: one an octave. Twice as many series would tell little more.
const BOUNDS_STEP: usize = 2;

/// All there is to tell at one moment.
pub(super) struct Moment<'a> {
    pub(super) counters: Counters,
    pub(super) workers: BTreeMap<WorkerName, WorkerFigures>,
    pub(super) snapshot: &'a Snapshot,
    pub(super) samples: &'a Samples,
    /// When the process began, in seconds since 1970.
    pub(super) started_at: f64,
    /// When the first certificate expires, in seconds since 1970; `None` where there is none.
    pub(super) certificate_expiry: Option<f64>,
    /// Lines of the access log, written and dropped.
    pub(super) access_log: [u64; 2],
    pub(super) steps: Counted,
    /// Builds that succeeded, and that failed.
    pub(super) builds: [u64; 2],
    /// Whether the kernel tells of a new manifest; `None` where none is looked for.
    pub(super) manifest_told: Option<bool>,
}

impl Moment<'_> {
    /// As text.
    pub(super) fn render(&self) -> String {
        let mut out = Exposition::default();
        self.process(&mut out);
        self.data_plane(&mut out);
        self.access_log(&mut out);
        self.requests_of_workers(&mut out);
        self.durations(&mut out);
        self.generations(&mut out);
        self.usage(&mut out);
        self.rollouts(&mut out);
        self.steps(&mut out);
        self.builds(&mut out);
        out.finish()
    }

    fn process(&self, out: &mut Exposition) {
        let version = crate::version::VERSION_LINE.as_str();
        out.family("tqserver_build_info", Kind::Gauge, "Always 1; the version is a label.")
            .sample(&[("version", version)], 1);
        out.family(
            "tqserver_start_time_seconds",
            Kind::Gauge,
            "When this process began, in seconds since 1970.",
        )
        .sample(&[], self.started_at);
        if let Some(expiry) = self.certificate_expiry {
            out.family(
                "tqserver_tls_certificate_expiry_seconds",
                Kind::Gauge,
                "When the certificate that expires first does so, in seconds since 1970.",
            )
            .sample(&[], expiry);
        }
    }

    fn data_plane(&self, out: &mut Exposition) {
        let counters = &self.counters;
        let mut responses = out.family(
            "tqserver_responses_total",
            Kind::Counter,
            "Answers to clients by class of status; 1xx are switched protocols.",
        );
        for (class, count) in CLASS_NAMES.iter().zip(counters.responses) {
            responses.sample(&[("class", class)], count);
        }
        for (name, help, value) in [
            ("tqserver_requests_total", "Requests whose head was read.", counters.requests),
            (
                "tqserver_responses_aborted_total",
                "Answers that broke off before their end.",
                counters.aborted,
            ),
            (
                "tqserver_requests_hold_total",
                "Requests that had to wait for a worker to be ready.",
                counters.holds,
            ),
            (
                "tqserver_requests_hold_failed_total",
                "Requests that waited in vain for a worker to be ready, or found no room to wait.",
                counters.holds_failed,
            ),
            ("tqserver_connections_total", "Client connections accepted.", counters.connections),
            (
                "tqserver_accept_errors_total",
                "Failures to accept a connection.",
                counters.accept_errors,
            ),
            (
                "tqserver_requests_shed_total",
                "Requests refused as their worker had enough to do.",
                counters.shed,
            ),
            (
                "tqserver_upstream_connections_total",
                "Connections made to workers.",
                counters.upstream_connections,
            ),
            ("tqserver_received_bytes_total", "Bytes read from clients.", counters.bytes_received),
            ("tqserver_sent_bytes_total", "Bytes written to clients.", counters.bytes_sent),
        ] {
            out.family(name, Kind::Counter, help).sample(&[], value);
        }
        for (name, help, value) in [
            (
                "tqserver_requests_in_flight",
                "Requests whose answer is not through yet, event streams among them.",
                counters.in_flight,
            ),
            (
                "tqserver_requests_held",
                "Requests that wait for a worker to be ready.",
                counters.held,
            ),
            (
                "tqserver_connections_open",
                "Client connections open now, tunnels among them.",
                counters.open_connections,
            ),
            ("tqserver_tunnels_open", "Upgraded connections open now.", counters.open_tunnels),
        ] {
            out.family(name, Kind::Gauge, help).sample(&[], value);
        }
    }

    fn access_log(&self, out: &mut Exposition) {
        let mut lines = out.family(
            "tqserver_access_log_lines_total",
            Kind::Counter,
            "Lines of the access log by outcome; those are dropped that it could not take in time.",
        );
        for (outcome, count) in ["written", "dropped"].iter().zip(self.access_log) {
            lines.sample(&[("outcome", outcome)], count);
        }
    }

    fn requests_of_workers(&self, out: &mut Exposition) {
        let mut responses = out.family(
            "tqserver_worker_responses_total",
            Kind::Counter,
            "Answers by worker and class of status, those included that tqserver gave in its stead.",
        );
        for (worker, figures) in &self.workers {
            for (class, count) in CLASS_NAMES.iter().zip(figures.responses) {
                responses.sample(&[("worker", worker.as_str()), ("class", class)], count);
            }
        }
        type Of = fn(&WorkerFigures) -> u64;
        let counters: [(&'static str, &str, Of); 5] = [
            ("tqserver_worker_requests_total", "Requests sent to a worker.", |of| of.requests),
            (
                "tqserver_worker_responses_aborted_total",
                "Answers of a worker that broke off before their end.",
                |of| of.aborted,
            ),
            (
                "tqserver_worker_retries_total",
                "Requests that were sent once more, to the same worker.",
                |of| of.retries,
            ),
            (
                "tqserver_worker_sent_bytes_total",
                "Bytes written to a worker, counted when an answer or a tunnel ends.",
                |of| of.bytes_sent,
            ),
            (
                "tqserver_worker_received_bytes_total",
                "Bytes read from a worker, counted when an answer or a tunnel ends, before they are compressed.",
                |of| of.bytes_received,
            ),
        ];
        for (name, help, of) in counters {
            let mut family = out.family(name, Kind::Counter, help);
            for (worker, figures) in &self.workers {
                family.sample(&[("worker", worker.as_str())], of(figures));
            }
        }
    }

    fn durations(&self, out: &mut Exposition) {
        let mut family = out.family(
            "tqserver_worker_request_duration_seconds",
            Kind::Histogram,
            "From the sending of a request until the last byte of its answer was passed on, by worker and \
             class of status; without event streams and tunnels.",
        );
        for (worker, figures) in &self.workers {
            for (class, sums) in
                CLASS_NAMES[CLASS_NAMES.len() - CLASSES..].iter().zip(&figures.durations)
            {
                // A class that a worker never answered with is no series.
                if sums.count() > 0 {
                    let labels = [("worker", worker.as_str()), ("class", *class)];
                    let sum = sums.micros() as f64 / 1e6;
                    family.histogram(&labels, octaves(sums), sums.count(), sum);
                }
            }
        }
    }

    fn generations(&self, out: &mut Exposition) {
        let routed = || self.snapshot.workers.iter().filter(|worker| worker.route.is_some());
        let mut up = out.family(
            "tqserver_worker_up",
            Kind::Gauge,
            "Whether a generation of a worker serves, or would as soon as somebody asked.",
        );
        for worker in routed() {
            up.sample(&[("worker", worker.name.as_str())], u8::from(worker.is_up()));
        }
        let mut serving = out.family(
            "tqserver_worker_instances_serving",
            Kind::Gauge,
            "Instances of a worker that serve.",
        );
        for worker in routed() {
            let serving_now = worker.generations.iter().filter(|one| one.serves());
            serving.sample(&[("worker", worker.name.as_str())], serving_now.count());
        }
        let mut wanted = out.family(
            "tqserver_worker_instances_wanted",
            Kind::Gauge,
            "Instances of a worker that are to serve at the moment; 0: it sleeps until it is asked for.",
        );
        for worker in routed() {
            wanted.sample(&[("worker", worker.name.as_str())], worker.instances);
        }
        if let Some(canary) = &self.snapshot.canary {
            out.family(
                "tqserver_canary_share_ratio",
                Kind::Gauge,
                "Share of the requests that a canary gets, 0 to 1; absent where there is none.",
            )
            .sample(&[], f64::from(canary.share) / 100.0);
        }
        let mut newest = out.family(
            "tqserver_worker_generation",
            Kind::Gauge,
            "The number of a worker's newest generation; it rises with every start.",
        );
        for worker in routed() {
            if let Some(generation) = worker.generations.last() {
                newest.sample(&[("worker", worker.name.as_str())], generation.generation.0);
            }
        }
        let mut in_flight = out.family(
            "tqserver_worker_requests_in_flight",
            Kind::Gauge,
            "Requests that a worker's generations owe an answer, event streams and tunnels among them.",
        );
        for worker in routed() {
            let targets = worker.generations.iter().filter_map(|one| one.target.as_ref());
            let owed: u64 = targets.map(|target| target.in_flight()).sum();
            in_flight.sample(&[("worker", worker.name.as_str())], owed);
        }
        let all = self.snapshot.workers.iter().map(|worker| worker.generations.len());
        out.family(
            "tqserver_worker_ports_in_use",
            Kind::Gauge,
            "Ports of the range that generations of workers hold.",
        )
        .sample(&[], all.sum::<usize>());
    }

    fn usage(&self, out: &mut Exposition) {
        type Of = fn(&Usage) -> Option<u64>;
        let gauges: [(&'static str, &str, Of); 2] = [
            (
                "tqserver_worker_memory_bytes",
                "Memory of all of a worker's generations, as systemd accounts it.",
                |usage| usage.memory,
            ),
            (
                "tqserver_worker_tasks",
                "Processes and threads of all of a worker's generations.",
                |usage| usage.tasks,
            ),
        ];
        let usages: Vec<_> = self
            .snapshot
            .workers
            .iter()
            .map(|worker| {
                let used = worker
                    .generations
                    .iter()
                    .map(|one| self.samples.usage(&one.unit, one.generation).0);
                (&worker.name, used.collect::<Vec<_>>())
            })
            .collect();
        for (name, help, of) in gauges {
            let mut family = out.family(name, Kind::Gauge, help);
            for (worker, used) in &usages {
                let known: Vec<u64> = used.iter().filter_map(of).collect();
                if !known.is_empty() {
                    family.sample(&[("worker", worker.as_str())], known.iter().sum::<u64>());
                }
            }
        }
        let mut cpu = out.family(
            "tqserver_worker_cpu_seconds_total",
            Kind::Counter,
            "Processor time that all of a worker's generations have used, as systemd accounts it.",
        );
        for (worker, used) in self.samples.cpu_times() {
            cpu.sample(&[("worker", worker.as_str())], used.as_secs_f64());
        }
    }

    fn steps(&self, out: &mut Exposition) {
        let mut steps = out.family(
            "tqserver_rollout_step_duration_seconds",
            Kind::Summary,
            "How long generations waited for their start, took to start, to be probed, to wait for the \
             rest of a deployment and to drain, by step.",
        );
        for (step, count, took) in self.steps.steps() {
            steps.summary(&[("step", step)], count, took.as_secs_f64());
        }
        let mut probes = out.family(
            "tqserver_probes_total",
            Kind::Counter,
            "Probes of new generations by outcome.",
        );
        probes.sample(&[("outcome", "passed")], self.steps.probes_passed);
        probes.sample(&[("outcome", "failed")], self.steps.probes_failed);
        let mut restarts = out.family(
            "tqserver_worker_restarts_total",
            Kind::Counter,
            "Restarts of a worker that had died, by what ended it.",
        );
        for ((worker, reason), count) in &self.steps.restarts {
            restarts.sample(&[("worker", worker.as_str()), ("reason", reason)], count);
        }
    }

    fn builds(&self, out: &mut Exposition) {
        let mut builds = out.family(
            "tqserver_builds_total",
            Kind::Counter,
            "Builds of programs in development by outcome.",
        );
        for (outcome, count) in ["succeeded", "failed"].iter().zip(self.builds) {
            builds.sample(&[("outcome", outcome)], count);
        }
        if let Some(told) = self.manifest_told {
            out.family(
                "tqserver_manifest_inotify_active",
                Kind::Gauge,
                "Whether the kernel tells of a new manifest; 0: it is only polled for.",
            )
            .sample(&[], u8::from(told));
        }
    }

    fn rollouts(&self, out: &mut Exposition) {
        let desired = self.snapshot.desired.as_ref().map(|desired| &desired.commit);
        out.family(
            "tqserver_deployment_in_sync",
            Kind::Gauge,
            "Whether the deployment that is wanted is the one that serves.",
        )
        .sample(&[], u8::from(desired == self.snapshot.actual.as_ref()));
        let RolloutCounts { served, failed, .. } = self.samples.rollouts();
        let mut rollouts = out.family(
            "tqserver_rollouts_total",
            Kind::Counter,
            "Rollouts that ended since this process began, by outcome.",
        );
        rollouts.sample(&[("outcome", "served")], served);
        rollouts.sample(&[("outcome", "failed")], failed);
        let Some(last) = self.snapshot.past.last() else { return };
        out.family(
            "tqserver_last_rollout_timestamp_seconds",
            Kind::Gauge,
            "When the last rollout ended, in seconds since 1970.",
        )
        .sample(&[], last.at.as_second());
        out.family(
            "tqserver_last_rollout_success",
            Kind::Gauge,
            "Whether the last rollout came to serve.",
        )
        .sample(&[], u8::from(last.failure.is_none()));
        if let Some(took) = last.took_ms {
            out.family(
                "tqserver_last_rollout_duration_seconds",
                Kind::Gauge,
                "How long the last rollout took.",
            )
            .sample(&[], took as f64 / 1000.0);
        }
    }
}

/// How many were in each octave, with its upper bound in seconds.
fn octaves(sums: &DurationSums) -> impl Iterator<Item = (f64, u64)> {
    // The first bound stands alone; each further octave has two.
    let bounded = sums.bounded();
    let of = move |last: usize| {
        let first = last.saturating_sub(BOUNDS_STEP - 1);
        (durations::bound(last).as_secs_f64(), bounded[first..=last].iter().sum())
    };
    (0..bounded.len()).step_by(BOUNDS_STEP).map(of)
}

#[cfg(test)]
mod tests;
