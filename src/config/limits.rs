//! The keys that `workers.default`, `workers.paths.<route>` and `worker.yaml` share.

use std::collections::BTreeMap;

use super::section::Section;
use super::server::DAY;
use super::settings::WorkerOverrides;
use super::units::{cpu_quota, go_mem_limit, memory_max, tasks_max, worker_variable};
use super::{compression, instances, sandbox};

/// What `infinity` is as a limit (systemd.resource-control(5)).
pub(super) const INFINITY: u64 = u64::MAX;

/// All of them. As each layer may leave each out, `None` says nothing.
pub(super) fn read(section: &mut Section<'_, '_>) -> WorkerOverrides {
    WorkerOverrides {
        go_max_procs: section.number("go_max_procs", 1..=1024),
        go_mem_limit: section.parsed("go_mem_limit", go_mem_limit).map(|found| found.value),
        max_requests: section.number("max_requests", 0..=u64::MAX),
        read_timeout: section.seconds("read_timeout_seconds", 1..=DAY),
        write_timeout: section.seconds("write_timeout_seconds", 1..=DAY),
        idle_timeout: section.seconds("idle_timeout_seconds", 1..=DAY),
        stream_drain_timeout: section.seconds("stream_drain_timeout_seconds", 0..=DAY),
        env: env(section),
        memory_high: section.parsed_scalar("memory_high", memory_max).map(|found| found.value),
        memory_max: section.parsed_scalar("memory_max", memory_max).map(|found| found.value),
        cpu_quota_percent: section.parsed_scalar("cpu_quota", cpu_quota).map(|found| found.value),
        tasks_max: section.parsed_scalar("tasks_max", tasks_max).map(|found| found.value),
        sandbox: section.section("sandbox", sandbox::read),
        state_directory: section.flag("state_directory").map(|found| found.value),
        instances: instances::read(section),
        compression: section.section("compression", compression::read),
    }
}

/// The environment, a template each.
fn env(section: &mut Section<'_, '_>) -> BTreeMap<String, String> {
    section.texts("env", worker_variable)
}
