//! A compiler that runs.

use std::io::{self, Read};
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus};
use std::sync::Arc;

use rustix::io::retry_on_intr;
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

use super::verdict::{Verdict, await_end};

/// See the module.
pub(super) struct Compiler {
    child: Child,
    /// Of a build that was begun ahead.
    ahead: Option<Arc<Verdict>>,
}

impl Compiler {
    /// Starts it. One whose build is `ahead` has a process group of its own, as it may be stopped; any
    /// other is in ours, where a terminal's keys reach it.
    pub(super) fn spawn(command: &mut Command, ahead: Option<&Arc<Verdict>>) -> io::Result<Self> {
        let child = match ahead {
            Some(verdict) => verdict.spawn(command)?,
            None => command.spawn()?,
        };
        Ok(Self { child, ahead: ahead.cloned() })
    }

    /// What it writes to stdout, where that is a pipe.
    pub(super) fn stdout(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    /// What it writes to stderr, where that is a pipe.
    pub(super) fn stderr(&mut self) -> Option<ChildStderr> {
        self.child.stderr.take()
    }

    /// Waits until it has ended; where its build was stopped, with all that it started.
    pub(super) fn wait(mut self) -> io::Result<ExitStatus> {
        let Some(verdict) = self.ahead else { return self.child.wait() };
        let group = Pid::from_child(&self.child);
        let ended = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        retry_on_intr(|| waitid(WaitId::Pid(group), ended))?;
        let stopped = verdict.ended(group);
        let status = self.child.wait();
        if stopped {
            await_end(group);
        }
        status
    }
}

/// What a stream says until it ends, as far as it is text.
pub(super) fn read_all(mut stream: impl Read) -> String {
    let mut bytes = Vec::new();
    // What came before an error is what there is.
    let _ = stream.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}
