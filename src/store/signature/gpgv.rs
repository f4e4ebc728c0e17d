//! Runs gpgv(1), which verifies by the keys of one keyring and asks nobody.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::{Flaw, status};

/// How much of what gpgv says is read, in bytes.
const MAX_OUTPUT_BYTES: u64 = 64 << 10;

/// gpgv, and how long it may take.
#[derive(Debug, Clone)]
pub(super) struct Gpgv {
    pub(super) program: PathBuf,
    pub(super) time: Duration,
}

impl Default for Gpgv {
    fn default() -> Self {
        Self { program: "/usr/bin/gpgv".into(), time: Duration::from_secs(10) }
    }
}

/// What it said, on both of its descriptors, and how it ended.
struct Said {
    status: String,
    complaint: String,
    ended: ExitStatus,
}

impl Gpgv {
    /// Verifies `signature` over `signed`; returns the fingerprint of the key that made it.
    pub(super) fn verify(
        &self,
        keyring: &Path,
        signed: &[u8],
        signature: &[u8],
    ) -> Result<String, Flaw> {
        let unusable = |reason| Flaw::Gpgv { program: self.program.clone(), reason };
        let said = match self.run(keyring, signed, signature) {
            Ok(Some(said)) => said,
            Ok(None) => {
                let seconds = self.time.as_secs_f32();
                return Err(unusable(format!("did not end within {seconds} s; try again")));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(unusable("is not there: apt install gpgv".to_owned()));
            }
            Err(error) => return Err(unusable(error.to_string())),
        };
        status::judge(&said.status, said.ended.success(), keyring, &said.complaint)
    }

    /// `None` when it did not end in time, and was killed.
    fn run(&self, keyring: &Path, signed: &[u8], signature: &[u8]) -> io::Result<Option<Said>> {
        // Not closed on exec: gpgv gets its data by standard input, and the signature by this. Any
        // other child that is started in this moment has a descriptor too many, of nothing secret.
        let signature = in_memory(signature, MemfdFlags::empty())?;
        let (status, complaint) = (in_memory(b"", CLOEXEC)?, in_memory(b"", CLOEXEC)?);
        let mut child = Command::new(&self.program)
            // A home would be looked for further keyrings; this one never exists (Debian policy
            // 9.2.3), and nothing else is looked at.
            .args(["--homedir", "/nonexistent", "--status-fd", "1", "--weak-digest", "SHA1"])
            .arg("--keyring")
            .arg(keyring)
            .arg("--")
            .arg(format!("/proc/self/fd/{}", signature.as_raw_fd()))
            .arg("-")
            .env_clear()
            .env("LC_ALL", "C")
            .current_dir("/")
            .stdin(Stdio::from(in_memory(signed, CLOEXEC)?))
            .stdout(Stdio::from(status.try_clone()?))
            .stderr(Stdio::from(complaint.try_clone()?))
            .spawn()?;
        let Some(ended) = wait(&mut child, self.time)? else { return Ok(None) };
        Ok(Some(Said { status: content(status)?, complaint: content(complaint)?, ended }))
    }
}

const CLOEXEC: MemfdFlags = MemfdFlags::CLOEXEC;

/// A file that has no name, with `bytes` in it.
fn in_memory(bytes: &[u8], flags: MemfdFlags) -> io::Result<File> {
    let mut file = File::from(memfd_create("tqserver-gpgv", flags)?);
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(file)
}

fn content(mut file: File) -> io::Result<String> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.take(MAX_OUTPUT_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Waits for the end of `child`, and brings it about when `time` is over.
fn wait(child: &mut Child, time: Duration) -> io::Result<Option<ExitStatus>> {
    let deadline = Instant::now() + time;
    let descriptor = pidfd_open(Pid::from_child(child), PidfdFlags::empty())?;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).map_err(io::Error::other)?;
        match poll(&mut [PollFd::new(&descriptor, PollFlags::IN)], Some(&left)) {
            Ok(0) => {
                child.kill()?;
                child.wait()?;
                return Ok(None);
            }
            Ok(_) => return child.wait().map(Some),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
