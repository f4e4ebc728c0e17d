//! A deployment of many workers. They are small, as each is digested whole before it is started.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use crate::begin;
use crate::figures::percentile;
use crate::project::worker;
use crate::support::wait::await_until;

/// Ports above those of tests, and below those of outgoing connections.
const PORTS: &str = "  port_range_start: 32000\n  port_range_end: 32700\n";

/// How often the status is asked for.
const ROUNDS: usize = 20;

/// Has so many workers replaced by others, and prints how long that took and how many were starting at once.
pub fn measure(count: usize) {
    let (project, session) = begin(Some(PORTS));
    let all = |mode: &'static str| -> Vec<_> {
        // The process is short-lived.
        let name = |number: usize| -> &'static str { format!("app{number}").leak() };
        (0..count).map(|number| worker(name(number), mode)).collect()
    };
    let (first, second) = (project.build('1', &all("one")), project.build('2', &all("two")));
    project.activate(&first);
    assert!(session.get("/app0").status == 200, "{}", session.log());
    let patience = Duration::from_secs(120);
    await_until("all of the first", patience, || session.status()["state"] == "serving");

    let begun = Instant::now();
    project.activate(&second);
    let mut most = 0;
    let took = thread::scope(|scope| {
        let reload = scope.spawn(|| {
            session.systemctl(&["reload", "tqserver.service"]);
            begun.elapsed()
        });
        while !reload.is_finished() {
            let states =
                session.systemctl(&["list-units", "--plain", "--no-legend", "tq-worker@*"]);
            let mut by_state = BTreeMap::<&str, usize>::new();
            for line in states.lines() {
                *by_state.entry(line.split_whitespace().nth(2).unwrap_or("-")).or_default() += 1;
            }
            most = most.max(by_state.get("activating").copied().unwrap_or(0));
            thread::sleep(Duration::from_millis(250));
        }
        reload.join().unwrap()
    });
    let mut status: Vec<_> = (0..ROUNDS)
        .map(|_| {
            let begun = Instant::now();
            let output = session.tqctl(&["status"]);
            let took = begun.elapsed();
            assert!(output.status.success(), "{output:?}");
            u32::try_from(took.as_micros()).unwrap_or(u32::MAX)
        })
        .collect();
    status.sort_unstable();
    let millis = |percent| f64::from(percentile(&status, percent).unwrap_or(0)) / 1000.0;
    println!("tqctl status of {count} workers: {:.1} ms, p90 {:.1} ms", millis(50), millis(90));
    let begun = Instant::now();
    let text = session.metrics();
    let answered = begun.elapsed();
    let series = text.lines().filter(|line| !line.starts_with('#')).count();
    println!(
        "metrics of {count} workers: {series} series, {} KiB, {:.1} ms",
        text.len() / 1024,
        answered.as_secs_f64() * 1000.0
    );
    println!(
        "{count} workers replaced in {:.2} s, at most {most} starting at once",
        took.as_secs_f64()
    );
}
