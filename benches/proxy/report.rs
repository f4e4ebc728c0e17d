//! What was measured, for people and for programs.

use crate::contest::Result;
use crate::rows::{Cpu, Row};

/// Prints a row's lines, tqserver's first.
pub fn print_row(row: &Row, results: &[Result]) {
    let whose = match row.cpu {
        Cpu::Proxy => "proxy",
        Cpu::All => "all",
    };
    println!(
        "\n{:<44} {:>9} {:>6} {:>6} {:>9} {:>6} {:>8} {:>8}",
        format!("{} ({})", row.what, row.id),
        format!("{whose} µs"),
        "ratio",
        "goal",
        "req/s",
        "ratio",
        "p50 ms",
        "p99 ms"
    );
    let ours = &results[0];
    for result in results {
        let goal = row.goals.iter().find(|(peer, _)| *peer == result.name);
        let goal = goal.map_or(String::new(), |(_, goal)| format!("{goal:.2}"));
        let is_peer = result.name != ours.name;
        let ratio = |of: fn(&crate::contest::Turn) -> f64| match is_peer {
            true => format!("{:.2}", ours.ratio(result, of)),
            false => String::new(),
        };
        let cpu_ratio = match row.cpu {
            Cpu::Proxy => ratio(|it| it.proxy_us),
            Cpu::All => ratio(|it| it.all_us),
        };
        println!(
            "  {:<42} {:>9.2} {cpu_ratio:>6} {goal:>6} {:>9.0} {:>6} {:>8.2} {:>8.2}",
            result.name,
            result.median(|it| it.cpu_us(row.cpu)),
            result.median(|it| it.rate),
            ratio(|it| it.rate),
            result.median(|it| it.p50_ms),
            result.median(|it| it.p99_ms),
        );
    }
}
