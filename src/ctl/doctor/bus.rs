//! The system bus, by which an installed tqserver has its workers started.

use std::path::Path;

use super::ask;
use super::check::Check;
use super::systemd;

/// The name by which tq-launcher is called.
const LAUNCHER: &str = "org.tqserver.Launcher1";

/// What is known of the system bus.
#[derive(Debug)]
pub(super) struct Facts {
    /// What can be started on demand, or why there is no answer.
    pub(super) activatable: Result<Vec<String>, String>,
    /// Whether the package's unit of tqserver is there.
    pub(super) installed: bool,
    /// Whether the file is there by which the bus starts tq-launcher.
    pub(super) has_launcher_file: bool,
    /// Whether the bus itself is installed.
    pub(super) has_dbus: bool,
}

impl Facts {
    /// Asks the bus.
    pub(super) async fn gather() -> Self {
        let service = format!("/usr/share/dbus-1/system-services/{LAUNCHER}.service");
        Self {
            activatable: ask::activatable_names().await,
            installed: Path::new("/usr/lib/systemd/system/tqserver.service").exists(),
            has_launcher_file: Path::new(&service).exists(),
            has_dbus: Path::new("/usr/lib/systemd/system/dbus.socket").exists(),
        }
    }
}

/// How the bus stands. Where systemd is not the init system there is none to expect.
pub(super) fn judge(facts: &Facts, systemd: &systemd::Facts) -> Vec<Check> {
    let names = match &facts.activatable {
        Ok(names) => names,
        Err(_) if !systemd.booted => {
            return vec![Check::info("system bus", "none, as systemd is not the init system")];
        }
        Err(error) => {
            let found = format!("does not answer: {error}");
            let is_needed = facts.installed || !systemd.is_of_user();
            let check = if is_needed { Check::failed } else { Check::warning };
            let check = check("system bus", found);
            return vec![match facts.has_dbus {
                true => check.mend("sudo systemctl start dbus.socket"),
                false => check.mend("sudo apt install dbus"),
            }];
        }
    };
    let mut checks = vec![Check::ok("system bus", "answers")];
    if facts.installed {
        checks.push(launcher(names, facts.has_launcher_file));
    }
    checks
}

fn launcher(names: &[String], has_file: bool) -> Check {
    if names.iter().any(|name| name == LAUNCHER) {
        return Check::ok("launcher", format!("{LAUNCHER} starts on demand"));
    }
    match has_file {
        true => Check::failed("launcher", format!("the bus has not read that {LAUNCHER} is there"))
            .mend("sudo systemctl reload dbus"),
        false => Check::failed("launcher", format!("nothing says how {LAUNCHER} is started"))
            .mend("sudo apt install --reinstall tqserver"),
    }
}
