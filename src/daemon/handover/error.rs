//! Why a new program did not take over.

use std::io;
use std::process::ExitStatus;
use std::time::Duration;

/// What went wrong, in words that follow "the new program".
#[derive(Debug, thiserror::Error)]
pub(super) enum HandoverError {
    /// There is no such process.
    #[error("cannot be started: {0}")]
    Start(io::Error),
    /// It is no tqserver, or one that cannot do this.
    #[error(
        "ended with {0} instead of taking over: is it a tqserver that can? If it is meant to run, \
         restart the service"
    )]
    Refused(ExitStatus),
    /// It was there, and is gone.
    #[error("ended before it served; its messages are in the log")]
    Ended,
    /// It says so itself.
    #[error("says: {0}")]
    Failed(String),
    /// A step took too long.
    #[error("was not {step} within {} s", .limit.as_secs_f64())]
    Late {
        /// What it should have been.
        step: &'static str,
        /// The longest that it may take.
        limit: Duration,
    },
    /// The rollout did not come to rest.
    #[error(
        "could not take over within {} s because a rollout is under way; reload again when it has \
         ended",
        .0.as_secs_f64()
    )]
    Busy(Duration),
    /// There is no rollout.
    #[error("could not take over: this process is about to end")]
    Ending,
    /// It cannot be spoken to.
    #[error("does not speak our language: {0}")]
    Garbled(#[from] io::Error),
    /// It speaks, but out of turn.
    #[error("said {0} out of turn")]
    OutOfTurn(String),
}
