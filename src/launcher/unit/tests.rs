use super::*;
use std::path::Path;

use crate::config::settings::{Allowed, Sandbox, WorkerSettings};
use crate::ids::Md5;
use crate::launcher::facts::Facts;
use crate::launcher::fixtures::{config, request, settings};
use crate::launcher::output::OutputDir;
use crate::launcher::policy::unit_spec;
use crate::launcher::{LauncherConfig, Output};

/// A system's manager passes on little.
const SYSTEM: &[&str] = &["LANG=C.UTF-8", "PATH=/usr/bin"];
/// A user's has a session in it.
const USER: &[&str] =
    &["HOME=/home/u", "LC_TIME=C", "PATH=/usr/bin", "PORT=1", "A-B=1", "TOKEN=x=y", "_=z"];

fn spec(config: &LauncherConfig, settings: WorkerSettings) -> UnitSpec {
    let fingerprint = Md5::new([7; 16]);
    let facts = Facts { base: "/srv/w".into(), settings, fingerprint };
    unit_spec(config, &request(), &facts, None).unwrap()
}

fn sandboxed(settings: WorkerSettings) -> UnitSpec {
    let fingerprint = Md5::new([7; 16]);
    let facts = Facts { base: "/srv/deploy/a/workers/index".into(), settings, fingerprint };
    let copy = Path::new("/var/lib/tq-launcher/index/a");
    unit_spec(&config(), &request(), &facts, Some(copy)).unwrap()
}

/// One line a property, as `busctl introspect` would show it.
fn golden(spec: &UnitSpec, inherited: &[&str], log_fields: bool) -> String {
    let inherited: Vec<_> = inherited.iter().map(|&text| text.to_owned()).collect();
    let lines = properties(spec, &inherited, log_fields)
        .into_iter()
        .map(|(name, value)| format!("{name} {} {value}\n", value.value_signature()));
    lines.collect()
}

#[test]
fn a_system_unit() {
    let settings = WorkerSettings {
        watchdog: Some(Duration::from_secs(20)),
        memory_high: Some(128 << 20),
        memory_max: Some(256 << 20),
        cpu_quota_percent: Some(150),
        tasks_max: Some(64),
        ..settings()
    };
    insta::assert_snapshot!(golden(&spec(&config(), settings), SYSTEM, true));
}

/// Sorted by name; where a name is there more than once, the order says what counts.
#[test]
fn a_sandboxed_unit() {
    let grown = golden(&sandboxed(settings()), SYSTEM, true);
    let mut lines: Vec<_> = grown.lines().collect();
    lines.sort_by_key(|line| line.split(' ').next());
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn all_of_the_sandbox_is_documented() {
    let documented = include_str!("../../../docs/sandbox.md");
    let loose = WorkerSettings {
        state_directory: true,
        credentials: [("db".parse().unwrap(), "/x".into())].into(),
        ..settings()
    };
    for (name, _) in sandboxed(loose).sandbox.unwrap().properties() {
        assert!(documented.contains(&format!("`{name}=`")), "{name}");
    }
}

#[test]
fn a_sandbox_is_loosened_by_what_is_allowed() {
    let allowed = Allowed {
        system_call_filter: ["@resources".to_owned()].into(),
        restrict_address_families: ["AF_NETLINK".to_owned()].into(),
        ip_address_allow: ["10.0.0.0/8", "fd00::/8", "any"].map(|r| r.parse().unwrap()).into(),
    };
    let loose = WorkerSettings {
        sandbox: Sandbox { memory_deny_write_execute: false, allowed },
        state_directory: true,
        credentials: [("db".parse().unwrap(), "/etc/tqserver/credentials/db".into())].into(),
        ..settings()
    };
    let strict = golden(&sandboxed(settings()), SYSTEM, true);
    let loose = golden(&sandboxed(loose), SYSTEM, true);
    let differs = |line: &&str| !strict.lines().any(|other| other == *line);
    insta::assert_snapshot!(loose.lines().filter(differs).collect::<Vec<_>>().join("\n"));
}

#[test]
fn a_user_unit_without_a_journal() {
    let config = LauncherConfig { output: Output::Files(OutputDir::new("/run/out")), ..config() };
    insta::assert_snapshot!(golden(&spec(&config, settings()), USER, false));
}

#[test]
fn a_unit_that_cannot_notify() {
    let run = Some(vec!["/bin/sh".to_owned(), "bin/app".to_owned(), "$PORT".to_owned()]);
    let settings = WorkerSettings { ready: Ready::Http, run, ..settings() };
    insta::assert_snapshot!(golden(&spec(&config(), settings), SYSTEM, true));
}
