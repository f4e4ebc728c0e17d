use super::*;
use crate::config::settings::WorkerSettings;
use crate::ids::Md5;
use crate::launcher::facts::Facts;
use crate::launcher::fixtures::{config, request, settings};
use crate::launcher::output::OutputDir;
use crate::launcher::policy::unit_spec;
use crate::launcher::{LauncherConfig, Output};

/// A system's manager passes on little.
const SYSTEM: &[&str] = &["LANG=C.UTF-8", "PATH=/usr/bin"];
/// A user's has a session in it.
const USER: &[&str] = &["HOME=/home/u", "LC_TIME=C", "PATH=/usr/bin", "PORT=1", "TOKEN=x=y", "_=z"];

fn spec(config: &LauncherConfig, settings: WorkerSettings) -> UnitSpec {
    let fingerprint = Md5::new([7; 16]);
    unit_spec(config, &request(), &Facts { base: "/srv/w".into(), settings, fingerprint }).unwrap()
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
        memory_max: Some(256 << 20),
        cpu_quota_percent: Some(150),
        tasks_max: Some(64),
        ..settings()
    };
    insta::assert_snapshot!(golden(&spec(&config(), settings), SYSTEM, true));
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
