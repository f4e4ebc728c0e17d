//! From a [`UnitSpec`] to the properties of `StartTransientUnit`, each with exactly the signature
//! that systemd expects (org.freedesktop.systemd1(5)).

use std::collections::BTreeSet;
use std::time::Duration;

use zbus::Variant;

use super::policy::UnitSpec;
use super::systemd1::Property;
use crate::config::settings::Ready;

/// The target that all workers are part of: they go when it stops.
const TARGET: &str = "tq-workers.target";

/// What of the manager's own environment a worker may see: what every system service has
/// (systemd.exec(5), "Environment Variables in Spawned Processes").
const KEPT: [&str; 6] = ["HOME", "LANG", "LOGNAME", "PATH", "SHELL", "USER"];

/// The properties of the transient unit.
///
/// `inherited` is the manager's `Environment` property, which it passes to every unit; a user's
/// manager has all of the user's session in it. `log_fields` says whether the manager takes
/// `LogExtraFields=`, which a user's does not act upon.
pub(super) fn properties<'s>(
    spec: &'s UnitSpec,
    inherited: &[String],
    log_fields: bool,
) -> Vec<Property<'s>> {
    let environment: Vec<_> =
        spec.environment.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let mut properties: Vec<Property<'s>> = vec![
        ("Description", spec.description.as_str().into()),
        ("CollectMode", "inactive-or-failed".into()),
        // Ordered before the target so that, when it stops, it waits for them; in the target so
        // that they stop with it. A unit that isolates leaves them alone.
        ("PartOf", strings([TARGET])),
        ("Before", strings([TARGET])),
        ("IgnoreOnIsolate", true.into()),
        ("Slice", format!("tq-workers-{}.slice", spec.unit.worker).into()),
        ("Type", service_type(spec.ready).into()),
        ("NotifyAccess", notify_access(spec).into()),
        ("ExecStart", command(&spec.exec)),
        ("WorkingDirectory", spec.working_directory.as_str().into()),
        ("Environment", environment.into()),
        ("UnsetEnvironment", unset(spec, inherited).into()),
        // The rollout decides what takes a dead generation's place.
        ("Restart", "no".into()),
        // SIGTERM to the main process, which may want its children to finish their requests;
        // SIGKILL to all that is left when it has ended or the grace period has.
        ("KillMode", "mixed".into()),
        ("TimeoutStartUSec", microseconds(spec.start_timeout)),
        ("TimeoutStopUSec", microseconds(spec.stop_timeout)),
        ("SyslogIdentifier", format!("tq-{}", spec.unit.worker).into()),
    ];
    properties.extend(spec.watchdog.map(|limit| ("WatchdogUSec", microseconds(limit))));
    properties.extend(spec.memory_high.map(|bytes| ("MemoryHigh", bytes.into())));
    properties.extend(spec.memory_max.map(|bytes| ("MemoryMax", bytes.into())));
    // In microseconds of CPU time for every second.
    properties.extend(
        spec.cpu_quota_percent
            .map(|percent| ("CPUQuotaPerSecUSec", (u64::from(percent) * 10_000).into())),
    );
    properties.extend(spec.tasks_max.map(|count| ("TasksMax", count.into())));
    if log_fields {
        let fields = spec.log_fields.iter().map(|(name, value)| format!("{name}={value}"));
        let fields: Vec<_> = fields.map(String::into_bytes).collect();
        properties.push(("LogExtraFields", fields.into()));
    }
    if let Some(sandbox) = &spec.sandbox {
        properties.extend(sandbox.properties());
    }
    if let Some(file) = &spec.output {
        properties.push(("StandardOutputFileToAppend", file.as_str().into()));
        properties.push(("StandardErrorFileToAppend", file.as_str().into()));
    }
    properties
}

fn service_type(ready: Ready) -> &'static str {
    match ready {
        Ready::Notify => "notify",
        Ready::Http => "exec",
    }
}

fn notify_access(spec: &UnitSpec) -> &'static str {
    match (spec.ready, spec.watchdog) {
        // A child that a worker starts has no say in whether the worker is ready, or alive.
        (Ready::Notify, _) | (Ready::Http, Some(_)) => "main",
        (Ready::Http, None) => "none",
    }
}

/// `UnsetEnvironment=`: what the manager would pass on, but for what the unit sets itself.
///
/// A name that is unset is unset even where `Environment=` sets it, so those are left out.
fn unset(spec: &UnitSpec, inherited: &[String]) -> Vec<String> {
    let names: BTreeSet<_> = inherited
        .iter()
        .filter_map(|assignment| assignment.split_once('='))
        .map(|(name, _)| name)
        .filter(|name| !KEPT.contains(name) && !name.starts_with("LC_"))
        .filter(|name| !spec.environment.contains_key(*name))
        .filter(|name| is_variable(name))
        .collect();
    names.into_iter().map(str::to_owned).collect()
}

/// Whether systemd takes `name` for a variable's: one like `BASH_FUNC_x%%` in a list makes it refuse
/// the whole list.
fn is_variable(name: &str) -> bool {
    let part = |b: u8| b == b'_' || b.is_ascii_alphanumeric();
    name.bytes().all(part) && name.bytes().next().is_some_and(|b| !b.is_ascii_digit())
}

/// `a(sasb)`: the program, all of its arguments from the zeroth on, and that failure counts.
fn command(exec: &[String]) -> Variant<'static> {
    let program = exec.first().cloned().unwrap_or_default();
    vec![(program, exec.to_vec(), false)].into()
}

fn strings<const N: usize>(texts: [&str; N]) -> Variant<'static> {
    texts.map(str::to_owned).to_vec().into()
}

fn microseconds(duration: Duration) -> Variant<'static> {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX).into()
}

#[cfg(test)]
mod tests;
