//! From files to what is wanted: configuration, manifest, deployment, worker settings.
//!
//! Everything here blocks and may take long (a deployment is hashed whole), so the actor runs it
//! beside itself. A load either succeeds whole or changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use jiff::Timestamp;

use super::desired::{Desired, DesiredWorker, UnbuiltWorker};
use super::pinned::{self, Chosen, Pinned};
use super::state::DeploymentRef;
use crate::config::discover::{self, DiscoveredWorker, discover};
use crate::config::settings::{Mode, Pin, PinTarget, Settings, WorkerSettings};
use crate::config::{self, ConfigErrors, Sources};
use crate::ids::{CommitId, Md5, WorkerName};
use crate::launcher::facts::{self, Facts};
use crate::launcher::{LaunchError, LauncherConfig, Output, Source};
use crate::proxy::table::PublicTree;
use crate::store::deployment::Deployment;
use crate::store::digest::DigestCache;
use crate::store::document::ReadError;
use crate::store::layout::DeployDir;
use crate::store::manifest::{DeployedBy, Manifest};
use crate::store::signature::{Gate, LEDGER, SignatureError};
use crate::store::verify::{Scope, VerifyError, verify};
use crate::tls::{Certificates, TlsError, TlsLoader};

/// The name of the file of remembered digests.
const DIGESTS: &str = "digests.json";

/// Reads what is wanted. Keeps the digests of files it has seen, so that looking again costs a
/// stat for each.
#[derive(Debug)]
pub struct Loader {
    sources: Sources,
    output: Output,
    scope: Scope,
    digests: DigestCache,
    /// Where digests are remembered, and the ledger of admitted deployments; `None` where it only looks.
    state_dir: Option<PathBuf>,
    held_back: Arc<HeldBack>,
    tls: TlsLoader,
    wish: Option<Wish>,
}

/// What a manifest asks for, and who wrote it.
pub type Wish = (DeploymentRef, Option<DeployedBy>);

/// Workers of the source tree that are not to be started, though they have a program: it is older
/// than its sources, and a newer one is being built.
pub type HeldBack = ArcSwap<BTreeSet<WorkerName>>;

/// Everything one load found.
#[derive(Debug)]
pub struct Wanted {
    /// The configuration.
    pub settings: Settings,
    /// What is allowed and still odd.
    pub warnings: Vec<String>,
    /// For HTTPS.
    pub certificates: Arc<Certificates>,
    /// What is to be served.
    pub desired: Arc<Desired>,
}

/// Why a load changed nothing.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A configuration file is not valid.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// HTTPS is not possible.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Nothing was ever deployed.
    #[error("{}: no deployment yet; `tqctl build` makes one", .0.display())]
    NoManifest(PathBuf),
    /// A document of the store cannot be read.
    #[error(transparent)]
    Document(#[from] ReadError),
    /// A deployment is not signed as it must be.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// A deployment is not what its record says.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// A worker's own configuration is not valid.
    #[error(transparent)]
    Worker(#[from] LaunchError),
    /// A folder cannot be read.
    #[error("{}: {error}", path.display())]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Two workers of the source tree claim one route.
    #[error("{first} and {second} both want {route}: set `route:` in one's config/worker.yaml")]
    RouteTwice {
        /// One worker.
        first: WorkerName,
        /// The other.
        second: WorkerName,
        /// The route.
        route: String,
    },
}

impl Loader {
    /// A loader of the given configuration, for workers whose output goes to `output`. Deployments
    /// are verified as far as `scope` goes, and digests remembered in `state_dir`.
    pub fn new(sources: Sources, output: Output, scope: Scope, state_dir: &Path) -> Self {
        let digests = DigestCache::load(&state_dir.join(DIGESTS));
        let state_dir = Some(state_dir.to_owned());
        Self { digests, state_dir, ..Self::looking_only(sources, output, scope) }
    }

    /// The same, but it remembers nothing and writes nothing. An old deployment that is signed is as good
    /// as a new one then.
    pub fn looking_only(sources: Sources, output: Output, scope: Scope) -> Self {
        let (digests, held_back, tls) = Default::default();
        Self { sources, output, scope, digests, state_dir: None, held_back, tls, wish: None }
    }

    /// Reads certificates as well, if `tls` has a listener for them.
    #[must_use]
    pub fn with_tls(self, tls: TlsLoader) -> Self {
        Self { tls, ..self }
    }

    /// Starts none of those that `held_back` names while it does.
    #[must_use]
    pub fn holding_back(self, held_back: Arc<HeldBack>) -> Self {
        Self { held_back, ..self }
    }

    /// What configuration and manifest (in development: the source tree) ask for now.
    pub fn load_wanted(&mut self) -> Result<Wanted, LoadError> {
        self.wish = None;
        let loaded = config::load(&self.sources)?;
        let tls = self.tls.load(&loaded.settings)?;
        let launcher = LauncherConfig::new(&loaded.settings, self.output.clone());
        let desired = match loaded.settings.mode {
            Mode::Prod => self.deployed(&loaded.settings, &launcher)?,
            Mode::Dev => self.in_tree(&loaded.settings, &launcher)?,
        };
        if let Some(file) = self.state_dir.as_ref().map(|dir| dir.join(DIGESTS))
            && let Err(error) = self.digests.save(&file)
        {
            tracing::debug!("{}: {error}", file.display());
        }
        let mut warnings: Vec<_> = loaded.warnings.iter().map(ToString::to_string).collect();
        warnings.extend(tls.warnings);
        warnings.extend(hidden(&loaded.settings, &desired));
        let (settings, certificates) = (loaded.settings, Arc::new(tls.certificates));
        Ok(Wanted { settings, warnings, certificates, desired: Arc::new(desired) })
    }

    /// What the manifest asked for at the last load; `None` where it was not read, or is not valid.
    pub fn wish(&self) -> Option<&Wish> {
        self.wish.as_ref()
    }

    /// A deployment that serves, as units of it are alive: they are adopted, whether or not it is one
    /// that would still be started.
    pub fn load_commit(&mut self, commit: &CommitId) -> Result<Arc<Desired>, LoadError> {
        self.load_served(commit, false)
    }

    /// The same; `judged`: what workers are pinned to must be signed, where that is asked for.
    fn load_served(&mut self, commit: &CommitId, judged: bool) -> Result<Arc<Desired>, LoadError> {
        let settings = config::load(&self.sources)?.settings;
        let launcher = LauncherConfig::new(&settings, self.output.clone());
        let deploy = DeployDir::new(&settings.deployments.deploy_dir);
        let deployment = Deployment::read(&deploy, commit)?;
        let keyring = settings.deployments.keyring.as_deref().filter(|_| judged);
        let pins = &settings.deployments.pins;
        let resolved = match self.resolve(&deploy, &deployment, pins, (keyring, None, &launcher)) {
            // Nothing serves, and all is better than nothing; the load before has told of the pin.
            Err(LoadError::Config(error)) if !pins.is_empty() => {
                tracing::warn!("starting without pins: {error}");
                self.resolve(&deploy, &deployment, &BTreeMap::new(), (keyring, None, &launcher))?
            }
            resolved => resolved?,
        };
        Ok(Arc::new(resolved))
    }

    /// A deployment that served before, to be started again. Its files were verified then.
    pub fn load_again(&mut self, commit: &CommitId) -> Result<Arc<Desired>, LoadError> {
        let settings = config::load(&self.sources)?.settings;
        let deploy = DeployDir::new(&settings.deployments.deploy_dir);
        self.admit(&settings, &deploy, &Deployment::read(&deploy, commit)?)?;
        self.load_served(commit, true)
    }

    /// Whether `deployment` is signed, where that is asked for. tq-launcher, which starts what is in
    /// it, verifies that again and believes nobody: here it is so that nothing is begun in vain, and
    /// for public files, which it does not see.
    fn admit(
        &self,
        settings: &Settings,
        deploy: &DeployDir,
        deployment: &Deployment,
    ) -> Result<(), LoadError> {
        let Some(keyring) = &settings.deployments.keyring else { return Ok(()) };
        let gate = self.gate(keyring);
        match self.state_dir {
            Some(_) => gate.admit(deploy, deployment, Timestamp::now())?,
            None => drop(gate.authentic(deploy, deployment)?),
        }
        Ok(())
    }

    fn gate(&self, keyring: &Path) -> Gate {
        let ledger = self.state_dir.as_ref().map(|dir| dir.join(LEDGER));
        Gate::new(keyring, ledger.unwrap_or_default())
    }

    fn deployed(
        &mut self,
        settings: &Settings,
        launcher: &LauncherConfig,
    ) -> Result<Desired, LoadError> {
        let deploy = DeployDir::new(&settings.deployments.deploy_dir);
        let path = &settings.deployments.manifest_file;
        let (manifest, _) = match Manifest::read(&deploy) {
            Err(ReadError::Absent(_)) => return Err(LoadError::NoManifest(path.clone())),
            read => read?,
        };
        let (commit, id) = (manifest.current_deployment.clone(), manifest.deployment_id.clone());
        let deployment = DeploymentRef { commit, deployment_id: Some(id) };
        self.wish = Some((deployment, manifest.deployed_by.clone()));
        let deployment = &manifest.deployment.deployment;
        self.admit(settings, &deploy, deployment)?;
        verify(&deploy, deployment, self.scope, &mut self.digests, Timestamp::now())?;
        let (pins, id) = (&settings.deployments.pins, Some(manifest.deployment_id.clone()));
        let keyring = settings.deployments.keyring.as_deref();
        let desired = self.resolve(&deploy, deployment, pins, (keyring, id, launcher))?;
        let (deployed_by, canary) = (manifest.deployed_by.clone(), manifest.canary.clone());
        Ok(Desired { deployed_by, canary, ..desired })
    }

    /// The deployments that workers are pinned to, verified as far as the current one. Where signatures
    /// are asked for they must be signed; that they are old is what pins are for.
    fn pinned<'p>(
        &mut self,
        deploy: &DeployDir,
        pins: &'p BTreeMap<PinTarget, Pin>,
        keyring: Option<&Path>,
    ) -> Result<Vec<Pinned<'p>>, ConfigErrors> {
        let mut found = Vec::new();
        for (target, pin) in pins {
            let refused = |error: &dyn std::fmt::Display| {
                pin.error(format!("{target} cannot come from there: {error}"))
            };
            let deployment =
                Deployment::read(deploy, &pin.commit).map_err(|error| refused(&error))?;
            verify(deploy, &deployment, self.scope, &mut self.digests, Timestamp::now())
                .map_err(|error| refused(&error))?;
            if let Some(keyring) = keyring {
                self.gate(keyring)
                    .authentic(deploy, &deployment)
                    .map_err(|error| refused(&error))?;
            }
            found.push(Pinned { target, pin, deployment });
        }
        Ok(found)
    }

    fn resolve(
        &mut self,
        deploy: &DeployDir,
        deployment: &Deployment,
        pins: &BTreeMap<PinTarget, Pin>,
        (keyring, deployment_id, launcher): (Option<&Path>, Option<String>, &LauncherConfig),
    ) -> Result<Desired, LoadError> {
        let pins = self.pinned(deploy, pins, keyring)?;
        let mut workers = BTreeMap::new();
        for (name, Chosen { commit, part, pinned }) in pinned::choose(deployment, &pins)? {
            let source = Source::Deployment(commit.clone());
            let folder = deploy.worker_dir(commit, name).join("public");
            let public = public_tree(folder, Some(part.public_md5))?;
            let worker = self.worker(name, source, public.into_iter().collect(), launcher)?;
            workers.insert(name.clone(), DesiredWorker { pinned, ..worker });
        }
        Ok(Desired {
            commit: Some(deployment.git_commit.clone()),
            branch: deployment.git_branch.clone(),
            tag: deployment.git_tag.clone(),
            deployment_id,
            deployed_by: None,
            canary: None,
            workers,
            unbuilt: BTreeMap::new(),
        })
    }

    fn in_tree(
        &mut self,
        settings: &Settings,
        launcher: &LauncherConfig,
    ) -> Result<Desired, LoadError> {
        let folder = |path: &Path, error| LoadError::Folder { path: path.to_owned(), error };
        let dir = &settings.discovery.workers_dir;
        let discover::Discovered { workers: found, .. } =
            discover(&settings.discovery).map_err(|error| folder(dir, error))?;
        let root = &settings.static_files.dev_root;
        let held_back = self.held_back.load();
        let mut desired = Desired::default();
        for DiscoveredWorker { name, dir } in found {
            let mut public = Vec::new();
            for owner in [name.as_str(), "shared"] {
                public.extend(public_tree(root.join(owner).join("public"), None)?);
            }
            let settings = Arc::new(facts::settings(launcher, &name, &Source::Tree)?);
            let same = |(_, other): &(_, &Arc<WorkerSettings>)| other.route == settings.route;
            if let Some((first, _)) = desired.settings().find(same) {
                let (first, route) = (first.clone(), settings.route.to_string());
                return Err(LoadError::RouteTwice { first, second: name, route });
            }
            let program = settings.program(&name).map(|program| dir.join(program));
            if held_back.contains(&name) || program.is_some_and(|program| !program.is_file()) {
                desired.unbuilt.insert(name, UnbuiltWorker { settings, public });
            } else {
                let worker = self.worker(&name, Source::Tree, public, launcher)?;
                desired.workers.insert(name, worker);
            }
        }
        Ok(desired)
    }

    fn worker(
        &mut self,
        name: &WorkerName,
        source: Source,
        public: Vec<PublicTree>,
        launcher: &LauncherConfig,
    ) -> Result<DesiredWorker, LoadError> {
        let Facts { settings, fingerprint, .. } =
            facts::read(launcher, name, &source, &mut self.digests)?;
        let settings = Arc::new(settings);
        let (name, pinned) = (name.clone(), false);
        Ok(DesiredWorker { name, source, pinned, fingerprint, settings, public })
    }
}

/// A word on each worker whose requests the static files take.
fn hidden(settings: &Settings, desired: &Desired) -> Vec<String> {
    let files = &settings.static_files;
    let taken = |worker: &&DesiredWorker| {
        files.enabled && files.url_prefix.covers(worker.settings.route.as_str())
    };
    desired
        .workers
        .values()
        .filter(taken)
        .map(|worker| {
            format!(
                "{} gets no requests: {} lies below server.static.url_prefix; set `route:` in its \
                 config/worker.yaml",
                worker.name, worker.settings.route
            )
        })
        .collect()
}

/// Opens a folder of public files; `None` where there is none.
fn public_tree(path: PathBuf, digest: Option<Md5>) -> Result<Option<PublicTree>, LoadError> {
    match File::open(&path) {
        Ok(root) => Ok(Some(PublicTree { root: Arc::new(root), path, digest })),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(LoadError::Folder { path, error }),
    }
}

#[cfg(test)]
mod tests;
