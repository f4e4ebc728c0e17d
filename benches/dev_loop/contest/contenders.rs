//! Those that are compared: what a developer can have build and serve what is saved.

use std::any::Any;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::restarter::Restarter;
use crate::client::await_answer;
use crate::developer::Developer;
use crate::project::Project;
use crate::session::PATIENCE;
use crate::support::ports::{self, PortLease};
use crate::support::wait::await_until;

/// One of them, which serves a project of its own.
pub struct Contender {
    /// What it is called in the table.
    pub name: &'static str,
    /// How long it waits for further changes, in milliseconds.
    pub waits: u32,
    /// Whether it is tqserver.
    pub ours: bool,
    /// Where it serves.
    pub addr: SocketAddr,
    /// Ended before its project goes.
    _runs: Box<dyn Any>,
    /// What it serves, built in a target folder of its own.
    pub project: Project,
    _ports: Option<PortLease>,
}

impl Contender {
    /// tqserver, in development, with this `debounce_ms`.
    pub fn tqserver(name: &'static str, waits: u32) -> Self {
        let project = Project::new(&["index"]);
        let watcher = format!("dev: {{file_watcher: {{debounce_ms: {waits}}}}}");
        let text = format!("deployment: {{mode: dev, {watcher}}}\n");
        project.write("config/deployment.yaml", &text);
        let developer = Developer::begin(&project);
        let addr = developer.session.addr();
        let ours = Self::begun(name, waits, addr, Box::new(developer), project, None);
        Self { ours: true, ..ours }
    }

    /// watchexec as its documentation recommends it: ends what runs and builds.
    pub fn watchexec(program: &Path) -> Self {
        let (project, ports, addr) = alone();
        let mut command = command(program, project.path(), addr);
        command.args(["--restart", "--watch", "workers/index/src", "--"]);
        // It has a shell run that.
        command.arg("cargo build --quiet && exec target/debug/index");
        let runs = Watchexec { child: command.spawn().unwrap(), addr };
        Self::begun("watchexec --restart", 50, addr, Box::new(runs), project, Some(ports))
    }

    /// Builds, and then ends what runs and starts the new one.
    pub fn restarter() -> Self {
        let (project, ports, addr) = alone();
        let runs = Restarter::start(&project.file("workers/index/src"), {
            let root = project.path().to_owned();
            move |program| command(Path::new(program), &root, addr)
        });
        Self::begun("build, kill, start", 100, addr, Box::new(runs), project, Some(ports))
    }

    fn begun(
        name: &'static str,
        waits: u32,
        addr: SocketAddr,
        runs: Box<dyn Any>,
        project: Project,
        ports: Option<PortLease>,
    ) -> Self {
        await_answer(addr, "first", Instant::now());
        Self { name, waits, ours: false, addr, _runs: runs, project, _ports: ports }
    }
}

/// A project whose worker is to listen at a fixed address.
fn alone() -> (Project, PortLease, SocketAddr) {
    let ports = ports::lease(1);
    let addr = (Ipv4Addr::LOCALHOST, ports.port(0)).into();
    (Project::new(&["index"]), ports, addr)
}

/// A command in the project's folder, with the variables that tqserver has in its bed and those that
/// the worker wants.
fn command(program: &Path, root: &Path, addr: SocketAddr) -> Command {
    let mut command = Command::new(program);
    command.current_dir(root).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.env_clear();
    for name in ["PATH", "HOME"] {
        command.envs(std::env::var_os(name).map(|value| (name, value)));
    }
    command.env("PORT", addr.port().to_string()).env("TQ_GENERATION", "0");
    command
}

struct Watchexec {
    child: Child,
    addr: SocketAddr,
}

impl Drop for Watchexec {
    fn drop(&mut self) {
        // It ends what it has started before itself.
        let pid = Pid::from_raw(self.child.id().cast_signed());
        let _ = kill(pid, Signal::SIGTERM);
        let _ = self.child.wait();
        let addr = self.addr;
        await_until("watchexec's child ends", PATIENCE, || TcpStream::connect(addr).is_err());
    }
}
