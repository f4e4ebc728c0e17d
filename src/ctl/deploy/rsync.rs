//! Brings files by rsync(1): of a file that resembles one that is there, only changed blocks travel.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, anyhow};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

use super::place::Place;
use crate::ctl::exit::{Exit, Failure};
use crate::ids::CommitId;

/// The longest line of rsync's that is kept, in bytes.
const MAX_LINE: usize = 1024;
/// How much of what rsync complains about is kept, in bytes.
const MAX_COMPLAINT: u64 = 8 * 1024;

/// Sends `files`, paths below `folder`, to `destination`; `progress` is told per cent. Of files that
/// resemble those of the deployments `resembling` in `deploy`, the host's folder of deployments, only
/// what differs is sent. Returns how many bytes went over the wire.
pub(super) async fn send(
    place: &Place,
    folder: &Path,
    files: &[String],
    destination: &str,
    (deploy, resembling): (&str, &[CommitId]),
    progress: &dyn Fn(u64),
) -> Result<u64, Failure> {
    let mut command = Command::new("rsync");
    // Not --inplace, which would write into files that other deployments share. Not --perms, which
    // would take the set-group-ID bit off folders; programs are executable without it. --checksum, as
    // sizes and times of two builds may be alike.
    command.args(["--files-from=-", "--from0", "--checksum", "--compress"]);
    command.args(["--stats", "--info=progress2", "--no-human-readable", "--timeout=120"]);
    if let Some(rsh) = place.rsh() {
        command.arg("--rsh").arg(rsh);
    }
    for commit in resembling {
        // Not relative to the destination: with its fix of CVE-2026-43619, rsync 3.2.7 of Debian 12 makes
        // a file of changed blocks without the one that they change, "failed verification".
        command.arg(format!("--link-dest={deploy}/{commit}"));
    }
    let mut source = folder.as_os_str().to_owned();
    source.push("/");
    command.arg("--").arg(source).arg(destination).env("LC_ALL", "C");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().context("cannot start rsync")?;
    let mut list = child.stdin.take().context("no stdin")?;
    let mut output = child.stdout.take().context("no stdout")?;
    let complaints = child.stderr.take().context("no stderr")?;
    let names = files.join("\0");
    let write = async move {
        // Where rsync has ended already, its status tells why.
        let _ = list.write_all(names.as_bytes()).await;
    };
    let read = async {
        let (mut sent, mut line, mut buffer) = (None, Vec::new(), vec![0; 4096]);
        while let Ok(count @ 1..) = output.read(&mut buffer).await {
            for &byte in &buffer[..count] {
                match byte {
                    b'\r' | b'\n' => {
                        let text = String::from_utf8_lossy(&line);
                        sent = total_sent(&text).or(sent);
                        percent(&text).into_iter().for_each(progress);
                        line.clear();
                    }
                    _ if line.len() < MAX_LINE => line.push(byte),
                    _ => {}
                }
            }
        }
        sent
    };
    let complain = async {
        let mut text = Vec::new();
        let mut complaints = complaints.take(MAX_COMPLAINT);
        let _ = complaints.read_to_end(&mut text).await;
        // A pipe that nobody reads would stop rsync.
        let _ = tokio::io::copy(&mut complaints.into_inner(), &mut tokio::io::sink()).await;
        String::from_utf8_lossy(&text).trim().to_owned()
    };
    let ((), sent, complaint) = tokio::join!(write, read, complain);
    let status = child.wait().await?;
    if !status.success() {
        let error = anyhow!("{}: rsync: {status}: {complaint}", place.name());
        return Err(Failure::new(Exit::Failure, error));
    }
    Ok(sent.unwrap_or_default())
}

/// Whether rsync is installed here.
pub(super) fn is_installed() -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join("rsync").is_file())
}

/// `Total bytes sent: 1234`
fn total_sent(line: &str) -> Option<u64> {
    line.strip_prefix("Total bytes sent: ")?.trim().parse().ok()
}

/// `      1234  45%    1.23MB/s    0:00:01`
fn percent(line: &str) -> Option<u64> {
    line.split_whitespace().nth(1)?.strip_suffix('%')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_figures_of_rsync_are_found() {
        assert_eq!(total_sent("Total bytes sent: 73412"), Some(73412));
        assert_eq!(total_sent("Total bytes received: 9"), None);
        assert_eq!(
            percent("        32768  45%   31.25MB/s    0:00:01 (xfr#1, to-chk=0/1)"),
            Some(45)
        );
        assert_eq!(percent("Number of files: 3"), None);
    }
}
