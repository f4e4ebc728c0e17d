//! What a request costs, beside nginx, HAProxy and Caddy: `make bench B=proxy` runs it,
//! docs/performance.md has what came out.
//!
//! ```sh
//! [BENCH=short] [ROWS=64b_64,post16k] [PEERS=nginx,haproxy] [ROUNDS=9] [TURN_MS=2000]
//! [TQSERVER_BIN=/path/to/a/release/tqserver] cargo bench --bench proxy
//! ```
//!
//! `ROWS` names rows of rows.rs, `TQSERVER_BIN` a program instead of the one that cargo builds.

// A report is the point of it, and the tests' parts that it is made of have more than it uses.
#![allow(clippy::print_stdout, unreachable_pub, dead_code)]

#[path = "../../tests/e2e/project.rs"]
mod project;
#[path = "../../tests/e2e/session.rs"]
mod session;
#[path = "../../tests/support/mod.rs"]
mod support;

mod contest;
mod cpu;
mod figures;
mod fleet;
mod frame;
mod head;
mod load;
mod report;
mod rows;
mod worker;

use std::env;
use std::time::Duration;

use contest::Effort;
use fleet::{Fleet, PEERS};
use rows::{ROWS, Row};

fn main() {
    // The same program is the worker that tqserver starts.
    if env::var_os("TQ_WORKER").is_some() {
        worker::serve();
    }
    let short = match env::var("BENCH").as_deref() {
        Err(_) | Ok("") => false,
        Ok("short") => true,
        Ok(other) => panic!("BENCH={other}: there is only short"),
    };
    let peers = chosen("PEERS", &PEERS, |it| it);
    let rows = chosen("ROWS", ROWS, |it: Row| it.id);
    let number = |name, whole, of_short| match env::var(name) {
        Ok(number) => number.parse().unwrap_or_else(|_| panic!("{name}={number}: not a number")),
        Err(_) if short => of_short,
        Err(_) => whole,
    };
    let effort = Effort {
        rounds: number("ROUNDS", 5, 3) as usize,
        turn: Duration::from_millis(number("TURN_MS", 2000, 500)),
    };
    for threads in [1, 2] {
        let of_these: Vec<_> = rows.iter().filter(|it| it.threads == threads).collect();
        if of_these.is_empty() {
            continue;
        }
        let fleet = Fleet::start(threads, &peers);
        for row in of_these {
            report::print_row(row, &contest::measure(&fleet, row, effort));
        }
    }
}

/// What a variable names of all there is, or all of it.
fn chosen<T: Copy>(variable: &str, all: &[T], name: impl Fn(T) -> &'static str) -> Vec<T> {
    let Some(wanted) = env::var(variable).ok().filter(|it| !it.is_empty()) else {
        return all.to_vec();
    };
    let find = |wanted: &str| {
        let found = all.iter().copied().find(|it| name(*it) == wanted);
        let names = || all.iter().map(|it| name(*it)).collect::<Vec<_>>().join(", ");
        found.unwrap_or_else(|| panic!("{variable}: no {wanted}; there are {}", names()))
    };
    wanted.split(',').map(find).collect()
}
