//! Side by side: in each round every proxy has its turn, so that what disturbs the machine disturbs all
//! of them; who begins changes from round to round.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::cpu;
use crate::figures::{median, median_of_ratios};
use crate::fleet::{Fleet, Protocol, Proxy};
use crate::load::h2load::H2load;
use crate::load::{Load, Seen};
use crate::rows::{Cpu, Figure, Row};

/// How long a proxy may take to answer everybody.
const PATIENCE: Duration = Duration::from_secs(5);

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// How often.
    pub rounds: usize,
    /// For how long each time, after some of it that does not count.
    pub turn: Duration,
}

/// One proxy's turn.
#[derive(Clone, Copy, Debug)]
pub struct Turn {
    /// The proxy's time for a request, in microseconds.
    pub proxy_us: f64,
    /// Everybody's.
    pub all_us: f64,
    /// The share of the time that the proxy's processors were busy for it, in percent.
    pub busy: f64,
    /// Requests a second.
    pub rate: f64,
    /// Half of the answers took no longer, in milliseconds.
    pub p50_ms: f64,
    /// 99 of 100 took no longer, in milliseconds.
    pub p99_ms: f64,
    /// Clients that got no answer at all, and are missing in the times above.
    pub left_out: usize,
}

/// What came of a row for a proxy.
pub struct Result {
    /// Which.
    pub name: &'static str,
    /// Its turns, in the order of the rounds.
    pub turns: Vec<Turn>,
}

impl Turn {
    /// A figure as a row wants it.
    pub fn figure(&self, figure: Figure, row: &Row) -> f64 {
        match (figure, row.cpu) {
            (Figure::Cpu, Cpu::Proxy) => self.proxy_us,
            (Figure::Cpu, Cpu::All) => self.all_us,
            (Figure::Rate, _) => self.rate,
            (Figure::P99, _) => self.p99_ms,
        }
    }
}

impl Result {
    /// The median of a figure.
    pub fn median(&self, of: impl Fn(&Turn) -> f64) -> f64 {
        median(self.turns.iter().map(of)).unwrap_or(f64::NAN)
    }

    /// The median of this one's ratios to another's, round by round.
    pub fn ratio(&self, other: &Self, of: impl Fn(&Turn) -> f64) -> f64 {
        let [ours, theirs] = [self, other].map(|it| it.turns.iter().map(&of).collect::<Vec<_>>());
        median_of_ratios(&ours, &theirs).unwrap_or(f64::NAN)
    }
}

/// Measures a row.
pub fn measure(fleet: &Fleet, row: &Row, effort: Effort) -> Vec<Result> {
    let softirqs = cpu::softirq_threads();
    let able: Vec<&Proxy> =
        fleet.proxies.iter().filter(|it| !row.without.contains(&it.name)).collect();
    let mut results: Vec<_> =
        able.iter().map(|it| Result { name: it.name, turns: Vec::new() }).collect();
    for round in 0..effort.rounds {
        for place in 0..able.len() {
            let at = (round + place) % able.len();
            let turn = turn(able[at], fleet.worker, &softirqs, row, effort.turn);
            results[at].turns.push(turn);
        }
    }
    results
}

/// A row's clients, which go on for as long as they are told.
fn load(addr: SocketAddr, row: &Row) -> Box<dyn FnMut(Duration) -> Seen> {
    let exchange = (row.exchange)();
    match row.protocol {
        Protocol::Http2 => {
            let mut load = H2load::new(addr, row.connections, exchange);
            Box::new(move |duration| load.run(duration))
        }
        Protocol::Http1 | Protocol::Tls => {
            let mut load = Load::connect(addr, row.connections, exchange);
            Box::new(move |duration| load.run(duration))
        }
    }
}

fn turn(proxy: &Proxy, worker: u32, softirqs: &[u32], row: &Row, duration: Duration) -> Turn {
    let mut load = load(proxy.addr, row);
    // Until everybody has been answered: connections to the worker are made by then.
    let began = Instant::now();
    while load(duration / 10).left_out > 0 && began.elapsed() < PATIENCE {}
    let clock = || {
        let proxy = cpu::of_trees(&[proxy.root]);
        let others = cpu::of_trees(&[worker]) + cpu::of_this_thread() + cpu::of_ended_children();
        (proxy, proxy + others + cpu::of_softirq_threads(softirqs))
    };
    let before = clock();
    let seen = load(duration);
    let after = clock();
    let each = |time: Duration| time.as_secs_f64() * 1e6 / seen.answered as f64;
    Turn {
        proxy_us: each(after.0 - before.0),
        all_us: each(after.1 - before.1),
        busy: 100.0 * (after.0 - before.0).div_duration_f64(seen.took) / row.threads as f64,
        rate: seen.answered as f64 / seen.took.as_secs_f64(),
        p50_ms: seen.percentile(50),
        p99_ms: seen.percentile(99),
        left_out: seen.left_out,
    }
}
