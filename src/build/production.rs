//! Puts a deployment together: the programs, reused or built, and the files they bring along.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;

use super::error::BuildError;
use super::git::GitFacts;
use super::parts::{Provenance, server_part, worker_part};
use super::program::{Catalogue, Program, Worker};
use super::record::Record;
use super::report::{Event, Report};
use super::reuse::{Earlier, Found};
use super::runner::{Made, Runner};
use super::sign::sign;
use super::{Profile, Project, Skipped, Stamp};
use crate::ids::CommitId;
use crate::store::deployment::{Deployment, SCHEMA};
use crate::store::digest::{self, DigestCache};
use crate::store::layout::DeployDir;
use crate::store::manifest::Manifest;
use crate::store::space;
use crate::store::stage::{StageError, Staging};
use crate::store::verify::{Scope, verify};

/// A complete deployment.
#[derive(Debug)]
pub struct Production {
    /// Its record.
    pub deployment: Deployment,
    /// Its folder.
    pub folder: PathBuf,
    /// Whether it was there already; then nothing was built.
    pub existed: bool,
    /// Its signature, where it was signed now.
    pub signature: Option<PathBuf>,
    /// The parts that were not built, `workers/<name>` or `server`, with the deployment each was
    /// taken from.
    pub reused: BTreeMap<String, CommitId>,
    /// Folders that are no workers.
    pub skipped: Vec<Skipped>,
}

/// Builds the deployment of the commit that is checked out, or verifies the one that is there; and
/// signs it, if the project has a key for that. It is complete then, and nothing points to it yet.
///
/// # Errors
/// See [`BuildError`]. What was there before is untouched, and nothing is left behind; but a
/// deployment that is not signed stays, to be signed by the next build.
pub fn build(
    project: &Project,
    now: Timestamp,
    report: &dyn Report,
) -> Result<Production, BuildError> {
    let mut built = unsigned(project, now, report)?;
    if let Some(key) = &project.build.sign_key {
        let deploy = DeployDir::new(&project.deploy_dir);
        built.signature = Some(sign(&deploy, &built.deployment.git_commit, key)?);
    }
    Ok(built)
}

fn unsigned(
    project: &Project,
    now: Timestamp,
    report: &dyn Report,
) -> Result<Production, BuildError> {
    let facts = GitFacts::read(&project.root, &project.deploy_dir)?;
    let dirty = !facts.changes.is_empty();
    if dirty && project.build.require_clean_working_dir {
        return Err(BuildError::Dirty(facts.changes));
    }
    report.event(Event::Tree(&facts));
    let deploy = DeployDir::new(&project.deploy_dir);
    let folder = deploy.commit_dir(&facts.commit);
    if folder.symlink_metadata().is_ok() {
        return if dirty {
            Err(BuildError::DirtyAndDeployed(folder))
        } else {
            existing(&deploy, &facts.commit, now)
        };
    }
    fs::create_dir_all(deploy.path()).map_err(|source| BuildError::io(deploy.path(), source))?;
    let catalogue = Catalogue::read(project, Profile::Release)?;
    let stamp = project.build.include_commit_in_binary.then(|| Stamp::new(&facts, now));
    space::require(deploy.path(), expected_size(project, &catalogue, &deploy))?;
    let staging = Staging::begin(&deploy, &facts.commit)?;
    let assembly = Assembly { project, facts: &facts, catalogue: &catalogue, staging, now, report };
    let provenance = assembly.programs(&deploy, stamp.as_ref())?;
    assembly.assets()?;
    let deployment = assembly.record(&provenance)?;
    match assembly.staging.finish(&deployment) {
        Ok(()) => {}
        // Somebody else has built the same commit meanwhile.
        Err(StageError::Exists(_)) if !dirty => return existing(&deploy, &facts.commit, now),
        Err(error) => return Err(error.into()),
    }
    let reused = provenance.into_iter().filter_map(|(place, it)| Some((place, it.reused?)));
    let reused = reused.collect();
    Ok(Production {
        deployment,
        folder,
        existed: false,
        signature: None,
        reused,
        skipped: catalogue.skipped,
    })
}

/// How many bytes the deployment will have, about: what is copied, and the programs as the deployment
/// that is current has them.
fn expected_size(project: &Project, catalogue: &Catalogue, deploy: &DeployDir) -> u64 {
    let workers_dir = &project.discovery.workers_dir;
    let folders =
        |folder: &Path| ["public", "private", "config"].map(|kind| space::size(&folder.join(kind)));
    let shared: u64 = folders(&workers_dir.join("shared")).iter().sum();
    let own = catalogue.workers.iter().flat_map(|worker| folders(&worker.program.folder));
    let copied = own.sum::<u64>() + shared * catalogue.workers.len() as u64;
    let current = Manifest::read(deploy).ok().map(|(manifest, _)| manifest.deployment.deployment);
    let programs = current.map_or(0, |current| {
        let workers = current.workers.values().map(|part| part.size_bytes);
        workers.chain(current.server.map(|part| part.size_bytes)).sum()
    });
    copied.saturating_add(programs)
}

/// The deployment that is there, if it is what it was.
fn existing(
    deploy: &DeployDir,
    commit: &CommitId,
    now: Timestamp,
) -> Result<Production, BuildError> {
    let folder = deploy.commit_dir(commit);
    let damaged = |problem: String| BuildError::Damaged { folder: folder.clone(), problem };
    let deployment =
        Deployment::read(deploy, commit).map_err(|error| damaged(error.to_string()))?;
    verify(deploy, &deployment, Scope::Whole, &mut DigestCache::default(), now)
        .map_err(|error| damaged(error.to_string()))?;
    let workers = deployment.workers.values().map(|part| &part.path);
    let parts = workers.chain(deployment.server.iter().map(|part| &part.path));
    let reused = parts.map(|path| (path.clone(), commit.clone())).collect();
    Ok(Production {
        deployment,
        folder,
        existed: true,
        signature: None,
        reused,
        skipped: Vec::new(),
    })
}

struct Assembly<'a> {
    project: &'a Project,
    facts: &'a GitFacts,
    catalogue: &'a Catalogue,
    staging: Staging,
    /// When the build began.
    now: Timestamp,
    report: &'a dyn Report,
}

impl Assembly<'_> {
    /// Gets every program into its `bin/`: from an earlier deployment, else from a compiler.
    fn programs(
        &self,
        deploy: &DeployDir,
        stamp: Option<&Stamp>,
    ) -> Result<BTreeMap<String, Provenance>, BuildError> {
        let earlier =
            Earlier::load(deploy).map_err(|source| BuildError::io(deploy.path(), source))?;
        let mut all = BTreeMap::new();
        let (mut changed, mut inputs_of) = (Vec::new(), BTreeMap::new());
        let workers = self.catalogue.workers.iter().map(|it| (Some(&it.name), &it.program));
        for (name, program) in workers.chain(self.catalogue.server.iter().map(|it| (None, it))) {
            let inputs = self.catalogue.inputs(self.project, program)?;
            let known = Record::read(self.project, Profile::Release, program);
            let embedded = known.map(|record| record.embedded).unwrap_or_default();
            let inputs_md5 = inputs.digest_with(&embedded)?;
            let taken = match name {
                Some(name) => self.take(program, &earlier, earlier.of_worker(name, inputs_md5))?,
                None => self.take(program, &earlier, earlier.of_server(inputs_md5))?,
            };
            match taken {
                Some((reused, built_from)) => {
                    let it = Provenance { built_from, inputs_md5, reused: Some(reused) };
                    all.insert(program.place.clone(), it);
                }
                None => {
                    changed.push(program);
                    inputs_of.insert(&program.place, inputs);
                }
            }
        }
        let built = Mutex::new(&mut all);
        let place = |program: &Program, made: &Made| {
            self.place(program, made)?;
            let record = Record::of(self.project, &inputs_of[&program.place], made)?;
            record.write(self.project, Profile::Release, program)?;
            let it = Provenance {
                built_from: self.facts.commit.clone(),
                inputs_md5: record.inputs_md5,
                reused: None,
            };
            built.lock().unwrap_or_else(PoisonError::into_inner).insert(program.place.clone(), it);
            Ok(())
        };
        let (project, catalogue) = (self.project, self.catalogue);
        let (profile, report) = (Profile::Release, self.report);
        let runner = Runner { project, catalogue, profile, stamp, ahead: None, report };
        let failed = runner.run(&changed, &place)?.failed;
        if failed.is_empty() { Ok(all) } else { Err(BuildError::Failed(failed)) }
    }

    /// Takes over the first that is still what it was.
    fn take<'e>(
        &self,
        program: &Program,
        earlier: &Earlier,
        candidates: impl Iterator<Item = Found<'e>>,
    ) -> Result<Option<(CommitId, CommitId)>, BuildError> {
        for found in candidates {
            if earlier.copy(&found, &program.name, &self.staging, self.now, self.report)? {
                return Ok(Some((found.commit.clone(), found.built_from.clone())));
            }
            let bin = self.staging.path().join(&program.place).join("bin");
            if bin.exists() {
                fs::remove_dir_all(&bin).map_err(|source| BuildError::io(&bin, source))?;
            }
        }
        Ok(None)
    }

    fn place(&self, program: &Program, made: &Made) -> Result<(), BuildError> {
        let bin = format!("{}/bin", program.place);
        match made {
            Made::Executable(path) => {
                self.staging.copy_file(path, &format!("{bin}/{}", program.name))?;
            }
            Made::BinFolder => self.staging.copy_tree(&program.folder.join("bin"), &bin)?,
        }
        Ok(())
    }

    /// Copies `public/`, `private/` and `config/`. What all workers share comes first, so that a
    /// worker's own file wins.
    fn assets(&self) -> Result<(), BuildError> {
        let shared = self.project.discovery.workers_dir.join("shared");
        for Worker { program, .. } in &self.catalogue.workers {
            let to = &program.place;
            self.staging.copy_tree(&program.folder.join("config"), &format!("{to}/config"))?;
            for kind in ["public", "private"].iter().filter(|_| self.project.build.copy_assets) {
                let to = format!("{to}/{kind}");
                self.staging.copy_tree(&shared.join(kind), &to)?;
                self.staging.copy_tree(&program.folder.join(kind), &to)?;
            }
        }
        if let Some(server) =
            self.catalogue.server.as_ref().filter(|_| self.project.build.copy_assets)
        {
            for kind in ["public", "private"] {
                let from = server.folder.join("src/admin").join(kind);
                self.staging.copy_tree(&from, &format!("server/{kind}"))?;
            }
        }
        Ok(())
    }

    fn record(&self, provenance: &BTreeMap<String, Provenance>) -> Result<Deployment, BuildError> {
        let tree = digest::tree(self.staging.path(), &mut DigestCache::default(), self.now)?;
        let mut workers = BTreeMap::new();
        for worker in &self.catalogue.workers {
            let place = &worker.program.place;
            let folder = self.staging.path().join(place);
            let part = worker_part(worker, &provenance[place], &tree.subtree(place), &folder)?;
            workers.insert(worker.name.clone(), part);
        }
        let server = self.catalogue.server.as_ref();
        let server =
            server.map(|it| server_part(it, &provenance[&it.place], &tree.subtree(&it.place)));
        Ok(Deployment {
            schema: SCHEMA,
            git_commit: self.facts.commit.clone(),
            git_commit_short: self.facts.short.clone(),
            git_branch: self.facts.branch.clone(),
            git_tag: self.facts.tag.clone(),
            built_at: self.now,
            server: server.transpose()?,
            workers,
        })
    }
}
