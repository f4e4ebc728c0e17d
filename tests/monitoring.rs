//! The alert rules and the dashboard: promtool takes them, and they ask for nothing that is not there.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

const RULES: &str = "packaging/prometheus/tqserver.rules.yml";
const DASHBOARD: &str = "packaging/grafana/tqserver.json";

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

fn promtool(arguments: &[&str]) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let found = Command::new(root.join("tests/bed/promtool")).output().unwrap();
    let promtool = String::from_utf8(found.stdout).unwrap();
    let output = Command::new(promtool.trim()).args(arguments).current_dir(root).output().unwrap();
    assert!(output.status.success(), "promtool {arguments:?}: {output:?}");
}

#[test]
fn promtool_takes_the_rules() {
    promtool(&["check", "rules", "--lint=all", "--lint-fatal", RULES]);
}

#[test]
fn alerts_fire_when_they_should_and_not_before() {
    promtool(&["test", "rules", "packaging/prometheus/tqserver.rules.test.yml"]);
    // None of them is left untried.
    let (rules, tried) = (read(RULES), read("packaging/prometheus/tqserver.rules.test.yml"));
    let names = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: "));
    let untried: Vec<_> = names.filter(|name| !tried.contains(name)).collect();
    assert!(untried.is_empty(), "{untried:?}");
}

/// Every `tqserver_…` in a text.
fn metrics_in(text: &str) -> BTreeSet<String> {
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = text.split(|c| !is_of_name(c)).filter(|word| word.starts_with("tqserver_"));
    words.map(str::to_owned).collect()
}

/// Every metric of the document, with the series that a histogram or a summary consists of.
fn documented() -> BTreeSet<String> {
    let document = read("docs/metrics.md");
    let rows = document.lines().filter_map(|line| line.strip_prefix("| `tqserver_"));
    let series = rows.flat_map(|row| {
        let (name, rest) = row.split_once("` | ").unwrap();
        let suffixes: &[&str] = match rest.split(' ').next() {
            Some("histogram") => &["_bucket", "_sum", "_count"],
            Some("summary") => &["_sum", "_count"],
            _ => &[""],
        };
        suffixes.iter().map(move |suffix| format!("tqserver_{name}{suffix}"))
    });
    series.collect()
}

/// Every expression of the dashboard.
fn expressions(dashboard: &Value) -> Vec<&str> {
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten();
    let annotations = dashboard["annotations"]["list"].as_array().unwrap();
    targets.chain(annotations).map(|it| it["expr"].as_str().unwrap()).collect()
}

#[test]
fn dashboard_and_alerts_ask_for_metrics_that_there_are() {
    let dashboard: Value = serde_json::from_str(&read(DASHBOARD)).unwrap();
    let asked = expressions(&dashboard);
    assert!(asked.len() > 20, "{asked:?}");
    let documented = documented();
    for text in asked.into_iter().chain([read(RULES).as_str()]) {
        let unknown: Vec<_> = metrics_in(text).difference(&documented).cloned().collect();
        assert!(unknown.is_empty(), "{unknown:?}");
    }
}

/// Grafana's own variables are replaced as it would; the rest is up to promtool.
#[test]
fn the_dashboards_expressions_are_promql() {
    let dashboard: Value = serde_json::from_str(&read(DASHBOARD)).unwrap();
    let rules: String = expressions(&dashboard)
        .iter()
        .enumerate()
        .map(|(at, text)| {
            let text = text.replace("$__rate_interval", "1m").replace("$__interval", "1m");
            let text = text.replace("$instance", ".*").replace("$worker", ".*");
            format!("      - {{record: 'panel:{at}', expr: '{text}'}}\n")
        })
        .collect();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("panels.yml");
    fs::write(&file, format!("groups:\n  - name: panels\n    rules:\n{rules}")).unwrap();
    promtool(&["check", "rules", file.to_str().unwrap()]);
}

#[test]
fn panels_do_not_overlap_and_have_numbers_of_their_own() {
    let dashboard: Value = serde_json::from_str(&read(DASHBOARD)).unwrap();
    let mut cells = BTreeSet::new();
    let mut ids = BTreeSet::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        assert!(ids.insert(panel["id"].as_u64()), "{panel}");
        let of = |key: &str| panel["gridPos"][key].as_u64().unwrap();
        for x in of("x")..of("x") + of("w") {
            for y in of("y")..of("y") + of("h") {
                assert!(x < 24 && cells.insert((x, y)), "{}", panel["title"]);
            }
        }
    }
}
