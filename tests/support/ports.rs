//! TCP ports that no other running test uses, in this process or another.

use std::fs::{self, File, TryLockError};
use std::net::{Ipv4Addr, TcpListener};
use std::ops::RangeInclusive;

/// Leases are blocks of this many ports.
const BLOCK: u16 = 100;
/// Below 32768, where Linux starts to take the local ports of outgoing connections from.
const FIRST: u16 = 20_000;
const BLOCKS: u16 = 120;

/// Consecutive ports on 127.0.0.1 that are this value's as long as it lives.
#[derive(Debug)]
pub struct PortLease {
    first: u16,
    count: u16,
    /// The lease proper; the kernel lets go of it when the test process is killed, too.
    _lock: File,
}

impl PortLease {
    /// All ports of the lease.
    pub fn range(&self) -> RangeInclusive<u16> {
        self.first..=self.first + self.count - 1
    }

    /// The lease's port number `index`, from 0.
    ///
    /// # Panics
    ///
    /// When the lease is not that long.
    #[track_caller]
    pub fn port(&self, index: u16) -> u16 {
        assert!(index < self.count, "port {index} of a lease of {}", self.count);
        self.first + index
    }
}

/// Leases `count` consecutive ports, at most 100, on which nothing listens.
///
/// # Panics
///
/// When there are none, or the lock files in the folder for temporary files cannot be made.
#[track_caller]
pub fn lease(count: u16) -> PortLease {
    assert!((1..=BLOCK).contains(&count), "a lease is of 1 to {BLOCK} ports, not {count}");
    let folder =
        std::env::temp_dir().join(format!("tqserver-test-ports-{}", nix::unistd::getuid()));
    fs::create_dir_all(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));

    // Processes start at different places, so that a port rests before the next test has it.
    let start = std::process::id() % u32::from(BLOCKS);
    let start = u16::try_from(start).expect("less than BLOCKS");
    (0..BLOCKS)
        .map(|offset| FIRST + (start + offset) % BLOCKS * BLOCK)
        .find_map(|first| {
            let path = folder.join(first.to_string());
            let lock = File::create(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            match lock.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return None,
                Err(TryLockError::Error(e)) => panic!("{}: {e}", path.display()),
            }
            let lease = PortLease { first, count, _lock: lock };
            lease.range().all(is_free).then_some(lease)
        })
        .unwrap_or_else(|| panic!("no {count} free ports from {FIRST} on"))
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}
