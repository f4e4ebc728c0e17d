//! What workers have done of late, looked at every two seconds, and what they use, every four; either
//! is remembered for ten.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::admin::api::{WorkerLoad, WorkerStatus};
use crate::ids::{Generation, UnitName, WorkerName};
use crate::launcher::Usage;
use crate::launcher::bus::BusLauncher;
use crate::proxy::WorkerFigures;
use crate::proxy::table::PublishedTable;
use crate::rollout::actor::RolloutHandle;
use crate::rollout::state::HistoryEntry;

/// Between two looks.
const INTERVAL: Duration = Duration::from_secs(2);
/// How many looks at figures are remembered: ten seconds of them.
const KEPT: usize = 6;
/// The same of looks at units.
const KEPT_OF_UNIT: usize = 3;
/// A rate over less than this would say more of chance than of the worker.
const LEAST: Duration = Duration::from_secs(1);

/// The looks of the last ten seconds.
pub(super) struct Samples {
    table: Arc<PublishedTable>,
    memory: Mutex<Memory>,
}

/// How rollouts ended since the process began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct RolloutCounts {
    /// They came to serve.
    pub(super) served: u64,
    /// They did not.
    pub(super) failed: u64,
    /// When the last that was counted ended.
    last: Option<Timestamp>,
}

#[derive(Default)]
struct Memory {
    figures: VecDeque<(Instant, BTreeMap<WorkerName, WorkerFigures>)>,
    units: HashMap<(UnitName, Generation), UnitSamples>,
    /// Processor time of all a worker's generations; it only rises.
    cpu: BTreeMap<WorkerName, Duration>,
    rollouts: RolloutCounts,
}

struct UnitSamples {
    usage: Usage,
    /// How many looks in a row have found more memory than it may use for long.
    heavy: usize,
    cpu: VecDeque<(Instant, Duration)>,
}

impl Samples {
    pub(super) fn new(table: Arc<PublishedTable>) -> Arc<Self> {
        let rollouts = RolloutCounts { last: Some(Timestamp::now()), ..RolloutCounts::default() };
        let memory = Memory { rollouts, ..Memory::default() };
        Arc::new(Self { table, memory: Mutex::new(memory) })
    }

    /// Looks, for ever.
    pub(super) async fn run(self: Arc<Self>, rollout: RolloutHandle, launcher: Arc<BusLauncher>) {
        let mut tick = tokio::time::interval(INTERVAL);
        for look in 0_u64.. {
            tick.tick().await;
            let figures = self.table.figures();
            {
                let mut memory = self.memory();
                memory.rollouts.count(&rollout.snapshot().past);
                memory.figures.push_back((Instant::now(), figures));
                if memory.figures.len() > KEPT {
                    memory.figures.pop_front();
                }
            }
            // systemd is asked for each unit, so it is asked half as often.
            if look % 2 == 0 {
                self.look_at_units(&rollout, &launcher).await;
            }
        }
    }

    async fn look_at_units(&self, rollout: &RolloutHandle, launcher: &BusLauncher) {
        let snapshot = rollout.snapshot();
        let (mut looked, mut limits) = (Vec::new(), HashMap::new());
        for worker in &snapshot.workers {
            for one in &worker.generations {
                let usage = launcher.usage(&one.unit).await;
                looked.extend(usage.map(|usage| ((one.unit.clone(), one.generation), usage)));
                if let Some(limit) = worker.memory_high.filter(|_| one.serves()) {
                    limits.insert(one.unit.clone(), limit);
                }
            }
        }
        let heavy = {
            let mut memory = self.memory();
            memory.take(looked, Instant::now());
            memory.heavy(&limits)
        };
        for (unit, bytes) in heavy {
            rollout.heavy(unit, bytes).await;
        }
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What each worker has done in the last ten seconds, as far as they have been watched.
    pub(super) fn loads(&self) -> BTreeMap<WorkerName, WorkerLoad> {
        let (now, figures) = (Instant::now(), self.table.figures());
        let memory = self.memory();
        let Some((then, earlier)) = memory.figures.front() else { return BTreeMap::new() };
        let within = now.saturating_duration_since(*then);
        if within < LEAST {
            return BTreeMap::new();
        }
        let nothing = WorkerFigures::default();
        let load = |(name, figures): (WorkerName, WorkerFigures)| {
            let recent = figures.since(earlier.get(&name).unwrap_or(&nothing));
            (name, load(&recent, within))
        };
        figures.into_iter().map(load).collect()
    }

    /// What a generation's unit used when it was looked at last, and how many processors it kept busy.
    pub(super) fn usage(&self, unit: &UnitName, generation: Generation) -> (Usage, Option<f64>) {
        let memory = self.memory();
        let Some(samples) = memory.units.get(&(unit.clone(), generation)) else {
            return (Usage::default(), None);
        };
        let busy = samples.cpu.front().zip(samples.cpu.back()).and_then(|(first, last)| {
            let within = last.0.saturating_duration_since(first.0);
            let used = last.1.saturating_sub(first.1);
            (within >= LEAST).then(|| used.as_secs_f64() / within.as_secs_f64())
        });
        (samples.usage, busy)
    }

    /// Adds what the newest generation uses: each of its instances, and all of them.
    pub(super) fn tell_usage(&self, status: &mut WorkerStatus) {
        let Some((unit, generation)) = status.unit.as_ref().zip(status.generation) else { return };
        let used = |unit| {
            let (usage, busy) = self.usage(unit, generation);
            (usage.memory, busy)
        };
        if status.instances.is_empty() {
            (status.memory_bytes, status.cpus_busy) = used(unit);
        }
        for it in &mut status.instances {
            (it.memory_bytes, it.cpus_busy) = used(&it.unit);
            let memory = status.memory_bytes.into_iter().chain(it.memory_bytes);
            status.memory_bytes = memory.reduce(|sum, bytes| sum + bytes);
            let busy = status.cpus_busy.into_iter().chain(it.cpus_busy);
            status.cpus_busy = busy.reduce(|sum, share| sum + share);
        }
    }

    /// How rollouts ended.
    pub(super) fn rollouts(&self) -> RolloutCounts {
        self.memory().rollouts
    }

    /// Processor time that each worker's generations have used since they were first looked at.
    pub(super) fn cpu_times(&self) -> BTreeMap<WorkerName, Duration> {
        self.memory().cpu.clone()
    }
}

impl RolloutCounts {
    /// Counts those that ended since the last look, and after the process began. More than are remembered
    /// cannot have ended since.
    fn count(&mut self, past: &[HistoryEntry]) {
        let last = self.last;
        for entry in past.iter().filter(|entry| Some(entry.at) > last) {
            match entry.failure {
                None => self.served += 1,
                Some(_) => self.failed += 1,
            }
            self.last = Some(entry.at);
        }
    }
}

type Looked = Vec<((UnitName, Generation), Usage)>;

impl Memory {
    fn take(&mut self, looked: Looked, now: Instant) {
        self.units.retain(|key, _| looked.iter().any(|(other, _)| other == key));
        self.cpu.retain(|name, _| looked.iter().any(|((unit, _), _)| unit.worker == *name));
        for (key, usage) in looked {
            let total = self.cpu.entry(key.0.worker.clone()).or_default();
            let unit = self.units.entry(key).or_insert_with(|| UnitSamples {
                usage,
                heavy: 0,
                cpu: VecDeque::new(),
            });
            unit.usage = usage;
            let Some(cpu) = usage.cpu else { continue };
            let before = unit.cpu.back().map_or(Duration::ZERO, |(_, before)| *before);
            *total += cpu.saturating_sub(before);
            unit.cpu.push_back((now, cpu));
            if unit.cpu.len() > KEPT_OF_UNIT {
                unit.cpu.pop_front();
            }
        }
    }

    /// The units whose memory has been above its limit at the last looks, each told once: at a single one it
    /// may be files that were read just then.
    fn heavy(&mut self, limits: &HashMap<UnitName, u64>) -> Vec<(UnitName, u64)> {
        let mut heavy = Vec::new();
        for ((unit, _), samples) in &mut self.units {
            let used = samples.usage.memory.unwrap_or_default();
            let is_heavy = limits.get(unit).is_some_and(|limit| used >= *limit);
            samples.heavy = if is_heavy { samples.heavy + 1 } else { 0 };
            if samples.heavy == KEPT_OF_UNIT {
                heavy.push((unit.clone(), used));
            }
        }
        heavy
    }
}

fn load(recent: &WorkerFigures, within: Duration) -> WorkerLoad {
    let durations = recent.all_durations();
    let millis = |share| durations.quantile(share).map(|bound| bound.as_secs_f64() * 1000.0);
    let answers: u64 = recent.responses.iter().sum();
    WorkerLoad {
        seconds: within.as_secs_f64(),
        requests_per_second: recent.requests as f64 / within.as_secs_f64(),
        p50_ms: millis(0.5),
        p99_ms: millis(0.99),
        server_errors: (answers > 0).then(|| recent.responses[4] as f64 / answers as f64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_uses_too_much_memory_at_three_looks_in_a_row_is_told_once() {
        let (mut memory, now) = (Memory::default(), Instant::now());
        let limits = HashMap::from([(key(1).0, 100)]);
        let mut look = |memory_used| {
            let usage = Usage { memory: Some(memory_used), ..Usage::default() };
            memory.take(vec![(key(1), usage)], now);
            memory.heavy(&limits).len()
        };
        let told: Vec<_> = [100, 200, 99, 100, 100, 100, 100].map(&mut look).to_vec();
        assert_eq!(told, [0, 0, 0, 0, 0, 1, 0]);
    }

    fn key(generation: u64) -> (UnitName, Generation) {
        let unit = "tq-worker@app-9000.service".parse().unwrap();
        (unit, Generation(generation))
    }

    fn looked(generation: u64, cpu_ms: u64) -> Looked {
        let cpu = Some(Duration::from_millis(cpu_ms));
        vec![(key(generation), Usage { cpu, ..Usage::default() })]
    }

    #[test]
    fn processor_time_rises_through_generations() {
        let samples = Samples::new(PublishedTable::new());
        let start = Instant::now();
        let look = |looked, seconds| {
            samples.memory().take(looked, start + Duration::from_secs(seconds));
        };
        look(looked(1, 500), 0);
        look(looked(1, 1500), 2);
        let (_, busy) = samples.usage(&key(1).0, Generation(1));
        assert_eq!(busy, Some(0.5));
        // The same port, and another process that has used less.
        look(looked(2, 100), 4);
        assert_eq!(samples.usage(&key(2).0, Generation(2)).1, None, "one look is no rate");
        let total = samples.cpu_times().into_values().next();
        assert_eq!(total, Some(Duration::from_millis(1600)));
    }

    #[test]
    fn a_load_is_of_what_was_answered() {
        let mut recent = WorkerFigures { requests: 20, ..WorkerFigures::default() };
        recent.responses = [0, 6, 0, 0, 2];
        let load = load(&recent, Duration::from_secs(10));
        assert_eq!((load.requests_per_second, load.server_errors), (2.0, Some(0.25)));
        assert_eq!(load.p50_ms, None);
    }
}
