//! A project whose deployments are put together by hand.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tqserver::store::deployment::Deployment;
use tqserver::store::layout::DeployDir;

use crate::support::deployments;
pub use crate::support::deployments::{Worker, commit, worker};

/// A folder with `config/` and `deploy/`.
pub struct Project {
    dir: TempDir,
}

impl Project {
    /// A project without a deployment. `server` holds further lines of server.yaml, `workers`
    /// further ones of its section of that name.
    pub fn new(server: &str, workers: &str) -> Self {
        let dir = tempfile::Builder::new().prefix("tqserver-e2e-").tempdir().unwrap();
        // Workers run as the same user here; in a system bed they must be able to look in.
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir_all(dir.path().join("config")).unwrap();
        fs::create_dir_all(dir.path().join("deploy")).unwrap();
        let project = Self { dir };
        project.configure(server, workers);
        project
    }

    /// Writes server.yaml anew.
    pub fn configure(&self, server: &str, workers: &str) {
        let text = format!("server:\n  deployment_mode: prod\n{server}workers:\n{workers}");
        fs::write(self.path().join("config/server.yaml"), text).unwrap();
    }

    /// Makes tqserver deaf to changes of the manifest, once it is restarted.
    pub fn only_reload_on_sighup(&self) {
        let text = "deployment:\n  prod:\n    reload_triggers: [sighup]\n";
        fs::write(self.path().join("config/deployment.yaml"), text).unwrap();
    }

    /// Its folder.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Its manifest.
    pub fn manifest(&self) -> PathBuf {
        self.deploy_dir().manifest()
    }

    /// Its deployments.
    pub fn deploy_dir(&self) -> DeployDir {
        DeployDir::new(self.path().join("deploy"))
    }

    /// Builds `deploy/<commit>`, the commit being `digit` 40 times.
    pub fn build(&self, digit: char, workers: &[Worker]) -> Deployment {
        deployments::build(&self.deploy_dir(), digit, workers)
    }

    /// Points the manifest at a deployment, as `tqctl build` does.
    pub fn activate(&self, deployment: &Deployment) {
        deployments::activate(&self.deploy_dir(), deployment);
    }

    /// Both.
    pub fn deploy(&self, digit: char, workers: &[Worker]) -> Deployment {
        let deployment = self.build(digit, workers);
        self.activate(&deployment);
        deployment
    }
}
