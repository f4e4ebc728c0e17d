//! What a request makes a proxy do, counted instead of timed: system calls with perf, instructions and
//! allocations with valgrind.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::cpu::descendants;
use crate::fleet::{Fleet, Protocol, Proxy, Under};
use crate::load::{Exchange, Load};

/// How many clients there are.
const CONNECTIONS: usize = 64;

/// Of how many requests the system calls are counted.
const REQUESTS: u64 = 20_000;

/// The same of what valgrind makes some fifty times slower: the difference between two runs.
const FEW: u64 = 500;
const MANY: u64 = 2500;

/// What is in whose standard distribution, and cannot be run by valgrind: a Go program.
const NOT_UNDER_VALGRIND: &str = "caddy";

/// What was counted for a request; none of what could not be.
#[derive(Debug)]
pub struct Work {
    /// Whose.
    pub name: &'static str,
    /// System calls.
    pub syscalls: Option<f64>,
    /// Instructions in user space.
    pub instructions: Option<f64>,
    /// Allocations from the heap.
    pub allocations: Option<f64>,
}

/// Counts, as far as the tools are there; says which is not.
pub fn measure(peers: &[&'static str]) -> Vec<Work> {
    let works = |tool: &str, arguments: &[&str]| {
        let mut command = Command::new(tool);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let works = command.status().is_ok_and(|status| status.success());
        if !works {
            println!("{tool} does not work here: what it counts is left out");
        }
        works
    };
    let perf = works("perf", &["stat", "-e", "raw_syscalls:sys_enter", "true"]);
    let valgrind = works("valgrind", &["--tool=none", "true"]);

    let fleet = Fleet::start(1, Protocol::Http1, peers, None);
    let mut all: Vec<_> = fleet
        .proxies
        .iter()
        .map(|proxy| {
            let syscalls = perf.then(|| syscalls(proxy));
            Work { name: proxy.name, syscalls, instructions: None, allocations: None }
        })
        .collect();
    drop(fleet);
    for work in all.iter_mut().filter(|it| valgrind && it.name != NOT_UNDER_VALGRIND) {
        work.instructions = under_valgrind(work.name, "callgrind", instructions);
        work.allocations = under_valgrind(work.name, "memcheck", allocations);
    }
    all
}

/// Counts from before the first request until after the last.
fn syscalls(proxy: &Proxy) -> f64 {
    let pids: Vec<_> = descendants(proxy.root).iter().map(u32::to_string).collect();
    let mut perf = Command::new("perf")
        .args(["stat", "-x,", "-e", "raw_syscalls:sys_enter", "-p", &pids.join(",")])
        // Counts as long as this command runs.
        .args(["--", "sh", "-c", "echo; exec cat"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(perf.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let mut load = Load::connect(proxy.addr, CONNECTIONS, Exchange::get("/64", 64));
    let seen = load.run_until(Duration::MAX, REQUESTS);
    let output = perf.wait_with_output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    let count = text.split(',').next().and_then(|it| it.trim().parse::<u64>().ok());
    count.unwrap_or_else(|| panic!("perf: {text}")) as f64 / seen.answered as f64
}

/// What one request more costs, by a tool's last words.
fn under_valgrind(name: &'static str, tool: &str, read: fn(&str) -> Option<u64>) -> Option<f64> {
    let [few, many] = [FEW, MANY].map(|requests| {
        let folder = tempfile::Builder::new().prefix("tqserver-bench-").tempdir().unwrap();
        let command = valgrind(tool, folder.path());
        let peers = if name == "tqserver" { vec![] } else { vec![name] };
        let under = Under { name, command: &command };
        let fleet = Fleet::start(1, Protocol::Http1, &peers, Some(under));
        let proxy = fleet.proxies.iter().find(|it| it.name == name).unwrap();
        let mut load = Load::connect(proxy.addr, CONNECTIONS, Exchange::get("/64", 64));
        let answered = load.run_until(Duration::MAX, requests).answered;
        drop(load);
        fleet.stop();
        let logs = fs::read_dir(folder.path()).unwrap().map(|it| it.unwrap().path());
        let logs = logs.filter(|it| it.extension().is_some_and(|ending| ending == "log"));
        let counts = logs.filter_map(|path| read(&fs::read_to_string(path).unwrap()));
        (counts.sum::<u64>(), answered)
    });
    let counted = many.0.checked_sub(few.0).filter(|it| *it > 0);
    if counted.is_none() {
        println!("{name} under {tool}: nothing was counted");
    }
    Some(counted? as f64 / (many.1 - few.1) as f64)
}

fn valgrind(tool: &str, folder: &Path) -> Vec<String> {
    let folder = folder.display();
    let mut command = vec![
        "/usr/bin/valgrind".to_owned(),
        format!("--tool={tool}"),
        format!("--log-file={folder}/%p.log"),
    ];
    match tool {
        "callgrind" => command.push(format!("--callgrind-out-file={folder}/%p.out")),
        _ => command.extend(["--leak-check=no", "--undef-value-errors=no"].map(String::from)),
    }
    command
}

/// `==7== Collected : 123456`
fn instructions(log: &str) -> Option<u64> {
    log.lines().find_map(|line| line.split_once("Collected : ")?.1.trim().parse().ok())
}

/// `==7==   total heap usage: 1,234 allocs, 1,200 frees, 123,456 bytes allocated`
fn allocations(log: &str) -> Option<u64> {
    let line = log.lines().find_map(|line| line.split_once("total heap usage: "))?;
    line.1.split_once(" allocs")?.0.replace(',', "").parse().ok()
}
