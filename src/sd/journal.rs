//! The last lines that a worker wrote, read from the journal.

use std::ffi::OsString;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use jiff::Timestamp;
use tokio::io::AsyncReadExt;
use tokio::process::Command;

use crate::ids::UnitName;

/// The most that is kept, in bytes: some lines for an error message, not a log.
const MAX_BYTES: usize = 64 * 1024;
/// The longest wait. A rollout's verdict waits for these lines.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Whose journal to look in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manager {
    /// Units of the system.
    System,
    /// Units of this user.
    User,
}

/// Why the journal could not be read.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// journalctl did not run.
    #[error("journalctl: {0}")]
    Run(std::io::Error),
    /// It ran too long.
    #[error("journalctl did not answer within {} s", TIMEOUT.as_secs())]
    Timeout,
    /// It failed.
    #[error("journalctl failed: {0}")]
    Failed(String),
}

/// Whether units' output goes to a journal at all: a private user manager has none.
pub fn is_present() -> bool {
    Path::new("/run/systemd/journal/stdout").exists()
}

/// The last `count` lines that a unit's processes wrote since `since`, oldest first.
///
/// Only what the kernel vouches for (`_SYSTEMD_UNIT`, systemd.journal-fields(7)) counts, and not
/// systemd's own messages about the unit. A unit's name comes again with its port, hence `since`.
pub async fn last_lines(
    manager: Manager,
    unit: &UnitName,
    since: Option<Timestamp>,
    count: usize,
) -> Result<Vec<String>, JournalError> {
    let mut command = Command::new("journalctl");
    command.args(arguments(manager, unit, since, count));
    run(command).await
}

fn arguments(
    manager: Manager,
    unit: &UnitName,
    since: Option<Timestamp>,
    count: usize,
) -> Vec<OsString> {
    let mut arguments = vec![
        "--output=cat".to_owned(),
        "--no-pager".to_owned(),
        "--quiet".to_owned(),
        format!("--lines={count}"),
    ];
    if let Some(since) = since {
        // The journal compares whole microseconds; a second of slack would show another's lines.
        let micros = since.as_microsecond();
        let (seconds, micros) = (micros.div_euclid(1_000_000), micros.rem_euclid(1_000_000));
        arguments.push(format!("--since=@{seconds}.{micros:06}"));
    }
    match manager {
        Manager::System => arguments.push(format!("_SYSTEMD_UNIT={unit}")),
        Manager::User => {
            arguments.push("--user".to_owned());
            arguments.push(format!("_SYSTEMD_USER_UNIT={unit}"));
        }
    }
    arguments.into_iter().map(OsString::from).collect()
}

async fn run(mut command: Command) -> Result<Vec<String>, JournalError> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().map_err(JournalError::Run)?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let finish = async {
        let (output, errors) = tokio::join!(read_tail(stdout), read_tail(stderr));
        Ok::<_, std::io::Error>((output?, errors?, child.wait().await?))
    };
    let (output, errors, status) = tokio::time::timeout(TIMEOUT, finish)
        .await
        .map_err(|_| JournalError::Timeout)?
        .map_err(JournalError::Run)?;
    if !status.success() {
        let errors = String::from_utf8_lossy(&errors);
        return Err(JournalError::Failed(errors.trim().to_owned()));
    }
    Ok(String::from_utf8_lossy(&output).lines().map(str::to_owned).collect())
}

/// Reads to the end and keeps what came last.
async fn read_tail(pipe: Option<impl AsyncReadExt + Unpin>) -> std::io::Result<Vec<u8>> {
    let mut tail = Vec::new();
    let Some(mut pipe) = pipe else { return Ok(tail) };
    while pipe.read_buf(&mut tail).await? > 0 {
        if tail.len() > 2 * MAX_BYTES {
            tail.drain(..tail.len() - MAX_BYTES);
        }
    }
    tail.drain(..tail.len().saturating_sub(MAX_BYTES));
    Ok(tail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case::system(Manager::System, None, &["_SYSTEMD_UNIT=tq-worker@index-9014.service"])]
    #[case::user(
        Manager::User,
        Some("2026-11-23T12:00:00.25Z"),
        &["--since=@1795435200.250000", "--user", "_SYSTEMD_USER_UNIT=tq-worker@index-9014.service"]
    )]
    fn arguments_match_one_unit(
        #[case] manager: Manager,
        #[case] since: Option<&str>,
        #[case] tail: &[&str],
    ) {
        let unit = "tq-worker@index-9014.service".parse().unwrap();
        let since = since.map(|text| text.parse().unwrap());
        let arguments = arguments(manager, &unit, since, 5);
        assert_eq!(arguments[..4], ["--output=cat", "--no-pager", "--quiet", "--lines=5"]);
        assert_eq!(&arguments[4..], tail);
    }

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[tokio::test]
    async fn lines_come_back_in_order_and_bad_bytes_do_no_harm() {
        let lines = run(shell("printf 'one\\ntw\\377o\\n'")).await.unwrap();
        assert_eq!(lines, ["one", "tw\u{fffd}o"]);
    }

    #[tokio::test]
    async fn of_too_much_the_end_is_kept() {
        let lines = run(shell("seq 100000")).await.unwrap();
        assert_eq!(lines.last().unwrap(), "100000");
        assert!(lines.iter().map(|line| line.len() + 1).sum::<usize>() <= MAX_BYTES);
    }

    #[tokio::test]
    async fn a_failure_says_what_journalctl_said() {
        let error = run(shell("echo 'no permission' >&2; exit 1")).await.unwrap_err();
        assert_eq!(error.to_string(), "journalctl failed: no permission");
    }

    #[tokio::test(start_paused = true)]
    async fn a_hanging_journalctl_is_given_up() {
        // The paused clock jumps to the limit once nothing else can happen.
        let error = run(shell("exec sleep 1000")).await.unwrap_err();
        assert!(matches!(error, JournalError::Timeout), "{error}");
    }
}
