//! A good and a bad machine, made up, and how they look.

use std::collections::BTreeMap;
use std::path::PathBuf;

use rstest::rstest;

use super::check::{Check, Verdict};
use super::present::{Detail, render};
use super::processes::Process;
use super::project::{Git, Worker};
use super::systemd::{Machine, RuntimeDir};
use super::toolchains::{Linker, State, Tool};
use super::user::{Membership, User};
use super::watched::Watched;
use super::{Facts, bus, daemon, journal, limits, ports, project, systemd, toolchains};
use crate::admin::api::ServerState;
use crate::build::{Skipped, Toolchain};
use crate::config::worker::WorkerFile;
use crate::config::{self, Sources};
use crate::ctl::output::{ColorChoice, Output};

fn ada() -> User {
    User { uid: 1000, name: "ada".to_owned() }
}

fn process(pid: u32, name: &str) -> Option<Process> {
    Some(Process { pid, name: name.to_owned() })
}

fn tool(program: &str, needed_by: &[&str], version: Option<&str>) -> Tool {
    let path = PathBuf::from("/usr/bin").join(program);
    Tool {
        program: program.to_owned(),
        needed_by: needed_by.iter().map(|&it| it.to_owned()).collect(),
        at_least: ["cargo", "rustc"].contains(&program).then_some("1.89"),
        state: version.map_or(State::Missing, |version| State::There {
            path,
            version: Some(version.to_owned()),
        }),
    }
}

fn worker(name: &str, file: &str, toolchain: Option<Toolchain>) -> Worker {
    let folder = PathBuf::from("workers").join(name);
    let file = WorkerFile::parse(file.as_bytes(), &folder.join(WorkerFile::PATH));
    Worker { name: name.to_owned(), folder, file, toolchain }
}

fn configured(server: &str) -> Result<config::Loaded, config::ConfigErrors> {
    config::parse(&Sources::of_project(""), server.as_bytes(), None)
}

/// A developer's machine on which all is well.
fn good() -> Facts {
    Facts {
        user: ada(),
        systemd: systemd::Facts {
            user: ada(),
            booted: true,
            init: "systemd".to_owned(),
            machine: Machine::Whole,
            runtime_dir: RuntimeDir::Usable("/run/user/1000".into()),
            user_manager: Ok("252.39-1~deb12u1".to_owned()),
            system_manager: Ok("252.39-1~deb12u1".to_owned()),
            bus_socket: true,
            has_pam: true,
            has_user_bus: true,
            has_machinectl: false,
            lingers: false,
            private: None,
        },
        bus: bus::Facts {
            activatable: Ok(vec!["org.tqserver.Launcher1".to_owned()]),
            installed: true,
            has_launcher_file: true,
            has_dbus: true,
        },
        journal: journal::Facts {
            user: ada(),
            booted: true,
            listens: true,
            membership: Membership::Effective,
            persistent: true,
        },
        limits: limits::Facts {
            user: ada(),
            watched: Some(Watched { folders: 74, whole: true }),
            max_watches: Some(65_536),
            watches: 1210,
            max_instances: Some(128),
            instances: 14,
            open_files: (Some(1024), Some(524_288)),
        },
        toolchains: toolchains::Facts {
            tools: vec![
                tool("git", &["production builds"], Some("2.39.5")),
                tool("cargo", &["index"], Some("1.95.0")),
                tool("rustc", &["index"], Some("1.89.0")),
            ],
            has_rustup: true,
            linker: Some(Linker { installed: None, is_chosen: true }),
        },
        ports: ports::Facts {
            server: 8080,
            range: 9000..=9999,
            workers: 1,
            listeners: BTreeMap::from([
                (22, None),
                (8080, process(4711, "tqserver")),
                (9000, process(4712, "index")),
            ]),
            ephemeral: Some(32_768..=60_999),
            reserved: String::new(),
            loopback: Ok(()),
        },
        project: Some(project::Facts {
            root: ".".into(),
            loaded: configured(""),
            watch_patterns: Vec::new(),
            workers: Ok(vec![worker("index", "", Some(Toolchain::Cargo))]),
            skipped: Vec::new(),
            git: Git::Repository { unignored: Vec::new() },
        }),
        daemon: daemon::Facts {
            socket: "/run/user/1000/tqserver/control.sock".into(),
            state: daemon::State::Answered {
                version: "0.1.0 (commit abc1234)".to_owned(),
                state: ServerState::Serving,
            },
            version: "0.1.0 (commit abc1234)".to_owned(),
        },
    }
}

/// One on which all is wrong that can be at once.
fn bad() -> Facts {
    let good = good();
    Facts {
        systemd: systemd::Facts {
            user_manager: Err("no such file".to_owned()),
            bus_socket: false,
            has_user_bus: false,
            ..good.systemd
        },
        bus: bus::Facts { activatable: Ok(Vec::new()), has_launcher_file: false, ..good.bus },
        journal: journal::Facts { membership: Membership::None, persistent: false, ..good.journal },
        limits: limits::Facts {
            watched: Some(Watched { folders: 9000, whole: true }),
            max_watches: Some(8192),
            instances: 128,
            open_files: (Some(256), Some(512)),
            ..good.limits
        },
        toolchains: toolchains::Facts {
            tools: vec![
                tool("git", &["production builds"], None),
                tool("cargo", &["index"], Some("1.63.0")),
                tool("rustc", &["index"], Some("1.63.0")),
                tool("/usr/bin/node", &["chat", "shop"], None),
            ],
            has_rustup: false,
            linker: Some(Linker { installed: Some("mold"), is_chosen: false }),
        },
        ports: ports::Facts {
            listeners: BTreeMap::from([(8080, process(815, "java")), (9000, None)]),
            range: 9000..=9001,
            ephemeral: Some(1024..=60_999),
            reserved: "5000,6000-6010".to_owned(),
            loopback: Err("Cannot assign requested address".to_owned()),
            ..good.ports
        },
        project: Some(project::Facts {
            root: ".".into(),
            loaded: configured("server:\n  port: 99999\n  prot: 80\n"),
            watch_patterns: Vec::new(),
            workers: Ok(vec![
                worker("chat", "ready: maybe\n", None),
                worker("index", "", None),
                worker("shop", "run: /usr/bin/node bin/shop.js\n", Some(Toolchain::Ready)),
            ]),
            skipped: vec![Skipped {
                folder: "workers/notes".into(),
                reason: "nothing in it matches */src/main.rs".to_owned(),
            }],
            git: Git::Repository { unignored: vec!["target/".into(), "workers/a b/bin/".into()] },
        }),
        daemon: daemon::Facts { version: "0.2.0".to_owned(), ..good.daemon },
        ..good
    }
}

fn text(facts: &Facts, detail: Detail) -> String {
    render(&facts.judge(), detail, Output::new(ColorChoice::Never, None, false, false).painter())
}

#[test]
fn a_good_machine() {
    let report = good().judge();
    assert_eq!((report.count(Verdict::Warning), report.count(Verdict::Failed)), (0, 0));
    insta::assert_snapshot!(text(&good(), Detail::All));
    assert_eq!(text(&good(), Detail::Wrong), "", "-q has nothing to say");
    insta::assert_json_snapshot!("a_good_machine_in_json", report);
}

#[test]
fn a_bad_machine() {
    insta::assert_snapshot!(text(&bad(), Detail::Verbose));
    insta::assert_json_snapshot!("a_bad_machine_in_json", bad().judge());
    let quiet = text(&bad(), Detail::Wrong);
    assert!(!quiet.contains('✓') && !quiet.contains('·'), "{quiet}");
}

fn names(checks: &[Check], verdict: Verdict) -> Vec<&str> {
    checks.iter().filter(|it| it.verdict == verdict).map(|it| it.name.as_str()).collect()
}

/// The one check that failed, and its commands.
#[track_caller]
fn failed(checks: &[Check]) -> (&str, Vec<&str>) {
    let failed: Vec<_> = checks.iter().filter(|it| it.verdict == Verdict::Failed).collect();
    let [check] = failed.as_slice() else { panic!("{checks:#?}") };
    (&check.name, check.mend.iter().map(String::as_str).collect())
}

fn changed(change: impl FnOnce(&mut systemd::Facts)) -> systemd::Facts {
    let mut facts = good().systemd;
    change(&mut facts);
    facts
}

fn without_systemd(facts: &mut systemd::Facts) {
    facts.booted = false;
    facts.init = "bash".to_owned();
    facts.runtime_dir = RuntimeDir::Unset { usual_exists: false };
    facts.user_manager = Err("no such file".to_owned());
    facts.system_manager = Err("no such file".to_owned());
}

#[rstest]
#[case::machine(Machine::Whole, None, "sudo apt install systemd-sysv dbus-user-session")]
#[case::container(
    Machine::Container,
    None,
    "podman run --systemd=always --tty --interactive IMAGE /sbin/init   # on the host"
)]
#[case::wsl(
    Machine::Wsl,
    None,
    r"printf '[boot]\nsystemd=true\n' | sudo tee --append /etc/wsl.conf"
)]
#[case::private(
    Machine::Container,
    Some("tests/bed/user"),
    "sudo tests/bed/user bash   # a shell beside a manager of its own"
)]
fn without_systemd_there_is_one_thing_to_do(
    #[case] machine: Machine,
    #[case] private: Option<&str>,
    #[case] expected: &str,
) {
    let facts = changed(|facts| {
        without_systemd(facts);
        (facts.machine, facts.private) = (machine, private.map(PathBuf::from));
    });
    let checks = systemd::judge(&facts);
    let (name, mend) = failed(&checks);
    assert_eq!((name, mend[0], checks.len()), ("init", expected, 1));
}

#[test]
fn a_users_manager_is_enough_without_systemd_as_init() {
    let facts = changed(|facts| {
        (facts.booted, facts.system_manager) = (false, Err("no such file".to_owned()));
    });
    let checks = systemd::judge(&facts);
    assert_eq!(names(&checks, Verdict::Failed), Vec::<&str>::new());
    assert_eq!(names(&checks, Verdict::Info), ["init", "lingering"]);
}

#[rstest]
#[case::su(
    |it: &mut systemd::Facts| it.runtime_dir = RuntimeDir::Unset { usual_exists: true },
    "session", "export XDG_RUNTIME_DIR=/run/user/1000"
)]
#[case::no_session(
    |it: &mut systemd::Facts| it.runtime_dir = RuntimeDir::Unset { usual_exists: false },
    "session", "sudo systemd-run --pty --property=PAMName=login --uid=ada bash"
)]
#[case::no_session_but_machinectl(
    |it: &mut systemd::Facts| {
        it.runtime_dir = RuntimeDir::Unset { usual_exists: false };
        it.has_machinectl = true;
    },
    "session", "sudo machinectl shell ada@"
)]
#[case::no_pam(
    |it: &mut systemd::Facts| {
        it.runtime_dir = RuntimeDir::Unset { usual_exists: false };
        it.has_pam = false;
    },
    "session", "sudo apt install libpam-systemd   # then log in again"
)]
#[case::of_another(
    |it: &mut systemd::Facts| {
        it.runtime_dir = RuntimeDir::Unusable("/run/user/0".into(), "belongs to 0".into());
        it.user_manager = Ok("252".into());
        it.has_machinectl = true;
    },
    "session", "sudo machinectl shell ada@"
)]
#[case::no_user_bus(
    |it: &mut systemd::Facts| {
        it.user_manager = Err("no such file".into());
        (it.bus_socket, it.has_user_bus) = (false, false);
    },
    "user manager", "sudo apt install dbus-user-session"
)]
#[case::no_bus_socket(
    |it: &mut systemd::Facts| {
        it.user_manager = Err("no such file".into());
        it.bus_socket = false;
    },
    "user manager", "sudo systemctl start user@1000.service"
)]
#[case::silent(
    |it: &mut systemd::Facts| it.user_manager = Err("no answer within 2 s".into()),
    "user manager", "sudo systemctl status user@1000.service   # what ails it"
)]
#[case::old(
    |it: &mut systemd::Facts| it.user_manager = Ok("247.3-7+deb11u5".into()),
    "version", "sudo apt install -t bullseye-backports systemd"
)]
fn what_keeps_a_user_from_their_manager_is_told(
    #[case] change: fn(&mut systemd::Facts),
    #[case] name: &str,
    #[case] mend: &str,
) {
    let checks = systemd::judge(&changed(change));
    let (found, commands) = failed(&checks);
    assert_eq!((found, commands[0]), (name, mend));
}

#[test]
fn root_has_the_machines_manager() {
    let facts = changed(|facts| {
        facts.user = User { uid: 0, name: "root".to_owned() };
        facts.runtime_dir = RuntimeDir::Unset { usual_exists: false };
        facts.user_manager = Err("no such file".to_owned());
    });
    assert_eq!(names(&systemd::judge(&facts), Verdict::Failed), Vec::<&str>::new());
    let facts = systemd::Facts { system_manager: Err("no answer".to_owned()), ..facts };
    assert_eq!(failed(&systemd::judge(&facts)).0, "session");
}

#[rstest]
#[case::development(false, true, Verdict::Warning)]
#[case::installed(true, true, Verdict::Failed)]
#[case::roots_manager(false, false, Verdict::Failed)]
fn a_silent_system_bus_matters_to_those_who_need_it(
    #[case] installed: bool,
    #[case] of_user: bool,
    #[case] expected: Verdict,
) {
    let facts = bus::Facts { activatable: Err("refused".to_owned()), installed, ..good().bus };
    let systemd = changed(|it| {
        if !of_user {
            it.runtime_dir = RuntimeDir::Unset { usual_exists: false };
        }
    });
    let checks = bus::judge(&facts, &systemd);
    assert_eq!(checks[0].verdict, expected);
    assert_eq!(checks[0].mend, ["sudo systemctl start dbus.socket"]);
}

#[test]
fn a_launcher_that_the_bus_has_not_heard_of_is_told_to_it() {
    let facts = bus::Facts { activatable: Ok(Vec::new()), ..good().bus };
    let checks = bus::judge(&facts, &good().systemd);
    assert_eq!(failed(&checks), ("launcher", vec!["sudo systemctl reload dbus"]));
    let checks = bus::judge(&bus::Facts { installed: false, ..facts }, &good().systemd);
    assert_eq!(names(&checks, Verdict::Ok), ["system bus"], "nobody needs a launcher");
}

#[rstest]
#[case::none(
    true,
    false,
    Membership::Effective,
    "journald",
    Some("sudo systemctl start systemd-journald.socket")
)]
#[case::no_member(
    true,
    true,
    Membership::None,
    "reading",
    Some("sudo usermod --append --groups systemd-journal ada   # then log in again")
)]
#[case::new_member(
    true,
    true,
    Membership::FromNextLogin,
    "reading",
    Some("exec newgrp systemd-journal   # in this shell already")
)]
fn what_keeps_a_user_from_the_journal_is_a_warning(
    #[case] booted: bool,
    #[case] listens: bool,
    #[case] membership: Membership,
    #[case] name: &str,
    #[case] mend: Option<&str>,
) {
    let facts = journal::Facts { booted, listens, membership, ..good().journal };
    let checks = journal::judge(&facts);
    assert_eq!(names(&checks, Verdict::Warning), [name]);
    let check = checks.iter().find(|check| check.name == name).unwrap();
    assert_eq!(check.mend.first().map(String::as_str), mend);
}

#[rstest]
#[case::free(None, Verdict::Ok, "free, for the server")]
#[case::ours(Some(process(7, "tqserver")), Verdict::Ok, "tqserver (pid 7) serves on it")]
#[case::socket_unit(
    Some(process(1, "systemd")),
    Verdict::Info,
    "held by systemd (pid 1), for a socket unit"
)]
#[case::other(Some(process(7, "nc")), Verdict::Failed, "held by nc (pid 7)")]
#[case::hidden(Some(None), Verdict::Failed, "held by a process of another user's")]
fn the_servers_port_is_looked_at(
    #[case] holder: Option<Option<Process>>,
    #[case] verdict: Verdict,
    #[case] found: &str,
) {
    let listeners = holder.into_iter().map(|holder| (8080, holder)).collect();
    let checks = ports::judge(&ports::Facts { listeners, ..good().ports });
    let check = checks.iter().find(|check| check.name == "port 8080").unwrap();
    assert_eq!((check.verdict, check.found.as_str()), (verdict, found));
}

#[rstest]
#[case::apart(32_768..=60_999, "", None)]
#[case::workers(9500..=60_999, "", Some("9000-9999"))]
#[case::both(1024..=60_999, "", Some("8080,9000-9999"))]
#[case::partly_reserved(1024..=60_999, "8000-9500", Some("8000-9500,9000-9999"))]
#[case::reserved(1024..=60_999, "53,8000-10000", None)]
fn ports_that_strangers_may_get_are_reserved(
    #[case] ephemeral: std::ops::RangeInclusive<u16>,
    #[case] reserved: &str,
    #[case] expected: Option<&str>,
) {
    let (ephemeral, reserved) = (Some(ephemeral), reserved.to_owned());
    let checks = ports::judge(&ports::Facts { ephemeral, reserved, ..good().ports });
    let check = checks.iter().find(|check| check.name == "outgoing ports").unwrap();
    let command =
        expected.map(|ports| format!("sudo sysctl net.ipv4.ip_local_reserved_ports={ports}"));
    assert_eq!(check.mend.first(), command.as_ref());
    assert_eq!(check.verdict == Verdict::Warning, expected.is_some());
}

#[rstest]
#[case::plenty(1, 0, Verdict::Ok)]
#[case::just(2, 0, Verdict::Ok)]
#[case::taken(2, 1, Verdict::Failed)]
#[case::many_workers(3, 0, Verdict::Failed)]
fn a_worker_that_is_replaced_needs_two_ports(
    #[case] workers: usize,
    #[case] taken: u16,
    #[case] verdict: Verdict,
) {
    let listeners = (0..taken).map(|offset| (9000 + offset, None)).collect();
    let facts = ports::Facts { range: 9000..=9003, workers, listeners, ..good().ports };
    let checks = ports::judge(&facts);
    let check = checks.iter().find(|check| check.name.starts_with("ports")).unwrap();
    assert_eq!(check.verdict, verdict, "{check:?}");
}

#[rstest]
#[case::no_repository(Git::NoRepository, "git init && git add --all && git commit")]
#[case::no_commit(Git::NoCommit, "git add --all && git commit")]
#[case::anothers(
    Git::Failed("fatal: detected dubious ownership in repository".to_owned()),
    "git config --global --add safe.directory /nowhere/shop"
)]
fn a_production_build_needs_a_commit(#[case] git: Git, #[case] mend: &str) {
    let project = project::Facts { root: "/nowhere/shop".into(), git, ..good().project.unwrap() };
    assert_eq!(failed(&project::judge(Some(&project))), ("git", vec![mend]));
}

#[test]
fn a_project_without_configuration_is_told_how_to_begin() {
    let folder = tempfile::tempdir().unwrap();
    let loaded = config::load(&Sources::of_project(folder.path()));
    let project = project::Facts { loaded, ..good().project.unwrap() };
    let checks = project::judge(Some(&project));
    let config = folder.path().join("config");
    let touch = format!("mkdir -p {0} && touch {0}/server.yaml", config.display());
    assert_eq!(failed(&checks), ("configuration", vec![touch.as_str()]));
}

#[test]
fn without_a_project_its_checks_are_left_out_with_a_word() {
    let checks = project::judge(None);
    assert_eq!(names(&checks, Verdict::Info), ["project"]);
    assert_eq!(checks.len(), 1);
}

#[rstest]
#[case::asleep(daemon::State::Asleep, Verdict::Info, None)]
#[case::none(daemon::State::NotRunning, Verdict::Info, None)]
#[case::degraded(
    daemon::State::Answered { version: "1".into(), state: ServerState::Degraded },
    Verdict::Warning, Some("tqctl status   # says why")
)]
#[case::other_version(
    daemon::State::Answered { version: "2".into(), state: ServerState::Serving },
    Verdict::Warning, Some("sudo systemctl reload tqserver   # goes on with the program on disk")
)]
#[case::denied(
    daemon::State::Denied,
    Verdict::Warning,
    Some("sudo usermod --append --groups tqserver-admin $USER   # then log in again")
)]
#[case::failed(
    daemon::State::Failed("no answer".into(), Some("journalctl")),
    Verdict::Failed, Some("journalctl")
)]
fn a_daemon_is_judged_by_its_answer(
    #[case] state: daemon::State,
    #[case] verdict: Verdict,
    #[case] mend: Option<&str>,
) {
    let checks = daemon::judge(&daemon::Facts { socket: "/s".into(), state, version: "1".into() });
    assert_eq!(checks[0].verdict, verdict);
    assert_eq!(checks[0].mend.first().map(String::as_str), mend);
}
