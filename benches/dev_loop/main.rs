//! How long a developer waits: `make bench` runs it, docs/performance.md has what came out.
//!
//! `WATCHEXEC` names the watchexec to compare with, `BENCH=short` takes fewer rounds. The figures are
//! written to `bench/dev_loop.json` in cargo's target folder as well.

// A report is the point of it, and the tests' parts that it is made of have more than it uses.
#![allow(clippy::print_stdout, unreachable_pub, dead_code)]

#[path = "../../tests/e2e/saves/developer.rs"]
mod developer;
#[path = "../../tests/e2e/saves/project.rs"]
mod project;
#[path = "../../tests/e2e/session.rs"]
mod session;
#[path = "../proxy/short.rs"]
mod short;
#[path = "../../tests/support/mod.rs"]
mod support;

mod client;
mod contest;
mod figures;
mod report;
mod saves;
mod start;
mod unchanged;

use std::env;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use contest::Contest;
use report::Row;

fn main() -> ExitCode {
    let short = short::is_wanted();
    let watchexec = PathBuf::from(env::var_os("WATCHEXEC").expect("WATCHEXEC is a program"));
    // Of the whole and of the short form.
    let rounds = |whole, of_short| if short { of_short } else { whole };

    let code = saves::code(rounds(40, 10));
    let row = |what, goal, figures| Row { what, goal, figures };
    let rows = [
        row("save to first answer, above the compiler", Some(150.0), code.above),
        row("  of that, by tqserver's own clock", None, code.told),
        row("save to first answer, with the compiler", None, code.whole),
        row("template saved to browsers told", Some(120.0), saves::template(rounds(40, 10))),
        row("look through 5000 unchanged files", Some(10.0), unchanged::look(5000, rounds(50, 50))),
        row("tqctl dev to first answer", Some(600.0), start::sessions(rounds(30, 5))),
    ];
    report::print_rows(&rows);

    let mut contest = Contest::begin(&watchexec);
    let good = contest.rounds(rounds(30, 10), false);
    report::print_contest("good saves", &good);
    let broken = contest.rounds(rounds(15, 3), true);
    report::print_contest("broken saves, mended", &broken);

    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let path = target.join("bench/dev_loop.json");
    report::write(&path, short, &rows, &good, &broken);
    println!("\n{}", path.display());
    // The figures that do not depend on the machine.
    let ours = good.iter().chain(&broken).filter(|it| it.ours);
    let lost: u64 = ours.map(|it| it.lost + it.repeated).sum();
    if lost > 0 {
        println!("tqserver left {lost} requests unanswered");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
