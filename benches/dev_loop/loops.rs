//! tqserver beside the loops that people use else, on the same worker with the same edits under the
//! same load: how long until what was saved is served, and what clients met meanwhile.

use std::env;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use crate::developer::Developer;
use crate::figures::{Figures, Report};
use crate::probe::served;
use crate::project::Project;
use crate::session::{get, send};
use crate::support::ports::{self, PortLease};

/// How many clients ask all the time, each on a new connection every time.
const CLIENTS: usize = 8;

/// Between two questions of a client.
const PACE: Duration = Duration::from_millis(5);

/// For a broken build, which has no answer to wait for, to come to its end.
const BROKEN: Duration = Duration::from_millis(1500);

/// Something that serves a project and follows what is saved.
struct Contender {
    name: &'static str,
    /// Ends first: it runs in the project's folder.
    _runs: Runs,
    project: Project,
    addr: SocketAddr,
    times: Figures,
    failures: u64,
}

/// What keeps it running; ends it when dropped.
enum Runs {
    Tqserver(#[allow(dead_code)] Box<Developer>),
    Watchexec(#[allow(dead_code)] Watchexec, #[allow(dead_code)] PortLease),
    KillAndRestart(Arc<AtomicBool>, Option<JoinHandle<()>>, #[allow(dead_code)] PortLease),
}

/// A watchexec.
struct Watchexec(Child);

impl Drop for Watchexec {
    fn drop(&mut self) {
        // It ends what it has started, which is in process groups of its own.
        let _ = Command::new("kill").arg(self.0.id().to_string()).status();
        let _ = self.0.wait();
    }
}

impl Drop for Runs {
    fn drop(&mut self) {
        if let Self::KillAndRestart(stop, thread, _) = self {
            stop.store(true, Ordering::Relaxed);
            let _ = thread.take().map(JoinHandle::join);
        }
    }
}

pub fn measure(report: &mut Report, rounds: usize) {
    let mut contenders = vec![tqserver("tqserver", 100), kill_and_restart()];
    match env::var_os("WATCHEXEC") {
        Some(program) => {
            // It waits half as long for further changes: each is compared with its like.
            contenders.push(tqserver("tqserver, debounce_ms: 50", 50));
            contenders.push(watchexec(Path::new(&program)));
        }
        None => println!("(WATCHEXEC is not set: no comparison with it)"),
    }
    for contender in &contenders {
        served(contender.addr, "/", "first", Instant::now());
    }
    // In turns, as a machine is not the same all the time.
    for round in 0..rounds {
        contenders.iter_mut().for_each(|contender| contender.save_well(round));
        if round % 2 == 0 {
            contenders.iter_mut().for_each(|contender| contender.save_badly(round));
        }
    }
    for contender in contenders {
        let name = contender.name;
        report.durations(&format!("{name}: save to first new answer"), &contender.times, None);
        report.count(&format!("{name}: failed requests"), contender.failures);
    }
}

impl Contender {
    fn save_well(&mut self, round: usize) {
        let load = Load::start(self.addr);
        let text = format!("round {round} ");
        let began = Instant::now();
        self.project.says("index", &text);
        self.times.add(served(self.addr, "/", &text, began));
        self.failures += load.finish();
    }

    /// Saves what does not compile, and then again what did.
    fn save_badly(&mut self, round: usize) {
        let load = Load::start(self.addr);
        self.project.write("workers/index/src/main.rs", "fn main() { nonsense }");
        thread::sleep(BROKEN);
        self.project.says("index", &format!("round {round} "));
        served(self.addr, "/", "round", Instant::now());
        thread::sleep(BROKEN);
        self.failures += load.finish();
    }
}

fn tqserver(name: &'static str, debounce_ms: u32) -> Contender {
    let project = Project::new(&["index"]);
    let text = format!(
        "deployment: {{mode: dev, dev: {{file_watcher: {{debounce_ms: {debounce_ms}}}}}}}\n"
    );
    project.write("config/deployment.yaml", &text);
    let mut developer = Developer::begin(&project);
    developer.serves("index");
    let addr = developer.session.addr();
    let runs = Runs::Tqserver(Box::new(developer));
    Contender { name, project, addr, times: Figures::default(), failures: 0, _runs: runs }
}

/// As its documentation shows it for a server: build, then replace the process.
fn watchexec(program: &Path) -> Contender {
    let (project, ports) = (Project::new(&["index"]), ports::lease(1));
    let addr = SocketAddr::from(([127, 0, 0, 1], ports.port(0)));
    let mut command = Command::new(program);
    command.args(["--restart", "--quiet", "--shell=none", "--watch", "workers/index/src", "--"]);
    command.args(["sh", "-c", "cargo build --quiet 2>/dev/null && exec target/debug/index"]);
    let process = Watchexec(in_project(&mut command, &project, addr).spawn().unwrap());
    let runs = Runs::Watchexec(process, ports);
    Contender {
        name: "watchexec",
        project,
        addr,
        times: Figures::default(),
        failures: 0,
        _runs: runs,
    }
}

/// What air and its like do: on a change wait 100 ms, build, and if that succeeds stop the old process
/// and start the new one.
fn kill_and_restart() -> Contender {
    let (project, ports) = (Project::new(&["index"]), ports::lease(1));
    let addr = SocketAddr::from(([127, 0, 0, 1], ports.port(0)));
    let (stop, root) = (Arc::new(AtomicBool::new(false)), project.path().to_owned());
    let stopped = Arc::clone(&stop);
    let thread = thread::spawn(move || {
        let source = root.join("workers/index/src/main.rs");
        let modified = || source.metadata().and_then(|it| it.modified()).ok();
        let (mut seen, mut running): (Option<SystemTime>, Option<Child>) = (None, None);
        while !stopped.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(2));
            if modified() == seen {
                continue;
            }
            thread::sleep(Duration::from_millis(100));
            seen = modified();
            let mut build = Command::new("cargo");
            build.args(["build", "--quiet"]).current_dir(&root).stderr(Stdio::null());
            build.env_remove("CARGO_TARGET_DIR");
            if !build.status().unwrap().success() {
                continue;
            }
            end(running.take());
            let mut worker = Command::new(root.join("target/debug/index"));
            worker.env("PORT", addr.port().to_string()).env("TQ_GENERATION", "1");
            running = Some(worker.spawn().unwrap());
        }
        end(running);
    });
    let runs = Runs::KillAndRestart(stop, Some(thread), ports);
    let name = "kill and restart, as air";
    Contender { name, project, addr, times: Figures::default(), failures: 0, _runs: runs }
}

fn end(process: Option<Child>) {
    if let Some(mut process) = process {
        process.kill().unwrap();
        process.wait().unwrap();
    }
}

fn in_project<'c>(
    command: &'c mut Command,
    project: &Project,
    addr: SocketAddr,
) -> &'c mut Command {
    command.current_dir(project.path()).env_remove("CARGO_TARGET_DIR").stdin(Stdio::null());
    command.env("PORT", addr.port().to_string()).env("TQ_GENERATION", "1")
}

/// Clients that count what they are not answered.
struct Load {
    stop: Arc<AtomicBool>,
    failures: Arc<AtomicU64>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    fn start(addr: SocketAddr) -> Self {
        let (stop, failures) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let client = || {
            let (stop, failures) = (Arc::clone(&stop), Arc::clone(&failures));
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    if !send(addr, &get("/")).is_ok_and(|answer| answer.status == 200) {
                        failures.fetch_add(1, Ordering::Relaxed);
                    }
                    thread::sleep(PACE);
                }
            })
        };
        let clients = (0..CLIENTS).map(|_| client()).collect();
        Self { stop, failures, clients }
    }

    fn finish(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.join().unwrap();
        }
        self.failures.load(Ordering::Relaxed)
    }
}
