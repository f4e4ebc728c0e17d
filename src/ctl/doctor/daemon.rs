//! The tqserver that runs, if one does.

use std::path::PathBuf;

use super::ask::PATIENCE;
use super::check::Check;
use super::processes::Processes;
use super::sockets;
use crate::admin::api::ServerState;
use crate::ctl::client::{Client, ClientError};
use crate::version::VERSION_LINE;

/// What makes the daemon of the version that is installed.
const RELOAD: &str = "sudo systemctl reload tqserver   # goes on with the program on disk";

/// What is known of the daemon.
#[derive(Debug)]
pub(super) struct Facts {
    /// Its control socket.
    pub(super) socket: PathBuf,
    pub(super) state: State,
    /// The version of this tqctl.
    pub(super) version: String,
}

/// How the daemon answers.
#[derive(Debug)]
pub(super) enum State {
    /// systemd listens and would start it.
    Asleep,
    /// Nobody listens.
    NotRunning,
    Answered {
        version: String,
        state: ServerState,
    },
    /// This user may not ask.
    Denied,
    /// It is there, and cannot be asked: why, and what to do.
    Failed(String, Option<&'static str>),
}

impl Facts {
    /// Asks it, unless asking would start it.
    pub(super) async fn gather(client: &Client, processes: &Processes) -> Self {
        let socket = client.socket().to_owned();
        let state = if is_asleep(client, processes) { State::Asleep } else { ask(client).await };
        Self { socket, state, version: VERSION_LINE.clone() }
    }
}

/// Whether a connection would have systemd start the daemon: nobody but systemd has the socket.
/// Where others' sockets may not be seen, a tqserver among their processes is taken for its owner.
fn is_asleep(client: &Client, processes: &Processes) -> bool {
    let Ok(bound) = client.socket().canonicalize() else { return false };
    let inodes = sockets::unix_listeners(&bound);
    let holders: Vec<_> = inodes.iter().filter_map(|inode| processes.holder(*inode)).collect();
    match (inodes.is_empty(), holders.is_empty()) {
        (true, _) => false,
        (_, false) => holders.iter().all(|holder| holder.name == "systemd"),
        // Where nothing is hidden, it is a namesake's in another namespace.
        (_, true) if processes.hidden.is_empty() => false,
        (_, true) => processes.hidden.iter().all(|process| process.name != "tqserver"),
    }
}

async fn ask(client: &Client) -> State {
    match tokio::time::timeout(PATIENCE, client.status()).await {
        Ok(Ok(status)) => State::Answered { version: status.version, state: status.state },
        Ok(Err(ClientError::NotRunning(_))) => State::NotRunning,
        Ok(Err(ClientError::Denied(_))) => State::Denied,
        Ok(Err(error)) => {
            let mend = match &error {
                ClientError::NoSuchSocket(_) => {
                    Some("unset TQ_CONTROL_SOCKET   # and leave out --socket")
                }
                ClientError::Schema(_) => Some(RELOAD),
                _ => None,
            };
            State::Failed(error.into_failure().to_string(), mend)
        }
        Err(_) => State::Failed(
            format!("no answer within {} s", PATIENCE.as_secs()),
            Some("journalctl -u tqserver -n 50"),
        ),
    }
}

/// How the daemon stands. That none runs is no fault.
pub(super) fn judge(facts: &Facts) -> Vec<Check> {
    let name = "tqserver";
    let socket = facts.socket.display();
    let check = match &facts.state {
        State::Asleep => {
            Check::info(name, format!("not running; the first connection starts it ({socket})"))
        }
        State::NotRunning => Check::info(name, format!("not running: nobody listens on {socket}")),
        State::Answered { version, .. } if *version != facts.version => {
            let found = format!("runs {version}, and this tqctl is {}", facts.version);
            Check::warning(name, found).mend(RELOAD)
        }
        State::Answered { version, state: ServerState::Serving } => {
            Check::ok(name, format!("serving, {version}"))
        }
        State::Answered { state, .. } => {
            Check::warning(name, state.as_str()).mend("tqctl status   # says why")
        }
        State::Denied => Check::warning(name, format!("you may not ask it ({socket})"))
            .mend("sudo usermod --append --groups tqserver-admin $USER   # then log in again"),
        State::Failed(error, mend) => {
            let check = Check::failed(name, error);
            mend.iter().fold(check, |check, mend| check.mend(*mend))
        }
    };
    vec![check.details([format!("control socket: {socket}")])]
}
