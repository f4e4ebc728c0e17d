//! An sshd on loopback, with a configuration, keys and a port of its own.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::session::PATIENCE;
use crate::support::bed::Bed;
use crate::support::ports::{self, PortLease};
use crate::support::wait::await_until;

/// A server and the files of its client. It ends when it is dropped.
pub struct Sshd {
    dir: TempDir,
    port: PortLease,
    process: Child,
}

impl Sshd {
    /// Starts one in a bed.
    pub fn start(bed: &Bed) -> Self {
        install();
        let dir = tempfile::Builder::new().prefix("tqserver-sshd-").tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).display().to_string();
        for key in ["host", "user"] {
            let mut command = Command::new("ssh-keygen");
            command.args(["-q", "-t", "ed25519", "-N", "", "-f", &path(key)]);
            assert!(command.status().unwrap().success());
        }
        let port = ports::lease(1);
        let number = port.port(0);
        let server = format!(
            "ListenAddress 127.0.0.1:{number}\nHostKey {host}\nAuthorizedKeysFile {user}.pub\n\
             StrictModes no\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin yes\n\
             PidFile none\nPermitUserEnvironment no\n",
            host = path("host"),
            user = path("user"),
        );
        fs::write(dir.path().join("sshd_config"), server).unwrap();
        let known = fs::read_to_string(dir.path().join("host.pub")).unwrap();
        let known = format!("[127.0.0.1]:{number} {known}");
        fs::write(dir.path().join("known_hosts"), known).unwrap();
        // The bed's /run is fresh, and sshd wants this folder to be there.
        bed.run(&["mkdir", "-p", "-m", "755", "/run/sshd"]);
        let log = fs::File::create(dir.path().join("log")).unwrap();
        let mut command = bed.command("/usr/sbin/sshd");
        command.args(["-D", "-e", "-f", &path("sshd_config")]);
        let process = command.stdin(Stdio::null()).stderr(log).spawn().unwrap();
        await_until("sshd listens", PATIENCE, || {
            std::net::TcpStream::connect(("127.0.0.1", number)).is_ok()
        });
        let sshd = Self { dir, port, process };
        fs::write(sshd.ssh_config(), sshd.section("*")).unwrap();
        sshd
    }

    /// What a client's configuration says of it under a name.
    pub fn section(&self, host: &str) -> String {
        let path = |name: &str| self.dir.path().join(name).display().to_string();
        format!(
            "Host {host}\n  HostName 127.0.0.1\n  Port {number}\n  IdentityFile {user}\n  \
             IdentitiesOnly yes\n  UserKnownHostsFile {known}\n  StrictHostKeyChecking yes\n  \
             LogLevel ERROR\n",
            number = self.port.port(0),
            user = path("user"),
            known = path("known_hosts"),
        )
    }

    /// The client's configuration.
    pub fn ssh_config(&self) -> PathBuf {
        self.dir.path().join("ssh_config")
    }

    /// tqctl for a host without rsync: everything else that is in /usr/bin is in its search path.
    pub fn tqctl_without_rsync(&self) -> PathBuf {
        self.tqctl("")
    }

    /// The same, run by strace(1), which is given what is in the file `options`, and writes to `trace`.
    pub fn traced_tqctl(&self, options: &Path, trace: &Path) -> PathBuf {
        let (options, trace) = (options.display(), trace.display());
        self.tqctl(&format!("strace -qq -y -o {trace} $(cat {options}) --"))
    }

    fn tqctl(&self, runner: &str) -> PathBuf {
        let folder = self.dir.path().join("bin");
        fs::create_dir(&folder).unwrap();
        for entry in Path::new("/usr/bin").read_dir().unwrap() {
            let name = entry.unwrap().file_name();
            if name != "rsync" {
                symlink(Path::new("/usr/bin").join(&name), folder.join(&name)).unwrap();
            }
        }
        let path = self.dir.path().join("tqctl");
        let tqctl = env!("CARGO_BIN_EXE_tqctl");
        let text = format!("#!/bin/sh\nPATH={} exec {runner} {tqctl} \"$@\"\n", folder.display());
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Installs sshd and rsync where they are missing.
fn install() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bed/install");
    let status = Command::new(script).args(["openssh-client", "openssh-server", "rsync"]).status();
    assert!(status.unwrap().success());
}
