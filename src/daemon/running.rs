//! The parts of the daemon while they run, and the two ways in which they end.

use std::net::SocketAddr;
use std::num::NonZero;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use arc_swap::ArcSwap;
use tokio::net::{TcpListener, TcpSocket};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::control::{DaemonControl, Observed};
use super::development::Development;
use super::handover::{Handover, Predecessor, Program, Successor};
use super::https::Https;
use super::reloads::Reloads;
use super::samples::Samples;
use super::steps::Steps;
use super::{Args, follow, paths, production, retention};
use crate::access_log::AccessLog;
use crate::admin;
use crate::admin::api::Control as _;
use crate::admin::feed::Feed;
use crate::config;
use crate::config::settings::{DashboardSettings, DeploymentSettings, Mode, Settings};
use crate::launcher::bus::BusLauncher;
use crate::launcher::{LauncherConfig, Output};
use crate::proxy::table::PublishedTable;
use crate::proxy::{DataPlane, Listener, ProxySettings, STREAM_GRACE};
use crate::rollout::actor::{Actor, Parts, RolloutHandle};
use crate::rollout::last_lines::LastLines;
use crate::rollout::load::Loader;
use crate::rollout::state::StateFile;
use crate::sd::journal;
use crate::sd::notify::Notifier;
use crate::sd::sockets::InheritedSockets;
use crate::tls::Certificates;
use crate::watch::manifest::ManifestWatch;

/// How many may wait for a handover.
const ASKERS: usize = 256;

/// What is there before anything runs.
pub(super) struct Prepared<'a> {
    args: &'a Args,
    paths: &'a paths::Paths,
    settings: &'a Settings,
    sockets: InheritedSockets,
    metrics: Option<TcpListener>,
    https: Https,
    output: Output,
    launcher: Arc<BusLauncher>,
    program: Arc<Program>,
}

/// The parts that run.
pub(super) struct Daemon {
    launcher: Arc<BusLauncher>,
    plane: DataPlane,
    access_log: Arc<AccessLog>,
    rollout: RolloutHandle,
    control: Arc<DaemonControl>,
    /// Invariant: an unexpected end of any of these ends the daemon; systemd starts a whole one.
    tasks: JoinSet<()>,
    /// The same, of those that end with our being the service.
    followers: JoinSet<()>,
    /// Ends the control socket's server, last of all.
    stopping: CancellationToken,
    control_server: AbortHandle,
    handover: Option<AbortHandle>,
    succeeded: oneshot::Receiver<Successor>,
    predecessor: Option<Retiring>,
}

/// The process before this one, while it finishes its requests.
struct Retiring {
    predecessor: Arc<Predecessor>,
    gone: CancellationToken,
}

impl<'a> Prepared<'a> {
    /// Opens what there is to open, and changes nothing yet.
    pub(super) async fn new(
        args: &'a Args,
        paths: &'a paths::Paths,
        settings: &'a Settings,
        mut sockets: InheritedSockets,
        https: Https,
    ) -> anyhow::Result<Self> {
        let output = match journal::is_present() {
            true => Output::Journal,
            false => Output::Files(paths.output()),
        };
        let launcher_config = LauncherConfig::new(settings, output.clone());
        let launcher = BusLauncher::connect_through(args.manager(), launcher_config).await?;
        let launcher = Arc::new(launcher);
        if sockets.control.is_none() {
            sockets.control = Some(paths.bind_control()?);
        }
        let metrics = settings.metrics_listen.map(bind_metrics).transpose()?;
        let program = Program::of_process().context("cannot tell which program this is")?;
        let program = Arc::new(program);
        Ok(Self { args, paths, settings, sockets, metrics, https, output, launcher, program })
    }

    /// Starts the parts. With a `predecessor` connections are accepted only once we serve what it
    /// serves, and it is told; it is gone by itself later.
    pub(super) async fn start(
        self,
        sources: config::Sources,
        predecessor: Option<Arc<Predecessor>>,
        in_foreground: bool,
    ) -> anyhow::Result<Daemon> {
        let Self { args, paths, settings, sockets, metrics, https, output, launcher, program } =
            self;
        let serving = match &predecessor {
            Some(predecessor) => predecessor.our_turn().await?,
            None => Vec::new(),
        };
        let (table, feed) = (PublishedTable::new(), Feed::new());
        let shared = Arc::new(ArcSwap::from_pointee(proxy_settings(settings, https.port)));
        let deployments = Arc::new(ArcSwap::from_pointee(settings.deployments.clone()));
        let dashboard = Arc::new(ArcSwap::from_pointee(settings.dashboard.clone()));
        let access_log = AccessLog::off();
        access_log.apply(&settings.access_log).context("cannot start the access log")?;
        let in_use = InUse {
            proxy: Arc::clone(&shared),
            deployments: Arc::clone(&deployments),
            access_log: Arc::clone(&access_log),
            dashboard: Arc::clone(&dashboard),
        };
        let apply = apply(Arc::clone(&launcher), output.clone(), in_use, &https, settings);
        let Development { session, live, rebuild } =
            Development::open(&sources, settings, &feed, &table).await;
        let mut loader = Loader::new(sources, output.clone(), args.verify_scope(), paths.state())
            .with_tls(https.loader);
        if let Some(session) = &session {
            loader = loader.holding_back(session.held_back());
        }
        let parts = Parts {
            launcher: Arc::clone(&launcher),
            table: Arc::clone(&table),
            loader,
            state: StateFile::in_dir(paths.state()),
            last_lines: LastLines::new(output, args.journal_manager()),
            apply: Box::new(apply),
            predecessor: predecessor.is_some(),
        };
        // Before the rollout looks for the first time: a manifest that is replaced between that look and
        // the beginning of the watch would never be noticed.
        let manifest = watched_manifest(settings);
        let (actor, rollout, inbox) = Actor::new(parts, settings);
        let (mut tasks, mut followers) = (JoinSet::new(), JoinSet::new());
        tasks.spawn(actor.run(inbox));
        if let Some(session) = session {
            // A process that has handed over builds nothing any more.
            followers.spawn(session.run(rollout.clone()));
        }
        let manifest_told = manifest.as_ref().map(ManifestWatch::is_told);
        if let Some(watch) = manifest {
            tasks.spawn(follow::manifest(watch, rollout.clone()));
        }
        if let Some(predecessor) = &predecessor {
            predecessor.served(&serving, rollout.snapshots()).await?;
        }

        // Taken in any case: nobody who sends it means to end the service.
        let hangups = signal(SignalKind::hangup())?;
        let drain_timeout = settings.rollout.drain_timeout;
        let (established, succeeded) = oneshot::channel();
        let (asks, asked) = mpsc::channel(ASKERS);
        let mut handover = None;
        if !in_foreground && Notifier.has_manager() {
            let (program, own) = (Arc::clone(&program), sockets.try_clone()?);
            let ours = Handover::new(program, own, rollout.clone(), drain_timeout);
            handover = Some(tasks.spawn(ours.run(asked, established)));
        }
        let asks = handover.is_some().then_some(asks);
        let reloads = Reloads::new(rollout.clone(), program, asks);

        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        let control_socket = sockets.control.context("there is no control socket")?;
        let with_tls = |socket| Listener::https(socket, Arc::clone(&https.published));
        let http = sockets.http.into_iter().map(Listener::http);
        let listeners = http.chain(sockets.https.into_iter().map(with_tls)).collect();
        let samples = Samples::new(Arc::clone(&table));
        tasks.spawn(Arc::clone(&samples).run(rollout.clone(), Arc::clone(&launcher)));
        let steps = Arc::new(Steps::default());
        let (counting, counted) = (Arc::clone(&steps), rollout.clone());
        tasks.spawn(async move { counting.run(counted).await });
        let published = Arc::clone(&table);
        let plane = DataPlane::start(listeners, cores, table, shared, live, &access_log)
            .context("cannot start the data plane")?;
        let counters = plane.counters();
        let observed = Observed {
            counters: counters.clone(),
            table: published,
            samples,
            certificates: Arc::clone(&https.published),
            access_log: Arc::clone(&access_log),
            steps,
            manifest_told,
        };
        let control = DaemonControl::new(
            rollout.clone(),
            reloads.clone(),
            observed,
            feed.clone(),
            rebuild,
            settings.mode,
            deployments,
        );
        let (control, stopping) = (Arc::new(control), CancellationToken::new());
        let listener = tokio::net::UnixListener::from_std(control_socket)?;
        let server = admin::server::serve(listener, Arc::clone(&control), stopping.clone());
        let control_server = tasks.spawn(server);
        if let Some(listener) = metrics {
            let port = admin::metrics_port::serve(listener, Arc::clone(&control), stopping.clone());
            followers.spawn(port);
        }
        for socket in sockets.admin {
            let listener = TcpListener::from_std(socket)?;
            let (control, settings) = (Arc::clone(&control), Arc::clone(&dashboard));
            let pages = admin::dashboard::serve(listener, control, settings, stopping.clone());
            followers.spawn(pages);
        }
        let predecessor = match predecessor {
            Some(predecessor) => {
                let within = predecessor.retires().await?;
                let gone = CancellationToken::new();
                tasks.spawn(await_end(
                    Arc::clone(&predecessor),
                    within,
                    rollout.clone(),
                    gone.clone(),
                ));
                Some(Retiring { predecessor, gone })
            }
            None => None,
        };

        let heed = settings.deployments.reload_on_sighup;
        followers.spawn(follow::hangups(hangups, heed, reloads, Arc::clone(&access_log)));
        followers.spawn(follow::status(rollout.clone()));
        if settings.mode == Mode::Prod {
            followers.spawn(retention::stamp(rollout.clone(), paths.served_stamp()));
            followers.spawn(production::tell(rollout.clone(), feed));
        }
        followers.spawn(follow::certificates(https.published));
        if let Some(limit) = Notifier.watchdog() {
            followers.spawn(Notifier.feed_watchdog(limit, follow::heartbeats(counters)));
        }
        Ok(Daemon {
            launcher,
            plane,
            access_log,
            rollout,
            control,
            tasks,
            followers,
            stopping,
            control_server,
            handover,
            succeeded,
            predecessor,
        })
    }
}

/// Listens at `server.metrics.listen`, beside the process before this one during a handover.
fn bind_metrics(addr: SocketAddr) -> anyhow::Result<TcpListener> {
    let bind = || {
        let socket = if addr.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.set_reuseaddr(true)?;
        socket.set_reuseport(true)?;
        socket.bind(addr)?;
        socket.listen(16)
    };
    bind().with_context(|| format!("server.metrics.listen: cannot listen on {addr}"))
}

impl Daemon {
    /// How many follow the events.
    pub(super) fn followers_of_events(&self) -> watch::Receiver<usize> {
        self.control.events().subscribers()
    }

    /// Completes when another process has taken over, or, with an error, when a part has ended
    /// that should not.
    pub(super) async fn succeeded(&mut self) -> anyhow::Result<Successor> {
        let ended = tokio::select! {
            biased;
            Ok(successor) = &mut self.succeeded => return Ok(successor),
            () = self.plane.failed() => anyhow::bail!("a thread of the data plane ended"),
            Some(ended) = self.tasks.join_next() => ended,
            Some(ended) = self.followers.join_next() => ended,
        };
        match ended {
            Ok(()) => anyhow::bail!("a task of the daemon ended"),
            Err(error) => anyhow::bail!("a task of the daemon failed: {error}"),
        }
    }

    /// Ends in order: no new generations, then the requests, then the control socket. The units
    /// that serve live on.
    pub(super) async fn stop(self, drain_timeout: Duration) -> Arc<BusLauncher> {
        Notifier.stopping("finishing requests");
        tracing::info!("stopping: finishing requests");
        self.control.stopping();
        if let Some(handover) = &self.handover {
            // A process that is about to take over is killed with it.
            handover.abort();
        }
        self.rollout.shut_down().await;
        let predecessor = async {
            let Some(retiring) = &self.predecessor else { return };
            retiring.predecessor.hurry().await;
            // systemd ends what is left of the service once its main process has ended.
            let _ = timeout(drain_timeout, retiring.gone.cancelled()).await;
        };
        tokio::join!(self.plane.shutdown(drain_timeout), predecessor);
        self.access_log.finish().await;
        self.stopping.cancel();
        self.launcher
    }

    /// Ends for `successor`, which serves already: accepts nothing more, and finishes what there
    /// is. Streams go on until the drain limit, or until `hurry` completes.
    pub(super) async fn retire(
        mut self,
        successor: Successor,
        drain_timeout: Duration,
        hurry: impl Future<Output = ()>,
    ) {
        // Messages of a process that is not the service would be refused.
        self.followers.shutdown().await;
        self.stopping.cancel();
        let hurried = CancellationToken::new();
        let pass_on = async {
            tokio::select! {
                () = successor.hurries() => {}
                () = hurry => {}
            }
            hurried.cancel();
            if let Some(Retiring { predecessor, .. }) = &self.predecessor {
                predecessor.hurry().await;
            }
            std::future::pending().await
        };
        let answers = async {
            while let Some(Ok((task, ()))) = self.tasks.join_next_with_id().await {
                if task == self.control_server.id() {
                    return;
                }
            }
        };
        // Our end tells the successor that nobody has requests at an older generation.
        let predecessor = async {
            let Some(Retiring { gone, .. }) = &self.predecessor else { return };
            let _ = timeout(drain_timeout + STREAM_GRACE, gone.cancelled()).await;
        };
        let requests = self.plane.retire(drain_timeout, hurried.cancelled());
        tokio::select! {
            _ = async { tokio::join!(requests, answers, predecessor) } => {}
            () = pass_on => {}
        }
        self.access_log.finish().await;
    }
}

/// The watch on the manifest, where there is to be one.
fn watched_manifest(settings: &Settings) -> Option<ManifestWatch> {
    let DeploymentSettings { manifest_file, check_interval, reload_on_change, .. } =
        &settings.deployments;
    (settings.mode == Mode::Prod && *reload_on_change)
        .then(|| ManifestWatch::new(manifest_file.clone(), *check_interval))
}

/// Waits for the end of the process before us, and has the rollout know.
async fn await_end(
    predecessor: Arc<Predecessor>,
    within: Duration,
    rollout: RolloutHandle,
    gone: CancellationToken,
) {
    predecessor.gone(within).await;
    rollout.predecessor_gone().await;
    gone.cancel();
    tracing::debug!("the tqserver before this one has ended");
    // The end of a task would be the end of the daemon.
    std::future::pending().await
}

/// Settings that others look at whenever they need them.
struct InUse {
    proxy: Arc<ArcSwap<ProxySettings>>,
    deployments: Arc<ArcSwap<DeploymentSettings>>,
    access_log: Arc<AccessLog>,
    dashboard: Arc<ArcSwap<DashboardSettings>>,
}

/// What takes new settings into use, where they can be.
fn apply(
    launcher: Arc<BusLauncher>,
    output: Output,
    in_use: InUse,
    https: &Https,
    first: &Settings,
) -> impl Fn(&Settings, &Arc<Certificates>) + Send + use<> {
    let (port, live_reload) = (first.listener.port, first.live_reload.clone());
    let (tls, https_port) = (Arc::clone(&https.published), https.port);
    move |settings, certificates| {
        if settings.listener.port != port {
            tracing::warn!("server.port changed: that takes effect with a restart");
        }
        if settings.live_reload != live_reload {
            let key = "deployment.dev.live_reload";
            tracing::warn!("{key} changed: that takes effect with a restart");
        }
        launcher.update(LauncherConfig::new(settings, output.clone()));
        in_use.proxy.store(Arc::new(proxy_settings(settings, https_port)));
        in_use.deployments.store(Arc::new(settings.deployments.clone()));
        in_use.dashboard.store(Arc::new(settings.dashboard.clone()));
        if let Err(error) = in_use.access_log.apply(&settings.access_log) {
            tracing::error!("there is no access log: {error}");
        }
        if let Err(error) = tls.publish(Arc::clone(certificates)) {
            tracing::error!("the certificates before stay in use: {error}");
        }
    }
}

fn proxy_settings(settings: &Settings, https_port: Option<u16>) -> ProxySettings {
    ProxySettings {
        listener: settings.listener.clone(),
        static_files: settings.static_files.clone(),
        hold: settings.rollout.hold,
        hold_max_requests: settings.rollout.hold_max_requests,
        hold_max_bytes: settings.rollout.hold_max_bytes,
        redirect_port: https_port.filter(|_| settings.https.redirect_http),
        hsts_max_age: settings.https.hsts_max_age,
    }
}
