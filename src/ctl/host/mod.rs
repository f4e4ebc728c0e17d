//! `tqctl host-session`: the end of a deployment that is on the host.
//!
//! It is told what to do by lines on stdin, as `protocol` has them, and ends with them, whatever has
//! become of whoever sent them. The lock and what was staged end with it. It runs as the user who
//! deploys, and can do nothing that this user could not do by hand.

mod canary;
mod known;
pub(super) mod protocol;
mod receive;
mod rollout;
mod soak;
mod verdict;
mod wire;

use std::path::PathBuf;

use clap::Args;
use jiff::Timestamp;
use nix::unistd::{User, geteuid};

use super::client::Client;
use super::exit::{Exit, Failure};
use crate::store::layout::DeployDir;
use crate::store::lock::{DeployLock, LockError};
use crate::store::manifest::DeployedBy;
use protocol::{PROTOCOL, Reply, Request};
use receive::Receiving;
use wire::Wire;

/// `tqctl host-session`
#[derive(Debug, Args)]
pub struct HostArgs {}

/// The most that is believed of a client's word for itself, in characters.
const MAX_CLIENT: usize = 120;

/// Serves one session on stdin and stdout.
pub fn run(_args: &HostArgs) -> Result<Exit, Failure> {
    let mut wire = Wire::of_process();
    let Some(first) = wire.next()? else { return Ok(Exit::Ok) };
    let mut session = match Session::begin(first) {
        Ok((session, hello)) => {
            wire.say(&Reply::Hello(hello));
            session
        }
        Err(failure) => {
            wire.fail(&failure);
            return Ok(failure.exit());
        }
    };
    while let Some(request) = wire.next()? {
        if let Err(failure) = session.heed(request, &mut wire) {
            // The other side may have sent what belongs to the request: nothing after it is sure.
            wire.fail(&failure);
            return Ok(failure.exit());
        }
    }
    Ok(Exit::Ok)
}

/// What a session knows and holds. What is staged goes before the lock does.
struct Session {
    receiving: Option<Receiving>,
    lock: Option<DeployLock>,
    deploy: DeployDir,
    client: Client,
    by: DeployedBy,
}

impl Session {
    fn begin(first: Request) -> Result<(Self, protocol::Hello), Failure> {
        let Request::Hello { protocol, deploy, socket, client, verb } = first else {
            return Err(anyhow::anyhow!("the session did not begin with hello").into());
        };
        if protocol != PROTOCOL {
            let error = anyhow::anyhow!(
                "tqctl there speaks version {protocol} of the deploy protocol, and the one here {PROTOCOL}"
            );
            return Err(Failure::from(error)
                .with_hint(Some("install tqctl of the same version on both".to_owned())));
        }
        let deploy = DeployDir::new(deploy);
        if !deploy.path().is_dir() {
            let error = anyhow::anyhow!("{}: there is no such folder", deploy.path().display());
            return Err(Failure::from(error)
                .with_hint(Some("install tqserver there, or make the folder".to_owned())));
        }
        let runtime_dir = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
        let session = Self {
            receiving: None,
            lock: None,
            deploy,
            client: Client::locate(socket, runtime_dir),
            by: deployed_by(client, &verb),
        };
        let hello = known::hello(&session.deploy, &session.client)?;
        Ok((session, hello))
    }

    fn heed(&mut self, request: Request, wire: &mut Wire) -> Result<(), Failure> {
        match request {
            Request::Hello { .. } => {
                return Err(anyhow::anyhow!("the session has begun already").into());
            }
            Request::Missing { record } => {
                let record = receive::record(&record)?;
                let files = known::Content::of(&self.deploy)?.lacks(&record);
                wire.say(&Reply::Missing { files });
            }
            Request::Lock { wait } => self.lock(wait, wire)?,
            Request::Stage { record, sizes, signature } => {
                let lock = held(&self.lock)?;
                match Receiving::begin(lock, &record, &sizes, signature)? {
                    None => wire.say(&Reply::Present),
                    Some(receiving) => {
                        wire.say(&receiving.staged()?);
                        self.receiving = Some(receiving);
                    }
                }
            }
            Request::Archive => {
                let receiving = self.receiving.as_ref().ok_or_else(nothing_staged)?;
                receiving.unpack(wire)?;
                wire.say(&Reply::Received);
            }
            Request::Publish => {
                let lock = held(&self.lock)?;
                self.receiving.take().ok_or_else(nothing_staged)?.publish(lock)?;
                wire.say(&Reply::Published);
            }
            Request::RollOut { commit, soak_ms, canary } => {
                let lock = held(&self.lock)?;
                let rolled_out = rollout::Rollout {
                    lock,
                    client: &self.client,
                    by: &self.by,
                    canary,
                    soak: std::time::Duration::from_millis(soak_ms),
                }
                .run(&commit, wire)?;
                wire.say(&Reply::RolledOut(rolled_out));
            }
            Request::List { verify } => {
                wire.say(&Reply::Deployments(known::list(&self.deploy, &self.client, verify)?));
            }
        }
        Ok(())
    }

    fn lock(&mut self, wait: bool, wire: &mut Wire) -> Result<(), Failure> {
        let purpose = match &self.by.client {
            Some(client) => format!("tqctl {} of {client}", self.by.verb),
            None => format!("tqctl {} of {}", self.by.verb, self.by.user),
        };
        let now = Timestamp::now();
        let lock = match DeployLock::try_acquire(&self.deploy, &purpose, now) {
            Err(error @ LockError::Held { .. }) if wait => {
                wire.say(&Reply::Waiting { holder: error.to_string() });
                DeployLock::acquire(&self.deploy, &purpose, now)
            }
            other => other,
        };
        match lock {
            Ok(lock) => {
                // What a deployment left behind that was killed.
                crate::store::stage::clean(&lock)?;
                self.lock = Some(lock);
                wire.say(&Reply::Locked);
            }
            Err(error @ LockError::Held { .. }) => {
                wire.say(&Reply::Held { message: error.to_string() });
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}

fn held(lock: &Option<DeployLock>) -> Result<&DeployLock, Failure> {
    lock.as_ref().ok_or_else(|| anyhow::anyhow!("nothing is changed without the lock").into())
}

fn nothing_staged() -> Failure {
    anyhow::anyhow!("no deployment is being received").into()
}

/// Who deploys: the user here, and what is said of who that is elsewhere.
pub(super) fn deployed_by(client: Option<String>, verb: &str) -> DeployedBy {
    let connection = std::env::var("SSH_CONNECTION").ok();
    DeployedBy {
        user: user(),
        from: connection.as_deref().and_then(|it| it.split(' ').next()).map(plain),
        client: client.as_deref().map(plain),
        verb: plain(verb),
    }
}

/// Who we are, by name where there is one.
fn user() -> String {
    let uid = geteuid();
    let user = User::from_uid(uid).ok().flatten();
    user.map_or_else(|| uid.to_string(), |user| user.name)
}

/// A text of bounded length for one line.
fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MAX_CLIENT).collect()
}
