//! Pieces of lines.

use crate::ctl::output::printable;
use crate::ids::WorkerName;

/// `1 tab`, `2 tabs`.
pub(super) fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// `1.31s`.
pub(super) fn seconds(seconds: f64) -> String {
    format!("{seconds:.2}s")
}

/// `index, api_users`
pub(super) fn names(workers: &[WorkerName]) -> String {
    workers.iter().map(WorkerName::as_str).collect::<Vec<_>>().join(", ")
}

/// Paths, as they are within the worker's folder, and how many there are besides.
pub(super) fn listed(paths: &[String], more: usize, worker: Option<&WorkerName>) -> String {
    let paths: Vec<_> =
        paths.iter().map(|path| printable(within(path, worker)).to_string()).collect();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", paths.join(", "))
}

/// The path below the worker's folder, if it is in there.
fn within<'p>(path: &'p str, worker: Option<&WorkerName>) -> &'p str {
    let folder = worker.map(|worker| format!("/{worker}/"));
    folder.and_then(|folder| Some(path.split_once(folder.as_str())?.1)).unwrap_or(path)
}

/// What a compiler wrote, line by line and indented, without colours and whatever else a terminal
/// would obey.
pub(super) fn log_lines(log: &str) -> impl Iterator<Item = String> {
    log.trim_end().lines().map(|line| match without_colours(line).as_str() {
        "" => String::new(),
        line => format!("  {}", printable(line)),
    })
}

/// Without `ESC [ … m`.
fn without_colours(line: &str) -> String {
    let mut text = String::with_capacity(line.len());
    let mut rest = line;
    while let Some((before, sequence)) = rest.split_once("\u{1b}[") {
        text.push_str(before);
        let end = sequence.find(|c: char| !c.is_ascii_digit() && c != ';');
        match end {
            Some(end) if sequence[end..].starts_with('m') => rest = &sequence[end + 1..],
            _ => {
                text.push_str("\u{1b}[");
                rest = sequence;
            }
        }
    }
    text + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_colours_are_taken_out() {
        let log = "\u{1b}[1m\u{1b}[38;5;9merror\u{1b}[0m: no\r\n\n\u{1b}[2J\u{1b}]0;owned\u{7}\n";
        let lines: Vec<_> = log_lines(log).collect();
        assert_eq!(lines, ["  error: no", "", "  \\u{1b}[2J\\u{1b}]0;owned\\u{7}"]);
    }

    #[test]
    fn a_path_is_shown_within_its_worker() {
        let index: WorkerName = "index".parse().unwrap();
        assert_eq!(within("workers/index/src/index/a.rs", Some(&index)), "src/index/a.rs");
        assert_eq!(within("workers/shared/a.rs", Some(&index)), "workers/shared/a.rs");
        assert_eq!(within("workers/index/a.rs", None), "workers/index/a.rs");
    }
}
