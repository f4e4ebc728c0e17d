//! What tells `tqctl dev` to end, and that the terminal is ours again.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::attach::Ending;

/// The signals, which from now on do not end the process by themselves.
#[derive(Debug)]
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
    resumed: Signal,
}

impl Signals {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
            resumed: signal(SignalKind::from_raw(nix::libc::SIGCONT))?,
        })
    }

    /// The next that ends it: Ctrl-C, or SIGTERM and the end of the terminal.
    pub(super) async fn next(&mut self) -> Ending {
        tokio::select! {
            _ = self.interrupt.recv() => Ending::Interrupted,
            _ = self.terminate.recv() => Ending::Told,
            _ = self.hangup.recv() => Ending::Told,
        }
    }

    /// Either the next that ends it, or `None` when the process goes on after it was suspended.
    pub(super) async fn next_or_resumed(&mut self) -> Option<Ending> {
        let Self { interrupt, terminate, hangup, resumed } = self;
        tokio::select! {
            _ = interrupt.recv() => Some(Ending::Interrupted),
            _ = terminate.recv() => Some(Ending::Told),
            _ = hangup.recv() => Some(Ending::Told),
            _ = resumed.recv() => None,
        }
    }
}
