//! Is there a service manager that would run workers: the user's own, or for root the machine's.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::ask::{self, Bus};
use super::check::{Check, quoted};
use super::user::User;

/// The oldest systemd with all that the units use.
const OLDEST: u32 = 252;

/// What XDG_RUNTIME_DIR says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum RuntimeDir {
    /// Nothing; whether there is the folder that it should name.
    Unset { usual_exists: bool },
    /// A folder that cannot be used, and why.
    Unusable(PathBuf, String),
    /// A folder of this user's.
    Usable(PathBuf),
}

/// Where this is, as far as it decides how systemd gets to be the init system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Machine {
    /// Hardware, or a virtual machine.
    Whole,
    Container,
    /// The Windows Subsystem for Linux.
    Wsl,
}

/// What is known of systemd.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) user: User,
    /// Whether systemd is the init system, as sd_booted(3) tells.
    pub(super) booted: bool,
    /// The name of process 1.
    pub(super) init: String,
    pub(super) machine: Machine,
    pub(super) runtime_dir: RuntimeDir,
    /// The version of the user's manager, or why it does not answer.
    pub(super) user_manager: Result<String, String>,
    /// The version of the machine's manager, or why it does not answer.
    pub(super) system_manager: Result<String, String>,
    /// Whether anybody listens for the session bus.
    pub(super) bus_socket: bool,
    /// Whether logging in makes sessions (Debian's libpam-systemd).
    pub(super) has_pam: bool,
    /// Whether the user's manager starts a bus (Debian's dbus-user-session).
    pub(super) has_user_bus: bool,
    /// Whether machinectl(1) is there, which not every systemd comes with.
    pub(super) has_machinectl: bool,
    /// Whether the user's manager outlives the last session.
    pub(super) lingers: bool,
    /// The project's script that makes a manager for one command, as tqserver's own has it.
    pub(super) private: Option<PathBuf>,
}

impl Facts {
    /// Asks both managers.
    pub(super) async fn gather(user: &User, root: &Path) -> Self {
        let (user_manager, system_manager) =
            tokio::join!(ask::manager_version(Bus::Session), ask::manager_version(Bus::System));
        let runtime_dir = runtime_dir(user);
        let private = root.join("tests/bed/user");
        Self {
            booted: Path::new("/run/systemd/system").is_dir(),
            init: ask::file("/proc/1/comm").unwrap_or_else(|| "unknown".to_owned()),
            machine: machine(),
            // Who has just been spoken to is not woken by this.
            bus_socket: ask::listens(&bus_socket(&runtime_dir)).await,
            runtime_dir,
            user_manager,
            system_manager,
            has_pam: ["/usr/lib/*/security", "/usr/lib/security", "/usr/lib64/security"]
                .iter()
                .filter_map(|folder| glob::glob(&format!("{folder}/pam_systemd.so")).ok())
                .any(|mut found| found.next().is_some()),
            has_user_bus: Path::new("/usr/lib/systemd/user/dbus.socket").exists(),
            has_machinectl: ask::locate("machinectl", root).is_some(),
            lingers: Path::new("/var/lib/systemd/linger").join(&user.name).exists(),
            private: Some(private).filter(|script| script.is_file()),
            user: user.clone(),
        }
    }

    /// Whether the user's manager would be used, rather than the machine's.
    pub(super) fn is_of_user(&self) -> bool {
        !matches!(self.runtime_dir, RuntimeDir::Unset { .. })
    }
}

fn runtime_dir(user: &User) -> RuntimeDir {
    let Some(path) = std::env::var_os("XDG_RUNTIME_DIR").filter(|path| !path.is_empty()) else {
        let usual_exists = Path::new("/run/user").join(user.uid.to_string()).is_dir();
        return RuntimeDir::Unset { usual_exists };
    };
    let path = PathBuf::from(path);
    let reason = match path.metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => "is not there".to_owned(),
        Err(error) => error.to_string(),
        Ok(found) if !found.is_dir() => "is no folder".to_owned(),
        Ok(found) if found.uid() != user.uid => {
            format!("belongs to the user {}, and this is {}", found.uid(), user.name)
        }
        Ok(_) => return RuntimeDir::Usable(path),
    };
    RuntimeDir::Unusable(path, reason)
}

/// Where the session bus listens, if the environment says nothing else than that.
fn bus_socket(runtime_dir: &RuntimeDir) -> PathBuf {
    let named = std::env::var("DBUS_SESSION_BUS_ADDRESS").ok();
    let named = named.as_deref().and_then(|address| address.strip_prefix("unix:path="));
    match (named, runtime_dir) {
        (Some(path), _) => PathBuf::from(path.split([',', ';']).next().unwrap_or(path)),
        (None, RuntimeDir::Usable(dir) | RuntimeDir::Unusable(dir, _)) => dir.join("bus"),
        (None, RuntimeDir::Unset { .. }) => PathBuf::new(),
    }
}

fn machine() -> Machine {
    let kernel = ask::file("/proc/sys/kernel/osrelease").unwrap_or_default();
    // Of all container engines, and what systemd itself goes by (systemd-detect-virt(1)).
    let marks = ["/run/.containerenv", "/.dockerenv", "/run/systemd/container"];
    if kernel.to_ascii_lowercase().contains("microsoft") {
        Machine::Wsl
    } else if marks.iter().any(|mark| Path::new(mark).exists()) {
        Machine::Container
    } else {
        Machine::Whole
    }
}

/// How systemd stands.
pub(super) fn judge(facts: &Facts) -> Vec<Check> {
    if !facts.booted && facts.user_manager.is_err() && facts.system_manager.is_err() {
        return vec![no_systemd(facts)];
    }
    let mut checks = vec![init(facts)];
    let version = if facts.is_of_user() { &facts.user_manager } else { &facts.system_manager };
    checks.extend(version.as_ref().ok().map(|version| judge_version(version)));
    match &facts.runtime_dir {
        RuntimeDir::Unset { usual_exists } => checks.push(no_session(facts, *usual_exists)),
        RuntimeDir::Unusable(path, reason) => {
            let found = format!("XDG_RUNTIME_DIR: {} {reason}", path.display());
            checks.push(new_session(Check::failed("session", found), facts));
        }
        RuntimeDir::Usable(path) => {
            checks.push(Check::ok("session", format!("XDG_RUNTIME_DIR is {}", path.display())));
            checks.push(user_manager(facts));
            checks.extend(facts.user_manager.is_ok().then(|| lingering(facts)));
        }
    }
    checks
}

fn init(facts: &Facts) -> Check {
    if facts.booted {
        return Check::ok("init", "systemd is the init system");
    }
    let found = format!("PID 1 is {}; a manager of systemd runs all the same", facts.init);
    Check::info("init", found)
}

fn no_systemd(facts: &Facts) -> Check {
    let place = match facts.machine {
        Machine::Whole => "",
        Machine::Container => " (a container)",
        Machine::Wsl => " (WSL)",
    };
    let found = format!(
        "PID 1 is {}, not systemd{place}, and no manager of a user's runs; workers are units",
        facts.init
    );
    let check = Check::failed("init", found);
    match (&facts.private, facts.machine) {
        (Some(script), _) => check.mend(format!(
            "sudo {} bash   # a shell beside a manager of its own",
            quoted(&script.to_string_lossy())
        )),
        (None, Machine::Container) => check.mend(
            "podman run --systemd=always --tty --interactive IMAGE /sbin/init   # on the host",
        ),
        (None, Machine::Wsl) => check
            .mend(r"printf '[boot]\nsystemd=true\n' | sudo tee --append /etc/wsl.conf")
            .mend("wsl.exe --shutdown   # and open it again"),
        (None, Machine::Whole) => {
            check.mend("sudo apt install systemd-sysv dbus-user-session").mend("sudo reboot")
        }
    }
}

fn judge_version(version: &str) -> Check {
    let digits: String = version.chars().take_while(char::is_ascii_digit).collect();
    match digits.parse::<u32>() {
        Ok(major) if major < OLDEST => {
            let found = format!("systemd {version}, and {OLDEST} or later is needed");
            // Debian 11; later ones have it.
            Check::failed("version", found).mend("sudo apt install -t bullseye-backports systemd")
        }
        _ => Check::ok("version", format!("systemd {version}")),
    }
}

/// Without XDG_RUNTIME_DIR tqserver would turn to the machine's manager, which root may.
fn no_session(facts: &Facts, usual_exists: bool) -> Check {
    let usual = format!("/run/user/{}", facts.user.uid);
    let advise = |check: Check| match usual_exists {
        true => check.mend(format!("export XDG_RUNTIME_DIR={usual}")),
        false => new_session(check, facts),
    };
    if facts.user.is_root() && facts.system_manager.is_ok() {
        let found = "none, as usual for root: units will be the machine's; for one of your own:";
        return advise(Check::info("session", found));
    }
    let found = match usual_exists {
        true => format!("XDG_RUNTIME_DIR is not set, as in a shell of su; yours is {usual}"),
        false => "XDG_RUNTIME_DIR is not set: this shell is in no session".to_owned(),
    };
    advise(Check::failed("session", found))
}

/// How to get a session of one's own.
fn new_session(check: Check, facts: &Facts) -> Check {
    let name = quoted(&facts.user.name);
    if !facts.has_pam {
        check.mend("sudo apt install libpam-systemd   # then log in again")
    } else if facts.has_machinectl {
        check.mend(format!("sudo machinectl shell {name}@"))
    } else {
        check.mend(format!("sudo systemd-run --pty --property=PAMName=login --uid={name} bash"))
    }
}

fn user_manager(facts: &Facts) -> Check {
    let error = match &facts.user_manager {
        Ok(_) => return Check::ok("user manager", "answers on the session bus"),
        Err(error) => error,
    };
    let uid = facts.user.uid;
    match (facts.bus_socket, facts.has_user_bus) {
        (false, false) => {
            Check::failed("user manager", "has no session bus, which a package of its own brings")
                .mend("sudo apt install dbus-user-session")
                .mend("systemctl --user start dbus.socket")
        }
        (false, true) => Check::failed("user manager", "nobody listens on the session bus")
            .mend(format!("sudo systemctl start user@{uid}.service"))
            .mend("systemctl --user start dbus.socket"),
        (true, _) => Check::failed("user manager", format!("does not answer: {error}"))
            .mend(format!("sudo systemctl status user@{uid}.service   # what ails it")),
    }
}

fn lingering(facts: &Facts) -> Check {
    if facts.lingers {
        return Check::ok("lingering", "on: what you serve outlives your last session");
    }
    Check::info("lingering", "off: what you serve ends with your last session; to keep it:")
        .mend(format!("loginctl enable-linger {}", quoted(&facts.user.name)))
}
