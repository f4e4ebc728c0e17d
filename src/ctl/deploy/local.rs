//! The deployment that is to be brought somewhere, as it lies here.

use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::build::{BuildError, Project, git, production};
use crate::ctl::build::failure;
use crate::ctl::exit::Failure;
use crate::ctl::output::Output;
use crate::ids::CommitId;
use crate::store::deployment::Deployment;
use crate::store::digest::DigestCache;
use crate::store::layout::DeployDir;
use crate::store::signature;
use crate::store::verify::{Scope, verify};

/// A complete deployment.
#[derive(Debug)]
pub(super) struct Local {
    /// What it is.
    pub(super) deployment: Deployment,
    /// `deployment.json`.
    pub(super) record: String,
    /// `deployment.json.asc`, if it was signed.
    pub(super) signature: Option<String>,
    /// Its folder.
    pub(super) folder: PathBuf,
}

impl Local {
    /// Builds the commit that is checked out.
    pub(super) fn built(project: &Project, out: &Output) -> Result<Self, Failure> {
        let built = production::build(project, Timestamp::now(), out).map_err(failure)?;
        let rebuilt = built.deployment.workers.keys().filter(|name| {
            !built.existed && !built.reused.contains_key(&format!("workers/{name}"))
        });
        let rebuilt: Vec<_> = rebuilt.map(ToString::to_string).collect();
        if !rebuilt.is_empty() {
            out.message(format_args!("built {}", rebuilt.join(", ")));
        }
        Self::of(built.deployment, built.folder)
    }

    /// The deployment of `name`, a commit or what git takes for one, that was built before.
    pub(super) fn named(project: &Project, name: &str) -> Result<Self, Failure> {
        let commit = commit(project, name)?;
        let deploy = DeployDir::new(&project.deploy_dir);
        let deployment = match Deployment::read(&deploy, &commit) {
            Ok(deployment) => deployment,
            Err(error) => {
                let hint = format!(
                    "build it: git checkout {} && tqctl build --no-activate",
                    commit.short()
                );
                return Err(Failure::from(error).with_hint(Some(hint)));
            }
        };
        let (mut cache, now) = (DigestCache::default(), Timestamp::now());
        verify(&deploy, &deployment, Scope::Whole, &mut cache, now)?;
        let folder = deploy.commit_dir(&commit);
        Self::of(deployment, folder)
    }

    /// The deployment of the commit that is checked out, if it was built before; writes nothing.
    pub(super) fn of_head(project: &Project) -> Result<(CommitId, Option<Self>), Failure> {
        let head = commit(project, "HEAD")?;
        let deploy = DeployDir::new(&project.deploy_dir);
        let folder = deploy.commit_dir(&head);
        let read = Deployment::read(&deploy, &head).ok();
        Ok((head, read.map(|deployment| Self::of(deployment, folder)).transpose()?))
    }

    fn of(deployment: Deployment, folder: PathBuf) -> Result<Self, Failure> {
        let record = String::from_utf8_lossy(&deployment.to_json()).into_owned();
        let signature = signature::read(&folder)?;
        Ok(Self { deployment, record, signature, folder })
    }

    /// The sizes of all its files in bytes, in the record's order.
    pub(super) fn sizes(&self) -> Result<Vec<u64>, Failure> {
        self.deployment.files().map(|(path, _)| size(&self.folder.join(path))).collect()
    }

    /// The size of some of its files, in bytes.
    pub(super) fn size_of(&self, files: &[String]) -> Result<u64, Failure> {
        files.iter().map(|path| size(&self.folder.join(path))).sum()
    }
}

fn size(path: &Path) -> Result<u64, Failure> {
    let metadata = path.symlink_metadata();
    let metadata = metadata.map_err(|error| anyhow::anyhow!("{}: {error}", path.display()))?;
    Ok(metadata.len())
}

/// What a name means: a full commit, or whatever git takes for one.
pub(super) fn commit(project: &Project, name: &str) -> Result<CommitId, Failure> {
    if let Ok(commit) = name.parse() {
        return Ok(commit);
    }
    let found =
        git::resolve(&project.root, name).map_err(|error| failure(BuildError::from(error)))?;
    found.ok_or_else(|| anyhow::anyhow!("{name:?}: git knows no commit of that name").into())
}
