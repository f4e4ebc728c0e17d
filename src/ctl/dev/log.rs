//! tqserver's own log, which says why it did not start, and with `-v` what it does.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout};

use super::session::Session;
use super::systemctl;
use crate::ctl::output::printable_lines;

/// How much of its end is shown, in bytes and lines.
const MAX_BYTES: i64 = 16 * 1024;
const MAX_LINES: usize = 20;

/// The last lines, ready to be printed.
pub(super) fn last_lines(session: &Session) -> String {
    let text = File::open(session.log())
        .and_then(|mut log| {
            // An error says that it is shorter than that.
            let _ = log.seek(SeekFrom::End(-MAX_BYTES));
            let mut bytes = Vec::new();
            log.read_to_end(&mut bytes)?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        })
        .unwrap_or_default();
    let mut lines: Vec<_> = text.lines().rev().take(MAX_LINES).collect();
    lines.reverse();
    printable_lines(&lines.join("\n"))
}

/// Its lines from now on.
#[derive(Debug)]
pub(super) struct Follower {
    lines: Lines<BufReader<ChildStdout>>,
    /// Ends with this value.
    _tail: Child,
}

impl Follower {
    /// Follows it; `None` where tail(1) cannot be run.
    pub(super) fn start(session: &Session) -> Option<Self> {
        let mut tail = systemctl::command("tail");
        tail.args(["--follow", "--lines=0", "--"]).arg(session.log());
        let mut tail = tail.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().ok()?;
        let lines = BufReader::new(tail.stdout.take()?).lines();
        Some(Self { lines, _tail: tail })
    }

    /// The next line. Never completes once there are none.
    pub(super) async fn next(follower: &mut Option<Self>) -> String {
        if let Some(Self { lines, .. }) = follower
            && let Ok(Some(line)) = lines.next_line().await
        {
            return line;
        }
        std::future::pending().await
    }
}
