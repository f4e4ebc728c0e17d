//! What there is when all is quiet, to be compared with what is left in the end.

use std::collections::BTreeSet;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};

use crate::session::{PATIENCE, Session};
use crate::support::wait::await_until;

/// Descriptors that may be more: they come and go with connections to workers, the bus and watches.
const MORE_DESCRIPTORS: usize = 8;

/// Memory that may be more, in KiB. What a leak in each rollout or request would take is beyond it in
/// ten minutes.
const MORE_MEMORY: u64 = 24 << 10;

/// What tqserver has while nobody asks it for anything.
#[derive(Debug)]
pub(super) struct Base {
    descriptors: usize,
    threads: usize,
    memory: u64,
}

impl Base {
    /// What there is once the connections of the last load have gone.
    pub(super) fn settled(session: &Session) -> Self {
        await_until("the last connection's end", PATIENCE, || {
            let status = session.status();
            // The one that asks is no client of the public listener.
            (&status["counters"]["connections"], &status["counters"]["in_flight"])
                == (&0.into(), &0.into())
        });
        let base = Self::measured(session);
        eprintln!("{base:?}");
        base
    }

    fn measured(session: &Session) -> Self {
        let pid = session.main_pid("tqserver.service");
        let proc = session.bed.root_path(format!("/proc/{pid}"));
        let count = |folder: &str| fs::read_dir(proc.join(folder)).unwrap().count();
        let status = fs::read_to_string(proc.join("status")).unwrap();
        let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let memory = memory.and_then(|rest| rest.split_whitespace().next());
        Self {
            descriptors: count("fd"),
            threads: count("task"),
            memory: memory.and_then(|number| number.parse().ok()).expect("a size in KiB"),
        }
    }

    /// Fails where something is left over.
    pub(super) fn compare(&self, session: &Session) {
        let end = Self::settled(session);
        await_until("descriptors are given back", PATIENCE, || {
            Self::measured(session).descriptors <= self.descriptors + MORE_DESCRIPTORS
        });
        await_until("threads have ended", PATIENCE, || {
            Self::measured(session).threads <= self.threads + 2
        });
        assert!(end.memory <= self.memory + MORE_MEMORY, "{self:?}, in the end {end:?}");

        let listed =
            session.systemctl(&["list-units", "--all", "--plain", "--no-legend", "tq-worker@*"]);
        let units: BTreeSet<_> =
            listed.lines().filter_map(|l| l.split_whitespace().next()).collect();
        assert_eq!(units.len(), 2, "units are left over: {listed}");
        let used: Vec<u16> = session
            .worker_ports()
            .filter(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_err())
            .collect();
        assert_eq!(used.len(), 2, "ports are in use: {used:?}, by {units:?}");
        let status = session.status();
        assert_eq!(status["state"], "serving", "{status:#}");
        assert_eq!(session.get("/hello?name=end").status, 200);
    }
}
