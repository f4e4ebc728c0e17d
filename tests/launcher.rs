//! The launcher against a user manager: what systemd does, and what is told of it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;
use tokio::sync::mpsc;
use tqserver::config::settings::{
    CompressionSettings, InstanceSettings, Mode, Sandbox, WorkerDefaults, WorkersSettings,
};
use tqserver::ids::{Generation, Port, UnitName};
use tqserver::launcher::bus::{Bus, BusLauncher};
use tqserver::launcher::output::OutputDir;
use tqserver::launcher::{
    ExitReason, Launcher, LauncherConfig, Output, Source, StartRequest, UnitEvent, UnitState,
};

/// Longer than anything here takes; only a test that fails waits for it.
const PATIENCE: Duration = Duration::from_secs(20);

/// A source tree of workers, and a launcher for it.
struct Fixture {
    dir: TempDir,
    config: LauncherConfig,
    launcher: BusLauncher,
    events: mpsc::Receiver<UnitEvent>,
}

impl Fixture {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path());
        let launcher = BusLauncher::connect(Bus::Session, config.clone()).await.unwrap();
        let events = launcher.events();
        Self { dir, config, launcher, events }
    }

    /// Makes worker `web`, which behaves as `mode` says.
    fn worker(&self, mode: &str) {
        let base = self.dir.path().join("workers/web");
        fs::create_dir_all(base.join("bin")).unwrap();
        fs::create_dir_all(base.join("config")).unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/worker.pl");
        fs::copy(script, base.join("bin/worker")).unwrap();
        let ready = if mode == "mute" { "http" } else { "notify" };
        let yaml = format!("run: [bin/worker, {mode}, $PORT]\nready: {ready}\n");
        fs::write(base.join("config/worker.yaml"), yaml).unwrap();
    }

    async fn start(&self) -> UnitName {
        let request = request();
        self.launcher.start(&request).await.unwrap();
        request.unit()
    }

    /// Starts a worker that gets ready.
    async fn serve(&mut self, mode: &str) -> UnitName {
        self.worker(mode);
        let unit = self.start().await;
        assert_eq!(self.states(2).await, [UnitState::Activating, UnitState::Active]);
        unit
    }

    async fn event(&mut self) -> UnitEvent {
        let event = tokio::time::timeout(PATIENCE, self.events.recv()).await;
        event.expect("an event").expect("the launcher watches")
    }

    async fn state(&mut self) -> UnitState {
        match self.event().await {
            UnitEvent::Changed { unit, state } => {
                assert_eq!(unit, request().unit());
                state
            }
            UnitEvent::Resync(units) => panic!("resync: {units:?}"),
        }
    }

    async fn states(&mut self, count: usize) -> Vec<UnitState> {
        let mut states = Vec::new();
        for _ in 0..count {
            states.push(self.state().await);
        }
        states
    }

    /// How it ends, whatever comes before.
    async fn end(&mut self) -> UnitState {
        loop {
            if let UnitEvent::Changed { state, .. } = self.event().await
                && matches!(state, UnitState::Inactive | UnitState::Failed(_))
            {
                return state;
            }
        }
    }

    /// What the worker printed, of lines that read `NAME=value`.
    fn printed(&self) -> BTreeMap<String, String> {
        let Output::Files(dir) = &self.config.output else { unreachable!() };
        let lines = dir.tail(&request().unit(), 1000).unwrap();
        let pairs = lines.iter().filter_map(|line| line.split_once('='));
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }
}

fn config(dir: &Path) -> LauncherConfig {
    let second = Duration::from_secs(1);
    LauncherConfig {
        mode: Mode::Dev,
        config_dir: dir.join("config"),
        deploy_dir: dir.join("deploy"),
        workers_dir: dir.join("workers"),
        workers: WorkersSettings {
            default: WorkerDefaults {
                go_max_procs: Some(2),
                go_mem_limit: None,
                max_requests: 0,
                read_timeout: second,
                write_timeout: second,
                idle_timeout: second,
                stream_drain_timeout: None,
                env: [("GREETING".to_owned(), "100% \"$HOME\" é".to_owned())].into(),
                cache_templates: false,
                watch_resources: true,
                memory_high: None,
                memory_max: None,
                cpu_quota_percent: None,
                tasks_max: None,
                sandbox: Sandbox::default(),
                state_directory: false,
                instances: InstanceSettings::default(),
                compression: CompressionSettings::default(),
            },
            paths: BTreeMap::new(),
            grants: BTreeMap::new(),
        },
        start_timeout: PATIENCE,
        shutdown_grace_period: PATIENCE,
        output: Output::Files(OutputDir::new(dir.join("output"))),
    }
}

fn request() -> StartRequest {
    StartRequest {
        worker: "web".parse().unwrap(),
        port: Port::new(9000).unwrap(),
        source: Source::Tree,
        generation: Generation(7),
    }
}

fn systemctl(arguments: &[&str]) {
    let status = Command::new("systemctl").arg("--user").args(arguments).status().unwrap();
    assert!(status.success(), "systemctl {arguments:?}");
}

/// Runs a test beside a user manager of its own: this program again, with one test chosen.
fn in_bed<F: Future<Output = ()>>(name: &str, test: impl FnOnce() -> F) {
    if std::env::var_os("BED_LEADER").is_some() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        return runtime.block_on(test());
    }
    let bed = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bed/user");
    let status = Command::new(bed)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .status()
        .unwrap();
    assert!(status.success(), "see above");
}

/// The test's own path, for `in_bed`.
macro_rules! here {
    () => {{
        fn here() {}
        let path = std::any::type_name_of_val(&here);
        path.strip_suffix("::here").unwrap().split_once("::").unwrap().1.to_owned()
    }};
}

#[test]
fn a_worker_lives() {
    in_bed(&here!(), || async {
        let mut fixture = Fixture::new().await;
        systemctl(&["set-environment", "LEAK=1", "PORT=1", "GOMEMLIMIT=1"]);
        let unit = fixture.serve("well").await;

        let environment = fixture.printed();
        let base = fixture.dir.path().join("workers/web");
        let expected = [
            ("PORT", "9000"),
            ("TQ_PORT", "9000"),
            ("TQ_MODE", "dev"),
            ("TQ_WORKER", "web"),
            ("TQ_ROUTE", "/web"),
            ("TQ_COMMIT", "dev"),
            ("TQ_GENERATION", "7"),
            ("TQ_CACHE_TEMPLATES", "false"),
            ("TQ_WATCH_RESOURCES", "true"),
            ("TQ_WORKER_BASE", base.to_str().unwrap()),
            ("GOMAXPROCS", "2"),
            ("TOKIO_WORKER_THREADS", "2"),
            ("GREETING", "100% \"$HOME\" é"),
            // Not a variable: what its command line's $PORT became.
            ("ARGUMENT", "9000"),
        ];
        for (name, value) in expected {
            assert_eq!(environment.get(name).map(String::as_str), Some(value), "{name}");
        }
        // Beside these only what every service has, systemd's own and the machine's.
        let common = |name: &str| {
            let machine = ["HOME", "LANG", "LOGNAME", "PATH", "SHELL", "USER"];
            let systemd = [
                "INVOCATION_ID",
                "MANAGERPID",
                "MEMORY_PRESSURE",
                "NOTIFY_SOCKET",
                "SYSTEMD_",
                "LC_",
            ];
            machine.contains(&name) || systemd.iter().any(|prefix| name.starts_with(prefix))
        };
        let ours = |name: &str| expected.iter().any(|(expected, _)| *expected == name);
        let foreign: Vec<_> =
            environment.keys().filter(|name| !common(name) && !ours(name)).collect();
        assert_eq!(foreign, ["TQ_FINGERPRINT", "TQ_SHARED_BASE"]);

        let listed = fixture.launcher.list().await.unwrap();
        assert_eq!(listed.len(), 1);
        let live = &listed[0];
        assert_eq!(
            (&live.unit, &live.source, live.generation, &live.state),
            (&unit, &Source::Tree, Generation(7), &UnitState::Active)
        );
        assert_eq!(live.fingerprint.to_string(), environment["TQ_FINGERPRINT"]);

        fixture.launcher.stop(&unit).await.unwrap();
        assert_eq!(fixture.states(2).await, [UnitState::Deactivating, UnitState::Inactive]);
        assert_eq!(fixture.launcher.list().await.unwrap(), []);
        fixture.launcher.stop(&unit).await.expect("stopping one that is gone succeeds");
    });
}

#[test]
fn a_worker_fails() {
    in_bed(&here!(), || async {
        let mut fixture = Fixture::new().await;
        let start_timeout = Duration::from_millis(300);
        fixture.launcher.update(LauncherConfig { start_timeout, ..fixture.config.clone() });
        for (mode, reason) in [
            ("exit", ExitReason::Exited(3)),
            ("kill", ExitReason::Signal(9)),
            ("hang", ExitReason::Timeout),
            ("crash", ExitReason::Exited(4)),
        ] {
            fixture.worker(mode);
            // The same name again and again: nobody's end is taken for the next one's.
            for _ in 0..3 {
                fixture.start().await;
                assert_eq!(fixture.end().await, UnitState::Failed(reason.clone()), "{mode}");
            }
        }
        assert_eq!(fixture.launcher.list().await.unwrap(), []);
    });
}

#[test]
fn a_program_that_cannot_be_executed_is_named_as_the_cause() {
    in_bed(&here!(), || async {
        let mut fixture = Fixture::new().await;
        fixture.worker("well");
        let program = fixture.dir.path().join("workers/web/bin/worker");
        fs::set_permissions(program, fs::Permissions::from_mode(0o644)).unwrap();
        fixture.start().await;
        let UnitState::Failed(reason) = fixture.end().await else { panic!("it started") };
        assert!(reason.to_string().contains("could not be executed"), "{reason}");
    });
}

#[test]
fn a_worker_that_cannot_notify_is_active_when_it_is_executed() {
    in_bed(&here!(), || async {
        let mut fixture = Fixture::new().await;
        fixture.serve("mute").await;
    });
}

#[test]
fn a_stop_while_starting_is_no_failure() {
    in_bed(&here!(), || async {
        let mut fixture = Fixture::new().await;
        fixture.worker("hang");
        let unit = fixture.start().await;
        assert_eq!(fixture.state().await, UnitState::Activating);
        fixture.launcher.stop(&unit).await.unwrap();
        assert_eq!(fixture.end().await, UnitState::Inactive);
    });
}

#[test]
fn a_worker_that_ignores_sigterm_is_killed_after_the_grace() {
    in_bed(&here!(), || async {
        let mut fixture = Fixture::new().await;
        let shutdown_grace_period = Duration::from_millis(300);
        fixture.launcher.update(LauncherConfig { shutdown_grace_period, ..fixture.config.clone() });
        let unit = fixture.serve("stubborn").await;
        fixture.launcher.stop(&unit).await.unwrap();
        assert_eq!(fixture.end().await, UnitState::Failed(ExitReason::Timeout));
    });
}

#[test]
fn children_go_with_their_worker() {
    in_bed(&here!(), || async {
        let mut fixture = Fixture::new().await;
        let unit = fixture.serve("parent").await;
        let child = || fixture.printed().get("CHILD").cloned();
        let child = child().expect("the child was there first");
        assert!(Path::new("/proc").join(&child).exists());
        fixture.launcher.stop(&unit).await.unwrap();
        assert_eq!(fixture.end().await, UnitState::Inactive);
        assert!(!Path::new("/proc").join(&child).exists());
    });
}

#[test]
fn another_launcher_adopts_what_lives() {
    in_bed(&here!(), || async {
        let mut fixture = Fixture::new().await;
        let unit = fixture.serve("well").await;
        let listed = fixture.launcher.list().await.unwrap();

        let config = fixture.config.clone();
        fixture.launcher = BusLauncher::connect(Bus::Session, config).await.unwrap();
        fixture.events = fixture.launcher.events();
        assert_eq!(fixture.launcher.list().await.unwrap(), listed);
        systemctl(&["kill", "--signal=KILL", &unit.to_string()]);
        assert_eq!(fixture.end().await, UnitState::Failed(ExitReason::Signal(9)));
    });
}

#[test]
fn units_of_others_are_left_alone() {
    in_bed(&here!(), || async {
        let mut fixture = Fixture::new().await;
        fixture.serve("well").await;
        let status = Command::new("systemd-run")
            .args(["--user", "--unit=tq-worker@web-9001", "sleep", "1000"])
            .status()
            .unwrap();
        assert!(status.success());
        assert_eq!(fixture.launcher.list().await.unwrap().len(), 1);
        // Another server's: the same worker, but from another folder.
        let other = tempfile::tempdir().unwrap();
        let other = BusLauncher::connect(Bus::Session, config(other.path())).await.unwrap();
        assert_eq!(other.list().await.unwrap(), []);
    });
}

#[test]
fn after_a_disturbance_all_is_listed_anew_and_goes_on() {
    in_bed(&here!(), || async {
        let mut fixture = Fixture::new().await;
        for disturbance in
            [&["daemon-reload"][..], &["daemon-reexec"], &["restart", "dbus.service"]]
        {
            let unit = fixture.serve("well").await;
            let before = fixture.launcher.list().await.unwrap();

            systemctl(disturbance);
            // A manager that is just coming back may not know all of it at once; but it must not
            // make the living look dead.
            loop {
                match fixture.event().await {
                    UnitEvent::Resync(units) if units == before => break,
                    UnitEvent::Resync(units) => assert_eq!(units.len(), 1, "{disturbance:?}"),
                    changed => panic!("{disturbance:?}: {changed:?}"),
                }
            }

            fixture.launcher.stop(&unit).await.unwrap();
            assert_eq!(fixture.end().await, UnitState::Inactive, "{disturbance:?}");
        }
    });
}

#[test]
fn a_start_waits_for_a_bus_that_is_away() {
    in_bed(&here!(), || async {
        let mut fixture = Fixture::new().await;
        for is_known in [true, false] {
            fixture.worker("well");
            systemctl(&["stop", "dbus.socket", "dbus.service"]);
            while is_known && fixture.launcher.list().await.is_ok() {}
            let request = request();
            let comes_back = async {
                tokio::task::yield_now().await;
                systemctl(&["start", "dbus.socket"]);
            };
            let (started, ()) = tokio::join!(fixture.launcher.start(&request), comes_back);
            started.unwrap();
            let unit = request.unit();
            let active = UnitEvent::Changed { unit: unit.clone(), state: UnitState::Active };
            while fixture.event().await != active {}
            fixture.launcher.stop(&unit).await.unwrap();
            assert_eq!(fixture.end().await, UnitState::Inactive);
        }
    });
}

#[test]
fn workers_outlive_a_restart_of_their_server_and_go_when_it_stops() {
    in_bed(&here!(), || async {
        let runtime_dir = std::env::var("XDG_RUNTIME_DIR").unwrap();
        let units = Path::new(&runtime_dir).join("systemd/user");
        fs::create_dir_all(&units).unwrap();
        let target = "[Unit]\nStopWhenUnneeded=yes\nIgnoreOnIsolate=yes\n";
        fs::write(units.join("tq-workers.target"), target).unwrap();
        let server = "[Unit]\nWants=tq-workers.target\nAfter=tq-workers.target\n\
                      [Service]\nExecStart=sleep infinity\n";
        fs::write(units.join("server.service"), server).unwrap();
        systemctl(&["daemon-reload"]);
        systemctl(&["start", "server.service"]);

        let mut fixture = Fixture::new().await;
        fixture.serve("well").await;
        let before = fixture.launcher.list().await.unwrap();
        systemctl(&["restart", "server.service"]);
        assert_eq!(fixture.launcher.list().await.unwrap(), before);
        systemctl(&["stop", "server.service"]);
        assert_eq!(fixture.end().await, UnitState::Inactive);
    });
}

#[test]
fn only_systemd_is_believed() {
    in_bed(&here!(), || async {
        let mut fixture = Fixture::new().await;
        let unit = fixture.serve("well").await;
        // A signal that is addressed to somebody needs no match rule.
        let names = Command::new("busctl")
            .args(["--user", "list", "--unique", "--no-legend"])
            .output()
            .unwrap();
        for line in String::from_utf8(names.stdout).unwrap().lines() {
            let status = Command::new("busctl")
                .args(["--user", "emit", "--destination", line.split(' ').next().unwrap()])
                .args(["/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager"])
                .args(["UnitRemoved", "so", &unit.to_string(), "/org/freedesktop/systemd1/unit/x"])
                .status()
                .unwrap();
            assert!(status.success());
        }
        fixture.launcher.stop(&unit).await.unwrap();
        assert_eq!(fixture.states(2).await, [UnitState::Deactivating, UnitState::Inactive]);
    });
}
