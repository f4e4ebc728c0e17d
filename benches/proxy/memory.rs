//! What proxies keep in memory.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use crate::cpu::descendants;
use crate::fleet::Fleet;
use crate::head::end_of_head;
use crate::support::wait::await_until;

const PATIENCE: Duration = Duration::from_secs(20);

/// How long a proxy may take to give back what it has no more use for.
const GIVING_BACK: Duration = Duration::from_secs(3);

/// What clients keep open.
pub const IDLE_CONNECTIONS: usize = 5000;

/// One proxy's memory (proportional set size: of shared pages its share), in bytes.
pub struct Memory {
    /// Whose.
    pub name: &'static str,
    /// When it has answered once.
    pub at_start: u64,
    /// How much more with [`IDLE_CONNECTIONS`] kept open, each having been used once.
    pub idle: u64,
    /// How much more than at the start [`GIVING_BACK`] after they were closed.
    pub kept: u64,
}

impl Memory {
    /// What an idle connection costs.
    pub fn per_connection(&self) -> f64 {
        self.idle as f64 / IDLE_CONNECTIONS as f64
    }
}

/// Measures proxies that have done nothing yet.
pub fn measure(fleet: &Fleet) -> Vec<Memory> {
    let one = |proxy: &crate::fleet::Proxy| {
        let pss = || of_tree(proxy.root, "Pss");
        drop(used_once(proxy.addr));
        let at_start = pss();
        let files = open_files(proxy.root);
        let connections: Vec<_> = (0..IDLE_CONNECTIONS).map(|_| used_once(proxy.addr)).collect();
        let idle = pss().saturating_sub(at_start);
        drop(connections);
        // Connections to the worker may be kept.
        await_until("the connections are closed", PATIENCE, || {
            open_files(proxy.root) < files + IDLE_CONNECTIONS / 10
        });
        let closed = Instant::now();
        let mut kept = idle;
        while closed.elapsed() < GIVING_BACK && kept > 0 {
            thread::sleep(Duration::from_millis(100));
            kept = kept.min(pss().saturating_sub(at_start));
        }
        Memory { name: proxy.name, at_start, idle, kept }
    };
    fleet.proxies.iter().map(one).collect()
}

/// A connection on which a request was answered.
fn used_once(addr: SocketAddr) -> TcpStream {
    let connection = || {
        let mut stream = TcpStream::connect(addr)?;
        stream.write_all(b"GET /64 HTTP/1.1\r\nHost: bench.test\r\n\r\n")?;
        let mut received = [0; 4096];
        let mut length = 0;
        while end_of_head(&received[..length]).is_none_or(|end| length < end + 64) {
            match stream.read(&mut received[length..])? {
                0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
                more => length += more,
            }
        }
        Ok::<_, std::io::Error>(stream)
    };
    connection().unwrap_or_else(|error| panic!("{addr}: {error}"))
}

/// How much a process and those that it started have in memory, in bytes; `what` is `Pss` (proportional, of
/// shared pages its share) or `Rss` (all of what is resident).
pub fn of_tree(root: u32, what: &str) -> u64 {
    let of_process = |pid: u32| -> u64 {
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix(what)?.strip_prefix(':'));
        line.and_then(|it| it.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()).unwrap_or(0)
    };
    descendants(root).into_iter().map(of_process).sum::<u64>() * 1024
}

/// How many files they have open.
pub fn open_files(root: u32) -> usize {
    let of_process = |pid: u32| fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count);
    descendants(root).into_iter().map(of_process).sum()
}
