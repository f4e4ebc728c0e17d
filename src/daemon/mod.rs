//! The composition root: opens everything, starts the parts, tells systemd, and ends them in
//! order. It is the only place that knows all of them.

mod args;
mod control;
mod follow;
mod paths;

use std::num::NonZero;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use arc_swap::ArcSwap;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::admin;
use crate::config::settings::{Mode, Settings, foreground_addr};
use crate::config::{self, ConfigErrors};
use crate::launcher::bus::BusLauncher;
use crate::launcher::{LaunchError, Launcher as _, LauncherConfig, Output};
use crate::proxy::table::PublishedTable;
use crate::proxy::{DataPlane, ProxySettings};
use crate::rollout::actor::{Actor, Parts, RolloutHandle};
use crate::rollout::last_lines::LastLines;
use crate::rollout::load::Loader;
use crate::rollout::state::StateFile;
use crate::sd::notify::Notifier;
use crate::sd::sockets::{self, InheritedSockets, ListenEnv};
use crate::sd::{journal, logging};
pub use args::Args;
use control::DaemonControl;

/// sysexits.h: something in the configuration is not as it should be.
const EX_CONFIG: u8 = 78;

/// Runs `tqserver`. Returns when it was told to stop, or cannot go on.
pub fn main(args: &Args) -> ExitCode {
    // Before any thread: both read the environment, and the second takes descriptors.
    let env = config::Environment::of_process();
    let sockets = sockets::take_inherited(&ListenEnv::capture());
    let run = || -> anyhow::Result<()> {
        logging::init()?;
        let sockets = sockets?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("control")
            .enable_all()
            .build()?;
        runtime.block_on(serve(args, env, sockets))
    };
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            let config = error.downcast_ref::<ConfigErrors>().is_some();
            if config { EX_CONFIG.into() } else { ExitCode::FAILURE }
        }
    }
}

async fn serve(
    args: &Args,
    env: config::Environment,
    inherited: Option<InheritedSockets>,
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

    let mut daemon = Daemon::start(args, &paths, sources, &loaded.settings, sockets).await?;
    let (mut terminate, mut interrupt) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Notifier.ready("accepting requests");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        failure = daemon.failed() => return Err(failure),
    }
    let launcher = daemon.stop(loaded.settings.rollout.drain_timeout).await;
    if in_foreground {
        stop_workers(&launcher).await;
    }
    Ok(())
}

/// The parts that run.
struct Daemon {
    launcher: Arc<BusLauncher>,
    plane: DataPlane,
    rollout: RolloutHandle,
    control: Arc<DaemonControl>,
    /// Invariant: an unexpected end of any of these ends the daemon; systemd starts a whole one.
    tasks: JoinSet<()>,
    /// Ends the control socket's server, last of all.
    stopping: CancellationToken,
}

impl Daemon {
    async fn start(
        args: &Args,
        paths: &paths::Paths,
        sources: config::Sources,
        settings: &Settings,
        sockets: InheritedSockets,
    ) -> anyhow::Result<Self> {
        let output = match journal::is_present() {
            true => Output::Journal,
            false => Output::Files(paths.output()),
        };
        let launcher_config = LauncherConfig::new(settings, output.clone());
        let launcher = Arc::new(BusLauncher::connect(args.manager(), launcher_config).await?);
        let table = PublishedTable::new();
        let shared = Arc::new(ArcSwap::from_pointee(proxy_settings(settings)));
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        let plane = DataPlane::start(sockets.http, cores, Arc::clone(&table), Arc::clone(&shared))
            .context("cannot start the data plane")?;

        let parts = Parts {
            launcher: Arc::clone(&launcher),
            table,
            loader: Loader::new(sources, output.clone(), paths.state()),
            state: StateFile::in_dir(paths.state()),
            last_lines: LastLines::new(output.clone(), args.journal_manager()),
            apply: Box::new(apply(Arc::clone(&launcher), output, shared, settings.listener.port)),
        };
        let (actor, rollout, inbox) = Actor::new(parts, settings);
        let control = DaemonControl::new(rollout.clone(), plane.counters(), settings.mode);
        let (control, stopping) = (Arc::new(control), CancellationToken::new());

        let mut tasks = JoinSet::new();
        tasks.spawn(actor.run(inbox));
        let listener = match sockets.control {
            Some(listener) => listener,
            None => paths.bind_control()?,
        };
        let listener = tokio::net::UnixListener::from_std(listener)?;
        tasks.spawn(admin::server::serve(listener, Arc::clone(&control), stopping.clone()));
        if settings.mode == Mode::Prod && settings.deployments.reload_on_change {
            tasks.spawn(follow::manifest(settings.deployments.clone(), rollout.clone()));
        }
        // Taken in any case: nobody who sends it means to end the service.
        let hangups = signal(SignalKind::hangup())?;
        let heed = settings.deployments.reload_on_sighup;
        tasks.spawn(follow::hangups(hangups, heed, rollout.clone()));
        tasks.spawn(follow::status(rollout.clone()));
        if let Some(limit) = Notifier.watchdog() {
            tasks.spawn(Notifier.feed_watchdog(limit, follow::heartbeats(plane.counters())));
        }
        Ok(Self { launcher, plane, rollout, control, tasks, stopping })
    }

    /// Completes when a part has ended that should not.
    async fn failed(&mut self) -> anyhow::Error {
        tokio::select! {
            () = self.plane.failed() => anyhow::anyhow!("a thread of the data plane ended"),
            Some(ended) = self.tasks.join_next() => match ended {
                Ok(()) => anyhow::anyhow!("a task of the daemon ended"),
                Err(error) => anyhow::anyhow!("a task of the daemon failed: {error}"),
            },
        }
    }

    /// Ends in order: no new generations, then the requests, then the control socket. The units
    /// that serve live on.
    async fn stop(self, drain_timeout: Duration) -> Arc<BusLauncher> {
        Notifier.stopping("finishing requests");
        tracing::info!("stopping: finishing requests");
        self.control.stopping();
        self.rollout.shut_down().await;
        self.plane.shutdown(drain_timeout).await;
        self.stopping.cancel();
        self.launcher
    }
}

/// A unit's workers stop with tq-workers.target; a try-out in the foreground has nobody who would
/// stop them, nor anybody who will adopt them.
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

/// What takes new settings into use, where they can be.
fn apply(
    launcher: Arc<BusLauncher>,
    output: Output,
    shared: Arc<ArcSwap<ProxySettings>>,
    port: u16,
) -> impl Fn(&Settings) + Send {
    move |settings| {
        if settings.listener.port != port {
            tracing::warn!("server.port changed: that takes effect with a restart");
        }
        launcher.update(LauncherConfig::new(settings, output.clone()));
        shared.store(Arc::new(proxy_settings(settings)));
    }
}

fn proxy_settings(settings: &Settings) -> ProxySettings {
    ProxySettings {
        listener: settings.listener.clone(),
        static_files: settings.static_files.clone(),
        hold: settings.rollout.hold,
        hold_max_requests: settings.rollout.hold_max_requests,
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
    Ok(InheritedSockets { http: vec![listener], control: None })
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
