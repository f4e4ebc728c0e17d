use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::proxy::table::PublishedTable;
use crate::rollout::event::RolloutId;
use crate::rollout::state::{DeploymentRef, HistoryEntry};
use crate::rollout::status::{CanarySnapshot, WorkerSnapshot};

/// All there can be: `count` workers, each of which has answered with every class.
fn render(count: usize) -> String {
    let names = (0..count).map(|number| format!("app{number}").parse::<WorkerName>().unwrap());
    let names: Vec<_> = names.collect();
    let mut durations = [DurationSums::default(); CLASSES];
    durations.fill(sums());
    let figures = WorkerFigures { requests: 7, durations, ..WorkerFigures::default() };
    let worker = |name: &WorkerName| WorkerSnapshot {
        name: name.clone(),
        route: Some(crate::ids::RoutePath::from_worker_name(name)),
        pinned: None,
        instances: 1,
        memory_high: None,
        asleep: false,
        drained: false,
        generations: Vec::new(),
        next_attempt: None,
        restarts: 0,
        breaker: crate::rollout::controller::Breaker::Closed,
        last_exit: None,
        last_failure: None,
        loosened: Vec::new(),
    };
    let past = HistoryEntry {
        deployment: DeploymentRef { commit: "a".repeat(40).parse().unwrap(), deployment_id: None },
        at: "2026-11-20T08:00:00Z".parse().unwrap(),
        failure: None,
        deployed_by: None,
        took_ms: Some(1500),
        started: Vec::new(),
    };
    let snapshot = Snapshot {
        workers: names.iter().map(worker).collect(),
        past: Arc::new(vec![past]),
        canary: Some(CanarySnapshot {
            id: RolloutId(1),
            commit: None,
            share: 5,
            plan: None,
            step: 0,
            next_step: None,
        }),
        ..Snapshot::default()
    };
    let samples = Samples::new(PublishedTable::new());
    let mut steps = Counted::default();
    steps.restarts = restarts(&snapshot);
    let moment = Moment {
        counters: Counters::default(),
        workers: names.into_iter().map(|name| (name, figures)).collect(),
        snapshot: &snapshot,
        samples: &samples,
        started_at: 1.5,
        certificate_expiry: Some(2e9),
        access_log: [7, 1],
        steps,
        builds: [3, 1],
        manifest_told: Some(true),
    };
    moment.render()
}

/// Every worker has died in every way.
fn restarts(snapshot: &Snapshot) -> BTreeMap<(WorkerName, &'static str), u64> {
    let reasons = ["exited", "signal", "out_of_memory", "watchdog", "timeout", "stopped", "other"];
    let names = snapshot.workers.iter().map(|worker| &worker.name);
    names.flat_map(|name| reasons.map(|reason| ((name.clone(), reason), 1))).collect()
}

fn sums() -> DurationSums {
    DurationSums::of([
        Duration::from_micros(200),
        Duration::from_millis(3),
        Duration::from_secs(99),
    ])
}

/// `name type help` of every metric.
fn families(text: &str) -> BTreeSet<(String, String, String)> {
    let helps = text.lines().filter_map(|line| line.strip_prefix("# HELP ")?.split_once(' '));
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let both = helps.zip(types).map(|((name, help), (other, kind))| {
        assert_eq!(name, other);
        (name.to_owned(), kind.to_owned(), help.to_owned())
    });
    both.collect()
}

#[test]
fn the_document_has_every_metric_and_no_other() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let document = std::fs::read_to_string(root.join("docs/metrics.md")).unwrap();
    let rows = document.lines().filter_map(|line| line.strip_prefix("| `tqserver_"));
    let documented: BTreeSet<_> = rows
        .map(|row| {
            let mut cells = row.trim_end_matches(" |").splitn(4, " | ");
            let name = cells.next().unwrap().trim_end_matches('`');
            let (kind, _labels) = (cells.next().unwrap(), cells.next().unwrap());
            (format!("tqserver_{name}"), kind.to_owned(), cells.next().unwrap().to_owned())
        })
        .collect();
    assert_eq!(documented, families(&render(1)));
}

#[test]
fn promtool_has_nothing_to_say() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let found = Command::new(root.join("tests/bed/promtool")).output().unwrap();
    let promtool = String::from_utf8(found.stdout).unwrap();
    let mut check = Command::new(promtool.trim());
    let check = check.args(["check", "metrics"]);
    let piped = check.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().unwrap();
    child.stdin.take().unwrap().write_all(render(3).as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}");
}

/// What a worker costs whoever stores the series.
#[test]
fn a_worker_is_a_bounded_number_of_series() {
    let series = |text: String| text.lines().filter(|line| !line.starts_with('#')).count();
    let (one, many) = (series(render(1)), series(render(201)));
    assert!((many - one) / 200 <= 115, "{} of a worker", (many - one) / 200);
}

#[test]
fn buckets_hold_all_that_was_measured() {
    let text = render(1);
    let of = |line: &str| {
        let found = text.lines().find_map(|l| {
            l.strip_prefix("tqserver_worker_request_duration_seconds_")?.strip_prefix(line)
        });
        found.unwrap_or_else(|| panic!("no {line} in {text}")).trim().to_owned()
    };
    let labels = r#"worker="app0",class="2xx""#;
    assert_eq!(of(&format!(r#"bucket{{{labels},le="0.00025"}}"#)), "1");
    assert_eq!(of(&format!(r#"bucket{{{labels},le="0.002"}}"#)), "1");
    assert_eq!(of(&format!(r#"bucket{{{labels},le="0.004"}}"#)), "2");
    assert_eq!(of(&format!(r#"bucket{{{labels},le="65.536"}}"#)), "2");
    assert_eq!(of(&format!(r#"bucket{{{labels},le="+Inf"}}"#)), "3");
    assert_eq!(of(&format!("sum{{{labels}}}")), "99.0032");
}
