//! `tqctl dev`: a socket-activated tqserver in the user's own systemd manager that serves the source
//! tree for as long as somebody looks.

mod attach;
mod browser;
mod environment;
mod holder;
mod keys;
mod listen;
mod log;
mod manager;
mod private;
mod program;
mod render;
mod session;
mod signals;
mod start;
mod stop;
mod systemctl;
mod target;

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;

use super::client::Client;
use super::exit::{Exit, Failure};
use super::output::{Output, printable_lines};
use crate::config::settings::{Mode, Settings};
use crate::config::{self, Environment, Sources};
use attach::{Attached, Ending};
use listen::Listen;
use session::Session;
use signals::Signals;

/// `tqctl dev`
#[derive(Debug, Args)]
pub struct DevArgs {
    /// The project's folder, instead of --root or the working directory
    #[arg(value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Listen here instead of on this machine's port of server.yaml
    #[arg(long, value_name = "[ADDR:]PORT")]
    listen: Option<Listen>,
    /// Run in a systemd user manager made for it, where there is none; needs root
    #[arg(long)]
    private_systemd: bool,
}

/// Serves the project until Ctrl-C.
pub fn run(args: &DevArgs, root: &Path, out: &Output) -> Result<Exit, Failure> {
    if args.private_systemd {
        return Err(private::become_one().into());
    }
    let root = args.dir.as_deref().unwrap_or(root);
    let root = root.canonicalize().with_context(|| root.display().to_string())?;
    let settings = settings(&root, out)?;
    let runtime_dir = manager::runtime_dir()?;
    let session = Session::of(&root, &runtime_dir);
    super::block_on(serve(args, &session, &settings, out))
}

/// The control socket of the session that serves `root`, if one does.
pub(super) fn socket_of(root: &Path, runtime_dir: &Path) -> Option<PathBuf> {
    let socket = Session::of(&root.canonicalize().ok()?, runtime_dir).control_socket();
    socket.exists().then_some(socket)
}

/// The project's settings. What is wrong with them is said here, before anything is started.
fn settings(root: &Path, out: &Output) -> Result<Settings, Failure> {
    let sources = Sources {
        mode: Some(Mode::Dev),
        environment: Environment::of_process(),
        ..Sources::of_project(root)
    };
    let loaded = config::load(&sources)?;
    for warning in &loaded.warnings {
        out.warning(printable_lines(&warning.to_string()));
    }
    Ok(loaded.settings)
}

async fn serve(
    args: &DevArgs,
    session: &Session,
    settings: &Settings,
    out: &Output,
) -> Result<Exit, Failure> {
    // From here on a signal ends what was begun.
    let mut signals = Signals::new()?;
    let lock = tokio::select! {
        lock = session.lock() => lock?,
        ending = signals.next() => return Ok(ending.exit()),
    };
    if session.is_served().await? {
        drop(lock);
        out.message("a session of this project runs already; this one only looks");
        if args.listen.is_some() {
            out.warning("--listen has no effect: the session has its socket");
        }
        let ending = attach(session, &mut signals, out).await?;
        out.message(match ending {
            Ending::SessionEnded => "the session has ended",
            _ => "the session goes on",
        });
        return Ok(ending.exit());
    }
    // What a run left that was killed before it had a tqserver.
    stop::stop(session).await?;
    let addresses = listen::addresses(args.listen, settings.listener.port)?;
    let ended = own(session, &addresses, settings, lock, &mut signals, out).await;
    out.message("stopping");
    let _lock = session.lock().await?;
    stop::stop(session).await?;
    ended
}

/// Starts the session and follows it to its end. Whatever comes of it, the caller stops it.
async fn own(
    session: &Session,
    addresses: &[SocketAddr],
    settings: &Settings,
    lock: File,
    signals: &mut Signals,
    out: &Output,
) -> Result<Exit, Failure> {
    start::make_units(session, addresses, settings).await?;
    let started = tokio::select! {
        started = start::start(session) => started?,
        ending = signals.next() => return Ok(ending.exit()),
    };
    drop(lock);
    let ending = match started {
        true => attach(session, signals, out).await?,
        false => Ending::SessionEnded,
    };
    if ending == Ending::SessionEnded {
        out.explanation(log::last_lines(session));
        let what = if started { "tqserver has ended" } else { "tqserver did not start" };
        return Err(anyhow::anyhow!(what).into());
    }
    Ok(ending.exit())
}

async fn attach(session: &Session, signals: &mut Signals, out: &Output) -> Result<Ending, Failure> {
    let client = Client::locate(Some(session.control_socket()), None);
    let url = session.url().await?;
    Attached::new(session, client, url, out)?.follow(signals).await
}
