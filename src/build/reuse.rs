//! Programs of earlier deployments, to be used again where nothing they are made from has changed.

use std::collections::BTreeMap;
use std::io;

use jiff::Timestamp;

use super::error::BuildError;
use super::report::{Event, Report};
use crate::ids::{CommitId, Md5, Sha256, WorkerName};
use crate::store::deployment::Deployment;
use crate::store::digest::{self, DigestCache};
use crate::store::layout::DeployDir;
use crate::store::manifest::Manifest;
use crate::store::stage::Staging;

/// The deployments there are, the current one first, then from the newest to the oldest.
pub(super) struct Earlier {
    deploy: DeployDir,
    deployments: Vec<Deployment>,
}

/// A program of an earlier deployment.
pub(super) struct Found<'a> {
    /// The deployment it is taken from.
    pub(super) commit: &'a CommitId,
    /// The commit it was built from, then or earlier.
    pub(super) built_from: &'a CommitId,
    path: &'a str,
    sha256: &'a BTreeMap<String, Sha256>,
}

impl Earlier {
    /// Reads their records. One that cannot be read has nothing to offer.
    pub(super) fn load(deploy: &DeployDir) -> io::Result<Self> {
        let current = Manifest::read(deploy).map(|(manifest, _)| manifest.current_deployment).ok();
        let mut deployments: Vec<_> = deploy
            .deployments()?
            .iter()
            .filter_map(|commit| Deployment::read(deploy, commit).ok())
            .collect();
        deployments.sort_by_key(|it| std::cmp::Reverse(it.built_at));
        // Stable, so that the others stay in order.
        deployments.sort_by_key(|it| Some(&it.git_commit) != current.as_ref());
        Ok(Self { deploy: deploy.clone(), deployments })
    }

    /// Those of a worker that were made from the same inputs.
    pub(super) fn of_worker<'a>(
        &'a self,
        name: &'a WorkerName,
        inputs: Md5,
    ) -> impl Iterator<Item = Found<'a>> {
        self.deployments.iter().filter_map(move |deployment| {
            let part = deployment.workers.get(name).filter(|part| part.inputs_md5 == inputs)?;
            let (commit, built_from) = (&deployment.git_commit, &part.built_from);
            Some(Found { commit, built_from, path: &part.path, sha256: &part.sha256 })
        })
    }

    /// Those of the server that were made from the same inputs.
    pub(super) fn of_server(&self, inputs: Md5) -> impl Iterator<Item = Found<'_>> {
        self.deployments.iter().filter_map(move |deployment| {
            let part = deployment.server.as_ref().filter(|part| part.inputs_md5 == inputs)?;
            let (commit, built_from) = (&deployment.git_commit, &part.built_from);
            Some(Found { commit, built_from, path: &part.path, sha256: &part.sha256 })
        })
    }

    /// Copies the files of `bin/`, each of which must be what was built then. `false`, with
    /// nothing said about what was copied so far, where one is not.
    pub(super) fn copy(
        &self,
        found: &Found<'_>,
        name: &str,
        staging: &Staging,
        now: Timestamp,
        report: &dyn Report,
    ) -> Result<bool, BuildError> {
        let folder = self.deploy.commit_dir(found.commit).join(found.path);
        let damaged = |file: &str| {
            report.event(Event::Damaged { name, commit: found.commit, file });
            Ok(false)
        };
        let programs = || found.sha256.iter().filter(|(file, _)| file.starts_with("bin/"));
        for (file, _) in programs() {
            let to = format!("{}/{file}", found.path);
            if staging.copy_file(&folder.join(file), &to).is_err() {
                return damaged(file);
            }
        }
        // The copy is what counts: what was read first might change before it is copied.
        let copied = staging.path().join(found.path);
        let copied = digest::subtrees(&copied, &["bin"], &mut DigestCache::default(), now)?;
        for (file, expected) in programs() {
            if copied.files.get(file).is_none_or(|copy| copy.sha256 != *expected) {
                return damaged(file);
            }
        }
        Ok(true)
    }
}
