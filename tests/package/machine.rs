//! A machine of one's own with a Debian on it, and the people who use it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use tempfile::TempDir;
use tqserver::ids::CommitId;
use tqserver::store::layout::DeployDir;

use crate::deb;
use crate::repository::Repository;
use crate::samples::Samples;
use crate::support::bed::{self, Bed, Kind};
use crate::support::deployments::{self, Worker};
use crate::support::wait::await_until;

/// Longer than anything here takes; only a test that fails waits for it.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Where deployments lie inside.
pub const DEPLOY: &str = "/var/lib/tqserver/deploy";

/// Who deploys: a user without rights but those of the group tqserver-deploy.
pub const DEPLOYER: &str = "ada";

/// The Debian releases that the package is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Debian {
    /// Debian 12: the host's own files.
    Bookworm,
    /// Debian 13.
    Trixie,
}

/// A booted machine that knows one repository, with a network that has a loopback device only.
pub struct Machine {
    /// The system.
    pub bed: Bed,
    /// It is shared with the system, not copied.
    _repository: Repository,
}

/// What the server answered.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    /// 200 and so on.
    pub status: u16,
    /// The content.
    pub body: String,
}

impl Machine {
    /// Boots a machine without tqserver.
    pub fn boot(debian: Debian, repository: Repository) -> Self {
        let folder = repository.path();
        let mut options = vec!["--net".to_owned(), "--bind".to_owned()];
        options.push(folder.to_str().unwrap().to_owned());
        if debian == Debian::Trixie {
            options.extend(["--root".to_owned(), bed::debian13().to_str().unwrap().to_owned()]);
        }
        let options: Vec<_> = options.iter().map(String::as_str).collect();
        let machine = Self { bed: Bed::start(Kind::System, &options), _repository: repository };
        let folder = folder.display();
        machine.shell(&format!(
            "rm -rf /etc/apt/sources.list /etc/apt/sources.list.d/*
             install -D -m 644 {folder}/tqserver.gpg /usr/share/keyrings/tqserver.gpg
             echo 'deb [signed-by=/usr/share/keyrings/tqserver.gpg] file:{folder} ./' \
                 >/etc/apt/sources.list.d/tqserver.list",
        ));
        machine
    }

    /// Boots a machine with the first version installed and a deployer who has an account.
    pub fn with_tqserver(debian: Debian) -> Self {
        Self::upgradable(debian, &[])
    }

    /// The same, whose repository has these packages, too.
    pub fn upgradable(debian: Debian, later: &[PathBuf]) -> Self {
        let packages = [&[deb::build(deb::FIRST)], later].concat();
        let machine = Self::boot(debian, Repository::of(&packages));
        machine.apt(&["update"]);
        machine.install(deb::FIRST);
        machine.shell(&format!("useradd --create-home --groups tqserver-deploy {DEPLOYER}"));
        machine
    }

    /// Runs a script as root; all of it must succeed.
    #[track_caller]
    pub fn shell(&self, script: &str) -> String {
        self.bed.run(&["sh", "-euc", script])
    }

    /// Runs a script as `user`.
    pub fn as_user(&self, user: &str, script: &str) -> Output {
        let mut command = self.bed.command("setpriv");
        command.args(["--reuid", user, "--regid", user, "--init-groups", "--"]);
        command.args(["sh", "-euc", script]).output().unwrap()
    }

    /// Runs apt-get without a question.
    pub fn try_apt(&self, args: &[&str]) -> Output {
        let mut command = self.bed.command("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive");
        command.args(["--yes", "--quiet", "-oDpkg::Use-Pty=0"]).args(args).output().unwrap()
    }

    /// Runs apt-get, which must succeed, and returns all that it says.
    #[track_caller]
    pub fn apt(&self, args: &[&str]) -> String {
        let output = self.try_apt(args);
        let said = said(&output);
        assert!(output.status.success(), "apt-get {args:?}: {}\n{said}", output.status);
        said
    }

    /// Installs a version, higher or lower than the one that is there.
    #[track_caller]
    pub fn install(&self, version: &str) -> String {
        self.apt(&["install", "--allow-downgrades", &format!("tqserver={version}")])
    }

    /// `curl http://localhost/…`.
    #[track_caller]
    pub fn get(&self, path: &str) -> Answer {
        let url = format!("http://localhost{path}");
        let answer = self.bed.run(&["curl", "-sS", "--write-out", "\n%{http_code}", &url]);
        let (body, status) = answer.rsplit_once('\n').unwrap();
        Answer { status: status.parse().unwrap(), body: body.to_owned() }
    }

    /// A property of a unit.
    #[track_caller]
    pub fn show(&self, unit: &str, property: &str) -> String {
        self.bed.run(&["systemctl", "show", "--value", "-p", property, unit])
    }

    /// tqserver's process, as the machine numbers it; 0 without one.
    #[track_caller]
    pub fn main_pid(&self) -> u32 {
        self.show("tqserver.service", "MainPID").parse().unwrap()
    }

    /// The live units of workers.
    pub fn workers(&self) -> Vec<String> {
        let list = ["systemctl", "list-units", "--plain", "--no-legend", "tq-worker@*"];
        let list = self.bed.run(&list);
        list.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
    }

    /// The live unit of a worker that has one.
    #[track_caller]
    pub fn unit_of(&self, worker: &str) -> String {
        let (prefix, units) = (format!("tq-worker@{worker}-"), self.workers());
        let mut of_worker = units.iter().filter(|unit| unit.starts_with(&prefix));
        let unit = of_worker.next().unwrap_or_else(|| panic!("no {prefix}* in {units:?}"));
        assert_eq!(of_worker.next(), None, "{units:?}");
        unit.clone()
    }

    /// Brings a deployment that was built elsewhere, and then its manifest, as the deployer. The
    /// server serves it now or soon.
    #[track_caller]
    pub fn upload(&self, built: &DeployDir, commit: &CommitId) {
        let inside = "/home/ada/upload";
        let outside = self.bed.root_path(inside);
        fs::create_dir_all(&outside).unwrap();
        let from = built.manifest();
        let from = from.parent().unwrap();
        for name in [commit.as_str(), "manifest.json"] {
            let mut copy = Command::new("cp");
            deb::run(copy.args(["--archive"]).arg(from.join(name)).arg(&outside));
        }
        self.shell(&format!("chown --recursive {DEPLOYER}:{DEPLOYER} {inside}"));
        // What rsync does as docs/installation.md has it.
        let output = self.as_user(
            DEPLOYER,
            &format!(
                "cd {DEPLOY}
                 cp --recursive --preserve=mode,timestamps {inside}/{commit} .
                 find {commit} -type d -exec chmod g+ws {{}} +
                 cp {inside}/manifest.json .manifest.json
                 mv .manifest.json manifest.json"
            ),
        );
        assert!(output.status.success(), "{}", said(&output));
    }

    /// Uploads a deployment of these workers, whose commit is `digit` 40 times, and reloads, as
    /// the deployer.
    #[track_caller]
    pub fn deploy(&self, digit: char, workers: &[Worker]) {
        let built = TempDir::new().unwrap();
        let dir = DeployDir::new(built.path().to_owned());
        let deployment = deployments::build(&dir, digit, workers);
        deployments::activate(&dir, &deployment);
        self.upload(&dir, &deployment.git_commit);
        self.reload();
    }

    /// Builds the sample workers, uploads them and reloads, as the deployer.
    #[track_caller]
    pub fn deploy_samples(&self) {
        let samples = Samples::new();
        samples.configure("");
        let (dir, deployment) = (samples.deploy_dir(), samples.build("first"));
        deployments::activate(&dir, &deployment);
        self.upload(&dir, &deployment.git_commit);
        self.reload();
    }

    /// `systemctl reload tqserver`, as the deployer; it must succeed.
    #[track_caller]
    pub fn reload(&self) {
        let output = self.as_user(DEPLOYER, "systemctl --no-ask-password reload tqserver");
        assert!(output.status.success(), "{}\n{}", said(&output), self.log());
    }

    /// Waits until another process than `pid` is tqserver.
    #[track_caller]
    pub fn await_other_than(&self, pid: u32) {
        await_until("another process", PATIENCE, || ![0, pid].contains(&self.main_pid()));
    }

    /// What tqserver and tq-launcher have logged, for messages.
    pub fn log(&self) -> String {
        self.shell("journalctl --sync; journalctl --no-pager -u tqserver -u tq-launcher")
    }

    /// Where this process finds a path of the machine.
    pub fn inside(&self, path: impl AsRef<Path>) -> PathBuf {
        self.bed.root_path(path)
    }
}

/// Everything that a command wrote.
pub fn said(output: &Output) -> String {
    let text = [output.stdout.clone(), output.stderr.clone()].concat();
    String::from_utf8_lossy(&text).into_owned()
}
