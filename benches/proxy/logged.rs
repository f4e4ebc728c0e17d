//! What the access log costs: one tqserver, which is told to write it, and not to, by reloads.

use std::fs;

use crate::contest::{self, Effort, Result};
use crate::fleet::{Fleet, Protocol};
use crate::memory::of_tree;
use crate::rows::ROWS;

/// What server.yaml has, by what it is called; `FILE` is the log.
const SETTINGS: [(&str, &str); 4] = [
    ("off", ""),
    ("json", "  access_log: {format: json, file: FILE}\n"),
    ("combined", "  access_log: {format: combined, file: FILE}\n"),
    ("json, one in 100", "  access_log: {format: json, file: FILE, sample_one_in: 100}\n"),
];

/// What was seen.
pub struct Logged {
    /// Of each setting; the first is without a log.
    pub results: Vec<Result>,
    /// Lines that were written of requests.
    pub written: u64,
    /// Lines that were dropped.
    pub dropped: u64,
    /// The resident set size after the first round, and after the last, in bytes.
    pub rss: [u64; 2],
}

/// Measures, with a turn for each setting in every round, who begins changing.
pub fn measure(effort: Effort) -> Logged {
    let fleet = Fleet::start(1, Protocol::Http1, &[], None);
    let folder = tempfile::Builder::new().prefix("tqserver-bench-").tempdir().unwrap();
    let file = folder.path().join("access.log");
    let row = ROWS.iter().find(|row| row.id == "64b_64").unwrap();
    let mut results = SETTINGS.map(|(name, _)| Result { name, turns: Vec::new() });
    let mut rss = [0; 2];
    for round in 0..effort.rounds {
        for place in 0..SETTINGS.len() {
            let at = (round + place) % SETTINGS.len();
            let lines = SETTINGS[at].1.replace("FILE", file.to_str().unwrap());
            fleet.tqserver.configure(&lines);
            let turn = contest::measure(&fleet, row, Effort { rounds: 1, ..effort });
            results[at].turns.extend(turn.into_iter().flat_map(|it| it.turns));
            // It has all been read, and must not fill the disk.
            fs::File::create(&file).unwrap();
        }
        rss[usize::from(round > 0)] = of_tree(fleet.proxies[0].root, "Rss");
    }
    let lines = |outcome: &str| {
        let series = format!("tqserver_access_log_lines_total{{outcome=\"{outcome}\"}} ");
        let metrics = fleet.tqserver.metrics();
        let line = metrics.lines().find_map(|line| line.strip_prefix(&series));
        line.and_then(|count| count.parse().ok()).unwrap_or_else(|| panic!("no {series}"))
    };
    let (written, dropped) = (lines("written"), lines("dropped"));
    Logged { results: results.into(), written, dropped, rss }
}
