//! `tests/browser/run.mjs` and a scenario in it, as a child that asks for what it cannot do.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

/// Runs a scenario about the page at `url` to its end; `perform` does what it asks for.
///
/// # Panics
///
/// When it fails. What was wrong is on stderr then.
pub fn run(name: &str, url: &str, mut perform: impl FnMut(&str) -> Value) {
    let here: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser");
    let prepared = Command::new(here.join("prepare")).status().unwrap();
    assert!(prepared.success(), "tests/browser/prepare: {prepared}");
    let mut node = Node(
        Command::new("node")
            .args([here.join("run.mjs").as_os_str(), name.as_ref(), url.as_ref()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap(),
    );
    let mut input = node.0.stdin.take().unwrap();
    let mut passed = false;
    for line in BufReader::new(node.0.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        match line.strip_prefix("ask ") {
            Some(word) => writeln!(input, "{}", perform(word)).unwrap(),
            None => passed = line == "passed",
        }
    }
    let status = node.0.wait().unwrap();
    assert!(passed && status.success(), "the scenario {name} failed: {status}");
}

/// Ends with the test. The browser ends with node.
struct Node(Child);

impl Drop for Node {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}
