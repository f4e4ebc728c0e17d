//! A peer's process, which ends with what started it.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const PATIENCE: Duration = Duration::from_secs(10);

/// A running program.
pub(super) struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Runs a command on these processors, with its log in `folder`.
    pub(super) fn start(run: &[String], cores: &[usize], folder: &Path) -> Self {
        let cores: Vec<_> = cores.iter().map(usize::to_string).collect();
        let log = folder.join("log");
        let output = File::create(&log).unwrap();
        let mut command = Command::new("setpriv");
        // Also when the benchmark is killed.
        command.args(["--pdeathsig", "TERM", "--", "taskset", "--cpu-list", &cores.join(",")]);
        command.args(run).stdin(Stdio::null());
        command.env("HOME", folder).env("XDG_CONFIG_HOME", folder).env("XDG_DATA_HOME", folder);
        command.stdout(output.try_clone().unwrap()).stderr(output);
        Self { child: command.spawn().unwrap(), log }
    }

    /// Waits until it accepts connections.
    #[track_caller]
    pub(super) fn await_listening(&self, addr: SocketAddr) {
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(addr).is_err() {
            let log = || fs::read_to_string(&self.log).unwrap_or_default();
            assert!(Instant::now() < deadline, "nothing listens at {addr}:\n{}", log());
            thread::sleep(Duration::from_millis(10));
        }
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGTERM);
        let deadline = Instant::now() + PATIENCE;
        while matches!(self.child.try_wait(), Ok(None)) {
            if Instant::now() > deadline {
                let _ = self.child.kill();
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}
