//! What a request costs, beside nginx, HAProxy and Caddy: `make bench B=proxy` runs it,
//! docs/performance.md has what came out.
//!
//! ```sh
//! [ROWS=64b_64,post16k] [PEERS=nginx,haproxy] [ROUNDS=9] [TURN_MS=2000] [REQUESTS=10000000] \
//!     [BENCH=short] [WORKERS=90] [TQSERVER_BIN=/a/released/tqserver] [PINGORA=/its/program] [LOCK=/a/file] \
//!     cargo bench --bench proxy
//! ```
//!
//! `ROWS` names rows of rows.rs, and `memory`, `work` (system calls, instructions, allocations), `log` (what the
//! access log costs) and
//! `flat` (memory over `REQUESTS` requests, which has to stay as it is). `TQSERVER_BIN` is measured in place of what cargo has
//! built. `WORKERS` are others beside the one that is asked. `LOCK` is locked (flock) while it measures, for machines on which others do.
//! nginx, haproxy and caddy have to be installed: `benches/proxy/install` does that.

// A report is the point of it, and the tests' parts that it is made of have more than it uses.
#![allow(clippy::print_stdout, unreachable_pub, dead_code)]

#[path = "../../tests/e2e/project.rs"]
mod project;
#[path = "../../tests/e2e/session.rs"]
mod session;
#[path = "../../tests/support/mod.rs"]
mod support;

mod alone;
mod chart;
mod contest;
mod cpu;
mod figures;
mod flat;
mod fleet;
mod frame;
mod head;
mod load;
mod logged;
mod memory;
mod report;
mod rows;
mod short;
mod work;
mod worker;

use std::env;
use std::fs;
use std::path::Path;
use std::time::Duration;

use alone::Alone;
use contest::Effort;
use fleet::{Fleet, PEERS, Protocol};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use report::Report;
use rows::ROWS;

/// What is measured beside the rows, and chosen like them.
const PARTS: [&str; 4] = ["memory", "work", "log", "flat"];

/// Rows whose proxies run at the same time: their threads, and what they speak.
const STAGES: [(usize, Protocol); 4] =
    [(1, Protocol::Http1), (1, Protocol::Http2), (1, Protocol::Tls), (2, Protocol::Http1)];

/// Requests of `flat`.
const MANY: u64 = 2_000_000;

fn main() {
    // The same program is the worker that tqserver starts.
    if env::var_os("TQ_WORKER").is_some() {
        worker::main();
    }
    let short = short::is_wanted();
    // It is built by make, and takes longer than the rest of this together.
    let has_pingora = env::var_os("PINGORA").is_some();
    let able: Vec<_> = PEERS.into_iter().filter(|it| has_pingora || *it != "pingora").collect();
    let peers = chosen("PEERS", &able);
    let all: Vec<_> = ROWS.iter().map(|it| it.id).chain(PARTS).collect();
    let wanted = chosen("ROWS", &all);
    let is_wanted = |id: &str| wanted.contains(&id);
    let number = |name, whole, of_short| match env::var(name) {
        Ok(number) => number.parse().unwrap_or_else(|_| panic!("{name}={number}: not a number")),
        Err(_) if short => of_short,
        Err(_) => whole,
    };
    let effort = Effort {
        rounds: number("ROUNDS", 5, 3) as usize,
        turn: Duration::from_millis(number("TURN_MS", 2000, 400)),
    };
    open_files_without_limit();

    let mut alone = Alone::by_environment();
    let mut report = Report::default();
    for stage in STAGES {
        let rows = ROWS.iter().filter(|it| (it.threads, it.protocol) == stage && is_wanted(it.id));
        let rows: Vec<_> = rows.collect();
        // Of proxies that have done nothing yet.
        let has_memory = stage == STAGES[0] && is_wanted("memory");
        if rows.is_empty() && !has_memory {
            continue;
        }
        let (threads, protocol) = stage;
        let fleet = Fleet::start(threads, protocol, &peers, None);
        if has_memory {
            alone.begin();
            report.memory = memory::measure(&fleet);
            report::print_memory(&report.memory);
        }
        for row in rows {
            alone.begin();
            let results = contest::measure(&fleet, row, effort);
            report::print_row(row, &results);
            report.rows.push((*row, results));
        }
    }
    if is_wanted("log") {
        alone.begin();
        let logged = logged::measure(effort);
        report::print_logged(&logged);
        report.logged = Some(logged);
    }
    if is_wanted("flat") && !short {
        alone.end();
        let flat = memory::over_time(number("REQUESTS", MANY, MANY), &mut alone);
        report::print_flat(&flat);
        report.flat = Some(flat);
    }
    if is_wanted("work") && !short {
        alone.begin();
        report.work = work::measure(&peers);
        report::print_work(&report.work);
    }

    alone.end();

    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let path = target.join("bench/proxy.json");
    report.write(&path, short);
    println!("\n{}", path.display());
    // A document's picture is of all of it.
    if !short && wanted == all && peers == PEERS {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/performance-proxy.svg");
        fs::write(&path, chart::draw(&report.rows)).unwrap();
        println!("{}", path.display());
    }
    if let Some(Err(what)) = report.flat.map(|flat| flat.verdict()) {
        panic!("{what}");
    }
}

/// Clients and proxies have thousands of connections.
fn open_files_without_limit() {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, most, most).unwrap();
}

/// What a variable names of all there is, or all of it.
fn chosen(variable: &str, all: &[&'static str]) -> Vec<&'static str> {
    let Some(wanted) = env::var(variable).ok().filter(|it| !it.is_empty()) else {
        return all.to_vec();
    };
    let find = |wanted: &str| {
        let found = all.iter().copied().find(|it| *it == wanted);
        found.unwrap_or_else(|| panic!("{variable}: no {wanted}; there are {}", all.join(", ")))
    };
    wanted.split(',').map(find).collect()
}
