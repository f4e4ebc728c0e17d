//! What a unit uses, as systemd accounts it: it knows which hierarchy of control groups there is.

use std::time::Duration;

/// What a unit's control group uses, as far as it is accounted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Memory now, in bytes.
    pub memory: Option<u64>,
    /// Processor time since it was started.
    pub cpu: Option<Duration>,
    /// Processes and threads now.
    pub tasks: Option<u64>,
}

/// systemd's number for what it does not know (org.freedesktop.systemd1(5)).
const UNSET: u64 = u64::MAX;

impl Usage {
    /// From systemd's properties.
    pub(super) fn new(memory: u64, cpu_nanos: u64, tasks: u64) -> Self {
        let known = |number| Some(number).filter(|number| *number != UNSET);
        let cpu = known(cpu_nanos).map(Duration::from_nanos);
        Self { memory: known(memory), cpu, tasks: known(tasks) }
    }
}
