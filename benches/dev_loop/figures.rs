//! What was measured, as a table and as JSON.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

/// Durations of the same thing, done over and over.
#[derive(Debug, Default)]
pub struct Figures(Vec<Duration>);

impl Figures {
    /// One more.
    pub fn add(&mut self, duration: Duration) {
        self.0.push(duration);
        self.0.sort();
    }

    /// The milliseconds that a share of all, in percent, does not exceed.
    fn percentile(&self, percent: usize) -> f64 {
        let at = self.0.len().saturating_sub(1) * percent / 100;
        self.0.get(at).copied().unwrap_or_default().as_secs_f64() * 1e3
    }
}

/// All figures of a run.
#[derive(Default)]
pub struct Report(BTreeMap<String, Value>);

impl Report {
    /// Prints and keeps what took how long; `goal` is in milliseconds, of the median.
    pub fn durations(&mut self, what: &str, figures: &Figures, goal: Option<u32>) {
        let (p50, p90) = (figures.percentile(50), figures.percentile(90));
        let goal_text = goal.map_or(String::new(), |goal| format!("   goal {goal} ms"));
        println!("{what:58} p50 {p50:8.1} ms  p90 {p90:8.1} ms  n {}{goal_text}", figures.0.len());
        let value = json!({ "p50_ms": p50, "p90_ms": p90, "n": figures.0.len(), "goal_ms": goal });
        self.0.insert(what.to_owned(), value);
    }

    /// Prints and keeps a number.
    pub fn count(&mut self, what: &str, count: u64) {
        println!("{what:58} {count}");
        self.0.insert(what.to_owned(), json!(count));
    }

    /// Writes what was kept.
    pub fn write(&self) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench");
        fs::create_dir_all(&folder).unwrap();
        let file = folder.join("dev_loop.json");
        fs::write(&file, serde_json::to_string_pretty(&self.0).unwrap()).unwrap();
    }
}
