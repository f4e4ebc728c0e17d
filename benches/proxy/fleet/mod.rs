//! All that is compared, running side by side, in front of one and the same worker.

mod caddy;
mod certificate;
mod haproxy;
mod nginx;
mod pingora;
mod process;
mod tqserver;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::{env, fs};

use tempfile::TempDir;

use crate::cpu;
use crate::support::ports::{self, PortLease};
use certificate::Certificate;
use process::Process;
pub use tqserver::Tqserver;

/// The proxies' processor, and the one of load and worker, where these are apart.
pub const PROXY_CORE: usize = 0;
/// See [`PROXY_CORE`].
pub const LOAD_CORE: usize = 1;

/// Who can be compared with.
pub const PEERS: [&str; 4] = ["nginx", "haproxy", "caddy", "pingora"];

/// What is spoken with clients. With the worker it is HTTP/1.1 in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2 without TLS, by clients that know it beforehand.
    Http2,
    /// HTTP/1.1 inside TLS 1.3.
    Tls,
}

impl Protocol {
    /// Whether a peer is set up for it here.
    pub fn is_spoken_by(self, peer: &str) -> bool {
        self == Self::Http1 || ["nginx", "haproxy"].contains(&peer)
    }
}

/// What a proxy is run by.
#[derive(Clone, Copy, Debug)]
pub struct Under<'a> {
    /// The proxy.
    pub name: &'static str,
    /// A command that takes the program and its arguments.
    pub command: &'a [String],
}

impl<'a> Under<'a> {
    fn command_for(this: Option<Self>, name: &str) -> &'a [String] {
        this.filter(|it| it.name == name).map_or(&[], |it| it.command)
    }
}

/// What a peer is told.
struct Setting<'a> {
    /// Where it listens.
    port: u16,
    /// What it speaks there.
    protocol: Protocol,
    /// What it speaks TLS with.
    certificate: &'a Certificate,
    /// The worker's.
    worker: u16,
    /// How many threads or processes it works with.
    threads: usize,
    /// A folder of its own.
    folder: &'a Path,
    /// What it serves at `/static/index/`, if it serves files.
    public: &'a Path,
}

/// A proxy, tqserver or other.
pub struct Proxy {
    /// What it is called.
    pub name: &'static str,
    /// Where it serves.
    pub addr: SocketAddr,
    /// The process that started all of its processes.
    pub root: u32,
}

/// Proxies with their worker. They end with this value.
pub struct Fleet {
    /// tqserver first.
    pub proxies: Vec<Proxy>,
    /// The worker's process.
    pub worker: u32,
    _processes: Vec<Process>,
    /// What more can be done with tqserver.
    pub tqserver: Tqserver,
    _folder: TempDir,
    _ports: PortLease,
}

impl Fleet {
    /// Starts tqserver and those of these peers that speak the protocol, with that many threads each. With
    /// one thread the proxies have a processor of their own, with more they share all with load and worker.
    /// `under` is for one of them.
    pub fn start(
        threads: usize,
        protocol: Protocol,
        peers: &[&'static str],
        under: Option<Under<'_>>,
    ) -> Self {
        let folder = tempfile::Builder::new().prefix("tqserver-bench-").tempdir().unwrap();
        let certificate = Certificate::write(folder.path());
        let apart = threads == 1;
        let cores = if apart { vec![PROXY_CORE] } else { (0..threads).collect() };
        let under_ours = Under::command_for(under, "tqserver");
        let tqserver = Tqserver::start(&cores, protocol, &certificate, under_ours);
        let worker = tqserver.worker();
        let load: Vec<usize> = if apart { vec![LOAD_CORE] } else { cores.clone() };
        cpu::pin(worker, &load);
        cpu::pin(0, &load);

        let ports = ports::lease(PEERS.len() as u16);
        let mut proxies =
            vec![Proxy { name: "tqserver", addr: tqserver.addr(), root: tqserver.pid() }];
        let mut processes = Vec::new();
        let peers = peers.iter().filter(|peer| protocol.is_spoken_by(peer));
        for (&name, port) in peers.zip(ports.range()) {
            let own = folder.path().join(name);
            fs::create_dir(&own).unwrap();
            let worker = tqserver.worker_port();
            let public = tqserver.public();
            let setting = Setting {
                port,
                protocol,
                certificate: &certificate,
                worker,
                threads,
                folder: &own,
                public: &public,
            };
            let process = start(name, &setting, &cores, Under::command_for(under, name));
            let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            process.await_listening(addr);
            proxies.push(Proxy { name, addr, root: process.pid() });
            processes.push(process);
        }
        Self { proxies, worker, _processes: processes, tqserver, _folder: folder, _ports: ports }
    }

    /// Ends all of it in its own ways, so that everybody can say a last word.
    pub fn stop(self) {
        self.tqserver.stop();
    }
}

fn start(name: &'static str, setting: &Setting<'_>, cores: &[usize], under: &[String]) -> Process {
    let arguments = match name {
        "nginx" => nginx::arguments(setting),
        "haproxy" => haproxy::arguments(setting),
        "caddy" => caddy::arguments(setting),
        "pingora" => pingora::arguments(setting),
        _ => panic!("{name}: there are {}", PEERS.join(", ")),
    };
    let command: Vec<_> = under.iter().cloned().chain([program(name)]).chain(arguments).collect();
    Process::start(&command, cores, setting.folder)
}

/// Where a peer's program is: on the path, but for one that is built for this.
fn program(name: &str) -> String {
    match name {
        "pingora" => env::var("PINGORA").expect("PINGORA is a program"),
        name => name.to_owned(),
    }
}

/// Writes a configuration into a peer's folder.
fn write(setting: &Setting<'_>, name: &str, text: &str) -> PathBuf {
    let path = setting.folder.join(name);
    fs::write(&path, text).unwrap();
    path
}
