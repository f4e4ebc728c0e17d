//! A systemd of the test's own, made by the scripts in `tests/bed`.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sched::{CloneFlags, setns};

/// The repository; inside a bed it has the same path as on the host.
const REPOSITORY: &str = env!("CARGO_MANIFEST_DIR");

/// The kinds of systemd manager.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A user manager with the host's files, network and users. It has no journal.
    User,
    /// A booted system with the host's network, and files of its own that start as the host's.
    System,
}

/// The root of a Debian 13, for a system bed's `--root`. The first call ever makes it, which takes
/// half a minute.
///
/// # Panics
///
/// When it cannot be made; the script has said why on stderr.
#[track_caller]
pub fn debian13() -> PathBuf {
    let script = Path::new(REPOSITORY).join("tests/bed/debian13");
    let output = Command::new(&script)
        .stderr(Stdio::inherit())
        .output()
        .unwrap_or_else(|e| panic!("{}: {e}", script.display()));
    assert!(output.status.success(), "{}: {}", script.display(), output.status);
    let root = String::from_utf8(output.stdout).expect("the script prints a path");
    PathBuf::from(root.trim_end())
}

/// The network of a bed.
#[derive(Debug)]
pub struct Network(File);

impl Network {
    /// Makes the calling thread, and threads it starts, connect and listen in this network.
    ///
    /// # Panics
    ///
    /// When that is not permitted.
    pub fn enter(&self) {
        setns(&self.0, CloneFlags::CLONE_NEWNET).expect("root may enter a network namespace");
    }
}

/// A running systemd. It ends, with all that runs in it, when this value is dropped or the test
/// process dies in whatever way.
#[derive(Debug)]
pub struct Bed {
    kind: Kind,
    /// The bed ends with the end of its input.
    script: Child,
    /// The bed's first process, as the host numbers it.
    leader: u32,
}

impl Bed {
    /// Starts a user manager.
    #[track_caller]
    pub fn user() -> Self {
        Self::start(Kind::User, &[])
    }

    /// Boots a system.
    #[track_caller]
    pub fn system() -> Self {
        Self::start(Kind::System, &[])
    }

    /// Starts a bed with `options` for its script (`tests/bed/system` lists them).
    ///
    /// # Panics
    ///
    /// When it does not come up; the script has said why on stderr.
    #[track_caller]
    pub fn start(kind: Kind, options: &[&str]) -> Self {
        let script = Path::new(REPOSITORY).join("tests/bed").join(match kind {
            Kind::User => "user",
            Kind::System => "system",
        });
        let mut child = Command::new(&script)
            .args(options)
            .args(["--", "sh", "-c", "echo $BED_LEADER; exec cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("{}: {e}", script.display()));

        let mut line = String::new();
        let stdout = child.stdout.take().expect("stdout is piped");
        BufReader::new(stdout).read_line(&mut line).expect("the script's output can be read");
        let Ok(leader) = line.trim_end().parse() else {
            let status = child.wait().expect("the script can be waited for");
            panic!("{} did not come up: {status}, stdout {line:?}", script.display());
        };
        Self { kind, script: child, leader }
    }

    /// A command that will run inside, in the repository's folder, with what `systemctl` (in a
    /// user bed: `systemctl --user`) needs in its environment.
    ///
    /// [`Command::current_dir`] has no effect on it.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--target={}", self.leader));
        command.args(["--mount", "--pid", "--cgroup", "--uts", "--ipc", "--net"]);
        command.arg(format!("--wdns={REPOSITORY}")).arg("--").arg(program);
        match self.kind {
            Kind::User => {
                let runtime_dir = self.runtime_dir();
                let bus = format!("unix:path={}", runtime_dir.join("bus").display());
                command.env("XDG_RUNTIME_DIR", runtime_dir).env("DBUS_SESSION_BUS_ADDRESS", bus);
            }
            Kind::System => {
                command.env_remove("XDG_RUNTIME_DIR").env_remove("DBUS_SESSION_BUS_ADDRESS");
            }
        }
        command
    }

    /// Runs a program inside and returns its stdout without the last line's end.
    ///
    /// # Panics
    ///
    /// When it fails, with all that it wrote.
    #[track_caller]
    pub fn run(&self, argv: &[&str]) -> String {
        let [program, args @ ..] = argv else { panic!("run() needs a program") };
        let output = self.command(program).args(args).output().expect("nsenter can be run");
        let stdout = String::from_utf8_lossy(&output.stdout);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "in the {:?} bed: {argv:?}: {}\n--- stdout\n{stdout}\n--- stderr\n{stderr}",
            self.kind,
            output.status
        );
        stdout.trim_end().to_owned()
    }

    /// The folder inside for sockets and state that end with the bed: `$XDG_RUNTIME_DIR` of a
    /// user bed, `/run` of a system bed.
    pub fn runtime_dir(&self) -> PathBuf {
        match self.kind {
            Kind::User => Path::new("/run/user").join(nix::unistd::getuid().to_string()),
            Kind::System => PathBuf::from("/run"),
        }
    }

    /// Where this process finds what is at the absolute path `inside`: files to read and write,
    /// and unix sockets to connect to.
    pub fn root_path(&self, inside: impl AsRef<Path>) -> PathBuf {
        let inside = inside.as_ref().strip_prefix("/").expect("a path inside a bed is absolute");
        Path::new("/proc").join(self.leader.to_string()).join("root").join(inside)
    }

    /// Its network; the host's, unless the bed was started with `--net`.
    pub fn network(&self) -> Network {
        let path = format!("/proc/{}/ns/net", self.leader);
        Network(File::open(&path).unwrap_or_else(|e| panic!("{path}: {e}")))
    }

    /// The bed's first process, as the host numbers it.
    pub fn leader(&self) -> u32 {
        self.leader
    }

    /// The script that keeps the bed. Killing it ends the bed at once.
    pub fn script(&self) -> &Child {
        &self.script
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        drop(self.script.stdin.take());
        // The script bounds how long its end takes. Its status says nothing: a test may have
        // killed it.
        let _ = self.script.wait();
    }
}
