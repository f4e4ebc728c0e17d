//! tqserver as it runs in production: a released program that systemd starts with its sockets, and a
//! deployment whose worker is a transient unit.

use std::env;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::Protocol;
use super::certificate::Certificate;
use crate::cpu;
use crate::project::{Project, commit, worker};
use crate::session::Session;
use crate::support::wait::await_until;

/// Public files, and their length.
const STATIC_FILES: [(&str, usize); 3] =
    [("1k.bin", 1 << 10), ("64k.bin", 64 << 10), ("1m.bin", 1 << 20)];

/// Its socket for HTTPS, and which of the session's ports that has.
const HTTPS_SOCKET: &str = include_str!("../../../units/tqserver-https.socket");
const HTTPS_PORT: u16 = 97;

/// Ports above those of sessions, and below those of outgoing connections.
const MANY_PORTS: &str = "  port_range_start: 32000\n  port_range_end: 32700\n";

/// Within which all workers have started, also where tqserver runs under valgrind.
const START_WITHIN: Duration = Duration::from_secs(300);

/// How many workers there are that nobody asks. For more than 90 a session has no ports of its own.
fn idle_workers() -> usize {
    env::var("WORKERS").map_or(0, |text| text.parse().expect("WORKERS is a number"))
}

/// A running tqserver.
pub struct Tqserver {
    session: Session,
    addr: SocketAddr,
    project: Project,
}

impl Tqserver {
    /// Starts it on these processors: it takes as many threads as there are. `under` is a command that
    /// runs it.
    pub(super) fn start(
        cores: &[usize],
        protocol: Protocol,
        certificate: &Certificate,
        under: &[String],
    ) -> Self {
        let project = Project::new("", "");
        let mut index = worker("index", "").program(&env::current_exe().unwrap());
        for (name, length) in STATIC_FILES {
            // The process is short-lived, and the file is not needed twice.
            index = index.public(name, "3".repeat(length).leak());
        }
        let index = index.route("/");
        let server = match protocol {
            Protocol::Http1 => String::new(),
            Protocol::Http2 => "  http2_cleartext: true\n".to_owned(),
            Protocol::Tls => {
                let (certificate, key) =
                    (certificate.certificate.display(), certificate.key.display());
                format!("  https: {{certificates: [{{certificate: {certificate}, key: {key}}}]}}\n")
            }
        };
        let session = Session::user(project.path(), |ports| {
            project.configure(&server, if idle_workers() > 90 { MANY_PORTS } else { ports });
        });
        let mut addr = session.addr();
        if protocol == Protocol::Tls {
            addr.set_port(session.worker_port(HTTPS_PORT));
            let listen = format!("ListenStream={addr}");
            let unit = HTTPS_SOCKET.replace("ListenStream=443", &listen);
            session.add_unit("tqserver-https.socket", &unit);
            session.systemctl(&["start", "tqserver-https.socket"]);
        }
        let program =
            env::var("TQSERVER_BIN").unwrap_or_else(|_| env!("CARGO_BIN_EXE_tqserver").to_owned());
        // Systemd would read something into a percent sign.
        let under = under.join(" ").replace('%', "%%");
        let root = project.path().display();
        let cores: Vec<_> = cores.iter().map(usize::to_string).collect();
        let cores = cores.join(" ");
        session.edit_unit(
            "tqserver.service",
            &format!(
                "[Service]\nExecStart=\nExecStart={under} {program} --root {root}\n\
                 CPUAffinity=\nCPUAffinity={cores}\nLimitNOFILE=20000\nEnvironment=TQ_LOG=info\n"
            ),
        );
        let mut workers = vec![index];
        workers.extend((0..idle_workers()).map(|number| {
            // The process is short-lived.
            worker(format!("idle{number}").leak(), "").program(&env::current_exe().unwrap())
        }));
        project.deploy('a', &workers);
        session.systemctl(&["start", "tqserver.service"]);
        await_until("all workers", START_WITHIN, || session.workers().len() == workers.len());
        let this = Self { session, addr, project };
        let answer = this.session.get("/64");
        assert!(answer.status == 200 && answer.body.len() == 64, "{answer:?}");
        this
    }

    /// Gives it these lines in `server:` of server.yaml, and none else but its ports, by a reload.
    pub fn configure(&self, server: &str) {
        self.project.configure(server, &self.session.range_yaml());
        self.session.systemctl(&["reload", "tqserver.service"]);
    }

    /// What Prometheus would read.
    pub fn metrics(&self) -> String {
        self.session.metrics()
    }

    /// Where it serves.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.on_host(self.session.main_pid("tqserver.service"))
    }

    /// The process of its worker.
    pub fn worker(&self) -> u32 {
        let workers = self.session.workers();
        self.on_host(*workers.iter().find(|(unit, _)| unit.contains("@index")).unwrap().1)
    }

    /// Where its worker listens.
    pub fn worker_port(&self) -> u16 {
        let workers = self.session.workers();
        let unit = workers.keys().find(|unit| unit.contains("@index")).unwrap();
        unit.trim_end_matches(".service").rsplit('-').next().unwrap().parse().unwrap()
    }

    /// Stops it as systemd does.
    pub fn stop(&self) {
        self.session.systemctl(&["stop", "tqserver*.socket", "tqserver.service"]);
    }

    /// The folder of its public files.
    pub fn public(&self) -> PathBuf {
        let deployment = format!("deploy/{}/workers/index/public", commit('a'));
        self.project.path().join(deployment)
    }

    /// The host's number of a process that the bed knows by another.
    fn on_host(&self, pid: u32) -> u32 {
        let namespace = |pid: u32| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
        let bed = namespace(self.session.bed.leader());
        let is_it = |candidate: &u32| {
            let status = fs::read_to_string(format!("/proc/{candidate}/status"));
            let status = status.unwrap_or_default();
            let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
            let inner = numbers.and_then(|it| it.split_whitespace().last()?.parse().ok());
            inner == Some(pid) && namespace(*candidate) == bed
        };
        cpu::processes().find(is_it).unwrap_or_else(|| panic!("process {pid} has ended"))
    }
}
