//! Why sockets cannot be had.

use std::io;
use std::net::SocketAddr;
use std::os::fd::RawFd;

use super::Role;

/// Why inherited sockets were refused. Nothing is guessed: a socket used for the wrong purpose
/// could expose the control socket to the network.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// The variables are for another process, or were left behind by one.
    #[error(
        "LISTEN_PID is {found:?}, but this process is {own}: sockets reach only the process that \
         systemd itself started (a wrapper must `exec` it); to run without them, unset LISTEN_PID \
         and LISTEN_FDS"
    )]
    WrongPid {
        /// What LISTEN_PID said; empty when it was not set.
        found: String,
        /// This process.
        own: u32,
    },
    /// LISTEN_FDS is no number.
    #[error("LISTEN_FDS is {0:?}, which is not a number of sockets")]
    BadCount(String),
    /// There are not as many names as sockets.
    #[error("LISTEN_FDS says {count} sockets, but LISTEN_FDNAMES names {names}: {found:?}")]
    NameCount {
        /// How many sockets were passed.
        count: usize,
        /// How many names.
        names: usize,
        /// The names.
        found: String,
    },
    /// A socket without a name, or with one that means nothing here.
    #[error(
        "inherited socket {index} is called {name:?}, and only \"http\", \"https\", \
         \"control\" and \"admin\" are known: set FileDescriptorName= in its .socket unit"
    )]
    UnknownName {
        /// Its place in LISTEN_FDNAMES, from 1.
        index: usize,
        /// Its name.
        name: String,
    },
    /// A descriptor that cannot be what its name says.
    #[error("inherited socket {role} (descriptor {fd}) must be {expected}, and is {found}")]
    WrongKind {
        /// What it was meant for.
        role: Role,
        /// Its number.
        fd: RawFd,
        /// What it should have been.
        expected: &'static str,
        /// What it is.
        found: String,
    },
    /// More than one control socket.
    #[error("{0} control sockets were inherited, and there can be only one")]
    SeveralControl(usize),
    /// Sockets were passed, but none to serve.
    #[error(
        "the inherited sockets ({found}) have none called \"http\": is tqserver.socket enabled?"
    )]
    NoHttp {
        /// The names there were.
        found: String,
    },
    /// A descriptor's flags could not be set.
    #[error("cannot prepare inherited socket {role}: {error}")]
    Prepare {
        /// What it was meant for.
        role: Role,
        /// What the kernel said.
        error: io::Error,
    },
    /// The address of a foreground try-out cannot be had.
    #[error("cannot listen on {addr}: {error}{}", hint(.error))]
    Bind {
        /// The address.
        addr: SocketAddr,
        /// What the kernel said.
        error: io::Error,
    },
}

/// What to do about a failed bind.
fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "; another program listens there, choose another with --listen",
        io::ErrorKind::PermissionDenied => {
            "; ports below 1024 are for root: let tqserver.socket open them"
        }
        _ => "",
    }
}
