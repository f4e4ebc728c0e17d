//! How long a developer waits. `make bench` runs it, docs/performance.md has the figures.
//!
//! `BENCH=short` takes fewer rounds, `WATCHEXEC` names the watchexec to compare with (none is compared
//! with where it is not set). The figures are written to `target/bench/dev_loop.json` as well.

// A report is the point of it, and the tests' parts that it is made of have more than it uses.
#![allow(clippy::print_stdout, unreachable_pub, dead_code)]

#[path = "../../tests/e2e/saves/developer.rs"]
mod developer;
#[path = "../../tests/e2e/saves/project.rs"]
mod project;
#[path = "../../tests/e2e/session.rs"]
mod session;
#[path = "../../tests/support/mod.rs"]
mod support;

mod check;
mod figures;
mod loops;
mod probe;
mod saves;
mod start;

use figures::Report;

fn main() {
    let short = std::env::var("BENCH").is_ok_and(|wish| wish == "short");
    let mut report = Report::default();
    check::measure(&mut report, if short { 20 } else { 50 });
    start::measure(&mut report, if short { 5 } else { 30 });
    saves::measure(&mut report, if short { 8 } else { 30 });
    loops::measure(&mut report, if short { 2 } else { 10 });
    report.write();
}
