//! A socket-activated tqserver in a systemd of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::support::bed::{Bed, Kind};
use crate::support::ports::{self, PortLease};
use crate::support::published;
use crate::support::wait::await_until;

/// Longer than anything here takes; only a test that fails waits for it.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The ports that are leased: the first is tqserver's own, the workers get the rest.
const PORTS: u16 = 100;

/// tqserver as socket and service units of a manager, for one project.
pub struct Session {
    /// Its systemd.
    pub bed: Bed,
    addr: SocketAddr,
    ports: PortLease,
    user: bool,
    log: PathBuf,
}

/// An answer, as it came.
#[derive(Debug)]
pub struct Answer {
    /// 200 and so on.
    pub status: u16,
    /// Everything before the empty line.
    pub head: String,
    /// Everything behind it.
    pub body: String,
}

impl Session {
    /// Makes the units, starts the sockets, and not yet the service. `configure` is given the
    /// lines of server.yaml's `workers:` section that name the worker ports.
    pub fn new(kind: Kind, root: &Path, configure: impl FnOnce(&str)) -> Self {
        let ports = ports::lease(PORTS);
        configure(&range_yaml(&ports));
        let bed = match kind {
            Kind::User => Bed::user(),
            Kind::System => Bed::start(Kind::System, &["--bind", root.to_str().unwrap()]),
        };
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, ports.port(0)));
        let log = root.join("tqserver.log");
        let session = Self { bed, addr, ports, user: kind == Kind::User, log };
        session.install_units(root);
        session.systemctl(&["daemon-reload"]);
        session.systemctl(&["start", "tqserver.socket", "tqserver-control.socket"]);
        session
    }

    /// A session of the user manager.
    pub fn user(root: &Path, configure: impl FnOnce(&str)) -> Self {
        Self::new(Kind::User, root, configure)
    }

    fn unit_folder(&self) -> PathBuf {
        self.bed.root_path(match self.user {
            true => self.bed.runtime_dir().join("systemd/user"),
            false => PathBuf::from("/etc/systemd/system"),
        })
    }

    /// The shipped units say the same, with a sandbox that a user manager cannot make.
    fn install_units(&self, root: &Path) {
        let folder = self.unit_folder();
        fs::create_dir_all(&folder).unwrap();
        let (server, ctl) = (env!("CARGO_BIN_EXE_tqserver"), env!("CARGO_BIN_EXE_tqctl"));
        let control = self.control_socket();
        let control = control.display();
        let directories = match self.user {
            true => "",
            false => {
                "RuntimeDirectory=tqserver\nRuntimeDirectoryPreserve=yes\n\
                      StateDirectory=tqserver\n"
            }
        };
        let units = [
            (
                "tqserver.service",
                format!(
                    "[Unit]\nWants=tq-workers.target\nAfter=tq-workers.target\n\
                     StartLimitIntervalSec=0\n\
                     [Service]\nType=notify\nExecStart={server} --root {}\n\
                     ExecReload=/bin/kill -HUP $MAINPID\n\
                     ExecReload={ctl} --socket {control} reload --wait\n\
                     Restart=on-failure\nRestartSec=0\nKillMode=mixed\nWatchdogSec=30\nTimeoutStopSec=60\n\
                     Environment=TQ_LOG=debug\n{directories}\
                     StandardOutput=append:{root}/tqserver.log\n\
                     StandardError=append:{root}/tqserver.log\n",
                    root.display(),
                    root = root.display(),
                ),
            ),
            (
                "tqserver.socket",
                format!("[Socket]\nListenStream={}\nFileDescriptorName=http\n", self.addr),
            ),
            (
                "tqserver-control.socket",
                format!(
                    "[Socket]\nListenStream={control}\nFileDescriptorName=control\n\
                     Service=tqserver.service\n"
                ),
            ),
            ("tq-workers.target", include_str!("../../units/tq-workers.target").to_owned()),
        ];
        for (name, text) in units {
            fs::write(folder.join(name), text).unwrap();
        }
    }

    /// Adds lines to a unit, as `systemctl edit` does. They take effect when it is restarted.
    pub fn edit_unit(&self, unit: &str, lines: &str) {
        let folder = self.unit_folder().join(format!("{unit}.d"));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("test.conf"), lines).unwrap();
        self.systemctl(&["daemon-reload"]);
    }

    /// Adds a unit, as an administrator does.
    pub fn add_unit(&self, unit: &str, text: &str) {
        fs::write(self.unit_folder().join(unit), text).unwrap();
        self.systemctl(&["daemon-reload"]);
    }

    /// The lines of server.yaml's `workers:` section that name the worker ports.
    pub fn range_yaml(&self) -> String {
        range_yaml(&self.ports)
    }

    /// A file in the folder that tqserver keeps its state and its workers' output in, as this
    /// process finds it. Only a user's session has that folder in the runtime directory.
    pub fn runtime_file(&self, path: &str) -> PathBuf {
        self.bed.root_path(self.bed.runtime_dir().join("tqserver").join(path))
    }

    /// The control socket, as programs in the bed find it.
    pub fn control_path(&self) -> PathBuf {
        self.control_socket()
    }

    fn control_socket(&self) -> PathBuf {
        self.bed.runtime_dir().join("tqserver-control.sock")
    }

    /// The public listener.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// A port of the workers' range, by number from 0.
    pub fn worker_port(&self, index: u16) -> u16 {
        self.ports.port(1 + index)
    }

    /// The ports of the workers' range.
    pub fn worker_ports(&self) -> RangeInclusive<u16> {
        self.ports.port(1)..=*self.ports.range().end()
    }

    /// Runs systemctl on the right manager; it must succeed.
    #[track_caller]
    pub fn systemctl(&self, args: &[&str]) -> String {
        let output = self.try_systemctl(args);
        assert!(output.status.success(), "systemctl {args:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs systemctl on the right manager.
    pub fn try_systemctl(&self, args: &[&str]) -> Output {
        let mut command = self.bed.command("systemctl");
        if self.user {
            command.arg("--user");
        }
        command.args(args).output().unwrap()
    }

    /// Runs tqctl on the control socket.
    pub fn tqctl(&self, args: &[&str]) -> Output {
        self.control_command().args(args).output().unwrap()
    }

    /// tqctl, about to talk to the control socket.
    pub fn control_command(&self) -> Command {
        let mut command = self.bed.command(env!("CARGO_BIN_EXE_tqctl"));
        command.arg("--socket").arg(self.control_socket());
        command
    }

    /// The stream of events, on the stdout of what reads it.
    pub fn events(&self) -> Child {
        let mut command = self.bed.command("curl");
        command.args(["--silent", "--no-buffer", "--unix-socket"]).arg(self.control_socket());
        command.arg("http://localhost/v1/events").stdout(Stdio::piped());
        command.spawn().unwrap()
    }

    /// `tqctl status --json`.
    pub fn status(&self) -> Value {
        let output = self.tqctl(&["--json", "status"]);
        published::document("status", &output.stdout)
    }

    /// `systemctl reload`, which must fail; returns what tqctl said.
    #[track_caller]
    pub fn failing_reload(&self) -> String {
        let output = self.try_systemctl(&["reload", "tqserver.service"]);
        assert!(!output.status.success(), "the reload succeeded");
        let output = self.tqctl(&["status"]);
        String::from_utf8(output.stdout).unwrap()
    }

    /// Waits until tqserver is another process than `pid`.
    #[track_caller]
    pub fn await_other_than(&self, pid: u32) {
        await_until("another process", PATIENCE, || {
            ![0, pid].contains(&self.main_pid("tqserver.service"))
        });
    }

    /// Sends a signal to tqserver itself; returns which process that was.
    pub fn signal(&self, signal: &str) -> u32 {
        let pid = self.main_pid("tqserver.service");
        let signal = format!("--signal={signal}");
        self.systemctl(&["kill", "--kill-who=main", &signal, "tqserver.service"]);
        pid
    }

    /// Live worker units and their main processes.
    pub fn workers(&self) -> BTreeMap<String, u32> {
        let list = self.systemctl(&["list-units", "--plain", "--no-legend", "tq-worker@*"]);
        let units = list.lines().filter_map(|line| line.split_whitespace().next());
        units.map(|unit| (unit.to_owned(), self.main_pid(unit))).collect()
    }

    /// A unit's main process; 0 when it has none.
    pub fn main_pid(&self, unit: &str) -> u32 {
        let pid = self.systemctl(&["show", "--value", "-p", "MainPID", unit]);
        pid.trim().parse().unwrap()
    }

    /// All processes of the service itself.
    pub fn processes(&self) -> BTreeSet<u32> {
        let group = self.systemctl(&["show", "--value", "-p", "ControlGroup", "tqserver.service"]);
        // A mounted hierarchy that has it, whatever the host's version of cgroups.
        let list = ["", "/unified", "/systemd"].map(|hierarchy| {
            let path = format!("/sys/fs/cgroup{hierarchy}{}/cgroup.procs", group.trim());
            let output = self.bed.command("cat").arg(path).output().unwrap();
            String::from_utf8(output.stdout).unwrap()
        });
        list.iter().flat_map(|pids| pids.lines()).map(|pid| pid.parse().unwrap()).collect()
    }

    /// Waits until a path is answered with this body.
    #[track_caller]
    pub fn await_body(&self, path: &str, body: &str) {
        await_until(&format!("{path}: {body:?}"), PATIENCE, || self.get(path).body == body);
    }

    /// Waits until exactly so many worker units are there.
    #[track_caller]
    pub fn await_workers(&self, count: usize) {
        await_until(&format!("{count} worker units"), PATIENCE, || self.workers().len() == count);
    }

    /// GETs a path on a connection of its own.
    #[track_caller]
    pub fn get(&self, path: &str) -> Answer {
        self.send(&get(path))
    }

    /// Sends bytes, and reads until the server closes.
    #[track_caller]
    pub fn send(&self, request: &str) -> Answer {
        send(self.addr, request).unwrap_or_else(|error| panic!("{error}\n{}", self.log()))
    }

    /// Has `program`, a command line, start tqserver from now on.
    pub fn run_by(&self, program: &str) {
        let start = self.systemctl(&["cat", "tqserver.service"]);
        let start = start.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
        let folder = self.unit_folder().join("tqserver.service.d");
        fs::create_dir_all(&folder).unwrap();
        let text = format!("[Service]\nExecStart=\nExecStart={program} -- {start}\n");
        fs::write(folder.join("run-by.conf"), text).unwrap();
        self.systemctl(&["daemon-reload"]);
    }

    /// What Prometheus would read.
    #[track_caller]
    pub fn metrics(&self) -> String {
        let mut curl = self.bed.command("curl");
        curl.args(["--silent", "--fail", "--unix-socket"]).arg(self.control_path());
        let output = curl.arg("http://localhost/metrics").output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// tqserver's own log, for messages.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

/// What tqserver had to say is of use where a test failed.
#[allow(clippy::print_stderr, reason = "shown with the test that failed")]
impl Drop for Session {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let from = log.lines().count().saturating_sub(100);
            let end: Vec<_> = log.lines().skip(from).collect();
            eprintln!("--- the end of tqserver.log\n{}", end.join("\n"));
        }
    }
}

/// A GET that ends its connection.
pub fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
}

/// Sends bytes to a server, and reads until it closes.
pub fn send(addr: SocketAddr, request: &str) -> Result<Answer, String> {
    let mut stream = TcpStream::connect(addr).map_err(|error| format!("{addr}: {error}"))?;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(request.as_bytes()).map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    let read = stream.read_to_end(&mut bytes);
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let (head, body) =
        text.split_once("\r\n\r\n").ok_or_else(|| format!("no whole head: {text:?} ({read:?})"))?;
    let status = head[9..12].parse().map_err(|_| format!("no status: {head:?}"))?;
    Ok(Answer { status, head: head.to_owned(), body: body.to_owned() })
}

fn range_yaml(ports: &PortLease) -> String {
    let (start, end) = (ports.port(1), *ports.range().end());
    format!("  port_range_start: {start}\n  port_range_end: {end}\n")
}
