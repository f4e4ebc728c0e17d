//! The sandbox of workers, as a worker finds it: a true unit of a booted system tries what it
//! should not be able to do.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tokio::sync::mpsc;
use tqserver::config::settings::Mode;
use tqserver::config::{self, Sources};
use tqserver::ids::{Generation, Md5, Port, Sha256};
use tqserver::launcher::bus::{Bus, BusLauncher};
use tqserver::launcher::{
    ExitReason, Launcher, LauncherConfig, Output, Source, StartRequest, UnitEvent, UnitState,
};
use tqserver::store::deployment::{Deployment, SCHEMA, WorkerFiles, WorkerPart};

/// Longer than anything here takes; only a test that fails waits for it.
const PATIENCE: Duration = Duration::from_secs(30);

const COMMIT: &str = "a1b2c3d4e5f6a7b8c9d0a1b2c3d4e5f6a7b8c9d0";
const DEPLOYED: &str = "/var/lib/tqserver/deploy/a1b2c3d4e5f6a7b8c9d0a1b2c3d4e5f6a7b8c9d0";
const COPY: &str = "/var/lib/tq-launcher/web/copy";
const UNIT: &str = "tq-worker@web-9000.service";

/// What root gives to all, and grants to worker `web`.
const GRANTS: &str = "
workers:
  default: {memory_max: 64M}
  grants:
    web:
      credentials: {db: /etc/tqserver/credentials/db}
      state_directory: true
      sandbox:
        memory_deny_write_execute: false
        system_call_filter: ['@resources']
        restrict_address_families: [AF_NETLINK]
        ip_address_allow: [10.0.0.0/8]
";

/// All of that.
const ASKS: &str = "
credentials: [db]
state_directory: true
sandbox:
  memory_deny_write_execute: false
  system_call_filter: ['@resources']
  restrict_address_families: [AF_NETLINK]
  ip_address_allow: [10.9.8.0/24]
";

/// A machine with one deployment, in which nothing but the sandbox keeps a worker out: all files
/// and sockets are open to everybody.
struct Machine {
    launcher: BusLauncher,
    events: mpsc::Receiver<UnitEvent>,
    _control: UnixListener,
    listener: TcpListener,
}

impl Machine {
    async fn new() -> Self {
        run("ip", &["address", "add", "10.9.8.7/32", "dev", "lo"]);
        write("/etc/tqserver/server.yaml", GRANTS);
        write("/etc/tqserver/credentials/db", "password");
        write("/var/lib/tqserver/deploy/b/page", "another deployment");
        write(&format!("{DEPLOYED}/workers/other/private/page"), "another worker's");
        write(&format!("{DEPLOYED}/deployment.json"), &record());
        fs::create_dir_all("/run/tqserver").unwrap();
        let control = UnixListener::bind("/run/tqserver/control.sock").unwrap();
        fs::set_permissions("/run/tqserver/control.sock", PermissionsExt::from_mode(0o666))
            .unwrap();

        let sources = Sources {
            root: "/var/lib/tqserver".into(),
            server_yaml: "/etc/tqserver/server.yaml".into(),
            deployment_yaml: "/etc/tqserver/deployment.yaml".into(),
            mode: Some(Mode::Prod),
            ..Sources::of_project("/")
        };
        let settings = config::load(&sources).unwrap().settings;
        let config = LauncherConfig::new(&settings, Output::Journal);
        let launcher = BusLauncher::connect(Bus::System, config).await.unwrap();
        Self {
            events: launcher.events(),
            launcher,
            _control: control,
            listener: TcpListener::bind(("127.0.0.1", 0)).unwrap(),
        }
    }

    /// Starts worker `web`, which asks for `yaml` and uses `memory` MiB, and says how that ends.
    async fn start(&mut self, yaml: &str, memory: u32) -> UnitState {
        let port = self.listener.local_addr().unwrap().port();
        let yaml = format!("run: [bin/worker, '{port}', '{memory}']\n{yaml}");
        // What it sees must be the copy: only that has a page.
        write(&format!("{DEPLOYED}/workers/web/config/worker.yaml"), &yaml);
        write(&format!("{COPY}/private/page"), "the copy's");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/probe.pl");
        write(&format!("{COPY}/bin/worker"), &fs::read_to_string(script).unwrap());
        let request = request();
        self.launcher.start_from(&request, Some(Path::new(COPY))).await.unwrap();
        loop {
            let event = tokio::time::timeout(PATIENCE, self.events.recv()).await;
            match event.expect("an event").expect("the launcher watches") {
                UnitEvent::Changed { state: UnitState::Activating, .. } => {}
                UnitEvent::Changed { state, .. } => return state,
                UnitEvent::Resync(units) => panic!("resync: {units:?}"),
            }
        }
    }

    async fn stop(&mut self) {
        self.launcher.stop(&request().unit()).await.unwrap();
        while let Some(UnitEvent::Changed { state, .. }) = self.events.recv().await {
            if state == UnitState::Inactive {
                return;
            }
        }
    }
}

/// What the worker found, of the invocation that runs.
fn found() -> BTreeMap<String, String> {
    run("journalctl", &["--sync"]);
    let invocation = run("systemctl", &["show", "-P", "InvocationID", UNIT]);
    let journal =
        run("journalctl", &["-o", "cat", &format!("_SYSTEMD_INVOCATION_ID={invocation}")]);
    let pairs = journal.lines().filter_map(|line| line.split_once('='));
    pairs.map(|(what, outcome)| (what.to_owned(), outcome.to_owned())).collect()
}

fn request() -> StartRequest {
    StartRequest {
        worker: "web".parse().unwrap(),
        port: Port::new(9000).unwrap(),
        source: Source::Deployment(COMMIT.parse().unwrap()),
        generation: Generation(1),
    }
}

fn record() -> String {
    let zero = Md5::new([0; 16]);
    let part = WorkerPart {
        path: "workers/web".to_owned(),
        binary: "bin/web".to_owned(),
        binary_md5: zero,
        size_bytes: 1,
        route: "/web".parse().unwrap(),
        built_from: COMMIT.parse().unwrap(),
        inputs_md5: zero,
        public_md5: zero,
        private_md5: zero,
        tree_md5: zero,
        files: WorkerFiles::default(),
        sha256: [("bin/web".to_owned(), Sha256::new([0; 32]))].into(),
    };
    let deployment = Deployment {
        schema: SCHEMA,
        git_commit: COMMIT.parse().unwrap(),
        git_commit_short: COMMIT[..7].to_owned(),
        git_branch: None,
        git_tag: None,
        built_at: jiff::Timestamp::UNIX_EPOCH,
        server: None,
        workers: [("web".parse().unwrap(), part)].into(),
    };
    String::from_utf8(deployment.to_json()).unwrap()
}

/// A file that everybody may read and execute, in folders of the same kind.
fn write(path: &str, content: &str) {
    let path = Path::new(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
    fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
}

fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

/// Runs a test in a booted system: this program again, with one test chosen.
fn in_bed<F: Future<Output = ()>>(name: &str, test: impl FnOnce() -> F) {
    if std::env::var_os("BED_LEADER").is_some() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        return runtime.block_on(test());
    }
    let bed = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bed/system");
    let status = Command::new(bed)
        .args(["--net", "--"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .status()
        .unwrap();
    assert!(status.success(), "see above");
}

#[track_caller]
fn assert_found(expected: &[(&str, &str)]) {
    let found = found();
    let found: Vec<_> = expected
        .iter()
        .map(|(what, _)| (*what, found.get(*what).map_or("(nothing)", String::as_str)))
        .collect();
    assert_eq!(found, expected);
}

mod system_bed {
    use super::*;

    #[test]
    fn a_worker_reaches_its_own_and_nothing_else() {
        in_bed("system_bed::a_worker_reaches_its_own_and_nothing_else", || async {
            let mut machine = Machine::new().await;
            assert_eq!(machine.start("", 1).await, UnitState::Active);
            assert_found(&[
                ("own", "the copy's"),
                ("own folder", "Read-only file system"),
                ("deployments", COMMIT),
                ("workers", "web"),
                ("other worker", "No such file or directory"),
                ("copies", "Permission denied"),
                ("configuration", "Permission denied"),
                ("secret", "Permission denied"),
                ("control socket", "Permission denied"),
                ("tmp", "written"),
                ("home", "written"),
                ("near", "connected"),
                ("far", "Operation not permitted"),
                ("netlink", "Address family not supported by protocol"),
                ("code", "Operation not permitted"),
                ("priority", "Operation not permitted"),
                ("user", "tqw-web"),
                // Itself.
                ("processes", "1"),
            ]);
        });
    }

    #[test]
    fn what_was_asked_for_and_granted_is_there_and_outlives_a_generation() {
        let name = "system_bed::what_was_asked_for_and_granted_is_there_and_outlives_a_generation";
        in_bed(name, || async {
            let mut machine = Machine::new().await;
            assert_eq!(machine.start(ASKS, 1).await, UnitState::Active);
            assert_found(&[
                ("state", "written"),
                ("credential", "password"),
                ("far", "sent"),
                ("netlink", "opened"),
                ("code", "mapped"),
                ("priority", "set"),
                // Not loosened with it.
                ("own folder", "Read-only file system"),
                ("configuration", "Permission denied"),
                ("secret", "Permission denied"),
            ]);
            machine.stop().await;
            assert!(fs::exists("/var/lib/private/tq-workers/web/probe").unwrap());
        });
    }

    #[test]
    fn more_memory_than_it_may_have_ends_a_worker() {
        in_bed("system_bed::more_memory_than_it_may_have_ends_a_worker", || async {
            let mut machine = Machine::new().await;
            let end = machine.start("", 200).await;
            // With cgroup v1 systemd does not learn why.
            let expected = [ExitReason::OutOfMemory, ExitReason::Signal(9)];
            assert!(expected.map(UnitState::Failed).contains(&end), "{end:?}");
        });
    }

    #[test]
    fn systemd_scores_the_sandbox() {
        in_bed("system_bed::systemd_scores_the_sandbox", || async {
            let mut machine = Machine::new().await;
            assert_eq!(machine.start("", 1).await, UnitState::Active);
            // Its last line: → Overall exposure level for …: 1.1 OK
            let report = run("systemd-analyze", &["security", "--no-pager", UNIT]);
            let level = report.rsplit_once(": ").and_then(|(_, end)| end.split(' ').next());
            let level: f64 = level.and_then(|level| level.parse().ok()).expect(&report);
            assert!(level <= 1.2, "{report}");
            // Also after systemd has read the unit from its own files.
            run("systemctl", &["daemon-reload"]);
            assert_eq!(run("systemd-analyze", &["security", "--no-pager", UNIT]), report);
        });
    }
}
