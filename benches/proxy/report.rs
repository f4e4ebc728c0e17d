//! What was measured, for people and for programs.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::contest::{Result, Turn};
use crate::flat::{Flat, Sample};
use crate::fleet::Protocol;
use crate::logged::Logged;
use crate::memory::{IDLE_CONNECTIONS, Memory};
use crate::rows::{Cpu, Figure, Row};
use crate::work::Work;

/// What tqserver's memory is to be at most when it has started, in bytes.
const AT_START_GOAL: u64 = 5 << 20;

/// What it is to be at most for an idle connection, in bytes.
const PER_CONNECTION_GOAL: u64 = 3 << 10;

/// All that was measured.
#[derive(Default)]
pub struct Report {
    /// Rows with their results, tqserver's first.
    pub rows: Vec<(Row, Vec<Result>)>,
    /// Of each proxy.
    pub memory: Vec<Memory>,
    /// Of each proxy.
    pub work: Vec<Work>,
    /// Of tqserver.
    pub flat: Option<Flat>,
    /// Of tqserver.
    pub logged: Option<Logged>,
}

/// Prints a row, a line for each proxy.
pub fn print_row(row: &Row, results: &[Result]) {
    let whose = match row.cpu {
        Cpu::Proxy => "proxy µs",
        Cpu::All => "all µs",
    };
    println!(
        "\n{:<52} {whose:>9} {:>6} {:>6} {:>8} {:>6} {:>6} {:>7} {:>7} {:>6} {:>6} {:>5}",
        format!("{} ({})", row.what, row.id),
        "ratio",
        "goal",
        "req/s",
        "ratio",
        "goal",
        "p50 ms",
        "p99 ms",
        "ratio",
        "goal",
        "busy"
    );
    for result in results {
        let middle = |of: fn(&Turn) -> f64| result.median(of);
        let ratio = |figure| {
            let ratio = Some(&results[0]).filter(|ours| ours.name != result.name);
            let ratio = ratio.map(|ours| ours.ratio(result, |it| it.figure(figure, row)));
            let goal = row.goals.iter().find(|it| it.peer == result.name && it.figure == figure);
            format!(
                "{:>6} {:>6}",
                ratio.map_or(String::new(), |it| format!("{it:.2}")),
                goal.map_or(String::new(), |it| format!("{:.2}", it.ratio)),
            )
        };
        println!(
            "  {:<50} {:>9.2} {} {:>8.0} {} {:>7.2} {:>7.2} {} {:>4.0}%",
            result.name,
            result.median(|it| it.figure(Figure::Cpu, row)),
            ratio(Figure::Cpu),
            middle(|it| it.rate),
            ratio(Figure::Rate),
            middle(|it| it.p50_ms),
            middle(|it| it.p99_ms),
            ratio(Figure::P99),
            middle(|it| it.busy),
        );
        let left_out: usize = result.turns.iter().map(|it| it.left_out).sum();
        if left_out > 0 {
            println!("    in all turns {left_out} clients got no answer, and are in no figure");
        }
    }
}

/// Prints what proxies keep in memory.
pub fn print_memory(all: &[Memory]) {
    println!(
        "\n{:<26} {:>12} {:>22} {:>26}",
        "memory", "KiB at start", "bytes/idle connection", "bytes kept of each after"
    );
    for memory in all {
        println!(
            "  {:<24} {:>12} {:>22.0} {:>26.0}",
            memory.name,
            memory.at_start / 1024,
            memory.per_connection(),
            memory.kept as f64 / IDLE_CONNECTIONS as f64
        );
    }
    println!(
        "  goals of tqserver: at most {} KiB, {PER_CONNECTION_GOAL} bytes, and those given back",
        AT_START_GOAL / 1024
    );
}

/// Prints how tqserver's memory went.
pub fn print_flat(flat: &Flat) {
    println!(
        "\n{:<26} {:>10} {:>10} {:>10}",
        "requests to tqserver", "PSS, KiB", "RSS, KiB", "open files"
    );
    for sample in &flat.samples {
        let (pss, rss) = (sample.pss / 1024, sample.rss / 1024);
        println!("  {:<24} {pss:>10} {rss:>10} {:>10}", sample.requests, sample.files);
    }
    for (name, quarter) in [("median, first quarter", 0), ("median, last quarter", 3)] {
        println!(
            "  {name:<24} {:>10.0} {:>10.0} {:>10.0}",
            flat.quarter(quarter, |it| it.pss) / 1024.0,
            flat.quarter(quarter, |it| it.rss) / 1024.0,
            flat.quarter(quarter, |it| it.files as u64),
        );
    }
    println!("  within {:.0} s", flat.took.as_secs_f64());
}

/// Prints what the access log costs.
pub fn print_logged(logged: &Logged) {
    println!(
        "\n{:<26} {:>9} {:>6} {:>8} {:>6} {:>7}",
        "access log", "proxy µs", "ratio", "req/s", "ratio", "p99 ms"
    );
    let off = &logged.results[0];
    for result in &logged.results {
        println!(
            "  {:<24} {:>9.2} {:>6.2} {:>8.0} {:>6.2} {:>7.2}",
            result.name,
            result.median(|it| it.proxy_us),
            result.ratio(off, |it| it.proxy_us),
            result.median(|it| it.rate),
            result.ratio(off, |it| it.rate),
            result.median(|it| it.p99_ms),
        );
    }
    let [first, last] = logged.rss.map(|bytes| bytes / 1024);
    println!(
        "  {} lines written, {} dropped; RSS {first} KiB after the first round, {last} KiB at the end",
        logged.written, logged.dropped
    );
}

/// Prints what a request makes proxies do.
pub fn print_work(all: &[Work]) {
    println!(
        "\n{:<26} {:>12} {:>12} {:>12}",
        "64 B, for a request", "system calls", "instructions", "allocations"
    );
    let number = |number: Option<f64>| number.map_or("-".to_owned(), |it| format!("{it:.2}"));
    for work in all {
        println!(
            "  {:<24} {:>12} {:>12} {:>12}",
            work.name,
            number(work.syscalls),
            work.instructions.map_or("-".to_owned(), |it| format!("{it:.0}")),
            number(work.allocations)
        );
    }
}

impl Report {
    /// Writes all of it as JSON, and as tables for a document beside it.
    pub fn write(&self, path: &Path, short: bool) {
        let document = json!({
            "schema": 1,
            "short": short,
            "processors": std::thread::available_parallelism().map_or(1, usize::from),
            "rows": self.rows.iter().map(|(row, results)| json_row(row, results)).collect::<Vec<_>>(),
            "memory_goals": {
                "at_start_bytes": AT_START_GOAL,
                "bytes_per_idle_connection": PER_CONNECTION_GOAL,
            },
            "memory": self.memory.iter().map(json_memory).collect::<Vec<_>>(),
            "work": self.work.iter().map(json_work).collect::<Vec<_>>(),
            "flat": self.flat.as_ref().map(json_flat),
            "log": self.logged.as_ref().map(json_logged),
        });
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, format!("{document:#}\n")).unwrap();
        fs::write(path.with_extension("md"), self.tables()).unwrap();
    }

    /// The rows as Markdown: time for a request, then what clients meet.
    fn tables(&self) -> String {
        let mut text = String::new();
        let Some(most) = self.rows.iter().map(|(_, results)| results).max_by_key(|it| it.len())
        else {
            return text;
        };
        let peers: Vec<_> = most[1..].iter().map(|it| it.name).collect();
        let line = |text: &mut String, cells: &[String]| {
            writeln!(text, "| {} |", cells.join(" | ")).unwrap();
        };

        let mut head = vec!["CPU for a request, µs".to_owned(), "tqserver".to_owned()];
        for peer in &peers {
            head.extend([(*peer).to_owned(), "ratio".to_owned(), "goal".to_owned()]);
        }
        line(&mut text, &head);
        writeln!(text, "|{}", "---|".repeat(head.len())).unwrap();
        for (row, results) in &self.rows {
            let cpu = |result: &Result| result.median(|it| it.figure(Figure::Cpu, row));
            let all = if row.cpu == Cpu::All { " *" } else { "" };
            let mut cells = vec![format!("{}{all}", row.what), format!("{:.1}", cpu(&results[0]))];
            for peer in &peers {
                let Some(result) = results.iter().find(|it| it.name == *peer) else {
                    cells.extend([const { String::new() }; 3]);
                    continue;
                };
                let ratio = results[0].ratio(result, |it| it.figure(Figure::Cpu, row));
                let goal = row.goals.iter().find(|it| it.peer == *peer && it.figure == Figure::Cpu);
                cells.push(format!("{:.1}", cpu(result)));
                cells.push(match goal {
                    Some(goal) if goal.is_met(ratio) => format!("**{ratio:.2}**"),
                    _ => format!("{ratio:.2}"),
                });
                cells.push(goal.map_or(String::new(), |it| format!("{:.2}", it.ratio)));
            }
            line(&mut text, &cells);
        }

        text.push('\n');
        let mut head = vec!["requests/s · p50 · p99 in ms".to_owned(), "tqserver".to_owned()];
        head.extend(peers.iter().map(|it| (*it).to_owned()));
        line(&mut text, &head);
        writeln!(text, "|{}", "---|".repeat(head.len())).unwrap();
        for (row, results) in &self.rows {
            let mut cells = vec![row.what.to_owned()];
            for name in ["tqserver"].iter().chain(&peers) {
                let result = results.iter().find(|it| it.name == *name);
                cells.push(result.map_or(String::new(), |it| {
                    let [rate, p50, p99] =
                        [it.median(|t| t.rate), it.median(|t| t.p50_ms), it.median(|t| t.p99_ms)];
                    format!("{rate:.0} · {p50:.2} · {p99:.2}")
                }));
            }
            line(&mut text, &cells);
        }
        text
    }
}

fn json_row(row: &Row, results: &[Result]) -> Value {
    let result = |result: &Result| {
        let figures = [Figure::Cpu, Figure::Rate, Figure::P99];
        let ratios = figures.map(|figure| results[0].ratio(result, |it| it.figure(figure, row)));
        let goal = |figure| {
            row.goals
                .iter()
                .find(|it| it.peer == result.name && it.figure == figure)
                .map(|it| it.ratio)
        };
        let is_peer = result.name != results[0].name;
        let compared =
            |at: usize| is_peer.then(|| json!({"ratio": ratios[at], "goal": goal(figures[at])}));
        json!({
            "name": result.name,
            "cpu_us": result.median(|it| it.figure(Figure::Cpu, row)),
            "proxy_us": result.median(|it| it.proxy_us),
            "all_us": result.median(|it| it.all_us),
            "busy_percent": result.median(|it| it.busy),
            "requests_per_second": result.median(|it| it.rate),
            "p50_ms": result.median(|it| it.p50_ms),
            "p99_ms": result.median(|it| it.p99_ms),
            "clients_without_answer": result.turns.iter().map(|it| it.left_out).sum::<usize>(),
            "cpu": compared(0),
            "rate": compared(1),
            "p99": compared(2),
        })
    };
    json!({
        "id": row.id,
        "what": row.what,
        "threads": row.threads,
        "protocol": match row.protocol {
            Protocol::Http1 => "HTTP/1.1",
            Protocol::Http2 => "HTTP/2",
            Protocol::Tls => "HTTP/1.1 in TLS",
        },
        "connections": row.connections,
        "cpu_of": match row.cpu { Cpu::Proxy => "proxy", Cpu::All => "all" },
        "rounds": results[0].turns.len(),
        "results": results.iter().map(result).collect::<Vec<_>>(),
    })
}

fn json_logged(logged: &Logged) -> Value {
    let result = |result: &Result| {
        json!({
            "log": result.name,
            "proxy_us": result.median(|it| it.proxy_us),
            "requests_per_second": result.median(|it| it.rate),
        })
    };
    json!({
        "settings": logged.results.iter().map(result).collect::<Vec<_>>(),
        "written": logged.written,
        "dropped": logged.dropped,
        "rss_bytes": logged.rss,
    })
}

fn json_memory(memory: &Memory) -> Value {
    json!({
        "name": memory.name,
        "at_start_bytes": memory.at_start,
        "bytes_per_idle_connection": memory.per_connection(),
        "kept_bytes": memory.kept,
    })
}

fn json_flat(flat: &Flat) -> Value {
    let sample = |it: &Sample| {
        json!({
            "requests": it.requests,
            "pss_bytes": it.pss,
            "rss_bytes": it.rss,
            "open_files": it.files,
        })
    };
    json!({
        "growth_bytes": flat.growth(),
        "seconds": flat.took.as_secs_f64(),
        "samples": flat.samples.iter().map(sample).collect::<Vec<_>>(),
    })
}

fn json_work(work: &Work) -> Value {
    json!({
        "name": work.name,
        "syscalls": work.syscalls,
        "instructions": work.instructions,
        "allocations": work.allocations,
    })
}
