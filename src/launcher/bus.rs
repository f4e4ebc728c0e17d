//! The launcher that asks systemd itself: the user's own manager in development, and whichever
//! manager one may command.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::policy::UnitSpec;
use super::session::Session;
pub use super::session::{Bus, Through};
use super::watch::Watch;
use super::{
    LaunchError, Launcher, LauncherConfig, LiveUnit, Output, StartRequest, UnitEvent, Usage, facts,
    policy,
};
use crate::control_group::ControlGroup;
use crate::ids::UnitName;
use crate::store::digest::DigestCache;

/// How many events may wait for the rollout before the watch holds them back itself.
const EVENTS: usize = 256;

/// How long a start waits for another connection.
const RECONNECT_WITHIN: Duration = Duration::from_secs(10);

/// How often output files are bounded.
const BOUND_INTERVAL: Duration = Duration::from_secs(2);

/// Starts workers over D-Bus, under the policy of this process.
pub struct BusLauncher {
    config: Arc<ArcSwap<LauncherConfig>>,
    current: watch::Receiver<Option<Arc<Session>>>,
    digests: Arc<Mutex<DigestCache>>,
    events: Mutex<Option<mpsc::Receiver<UnitEvent>>>,
    _tasks: JoinSet<()>,
}

impl BusLauncher {
    /// Connects and subscribes. From then on a lost connection is replaced by itself; starts wait
    /// for that, other calls answer [`LaunchError::Disconnected`] meanwhile.
    ///
    /// # Errors
    /// [`LaunchError::Disconnected`] when there is no bus, or no systemd on it.
    pub async fn connect(bus: Bus, config: LauncherConfig) -> Result<Self, LaunchError> {
        Self::connect_through((bus, Through::Manager), config).await
    }

    /// The same, where it may be tq-launcher that starts and stops, under its own policy. It is
    /// not looked for before the first call.
    ///
    /// # Errors
    /// Those of [`connect`](Self::connect).
    pub async fn connect_through(
        manager: (Bus, Through),
        config: LauncherConfig,
    ) -> Result<Self, LaunchError> {
        let config = Arc::new(ArcSwap::from_pointee(config));
        let (sessions, current) = watch::channel(None);
        let (sender, events) = mpsc::channel(EVENTS);
        let mut watch = Watch::new(manager, Arc::clone(&config), sessions, sender);
        let signals = watch.connect().await.map_err(disconnected)?;
        let mut tasks = JoinSet::new();
        tasks.spawn(watch.run(signals));
        tasks.spawn(bound_output(Arc::clone(&config)));
        let (digests, events) = (Arc::default(), Mutex::new(Some(events)));
        Ok(Self { config, current, digests, events, _tasks: tasks })
    }

    /// Goes by another configuration from the next start on. Live units stay as they are.
    pub fn update(&self, config: LauncherConfig) {
        self.config.store(Arc::new(config));
    }

    /// Starts a generation; with `copy`, a copy of its folder, sandboxed and from that copy. Only
    /// the system's manager has sandboxes.
    ///
    /// # Errors
    /// Those of [`Launcher::start`].
    pub async fn start_from(
        &self,
        request: &StartRequest,
        copy: Option<&Path>,
    ) -> Result<(), LaunchError> {
        self.start_directly(&*self.session()?, request, copy).await
    }

    async fn start_directly(
        &self,
        session: &Session,
        request: &StartRequest,
        copy: Option<&Path>,
    ) -> Result<(), LaunchError> {
        let unit = request.unit();
        // None of them needs another, and somebody waits for the unit.
        let (spec, prepared, inherited) = tokio::join!(
            self.spec(request, copy),
            self.prepare_output(&unit),
            session.inherited(&unit),
        );
        prepared?;
        session.start(&spec?, &inherited?).await
    }

    /// What a unit uses; `None` where there is no such unit, or nobody can be asked.
    pub async fn usage(&self, unit: &UnitName) -> Option<Usage> {
        // An error is no reason to doubt the connection, as it is for a start: nothing depends on this.
        self.session().ok()?.usage(unit).await.ok()
    }

    fn session(&self) -> Result<Arc<Session>, LaunchError> {
        self.current.borrow().clone().ok_or_else(away)
    }

    /// A connection other than `lost`, as soon as there is one.
    async fn connected(&self, lost: Option<&Arc<Session>>) -> Result<Arc<Session>, LaunchError> {
        let is_lost = |session: &Arc<Session>| lost.is_some_and(|lost| Arc::ptr_eq(lost, session));
        let mut current = self.current.clone();
        let found = current.wait_for(|it| it.as_ref().is_some_and(|session| !is_lost(session)));
        let found = timeout(RECONNECT_WITHIN, found).await.map(|found| found.ok()?.clone());
        found.ok().flatten().ok_or_else(away)
    }

    async fn start_on(&self, session: &Session, request: &StartRequest) -> Result<(), LaunchError> {
        match session.remote() {
            Some(remote) => session.start_remotely(remote, request).await,
            None => self.start_directly(session, request, None).await,
        }
    }

    /// Reads deployment or source tree, away from the runtime's threads: it may hash a binary.
    async fn spec(
        &self,
        request: &StartRequest,
        copy: Option<&Path>,
    ) -> Result<UnitSpec, LaunchError> {
        let (config, digests) = (self.config.load_full(), Arc::clone(&self.digests));
        let (request, copy) = (request.clone(), copy.map(Path::to_owned));
        let worker = request.worker.clone();
        let read = tokio::task::spawn_blocking(move || {
            let mut digests = digests.lock().unwrap_or_else(PoisonError::into_inner);
            let facts = facts::read(&config, &request.worker, &request.source, &mut digests)?;
            policy::unit_spec(&config, &request, &facts, copy.as_deref())
        });
        read.await.map_err(|error| LaunchError::Refused { worker, reason: error.to_string() })?
    }

    async fn prepare_output(&self, unit: &UnitName) -> Result<(), LaunchError> {
        let Output::Files(dir) = self.config.load().output.clone() else { return Ok(()) };
        let refused = |error| LaunchError::Refused {
            worker: unit.worker.clone(),
            reason: format!("no file for its output: {error}"),
        };
        let (folder, starting) = (dir.clone(), unit.clone());
        if blocking(move || folder.prepare(&starting)).await.map_err(refused)? {
            let live: Vec<_> = self.list().await?.into_iter().map(|live| live.unit).collect();
            blocking(move || dir.prune(&live)).await.map_err(refused)?;
        }
        Ok(())
    }
}

/// Does what blocks away from the runtime's threads.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::from).flatten()
}

impl Launcher for BusLauncher {
    async fn start(&self, request: &StartRequest) -> Result<(), LaunchError> {
        let session = self.connected(None).await?;
        match self.start_on(&session, request).await {
            // Whether it was heard only shows in what there is.
            Err(LaunchError::Disconnected(reason)) => {
                tracing::debug!(unit = %request.unit(), reason, "asking for it again");
                let session = self.connected(Some(&session)).await?;
                match session.names().await.map_err(disconnected)?.contains(&request.unit()) {
                    true => Ok(()),
                    false => self.start_on(&session, request).await,
                }
            }
            answer => answer,
        }
    }

    async fn stop(&self, unit: &UnitName) -> Result<(), LaunchError> {
        self.session()?.stop(unit).await
    }

    async fn list(&self) -> Result<Vec<LiveUnit>, LaunchError> {
        self.session()?.list(&self.config.load_full()).await.map_err(disconnected)
    }

    async fn control_group(&self, unit: &UnitName) -> Option<ControlGroup> {
        self.session().ok()?.control_group(unit).await.unwrap_or_else(|error| {
            tracing::debug!(%unit, %error, "no control group");
            None
        })
    }

    fn events(&self) -> mpsc::Receiver<UnitEvent> {
        let taken = self.events.lock().unwrap_or_else(PoisonError::into_inner).take();
        // Taken already: a stream that has ended says so at the first look.
        taken.unwrap_or_else(|| mpsc::channel(1).1)
    }
}

fn away() -> LaunchError {
    LaunchError::Disconnected("the bus is away; connecting again".to_owned())
}

fn disconnected(error: zbus::Error) -> LaunchError {
    LaunchError::Disconnected(error.to_string())
}

/// Keeps output files small, for as long as output goes to files.
async fn bound_output(config: Arc<ArcSwap<LauncherConfig>>) {
    let mut tick = tokio::time::interval(BOUND_INTERVAL);
    loop {
        tick.tick().await;
        let Output::Files(dir) = config.load().output.clone() else { continue };
        if let Ok(Err(error)) = tokio::task::spawn_blocking(move || dir.bound()).await {
            tracing::debug!(%error, "output files not bounded");
        }
    }
}
