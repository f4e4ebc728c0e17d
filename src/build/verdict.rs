//! Builds that are begun before it is sure that they are wanted.
//!
//! Invariant (nothing comes of it before): what such a build has made is put in its place, and told
//! of, only once it is [wanted](Verdict::want). Of one that is [stopped](Verdict::stop) no process is
//! left when its build returns.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};

use super::error::BuildError;

/// How long processes that were killed may take to be gone. The kernel is quick with it, unless a disk
/// hangs, and so are most that adopt them.
const GONE: Duration = Duration::from_secs(2);

/// Between two looks whether they are.
const LOOK: Duration = Duration::from_millis(1);

/// What becomes of a build that was begun ahead; shared by who decides that and who builds. The first
/// word counts.
#[derive(Debug, Default)]
pub struct Verdict {
    state: Mutex<State>,
    given: Condvar,
}

#[derive(Debug, Default)]
struct State {
    given: Given,
    /// Process groups of compilers that run, by their leaders, none of which was reaped.
    compilers: Vec<Pid>,
}

#[derive(Debug, Default, PartialEq, Eq, Clone, Copy)]
enum Given {
    #[default]
    Open,
    Wanted,
    Stopped,
}

impl Verdict {
    /// The build is wanted, and goes on like any other.
    pub fn want(&self) {
        drop(self.give(Given::Wanted));
    }

    /// The build is of no use, and ends soon: its compilers are told to, with all that they started.
    pub fn stop(&self) {
        let state = self.give(Given::Stopped);
        if state.given == Given::Stopped {
            state.compilers.iter().for_each(|group| signal(*group, Signal::TERM));
        }
    }

    fn give(&self, given: Given) -> MutexGuard<'_, State> {
        let mut state = self.lock();
        if state.given == Given::Open {
            state.given = given;
            self.given.notify_all();
        }
        state
    }

    /// Waits until it is decided. Blocks.
    pub(super) fn wait(&self) -> Result<(), BuildError> {
        let open = |state: &mut State| state.given == Given::Open;
        let state = self.given.wait_while(self.lock(), open);
        match state.unwrap_or_else(PoisonError::into_inner).given {
            Given::Stopped => Err(BuildError::Stopped),
            Given::Open | Given::Wanted => Ok(()),
        }
    }

    /// Starts a compiler, unless the build was stopped.
    pub(super) fn spawn(&self, command: &mut Command) -> io::Result<Child> {
        let mut state = self.lock();
        if state.given == Given::Stopped {
            return Err(io::Error::other("the build was stopped"));
        }
        let child = command.process_group(0).spawn()?;
        state.compilers.push(Pid::from_child(&child));
        Ok(child)
    }

    /// A compiler has ended and was not reaped yet, so that nothing else has its number. Of a build
    /// that was stopped, what it leaves is killed; returns whether that is so.
    pub(super) fn ended(&self, compiler: Pid) -> bool {
        let mut state = self.lock();
        state.compilers.retain(|other| *other != compiler);
        let stopped = state.given == Given::Stopped;
        if stopped {
            signal(compiler, Signal::KILL);
        }
        stopped
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits until nothing of a process group is left, the leader of which was reaped. Blocks.
pub(super) fn await_end(group: Pid) {
    let until = Instant::now() + GONE;
    while test_kill_process_group(group).is_ok() {
        if Instant::now() > until {
            return tracing::warn!(group = group.as_raw_nonzero(), "a compiler does not end");
        }
        thread::sleep(LOOK);
    }
}

fn signal(group: Pid, signal: Signal) {
    if let Err(error) = kill_process_group(group, signal) {
        tracing::debug!(%error, group = group.as_raw_nonzero(), "nothing to end");
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Read};
    use std::process::{ChildStdout, Stdio};
    use std::sync::Arc;

    use super::super::compiler::Compiler;
    use super::*;

    /// A compiler that goes on for ever, by way of a process that does not heed SIGTERM, and what it
    /// says as long as any of its processes is left.
    fn endless(verdict: &Arc<Verdict>) -> (Compiler, BufReader<ChildStdout>) {
        let mut command = Command::new("sh");
        let script = "(trap '' TERM; while :; do sleep 1000; done) & echo begun; wait";
        command.args(["-c", script]).stdout(Stdio::piped());
        let mut compiler = Compiler::spawn(&mut command, Some(verdict)).unwrap();
        let mut words = BufReader::new(compiler.stdout().unwrap());
        words.read_line(&mut String::new()).unwrap();
        (compiler, words)
    }

    #[test]
    fn a_build_that_is_stopped_leaves_no_process_and_starts_none() {
        let verdict = Arc::new(Verdict::default());
        let (compiler, mut words) = endless(&verdict);
        verdict.stop();
        assert!(!compiler.wait().unwrap().success());
        // Its pipe is closed: nobody is left to write to it.
        assert_eq!(words.read_to_string(&mut String::new()).unwrap(), 0);
        assert!(matches!(verdict.wait(), Err(BuildError::Stopped)));
        assert!(verdict.spawn(&mut Command::new("true")).is_err());
    }

    #[test]
    fn a_build_that_is_wanted_is_not_stopped_any_more() {
        let verdict = Arc::new(Verdict::default());
        verdict.want();
        verdict.stop();
        verdict.wait().unwrap();
        let compiler = Compiler::spawn(&mut Command::new("true"), Some(&verdict)).unwrap();
        assert!(compiler.wait().unwrap().success());
    }
}
