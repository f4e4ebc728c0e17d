//! A host that serves, one that deploys to it, and ssh between them.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use tqserver::ids::CommitId;
use tqserver::store::deployment::Deployment;
use tqserver::store::layout::DeployDir;
use tqserver::store::lock::DeployLock;
use tqserver::store::manifest::Manifest;
use tqserver::store::verify::{Scope, verify};

use super::sshd::Sshd;
use crate::project::{Project, Worker};
use crate::session::{PATIENCE, Session};
use crate::support::published;
use crate::support::wait::await_until;

/// Both ends.
pub struct Host {
    /// What is deployed to.
    pub server: Project,
    /// Its tqserver.
    pub session: Session,
    /// What is deployed from.
    pub client: Project,
    /// How it is reached.
    pub sshd: Sshd,
}

impl Host {
    /// A host on which nothing is deployed yet. `target` has further lines of the target.
    pub fn new(target: &str) -> Self {
        let server = Project::new("", "");
        let session = Session::user(server.path(), |range| server.configure("", range));
        let sshd = Sshd::start(&session.bed);
        let host = Self { server, session, client: Project::new("", ""), sshd };
        host.configure(target);
        host
    }

    /// Writes the client's deployment.yaml anew, with further lines for both targets: `production` is
    /// reached without ssh, and `away` by it.
    pub fn configure(&self, target: &str) {
        self.configure_with(target, Path::new(env!("CARGO_BIN_EXE_tqctl")));
    }

    /// The same, with another tqctl on the host that ssh leads to.
    pub fn configure_with(&self, target: &str, tqctl: &Path) {
        let common = format!(
            "    path: {}\n    socket: {}\n    soak_seconds: 0\n{target}",
            self.server.path().display(),
            self.session.control_path().display(),
        );
        let text = format!(
            "targets:\n  production:\n{common}  away:\n    hosts: [127.0.0.1]\n    \
             ssh_config: {}\n    tqctl: {}\n{common}",
            self.sshd.ssh_config().display(),
            tqctl.display(),
        );
        fs::write(self.client.path().join("config/deployment.yaml"), text).unwrap();
    }

    /// Builds `deploy/<commit>` where it is deployed from.
    pub fn build(&self, digit: char, workers: &[Worker]) -> Deployment {
        self.client.build(digit, workers)
    }

    /// tqctl where it is deployed from.
    pub fn command(&self) -> Command {
        let mut command = self.session.bed.command(env!("CARGO_BIN_EXE_tqctl"));
        command.arg("--root").arg(self.client.path());
        command
    }

    /// The same, as a shell starts it: with the processes that it starts in a group of their own.
    pub fn in_group_of_its_own(&self) -> Command {
        let mut command = self.session.bed.command("setsid");
        command.args(["--wait", env!("CARGO_BIN_EXE_tqctl"), "--root"]).arg(self.client.path());
        command
    }

    /// Runs tqctl there.
    pub fn tqctl(&self, args: &[&str]) -> Output {
        self.command().args(args).output().unwrap()
    }

    /// Deploys to a target, which must succeed, and returns the JSON document.
    #[track_caller]
    pub fn deploy(&self, target: &str, deployment: &Deployment) -> Value {
        let output = self.tqctl(&["--json", "deploy", target, deployment.git_commit.as_str()]);
        assert!(output.status.success(), "{}\n{}", said(&output), self.session.log());
        published::document("deploy", &output.stdout)
    }

    /// What the manifest of the server points at.
    pub fn wanted(&self) -> Option<CommitId> {
        Manifest::read(&self.server.deploy_dir()).ok().map(|(it, _)| it.current_deployment)
    }

    /// Names in the server's folder of deployments, without the deployments themselves.
    pub fn others(&self) -> Vec<String> {
        let entries = self.server.deploy_dir().path().read_dir().unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.filter(|name| name.parse::<CommitId>().is_err()).collect();
        names.sort();
        names
    }

    /// Every folder that has a deployment's name is, byte for byte, what its record says.
    #[track_caller]
    pub fn assert_whole(&self) {
        let deploy: DeployDir = self.server.deploy_dir();
        let now = jiff::Timestamp::now();
        for entry in deploy.path().read_dir().unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let Ok(commit) = name.parse::<CommitId>() else { continue };
            let record = Deployment::read(&deploy, &commit).unwrap();
            verify(&deploy, &record, Scope::Whole, &mut Default::default(), now).unwrap();
        }
    }

    /// Waits until nobody changes the server's deployments.
    #[track_caller]
    pub fn await_free(&self) {
        await_until("the lock is free", PATIENCE, || {
            let now = jiff::Timestamp::now();
            DeployLock::try_acquire(&self.server.deploy_dir(), "test", now).is_ok()
        });
    }

    /// What both workers say they are; they say the same.
    #[track_caller]
    pub fn mode(&self) -> String {
        let [index, api] = self.modes();
        assert_eq!(index, api);
        index
    }

    /// Whether both workers say they are that. While they are switched they may differ.
    pub fn is_in(&self, mode: &str) -> bool {
        self.modes().iter().all(|it| it == mode)
    }

    #[track_caller]
    fn modes(&self) -> [String; 2] {
        ["/", "/api"].map(|path| {
            let body = self.session.get(path).body;
            body.split(' ').nth(1).unwrap_or_else(|| panic!("{body:?}")).to_owned()
        })
    }
}

/// All that a program printed.
pub fn said(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}\n{}{}", output.status, text(&output.stdout), text(&output.stderr))
}
