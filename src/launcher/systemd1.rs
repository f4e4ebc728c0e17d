//! The parts of systemd's D-Bus interface that are used (org.freedesktop.systemd1(5)), and the
//! object paths of worker units.

use zbus::proxy::{CacheProperties, Defaults, ProxyImpl};
use zbus::{Connection, OwnedObjectPath, Variant};

use super::UnitState;
use super::tracker::live_state;
use crate::ids::UnitName;

/// One property of a transient unit: its name and a value of exactly the right signature.
pub(super) type Property<'a> = (&'a str, Variant<'a>);

/// One line of `ListUnitsByPatterns`, `(ssssssouso)`.
#[derive(Debug, serde::Deserialize, zbus::Type)]
pub(super) struct UnitEntry {
    /// The unit's name.
    pub(super) name: String,
    _description: String,
    _load_state: String,
    active_state: String,
    _sub_state: String,
    _following: String,
    /// The unit's object.
    pub(super) path: OwnedObjectPath,
    job_id: u32,
    _job_type: String,
    _job: OwnedObjectPath,
}

impl UnitEntry {
    /// Where it stands; `None` when it is dead. One whose start is only queued is starting.
    pub(super) fn state(&self) -> Option<UnitState> {
        match self.active_state.as_str() {
            "inactive" if self.job_id != 0 => Some(UnitState::Activating),
            other => live_state(other),
        }
    }
}

/// The manager: PID 1, or the user's own.
#[zbus::proxy(
    interface = "org.freedesktop.systemd1.Manager",
    default_service = "org.freedesktop.systemd1",
    default_path = "/org/freedesktop/systemd1"
)]
pub(super) trait Manager {
    /// Creates a unit and starts it; answers with the job.
    fn start_transient_unit(
        &self,
        name: &str,
        mode: &str,
        properties: &[Property<'_>],
        auxiliary: &[(&str, Vec<Property<'_>>)],
    ) -> zbus::Result<OwnedObjectPath>;

    /// Stops a unit; answers with the job.
    fn stop_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;

    /// The object of a unit that is loaded.
    fn get_unit(&self, name: &str) -> zbus::Result<OwnedObjectPath>;

    /// Forgets a failed unit, so that its name is free again.
    fn reset_failed_unit(&self, name: &str) -> zbus::Result<()>;

    /// Asks for signals. Without it none are sent.
    fn subscribe(&self) -> zbus::Result<()>;

    /// The loaded units whose names fit one of the globs.
    fn list_units_by_patterns(
        &self,
        states: &[&str],
        patterns: &[&str],
    ) -> zbus::Result<Vec<UnitEntry>>;

    /// What the manager passes to every unit, as `NAME=value`.
    #[zbus(property)]
    fn environment(&self) -> zbus::Result<Vec<String>>;
}

/// A unit that is a service.
#[zbus::proxy(
    interface = "org.freedesktop.systemd1.Service",
    default_service = "org.freedesktop.systemd1",
    assume_defaults = false
)]
pub(super) trait Service {
    /// `Environment=`, as `NAME=value`.
    #[zbus(property)]
    fn environment(&self) -> zbus::Result<Vec<String>>;

    /// `BindReadOnlyPaths=`: source, destination, whether it may be missing, mount(2) flags.
    #[zbus(property)]
    fn bind_read_only_paths(&self) -> zbus::Result<Vec<(String, String, bool, u64)>>;

    /// Its control group below the hierarchy's root; empty while it has no processes.
    #[zbus(property)]
    fn control_group(&self) -> zbus::Result<String>;

    /// Memory now, in bytes; the largest number where it is not accounted.
    #[zbus(property)]
    fn memory_current(&self) -> zbus::Result<u64>;

    /// Processor time since the start, in nanoseconds; likewise.
    #[zbus(property, name = "CPUUsageNSec")]
    fn cpu_usage_nsec(&self) -> zbus::Result<u64>;

    /// Processes and threads now; likewise.
    #[zbus(property)]
    fn tasks_current(&self) -> zbus::Result<u64>;

    /// The main process; 0 where there is none.
    #[zbus(property, name = "MainPID")]
    fn main_pid(&self) -> zbus::Result<u32>;
}

/// A proxy that asks instead of remembering: systemd is the truth, and a cache would add a match
/// rule for every unit looked at.
pub(super) async fn uncached<'p, P>(connection: &Connection, path: &'p str) -> zbus::Result<P>
where
    P: ProxyImpl<'p> + Defaults + From<zbus::Proxy<'p>>,
{
    P::builder(connection).path(path).cache_properties(CacheProperties::No).build().await
}

/// Where worker units' objects are; everything after it is the escaped instance.
const WORKER_OBJECTS: &str = "/org/freedesktop/systemd1/unit/tq_2dworker_40";

/// The unit an object path stands for; `None` for all that are no workers.
///
/// systemd writes every byte that is not a letter or a digit as `_` and two hexadecimal digits
/// (`bus_path_escape`, sd_bus_path_encode(3)).
pub(super) fn unit_of(path: &str) -> Option<UnitName> {
    let mut escaped = path.strip_prefix(WORKER_OBJECTS)?.bytes();
    let mut name = String::from("tq-worker@");
    while let Some(byte) = escaped.next() {
        let digit = |b: Option<u8>| b.and_then(|b| char::from(b).to_digit(16));
        match byte {
            b'_' => {
                let (high, low) = (digit(escaped.next())?, digit(escaped.next())?);
                name.push(char::from_u32(high << 4 | low)?);
            }
            plain => name.push(char::from(plain)),
        }
    }
    name.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("tq_2dworker_40index_2d9000_2eservice", Some("tq-worker@index-9000.service"))]
    #[case("tq_2dworker_40api_5fusers_2d9001_2eservice", Some("tq-worker@api_users-9001.service"))]
    #[case("tq_2dworker_40index_2d9000_2", None)]
    #[case("tq_2dworker_40index_2d9000_zz", None)]
    #[case("tq_2dworkers_2eslice", None)]
    #[case("ssh_2eservice", None)]
    fn object_paths(#[case] object: &str, #[case] unit: Option<&str>) {
        let path = format!("/org/freedesktop/systemd1/unit/{object}");
        assert_eq!(unit_of(&path).map(|unit| unit.to_string()).as_deref(), unit);
    }
}
