//! One connection to the manager: calls, and the listing of worker units.

use std::collections::{BTreeSet, HashMap};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use zbus::fdo::DBusProxy;
use zbus::{Connection, MessageStream, connection};

use super::policy::{TREE_COMMIT, UnitSpec};
use super::remote::Remote;
use super::signals::match_rules;
use super::systemd1::{ManagerProxy, ServiceProxy, UnitEntry, uncached};
use super::{LaunchError, LauncherConfig, LiveUnit, Source, UnitState, Usage, unit};
use crate::control_group::ControlGroup;
use crate::ids::{Generation, UnitName};

/// How long systemd may take to answer. It answers in milliseconds, but for a daemon-reload of a
/// large system.
const CALL_TIMEOUT: Duration = Duration::from_secs(15);

/// How many messages may wait while a listing is made. The connection stands still beyond that,
/// until a call times out and a new one is made.
const QUEUE: NonZeroUsize = NonZeroUsize::new(4096).expect("not zero");

/// Which systemd is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bus {
    /// The user's own manager, over the session bus.
    Session,
    /// PID 1, over the system bus.
    System,
}

/// A connection, for calls.
#[derive(Debug)]
pub(super) struct Session {
    connection: Connection,
    bus: Bus,
    /// The service that starts and stops; `None` where the manager itself is asked.
    remote: Option<Remote>,
}

/// Who starts and stops units. Whoever it is, the manager is asked what there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Through {
    /// The manager, which lets root do so, and users with their own.
    Manager,
    /// tq-launcher, which lets tqserver do so within limits.
    Service,
}

/// What comes in over a connection.
#[derive(Debug)]
pub(super) struct Signals {
    /// All messages, in the order in which they were sent.
    pub(super) stream: MessageStream,
    /// The manager's unique name.
    pub(super) owner: Option<String>,
}

impl Session {
    /// Connects, and asks for all signals before anything can happen.
    pub(super) async fn open(bus: Bus, through: Through) -> zbus::Result<(Self, Signals)> {
        let mut session = Self::for_calls(bus).await?;
        if through == Through::Service {
            session.remote = Some(Remote::connect().await?);
        }
        let connection = &session.connection;
        let mut stream = MessageStream::from(connection);
        stream.set_max_queued(QUEUE);
        let dbus = DBusProxy::new(connection).await?;
        for rule in match_rules()? {
            dbus.add_match_rule(rule).await?;
        }
        let owner = dbus.get_name_owner("org.freedesktop.systemd1".try_into()?).await?;
        session.subscribe().await?;
        Ok((session, Signals { stream, owner: Some(owner.to_string()) }))
    }

    /// Connects for calls alone, without signals.
    pub(super) async fn for_calls(bus: Bus) -> zbus::Result<Self> {
        let builder = match bus {
            Bus::Session => connection::Builder::session(),
            Bus::System => connection::Builder::system(),
        };
        let connection = builder.method_timeout(CALL_TIMEOUT).build().await?;
        Ok(Self { connection, bus, remote: None })
    }

    /// The service that starts and stops in the manager's place.
    pub(super) fn remote(&self) -> Option<&Remote> {
        self.remote.as_ref()
    }

    async fn manager(&self) -> zbus::Result<ManagerProxy<'static>> {
        uncached(&self.connection, "/org/freedesktop/systemd1").await
    }

    /// Asks the manager to send signals, also when it knows that we want them.
    pub(super) async fn subscribe(&self) -> zbus::Result<()> {
        match self.manager().await?.subscribe().await {
            Err(error) if is(&error, "AlreadySubscribed") => Ok(()),
            answer => answer,
        }
    }

    /// What the manager passes to every unit, for one that is about to start.
    pub(super) async fn inherited(&self, unit: &UnitName) -> Result<Vec<String>, LaunchError> {
        let read = async { self.manager().await?.environment().await };
        match read.await {
            Err(error) => Err(self.judge(unit, error).await),
            Ok(environment) => Ok(environment),
        }
    }

    /// Creates and starts a unit, which takes nothing on that the manager has in its environment,
    /// `inherited`; returns when the job is queued.
    pub(super) async fn start(
        &self,
        spec: &UnitSpec,
        inherited: &[String],
    ) -> Result<(), LaunchError> {
        match self.try_start(spec, inherited).await {
            Err(error) => Err(self.judge(&spec.unit, error).await),
            Ok(()) => Ok(()),
        }
    }

    async fn try_start(&self, spec: &UnitSpec, inherited: &[String]) -> zbus::Result<()> {
        let manager = self.manager().await?;
        let properties = unit::properties(spec, inherited, self.bus == Bus::System);
        let name = spec.unit.to_string();
        match manager.start_transient_unit(&name, "fail", &properties, &[]).await {
            // What failed is unloaded at once, unless somebody still looks at it.
            Err(error) if is(&error, "UnitExists") => {
                manager.reset_failed_unit(&name).await?;
                manager.start_transient_unit(&name, "fail", &properties, &[]).await.map(drop)
            }
            answer => answer.map(drop),
        }
    }

    /// Stops a unit; returns when the job is queued, or there is no such unit.
    pub(super) async fn stop(&self, unit: &UnitName) -> Result<(), LaunchError> {
        if let Some(remote) = &self.remote {
            return self.stop_remotely(remote, unit).await;
        }
        let stop = async { self.manager().await?.stop_unit(&unit.to_string(), "replace").await };
        match stop.await {
            Err(error) if !is(&error, "NoSuchUnit") => Err(self.judge(unit, error).await),
            _ => Ok(()),
        }
    }

    /// The worker units there are that run from `config`'s folders.
    pub(super) async fn list(&self, config: &LauncherConfig) -> zbus::Result<Vec<LiveUnit>> {
        let manager = self.manager().await?;
        let entries = manager.list_units_by_patterns(&[], &[UnitName::GLOB]).await?;
        let mut units = Vec::new();
        for entry in entries {
            let Some(state) = entry.state() else { continue };
            let (environment, main_pid, group) = match self.read(&entry).await {
                // It has gone since: looking at a dead unit shows an empty one.
                Ok((environment, 0, _)) if environment.is_empty() => continue,
                Err(error) if is_gone(&error) => continue,
                read => read?,
            };
            let environment = Environment::new(&environment);
            let parsed = entry.name.parse().ok();
            match parsed.and_then(|unit| environment.unit(unit, main_pid, state)) {
                Some((unit, base)) if config.owns(&unit, base) => {
                    units.push(LiveUnit { control_group: ControlGroup::at(&group), ..unit });
                }
                // Another server's, on the same manager.
                Some((unit, base)) => tracing::debug!(unit = %unit.unit, base, "not ours"),
                None => tracing::warn!(
                    unit = entry.name,
                    "has a worker's name, but not its environment; left alone"
                ),
            }
        }
        Ok(units)
    }

    /// The names of all worker units that systemd knows, whoever's they are.
    pub(super) async fn names(&self) -> zbus::Result<Vec<UnitName>> {
        let entries = self.manager().await?.list_units_by_patterns(&[], &[UnitName::GLOB]).await?;
        Ok(entries.iter().filter_map(|entry| entry.name.parse().ok()).collect())
    }

    /// The folders that any worker unit has mounted in place of its own.
    pub(super) async fn copies_in_use(&self) -> zbus::Result<BTreeSet<PathBuf>> {
        let entries = self.manager().await?.list_units_by_patterns(&[], &[UnitName::GLOB]).await?;
        let mut folders = BTreeSet::new();
        for entry in entries {
            let service: ServiceProxy<'_> = uncached(&self.connection, entry.path.as_str()).await?;
            match service.bind_read_only_paths().await {
                Ok(mounts) => folders.extend(mounts.into_iter().map(|(from, ..)| from.into())),
                // It has gone since.
                Err(error) if is_gone(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(folders)
    }

    /// What a unit uses.
    pub(super) async fn usage(&self, unit: &UnitName) -> zbus::Result<Usage> {
        let path = self.manager().await?.get_unit(&unit.to_string()).await?;
        let service: ServiceProxy<'_> = uncached(&self.connection, path.as_str()).await?;
        let (memory, cpu, tasks) = tokio::try_join!(
            service.memory_current(),
            service.cpu_usage_nsec(),
            service.tasks_current(),
        )?;
        Ok(Usage::new(memory, cpu, tasks))
    }

    /// In which control group a unit's processes are.
    pub(super) async fn control_group(
        &self,
        unit: &UnitName,
    ) -> zbus::Result<Option<ControlGroup>> {
        let path = self.manager().await?.get_unit(&unit.to_string()).await?;
        let service: ServiceProxy<'_> = uncached(&self.connection, path.as_str()).await?;
        Ok(ControlGroup::at(&service.control_group().await?))
    }

    /// Its environment, main process and control group.
    async fn read(&self, entry: &UnitEntry) -> zbus::Result<(Vec<String>, u32, String)> {
        let service: ServiceProxy<'_> = uncached(&self.connection, entry.path.as_str()).await?;
        tokio::try_join!(service.environment(), service.main_pid(), service.control_group())
    }

    /// What an error of a call means. One that leaves open whether the call was heard ends the
    /// connection: the listing after the next one tells.
    pub(super) async fn judge(&self, unit: &UnitName, error: zbus::Error) -> LaunchError {
        match error {
            zbus::Error::MethodError(name, text, _) => LaunchError::Systemd {
                unit: unit.clone(),
                reason: text.unwrap_or_else(|| name.to_string()),
            },
            zbus::Error::FDO(error) => {
                LaunchError::Systemd { unit: unit.clone(), reason: error.to_string() }
            }
            error => {
                self.close().await;
                LaunchError::Disconnected(error.to_string())
            }
        }
    }

    /// Ends the connection, which has the watch get another one and list what there is.
    pub(super) async fn close(&self) {
        if let Err(error) = self.connection.clone().close().await {
            tracing::debug!(%error, "the connection was closed already");
        }
    }
}

/// Whether systemd answered with this error of its own.
fn is(error: &zbus::Error, name: &str) -> bool {
    matches!(error, zbus::Error::MethodError(found, ..)
        if found.as_str().strip_prefix("org.freedesktop.systemd1.") == Some(name))
}

/// Whether an object is not there any more. Any other error leaves a listing unfinished: a manager
/// that re-executes itself in the middle of it must not make its units look gone.
fn is_gone(error: &zbus::Error) -> bool {
    match error {
        zbus::Error::MethodError(..) => is(error, "NoSuchUnit") || is_unknown_object(error),
        zbus::Error::FDO(error) => matches!(
            **error,
            zbus::fdo::Error::UnknownObject(_)
                | zbus::fdo::Error::UnknownInterface(_)
                | zbus::fdo::Error::UnknownProperty(_)
        ),
        _ => false,
    }
}

fn is_unknown_object(error: &zbus::Error) -> bool {
    matches!(error, zbus::Error::MethodError(found, ..)
        if found.as_str() == "org.freedesktop.DBus.Error.UnknownObject")
}

/// A unit's environment, which says what it was started as.
struct Environment<'e>(HashMap<&'e str, &'e str>);

impl<'e> Environment<'e> {
    fn new(assignments: &'e [String]) -> Self {
        Self(assignments.iter().filter_map(|assignment| assignment.split_once('=')).collect())
    }

    fn get(&self, name: &str) -> Option<&'e str> {
        self.0.get(name).copied()
    }

    /// The unit, and the folder it runs in.
    fn unit(&self, unit: UnitName, main_pid: u32, state: UnitState) -> Option<(LiveUnit, &'e str)> {
        let source = match self.get("TQ_COMMIT")? {
            TREE_COMMIT => Source::Tree,
            commit => Source::Deployment(commit.parse().ok()?),
        };
        let unit = LiveUnit {
            unit,
            source,
            generation: Generation(self.get("TQ_GENERATION")?.parse().ok()?),
            fingerprint: self.get("TQ_FINGERPRINT")?.parse().ok()?,
            main_pid: Some(main_pid).filter(|&pid| pid != 0),
            control_group: None,
            state,
        };
        Some((unit, self.get("TQ_WORKER_BASE")?))
    }
}
