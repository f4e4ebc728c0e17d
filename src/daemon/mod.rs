//! The composition root: opens everything, starts the parts, tells systemd, and ends them in
//! order. It is the only place that knows all of them.

mod args;
mod control;
mod development;
mod follow;
mod handover;
mod https;
mod lease;
mod metrics;
mod paths;
mod production;
mod reloads;
mod retention;
mod running;
mod samples;
mod soaks;
mod steps;

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use crate::config::settings::{Settings, foreground_addr};
use crate::config::{self, ConfigErrors};
use crate::launcher::bus::BusLauncher;
use crate::launcher::{LaunchError, Launcher as _};
use crate::sd::logging;
use crate::sd::notify::Notifier;
use crate::sd::sockets::{self, InheritedSockets, ListenEnv};
use crate::tls::TlsError;
pub use args::Args;
use handover::{Predecessor, Stage};
use https::Https;
use running::Prepared;

/// sysexits.h: something in the configuration is not as it should be.
const EX_CONFIG: u8 = 78;

/// How long requests in flight may hold up the end of a development session: somebody waits for it.
const SESSION_DRAIN: Duration = Duration::from_secs(5);

/// Runs `tqserver`. Returns when it was told to stop, has handed over, or cannot go on.
pub fn main(args: &Args) -> ExitCode {
    // Before any thread: both read the environment, and the second takes descriptors.
    let env = config::Environment::of_process();
    let sockets = sockets::take_inherited(&ListenEnv::capture());
    let run = || -> anyhow::Result<()> {
        logging::init()?;
        if args.take_over == Some(Stage::Relay) {
            return handover::relay();
        }
        let sockets = sockets?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("control")
            .enable_all()
            .build()?;
        runtime.block_on(async {
            match args.take_over {
                None => serve(args, env, sockets, None).await,
                Some(_) => take_over(args, env).await,
            }
        })
    };
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            match tracing::dispatcher::has_been_set() {
                true => tracing::error!("{error:#}"),
                // What is wrong is the log itself.
                false => _ = writeln!(std::io::stderr(), "{error:#}"),
            }
            let config = error.is::<ConfigErrors>() || error.is::<TlsError>();
            if config { EX_CONFIG.into() } else { ExitCode::FAILURE }
        }
    }
}

/// Serves in the place of the process that started us.
async fn take_over(args: &Args, env: config::Environment) -> anyhow::Result<()> {
    let (predecessor, sockets) = Predecessor::meet().await?;
    let predecessor = Arc::new(predecessor);
    let served = serve(args, env, Some(sockets), Some(Arc::clone(&predecessor))).await;
    if let Err(error) = &served {
        predecessor.failed(error).await;
    }
    served
}

async fn serve(
    args: &Args,
    env: config::Environment,
    inherited: Option<InheritedSockets>,
    predecessor: Option<Arc<Predecessor>>,
) -> anyhow::Result<()> {
    let paths = paths::Paths::new(args, &env)?;
    let sources = paths.sources(args, env);
    let loaded = config::load(&sources)?;
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    let in_foreground = inherited.is_none();
    let sockets = match inherited {
        Some(_) if args.listen.is_some() => {
            anyhow::bail!("--listen is for a try-out in the foreground, and sockets were passed")
        }
        Some(sockets) => sockets,
        None => foreground(args, &loaded.settings)?,
    };
    warn_of_port(&sockets.http, &loaded.settings);
    let https = Https::open(&sources.environment, &loaded.settings, &sockets)?;

    let prepared = Prepared::new(args, &paths, &loaded.settings, sockets, https).await?;
    let mut daemon = prepared.start(sources, predecessor, in_foreground).await?;
    let (mut terminate, mut interrupt) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut told_to_stop = async || {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    let session = args.session.as_deref();
    let followers = daemon.followers_of_events();
    let abandoned = async {
        match session {
            Some(session) => lease::keep(session, followers).await,
            None => std::future::pending().await,
        }
    };
    Notifier.ready("accepting requests");
    let successor = tokio::select! {
        () = told_to_stop() => None,
        () = abandoned => None,
        succeeded = daemon.succeeded() => Some(succeeded?),
    };
    let drain_timeout = match session {
        Some(_) => loaded.settings.rollout.drain_timeout.min(SESSION_DRAIN),
        None => loaded.settings.rollout.drain_timeout,
    };
    match successor {
        Some(successor) => daemon.retire(successor, drain_timeout, told_to_stop()).await,
        None => {
            let launcher = daemon.stop(drain_timeout).await;
            if in_foreground || session.is_some() {
                stop_workers(&launcher).await;
            }
        }
    }
    Ok(())
}

/// A unit's workers stop with tq-workers.target. A try-out in the foreground has nobody who would
/// stop them, nor anybody who will adopt them, and a development session may share the target with
/// others that go on.
async fn stop_workers(launcher: &BusLauncher) {
    let stop_all = async {
        for worker in launcher.list().await? {
            launcher.stop(&worker.unit).await?;
        }
        Ok::<_, LaunchError>(())
    };
    if let Err(error) = stop_all.await {
        tracing::warn!("workers may be left, stop them with systemctl: {error}");
    }
}

/// Sockets of our own, for a try-out without systemd.
fn foreground(args: &Args, settings: &Settings) -> anyhow::Result<InheritedSockets> {
    let Some(listen) = args.listen else {
        anyhow::bail!(
            "no socket was passed: start it as tqserver.socket, or try it out with --listen {}",
            foreground_addr(&settings.listener)
        );
    };
    let listener = sockets::bind_foreground(listen)?;
    tracing::info!("listening on http://{}", listener.local_addr()?);
    let (https, admin) = (Vec::new(), Vec::new());
    Ok(InheritedSockets { http: vec![listener], https, control: None, admin })
}

fn warn_of_port(listeners: &[std::net::TcpListener], settings: &Settings) {
    let port = settings.listener.port;
    let inherited: Vec<_> =
        listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect();
    if inherited.iter().any(|addr| addr.port() == port) {
        return;
    }
    for addr in inherited {
        tracing::info!(
            "listening on {addr}, which was passed to us; server.port is {port}. To listen there: \
             systemctl edit tqserver.socket, and write [Socket], ListenStream=, ListenStream={port}"
        );
    }
}
