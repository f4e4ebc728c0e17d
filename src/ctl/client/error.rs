//! Why there is no answer, which exit code that is, and what to do about it.

use std::path::PathBuf;

use http::StatusCode;

use super::TIMEOUT;
use crate::admin::api::SCHEMA;
use crate::ctl::exit::{Exit, Failure};

/// Why there is no answer to go by.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens where tqserver would.
    #[error("tqserver is not running: nobody listens on {}", .0.display())]
    NotRunning(PathBuf),
    /// The socket that was asked for is not there.
    #[error("there is no socket {}", .0.display())]
    NoSuchSocket(PathBuf),
    /// The socket may not be used.
    #[error("no permission to use {}", .0.display())]
    Denied(PathBuf),
    /// It did not answer in time.
    #[error("tqserver did not answer on {} within {} s", .0.display(), TIMEOUT.as_secs())]
    Timeout(PathBuf),
    /// The connection failed otherwise.
    #[error("the connection to {} failed", socket.display())]
    Connection {
        /// The socket.
        socket: PathBuf,
        /// What happened.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It answered that the request is wrong.
    #[error("tqserver refused the request: {status}: {message}")]
    Refused {
        /// The status code.
        status: StatusCode,
        /// Its words.
        message: String,
    },
    /// It answered what this version cannot read.
    #[error("{} answered something else than tqserver would: {reason}", socket.display())]
    Garbage {
        /// The socket.
        socket: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// It speaks another version of the documents.
    #[error("tqserver speaks schema {0} of its control documents, and this tqctl {SCHEMA}")]
    Schema(u32),
}

impl ClientError {
    fn exit(&self) -> Exit {
        match self {
            Self::NotRunning(_) => Exit::Degraded,
            Self::NoSuchSocket(_) | Self::Denied(_) | Self::Timeout(_) => Exit::Unreachable,
            Self::Connection { .. } | Self::Garbage { .. } => Exit::Unreachable,
            Self::Refused { .. } | Self::Schema(_) => Exit::Failure,
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::NotRunning(_) => "systemctl start tqserver.socket tqserver-control.socket",
            Self::NoSuchSocket(_) => "leave out --socket and TQ_CONTROL_SOCKET for the usual one",
            Self::Denied(_) => "sudo usermod --append --groups tqserver-admin $USER, then log in",
            Self::Timeout(_) => "journalctl -u tqserver -n 50",
            Self::Schema(_) => "install tqctl and tqserver of the same version",
            Self::Connection { .. } | Self::Garbage { .. } | Self::Refused { .. } => return None,
        };
        Some(hint.to_owned())
    }

    /// The failure of a verb that cannot go on without the answer.
    pub fn into_failure(self) -> Failure {
        let (exit, hint) = (self.exit(), self.hint());
        Failure::new(exit, self).with_hint(hint)
    }
}
