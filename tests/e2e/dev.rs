//! `tqctl dev`, in a user manager as a developer has one.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use tempfile::TempDir;

use crate::session::{PATIENCE, get, send};
use crate::support::bed::Bed;
use crate::support::ports::{self, PortLease};
use crate::support::wait::await_until;

/// A source tree with one worker.
struct Tree {
    dir: TempDir,
    ports: PortLease,
}

impl Tree {
    /// The port of server.yaml is the first of the lease.
    fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("tqserver-dev-").tempdir().unwrap();
        let tree = Self { dir, ports: ports::lease(20) };
        let worker = tree.path().join("workers/index");
        for folder in ["config", "bin", "private"] {
            fs::create_dir_all(worker.join(folder)).unwrap();
        }
        fs::write(worker.join("config/worker.yaml"), "run: bin/serve\n").unwrap();
        fs::write(worker.join("private/mode"), "well").unwrap();
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/web.pl");
        fs::copy(fixture, worker.join("bin/serve")).unwrap();
        fs::set_permissions(worker.join("bin/serve"), fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir(tree.path().join("config")).unwrap();
        let (port, start, end) = (tree.ports.port(0), tree.ports.port(1), tree.ports.port(19));
        tree.configure(&format!(
            "server:\n  port: {port}\nworkers:\n  port_range_start: {start}\n  \
             port_range_end: {end}\n"
        ));
        tree
    }

    fn configure(&self, text: &str) {
        fs::write(self.path().join("config/server.yaml"), text).unwrap();
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn addr(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.ports.port(0)).into()
    }

    #[track_caller]
    fn assert_serves(&self) {
        assert_eq!(send(self.addr(), &get("/")).unwrap().body, "index well g1 /\n");
    }

    fn is_listened_to(&self) -> bool {
        TcpStream::connect(self.addr()).is_ok()
    }

    /// `tqctl dev` of this tree in `bed`, which has said that it serves.
    #[track_caller]
    fn dev(&self, bed: &Bed) -> Dev {
        let dev = Dev::start(bed, self.path());
        dev.await_header(self)
    }
}

/// A `tqctl dev` that runs.
struct Dev {
    child: Child,
    /// Its number in the bed.
    pid: String,
    stdout: BufReader<ChildStdout>,
}

impl Dev {
    fn start(bed: &Bed, root: &Path) -> Self {
        let script =
            format!("echo $$; exec {} dev {}", env!("CARGO_BIN_EXE_tqctl"), root.display());
        let mut command = bed.command("sh");
        command.args(["-c", &script]).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut pid = String::new();
        stdout.read_line(&mut pid).unwrap();
        Self { child, pid: pid.trim().to_owned(), stdout }
    }

    #[track_caller]
    fn await_header(mut self, tree: &Tree) -> Self {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        let header = format!("tqserver dev · http://localhost:{} · 1 worker", tree.ports.port(0));
        if !line.starts_with(&header) {
            let (_, stderr) = self.end();
            panic!("not {header:?}: {line:?}\n{stderr}");
        }
        self
    }

    /// Sends a signal.
    #[track_caller]
    fn signal(&self, bed: &Bed, signal: &str) {
        bed.run(&["kill", &format!("-{signal}"), &self.pid]);
    }

    /// Waits for its end: exit code and stderr.
    fn end(mut self) -> (Option<i32>, String) {
        let mut stderr = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        (self.child.wait().unwrap().code(), stderr)
    }
}

/// All units that have to do with tqserver, in whatever state.
fn units(bed: &Bed) -> String {
    bed.run(&["systemctl", "--user", "list-units", "--all", "--plain", "--no-legend", "tq*"])
}

/// Files of sessions.
fn files(bed: &Bed) -> String {
    bed.run(&["find", bed.runtime_dir().to_str().unwrap(), "-name", "*tq*"])
}

#[track_caller]
fn assert_nothing_is_left(bed: &Bed) {
    assert_eq!((units(bed).as_str(), files(bed).as_str()), ("", ""));
    let processes = bed.run(&["ps", "-eo", "args"]);
    assert!(
        !processes.contains("tqserver --mode") && !processes.contains("bin/serve"),
        "{processes}"
    );
}

fn kill_tqserver(bed: &Bed) {
    let kill = ["systemctl", "--user", "kill", "--kill-who=main", "--signal=KILL"];
    bed.run(&[&kill[..], &["tqserver-dev-*.service"]].concat());
}

#[test]
fn ctrl_c_leaves_nothing_behind() {
    let (tree, bed) = (Tree::new(), Bed::user());
    let dev = tree.dev(&bed);
    tree.assert_serves();
    // Other verbs find the session by the project.
    let mut status = bed.command(env!("CARGO_BIN_EXE_tqctl"));
    let status = status.arg("--root").arg(tree.path()).args(["--json", "status"]).output().unwrap();
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!(status["workers"][0]["name"], "index");
    dev.signal(&bed, "INT");
    assert_eq!(dev.end().0, Some(130));
    assert!(!tree.is_listened_to());
    assert_nothing_is_left(&bed);
}

#[test]
fn sessions_run_side_by_side_and_end_on_their_own() {
    let (one, other, bed) = (Tree::new(), Tree::new(), Bed::user());
    let (first, second) = (one.dev(&bed), other.dev(&bed));
    one.assert_serves();
    other.assert_serves();
    let watcher = one.dev(&bed);
    watcher.signal(&bed, "INT");
    let (code, stderr) = watcher.end();
    assert_eq!(code, Some(130));
    assert!(stderr.contains("runs already") && stderr.contains("goes on"), "{stderr}");
    one.assert_serves();
    first.signal(&bed, "TERM");
    assert_eq!(first.end().0, Some(0));
    assert!(!one.is_listened_to());
    other.assert_serves();
    assert_eq!(units(&bed).matches("tq-worker@").count(), 1);
    second.signal(&bed, "INT");
    second.end();
    assert_nothing_is_left(&bed);
}

#[test]
fn who_only_looks_is_told_of_the_end() {
    let (tree, bed) = (Tree::new(), Bed::user());
    let (owner, watcher) = (tree.dev(&bed), tree.dev(&bed));
    owner.signal(&bed, "INT");
    owner.end();
    let (code, stderr) = watcher.end();
    assert_eq!(code, Some(0));
    assert!(stderr.contains("the session has ended"), "{stderr}");
    assert_nothing_is_left(&bed);
}

#[test]
fn a_session_outlives_a_crash_of_tqserver_but_not_its_tqctl() {
    let (tree, bed) = (Tree::new(), Bed::user());
    let mut dev = tree.dev(&bed);
    tree.assert_serves();
    kill_tqserver(&bed);
    tree.assert_serves();
    assert_eq!(dev.child.try_wait().unwrap(), None, "it has come back to its tqserver");
    dev.signal(&bed, "KILL");
    dev.end();
    await_until("the session ends by itself", PATIENCE, || !units(&bed).contains("tqserver-dev"));
    assert!(!tree.is_listened_to());
    assert!(!units(&bed).contains("tq-worker@"), "{}", units(&bed));
    // What is left of it is no hindrance, and goes with the next.
    let dev = tree.dev(&bed);
    tree.assert_serves();
    dev.signal(&bed, "INT");
    dev.end();
    assert_nothing_is_left(&bed);
}

/// `tqctl dev` that fails by itself.
#[track_caller]
fn refused(mut command: Command) -> String {
    let Output { status, stderr, .. } = command.output().unwrap();
    let stderr = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(1), "{stderr}");
    stderr
}

fn tqctl_dev(bed: &Bed, tree: &Tree) -> Command {
    let mut command = bed.command(env!("CARGO_BIN_EXE_tqctl"));
    command.arg("dev").arg(tree.path());
    command
}

#[test]
fn what_keeps_it_from_starting_is_said() {
    let (tree, bed) = (Tree::new(), Bed::user());
    let taken = std::net::TcpListener::bind(tree.addr()).unwrap();
    let stderr = refused(tqctl_dev(&bed, &tree));
    assert!(stderr.contains(&format!("{} is in use", tree.addr())), "{stderr}");
    drop(taken);

    let mut command = tqctl_dev(&bed, &tree);
    command.env("TQ_LOG", "tqserver=loud");
    let stderr = refused(command);
    assert!(stderr.contains("TQ_LOG=\"tqserver=loud\"") && stderr.contains("did not start"));
    assert_nothing_is_left(&bed);

    tree.configure("server:\n  port: 99999\n");
    let stderr = refused(tqctl_dev(&bed, &tree));
    assert!(stderr.contains("config/server.yaml:2:9: "), "{stderr}");
    assert_nothing_is_left(&bed);
}

#[test]
fn without_a_manager_it_says_how_to_get_one() {
    let tree = Tree::new();
    let mut command = Command::new(env!("CARGO_BIN_EXE_tqctl"));
    command.arg("dev").arg(tree.path()).env_remove("XDG_RUNTIME_DIR");
    let stderr = refused(command);
    assert!(stderr.contains("there is no systemd user manager here"), "{stderr}");
    assert!(stderr.contains("hint: "), "{stderr}");
}

#[test]
fn a_private_manager_is_made_and_ended() {
    let tree = Tree::new();
    let mut command = Command::new(env!("CARGO_BIN_EXE_tqctl"));
    command.args(["dev", "--private-systemd"]).arg(tree.path()).stdout(Stdio::piped());
    let mut child = command.env_remove("XDG_RUNTIME_DIR").spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.starts_with("tqserver dev · http://localhost:"), "{line}");
    tree.assert_serves();
    let pid = nix::unistd::Pid::from_raw(child.id().try_into().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    await_until("the listener goes", PATIENCE, || !tree.is_listened_to());
}

/// script(1) is a terminal for it: what is typed, and the settings before and after.
#[test]
fn keys_on_a_terminal_and_the_terminal_as_it_was() {
    let (tree, bed) = (Tree::new(), Bed::user());
    let dev = format!(
        "stty -g; {} dev {}; echo code $?; stty -g",
        env!("CARGO_BIN_EXE_tqctl"),
        tree.path().display()
    );
    let mut command = bed.command("script");
    command.args(["--quiet", "--return", "--command", &dev, "/dev/null"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut until = |what: &str| {
        let found = lines.by_ref().find(|line| line.contains(what));
        found.unwrap_or_else(|| panic!("it says {what:?}"))
    };
    let before = until(":");
    until("q quit");
    until("tqserver dev");
    tree.assert_serves();
    // No line end, and no echo: each is a key.
    until("g1 ready");
    stdin.write_all(b"l").unwrap();
    until("showing index");
    stdin.write_all(b"l").unwrap();
    until("showing all workers");
    stdin.write_all(b"r").unwrap();
    until("building everything anew");
    stdin.write_all(b"q").unwrap();
    assert_eq!(until("code").trim_end(), "code 0");
    assert_eq!(until(":"), before);
    child.wait().unwrap();
    assert_nothing_is_left(&bed);
}
