//! Performs a start: from the configuration on disk to the job that systemd has taken.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::{ownership, quota};
use crate::config::settings::{DeploymentSettings, Pin, PinTarget};
use crate::config::{self, Sources};
use crate::ids::UnitName;
use crate::launcher::copies::Copies;
use crate::launcher::policy::{self, UnitSpec};
use crate::launcher::session::{Bus, Session};
use crate::launcher::{LaunchError, LauncherConfig, Output, Source, StartRequest, facts};
use crate::store::layout::DeployDir;
use crate::store::signature::{Chosen, ChosenWorker, Gate, LEDGER};

/// What starts and stops go by.
#[derive(Debug, Clone)]
pub(super) struct Starts {
    /// Where the configuration is; it is read anew at each start.
    pub(super) sources: Sources,
    /// The folder of the configuration.
    pub(super) config_dir: PathBuf,
    /// The verified copies.
    pub(super) copies: Copies,
    /// The folder that the copies are in, with all else that is ours.
    pub(super) state_dir: PathBuf,
}

impl Starts {
    /// Starts what `request` asks for, if root's configuration and the deployment allow it.
    pub(super) async fn start(&self, request: &StartRequest) -> Result<(), LaunchError> {
        let session = connect().await?;
        let live = session.names().await.map_err(disconnected)?;
        let (starts, asked) = (self.clone(), request.clone());
        let spec = tokio::task::spawn_blocking(move || starts.spec(&asked, &live));
        let spec = spec.await.map_err(|error| refusal(request, error.to_string()))??;
        let inherited = session.inherited(&request.unit()).await?;
        session.start(&spec, &inherited).await
    }

    /// Stops a unit. Whatever the configuration has become, what runs can be stopped.
    pub(super) async fn stop(&self, unit: &UnitName) -> Result<(), LaunchError> {
        connect().await?.stop(unit).await
    }

    /// Removes the copies that no unit uses. What stands in the way is logged: the next time will
    /// do, too.
    pub(super) async fn clean(&self) {
        let clean = async {
            let in_use = connect().await?.copies_in_use().await.map_err(disconnected)?;
            let copies = self.copies.clone();
            let cleaned = tokio::task::spawn_blocking(move || copies.retain(&in_use)).await;
            Ok::<_, LaunchError>(cleaned.map_err(std::io::Error::from).flatten())
        };
        match clean.await {
            Ok(Ok(removed)) if removed.is_empty() => {}
            Ok(Ok(removed)) => tracing::debug!(?removed, "removed copies that nobody uses"),
            Ok(Err(error)) => tracing::warn!(%error, "copies that nobody uses are left: {error}"),
            Err(error) => tracing::warn!(%error, "copies that nobody uses are left: {error}"),
        }
    }

    /// The unit to be. Blocks: copies and hashes the worker where it is new.
    fn spec(&self, request: &StartRequest, live: &[UnitName]) -> Result<UnitSpec, LaunchError> {
        let refused = |reason| refusal(request, reason);
        let Source::Deployment(commit) = &request.source else {
            return Err(refused("only what is deployed can be started".to_owned()));
        };
        ownership::check_config(&self.config_dir, &self.sources).map_err(refused)?;
        let loaded = config::load(&self.sources).map_err(|error| refused(error.to_string()))?;
        quota::check(&loaded.settings.rollout, &request.unit(), live).map_err(refused)?;

        let config = LauncherConfig::new(&loaded.settings, Output::Journal);
        ownership::check_deploy(&config.deploy_dir).map_err(refused)?;
        ownership::check(&self.state_dir).map_err(refused)?;
        let gate = self.gate(&loaded.settings.deployments).map_err(refused)?;
        let deploy = DeployDir::new(&config.deploy_dir);
        let copy = self
            .copies
            .take(&deploy, commit, &request.worker, gate.as_ref())
            .map_err(|error| refused(error.to_string()))?;
        let facts = facts::of_copy(&config, &request.worker, commit, &copy.part, &copy.folder)?;
        let instances = facts.settings.instances.most();
        quota::check_worker(&loaded.settings.rollout, instances, &request.unit(), live)
            .map_err(refused)?;
        policy::unit_spec(&config, request, &facts, Some(&copy.folder))
    }

    /// What a deployment must pass, where root's configuration names a `keyring` for that.
    fn gate(&self, settings: &DeploymentSettings) -> Result<Option<Gate>, String> {
        let Some(keyring) = &settings.keyring else { return Ok(None) };
        if keyring.exists() {
            keyring.ancestors().try_for_each(ownership::check)?;
        }
        let gate = Gate::new(keyring, self.state_dir.join(LEDGER));
        Ok(Some(gate.choosing(chosen(&settings.pins))))
    }
}

/// What root has pinned.
fn chosen(pins: &BTreeMap<PinTarget, Pin>) -> Vec<Chosen> {
    let chosen = |(target, pin): (&PinTarget, &Pin)| Chosen {
        commit: pin.commit.clone(),
        what: match target {
            PinTarget::Worker(name) => ChosenWorker::Named(name.clone()),
            PinTarget::Route(route) => ChosenWorker::At(route.clone()),
        },
    };
    pins.iter().map(chosen).collect()
}

/// A connection for one call: after a restart of the bus the next call simply has a new one.
async fn connect() -> Result<Session, LaunchError> {
    Session::for_calls(Bus::System).await.map_err(disconnected)
}

fn disconnected(error: zbus::Error) -> LaunchError {
    LaunchError::Disconnected(error.to_string())
}

fn refusal(request: &StartRequest, reason: String) -> LaunchError {
    LaunchError::Refused { worker: request.worker.clone(), reason }
}
