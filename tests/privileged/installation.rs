//! A system with the programs, users and files that the package brings.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use tqserver::store::deployment::Deployment;
use tqserver::store::layout::DeployDir;

use crate::support::bed::{Bed, Kind};
use crate::support::deployments::{self, Worker, commit};

/// Longer than anything here takes; only a test that fails waits for it.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The first of the hundred ports that workers may have. The bed has a network of its own.
pub const PORT: u16 = 9000;

/// Where deployments lie inside.
pub const DEPLOY: &str = "/var/lib/tqserver/deploy";

/// Where the launcher keeps its copies inside.
pub const COPIES: &str = "/var/lib/tq-launcher/copies";

/// A booted system with tqserver on it. Nothing is started.
pub struct Installation {
    /// The system.
    pub bed: Bed,
}

impl Installation {
    /// Boots a system, and puts everything where it belongs.
    pub fn new() -> Self {
        let installation = Self { bed: Bed::start(Kind::System, &["--net"]) };
        installation.programs();
        installation.users_and_folders();
        installation.units();
        installation
    }

    /// The programs, where units with a /tmp of their own find them, too.
    fn programs(&self) {
        for (program, path) in [
            (env!("CARGO_BIN_EXE_tq-launcher"), "/usr/libexec/tqserver/tq-launcher"),
            (env!("CARGO_BIN_EXE_tqserver"), "/usr/bin/tqserver"),
            (env!("CARGO_BIN_EXE_tqctl"), "/usr/bin/tqctl"),
        ] {
            self.shell(&format!(
                "install -D -m 755 /dev/null {path}; mount --bind {program} {path}"
            ));
        }
    }

    fn users_and_folders(&self) {
        self.shell(
            "groupadd --system tqserver-admin
             groupadd --system tqserver-deploy
             useradd --system --user-group --home-dir /var/lib/tqserver tqserver
             useradd --groups tqserver-deploy deployer
             useradd stranger
             install -d -o root -g tqserver -m 750 /etc/tqserver
             install -d -m 755 /var/lib/tqserver
             install -d -g tqserver-deploy -m 2775 /var/lib/tqserver/deploy",
        );
        self.configure("");
    }

    fn units(&self) {
        let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
        let copies = [
            ("units", "/usr/lib/systemd/system", ""),
            ("packaging/dbus-1", "/usr/share/dbus-1/system-services", "service"),
            ("packaging/dbus-1", "/usr/share/dbus-1/system.d", "conf"),
        ];
        for (from, to, extension) in copies {
            for entry in fs::read_dir(repository.join(from)).unwrap() {
                let path = entry.unwrap().path();
                if path.to_str().unwrap().ends_with(extension) {
                    let to = self.inside(to).join(path.file_name().unwrap());
                    fs::copy(&path, to).unwrap();
                }
            }
        }
        // The bus has read its files before the users were made.
        self.shell("systemctl daemon-reload && systemctl reload dbus");
    }

    /// Where this process finds a path of the bed.
    pub fn inside(&self, path: &str) -> PathBuf {
        self.bed.root_path(path)
    }

    /// Runs a script in the bed as root; all of it must succeed.
    #[track_caller]
    pub fn shell(&self, script: &str) -> String {
        self.bed.run(&["sh", "-euc", script])
    }

    /// Runs a program in the bed as `user`.
    pub fn as_user(&self, user: &str, argv: &[&str]) -> Output {
        let mut command = self.bed.command("setpriv");
        command.args(["--reuid", user, "--regid", user, "--init-groups", "--"]);
        command.args(argv).output().unwrap()
    }

    /// Writes server.yaml, with further lines of its section `workers:`.
    pub fn configure(&self, workers: &str) {
        let (path, last) = (self.inside("/etc/tqserver/server.yaml"), PORT + 99);
        let text = format!(
            "server:\n  deployment_mode: prod\nworkers:\n  port_range_start: {PORT}\n  \
             port_range_end: {last}\n{workers}"
        );
        fs::write(&path, text).unwrap();
        self.shell("chgrp tqserver /etc/tqserver/server.yaml; chmod 640 /etc/tqserver/server.yaml");
    }

    /// Adds lines to a unit, as `systemctl edit` does.
    pub fn edit_unit(&self, unit: &str, lines: &str) {
        let folder = self.inside(&format!("/etc/systemd/system/{unit}.d"));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("test.conf"), lines).unwrap();
        self.shell("systemctl daemon-reload");
    }

    /// The folder of deployments.
    pub fn deploy_dir(&self) -> DeployDir {
        DeployDir::new(self.inside(DEPLOY))
    }

    /// Puts a deployment there, which is not activated; its commit is `digit` 40 times.
    pub fn deploy(&self, digit: char, workers: &[Worker]) -> Deployment {
        let deployment = deployments::build(&self.deploy_dir(), digit, workers);
        // As they are uploaded: only members of the group may read what is private.
        self.shell(&format!(
            "cd {DEPLOY}/{}; chgrp -R tqserver-deploy .
             chmod 2750 workers/*/bin workers/*/private",
            deployment.git_commit
        ));
        deployment
    }

    /// Calls the launcher as user tqserver.
    pub fn call(&self, method: &str, signature: &str, arguments: &[&str]) -> Result<(), String> {
        self.call_as("tqserver", method, signature, arguments)
    }

    /// Calls the launcher; an error is its text.
    pub fn call_as(
        &self,
        user: &str,
        method: &str,
        signature: &str,
        arguments: &[&str],
    ) -> Result<(), String> {
        const LAUNCHER: &str = "org.tqserver.Launcher1";
        let object = ["/org/tqserver/Launcher1", LAUNCHER, method, signature];
        let call = [&["busctl", "call", LAUNCHER][..], &object, arguments].concat();
        let output = self.as_user(user, &call);
        match output.status.success() {
            true => Ok(()),
            false => Err(String::from_utf8(output.stderr).unwrap()),
        }
    }

    /// Asks for a generation of a worker, as user tqserver.
    pub fn start(&self, name: &str, port: u16, digit: char) -> Result<(), String> {
        let (port, commit) = (port.to_string(), commit(digit));
        self.call("StartWorker", "sqst", &[name, &port, commit.as_str(), "1"])
    }

    /// Asks for the end of a unit, as user tqserver.
    pub fn stop(&self, name: &str, port: u16) -> Result<(), String> {
        self.call("StopWorker", "sq", &[name, &port.to_string()])
    }

    /// A property of a unit.
    pub fn show(&self, unit: &str, property: &str) -> String {
        self.bed.run(&["systemctl", "show", "--value", "-p", property, unit])
    }

    /// The main process of a worker's unit, as the bed numbers it; 0 without one.
    pub fn main_pid(&self, name: &str, port: u16) -> u32 {
        self.show(&format!("tq-worker@{name}-{port}.service"), "MainPID").parse().unwrap()
    }

    /// The copies there are, as `<worker>/<sum>`.
    pub fn copies(&self) -> Vec<String> {
        let list =
            self.shell(&format!("cd {COPIES}; find . -mindepth 2 -maxdepth 2 -printf '%P\n'"));
        list.lines().map(str::to_owned).collect()
    }
}

/// Makes a folder or file of the bed writable to all.
pub fn open_to_all(path: &Path) {
    fs::set_permissions(path, Permissions::from_mode(0o777)).unwrap();
}
