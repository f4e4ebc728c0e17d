//! What proxies keep in memory.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use crate::alone::Alone;
use crate::cpu::descendants;
use crate::flat::{Flat, SAMPLES, Sample};
use crate::fleet::{Fleet, Protocol};
use crate::head::end_of_head;
use crate::load::{Exchange, Load};
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

/// What becomes of tqserver's memory in that many requests, after a tenth as many that do not count: mostly
/// GETs on kept connections, some POSTs of 16 KiB, and some on connections of their own. All connections
/// are new after each sample; then others may measure.
pub fn over_time(requests: u64, alone: &mut Alone) -> Flat {
    let fleet = Fleet::start(1, Protocol::Http1, &[], None);
    let ours = &fleet.proxies[0];
    let mix = [
        (56, Exchange::get("/64", 64)),
        (4, Exchange::post("/echo", 16 << 10)),
        (4, Exchange::get_and_close("/64", 64)),
    ];
    let mut answered = 0;
    let mut answer_up_to = |wanted: u64| {
        alone.share();
        let mut load = Load::connect_each(ours.addr, mix.clone());
        answered += load.run_until(Duration::MAX, wanted.saturating_sub(answered)).answered;
        let sample = Sample {
            requests: answered,
            pss: of_tree(ours.root, "Pss"),
            rss: of_tree(ours.root, "Rss"),
            files: open_files(ours.root),
        };
        drop(load);
        alone.end();
        sample
    };
    let before = answer_up_to(requests / 10).requests;
    let began = Instant::now();
    let samples = (1..=SAMPLES as u64).map(|number| {
        let sample = answer_up_to(before + requests * number / SAMPLES as u64);
        Sample { requests: sample.requests - before, ..sample }
    });
    Flat { samples: samples.collect(), took: began.elapsed() }
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
fn open_files(root: u32) -> usize {
    let of_process = |pid: u32| fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count);
    descendants(root).into_iter().map(of_process).sum()
}
