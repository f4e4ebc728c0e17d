//! Exit codes, which scripts lean on, and the error type that carries one.

use std::fmt;
use std::process::ExitCode;

/// How a run of tqctl ended. The numbers are part of its interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done, or all is well.
    Ok = 0,
    /// It failed, and none of the others says it better.
    Failure = 1,
    /// The command line was wrong.
    Usage = 2,
    /// tqserver is degraded or not running.
    Degraded = 3,
    /// tqserver cannot be reached: wrong socket, no permission, no answer.
    Unreachable = 4,
    /// Another run holds the lock.
    Locked = 5,
    /// A build failed.
    BuildFailed = 6,
    /// The deployment was rolled back, or was never switched to.
    NotSwitched = 7,
    /// The rollback failed.
    RollbackFailed = 8,
    /// Ctrl-C: 128 and SIGINT, as a shell would say.
    Interrupted = 130,
}

impl Exit {
    /// The one of this number, which another tqctl has said; [`Exit::Failure`] for others.
    pub(super) fn of_code(code: u8) -> Self {
        let all = [
            Self::Ok,
            Self::Failure,
            Self::Usage,
            Self::Degraded,
            Self::Unreachable,
            Self::Locked,
            Self::BuildFailed,
            Self::NotSwitched,
            Self::RollbackFailed,
            Self::Interrupted,
        ];
        all.into_iter().find(|exit| *exit as u8 == code).unwrap_or(Self::Failure)
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// An error and the exit code it calls for. `?` on any error gives [`Exit::Failure`].
#[derive(Debug)]
pub struct Failure {
    exit: Exit,
    error: anyhow::Error,
    hint: Option<String>,
}

impl Failure {
    /// An error that calls for an exit code of its own.
    pub fn new(exit: Exit, error: impl Into<anyhow::Error>) -> Self {
        Self { exit, error: error.into(), hint: None }
    }

    /// Adds what to do about it, a command or a sentence.
    #[must_use]
    pub fn with_hint(mut self, hint: Option<String>) -> Self {
        self.hint = hint;
        self
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// The code.
    pub fn exit(&self) -> Exit {
        self.exit
    }
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::new(Exit::Failure, error)
    }
}

/// The error and its causes, in one line.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#}", self.error)
    }
}
