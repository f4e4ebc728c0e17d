//! The process that is to take over, as the old one sees it.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::error::HandoverError;
use super::program::arguments;
use super::wire::{self, Channel, Message};
use super::{Stage, take_over};
use crate::ids::WorkerName;
use crate::sd::sockets::InheritedSockets;

/// How long a process that was killed may take to be gone.
const GONE_WITHIN: Duration = Duration::from_secs(5);

/// A started process. Unless it was [established](Self::establish), it is killed when dropped.
#[derive(Debug)]
pub(in crate::daemon) struct Successor {
    channel: Channel,
    /// Between us and it, until it has started it: see [`Stage::Relay`].
    relay: Child,
    process: Option<Process>,
    established: bool,
}

/// It is no child of ours, so its id alone could come to mean another process.
#[derive(Debug)]
struct Process {
    pid: u32,
    descriptor: OwnedFd,
}

impl Successor {
    /// Starts `program` with our arguments and environment, and offers it the sockets.
    pub(super) async fn start(
        program: &Path,
        sockets: &InheritedSockets,
    ) -> Result<Self, HandoverError> {
        let (ours, theirs) = wire::pair().map_err(HandoverError::Start)?;
        let relay = Command::new(program)
            .args(arguments())
            .arg(take_over(Stage::Relay))
            // They are about this process, and its descriptors.
            .env_remove("LISTEN_PID")
            .env_remove("LISTEN_FDS")
            .env_remove("LISTEN_FDNAMES")
            .env_remove("WATCHDOG_PID")
            .stdin(Stdio::from(theirs))
            .kill_on_drop(true)
            .spawn()
            .map_err(HandoverError::Start)?;
        let channel = Channel::new(ours)?;
        let (roles, descriptors): (Vec<_>, Vec<_>) = sockets.by_role().unzip();
        let offer = Message::Offer { protocol: wire::PROTOCOL, sockets: roles };
        let successor = Self { channel, relay, process: None, established: false };
        // Where nobody is left to take it, what it says, or its status, tells why.
        let _ = successor.channel.send_with(&offer, &descriptors).await;
        Ok(successor)
    }

    /// Completes when it has all that it needs.
    pub(super) async fn prepared(&mut self) -> Result<(), HandoverError> {
        let mut prepared = false;
        // Two processes speak: the relay may be the later one.
        while !prepared || self.process.is_none() {
            match self.next().await? {
                Message::Launched { pid } => self.process = Some(Process::open(pid)?),
                Message::Prepared => prepared = true,
                other => return Err(out_of_turn(&other)),
            }
        }
        Ok(())
    }

    /// Gives it the word. Completes when it serves `serving` and accepts connections.
    pub(super) async fn ready(&mut self, serving: Vec<WorkerName>) -> Result<(), HandoverError> {
        // A failure shows in what comes next.
        let _ = self.channel.send(&Message::Yours { serving }).await;
        match self.next().await? {
            Message::Ready => Ok(()),
            other => Err(out_of_turn(&other)),
        }
    }

    /// Its process id.
    pub(super) fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(|process| process.pid)
    }

    /// It is the service from here on, and we are gone within the given time.
    pub(super) async fn establish(&mut self, gone_within: Duration) -> Result<(), HandoverError> {
        let gone_within_ms = u64::try_from(gone_within.as_millis()).unwrap_or(u64::MAX);
        self.channel.send(&Message::Main { gone_within_ms }).await?;
        self.established = true;
        Ok(())
    }

    /// Completes when it wants us to end soon, or has ended itself.
    pub(in crate::daemon) async fn hurries(&self) {
        // Whatever it says now can mean nothing else.
        let _ = self.channel.receive().await;
    }

    /// Kills it, and waits until it is gone: what it may have asked of systemd is asked then.
    pub(super) async fn end(mut self) {
        self.kill();
        let gone = async {
            let _ = self.relay.wait().await;
            // The kernel closes the other end when its process ends.
            while let Ok(Some(_)) = self.channel.receive().await {}
        };
        if timeout(GONE_WITHIN, gone).await.is_err() {
            tracing::warn!("the process that was to take over cannot be killed");
        }
    }

    fn kill(&mut self) {
        let _ = self.relay.start_kill();
        if let Some(process) = &self.process {
            // It may have ended by itself.
            let _ = pidfd_send_signal(&process.descriptor, Signal::KILL);
        }
    }

    /// The next message that is no failure.
    async fn next(&mut self) -> Result<Message, HandoverError> {
        match self.channel.receive().await? {
            Some(Message::Failed(reason)) => Err(HandoverError::Failed(reason)),
            Some(message) => Ok(message),
            None if self.process.is_some() => Err(HandoverError::Ended),
            None => {
                let status = self.relay.wait().await?;
                Err(HandoverError::Refused(status))
            }
        }
    }
}

impl Drop for Successor {
    fn drop(&mut self) {
        if !self.established {
            self.kill();
        }
    }
}

impl Process {
    fn open(pid: i32) -> Result<Self, HandoverError> {
        let gone = || io::Error::from(io::ErrorKind::NotFound);
        let id = Pid::from_raw(pid).ok_or_else(gone)?;
        let opened = pidfd_open(id, PidfdFlags::empty());
        let descriptor = opened.map_err(|_| HandoverError::Ended)?;
        Ok(Self { pid: pid.unsigned_abs(), descriptor })
    }
}

fn out_of_turn(message: &Message) -> HandoverError {
    HandoverError::OutOfTurn(format!("{message:?}"))
}
