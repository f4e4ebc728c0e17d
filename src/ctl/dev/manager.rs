//! Whether there is a systemd user manager to run in, and what to do where there is none.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::ctl::exit::{Exit, Failure};

/// The folder of the user's session, with a manager that answers.
pub(super) fn runtime_dir() -> Result<PathBuf, Failure> {
    let dir = std::env::var_os("XDG_RUNTIME_DIR").filter(|dir| !dir.is_empty());
    let answers = || {
        let mut ask = Command::new("systemctl");
        ask.args(["--user", "show-environment"]).stdin(Stdio::null());
        ask.output().is_ok_and(|output| output.status.success())
    };
    match dir {
        Some(dir) if answers() => Ok(PathBuf::from(dir)),
        dir => {
            let uid = rustix::process::getuid();
            let user = PathBuf::from(format!("/run/user/{}", uid.as_raw()));
            let hint = hint(&Machine {
                booted: Path::new("/run/systemd/system").is_dir(),
                root: uid.is_root(),
                // The manager is there, and only the variable is not: su, cron and the like.
                forgotten: (dir.is_none() && user.join("systemd").is_dir()).then_some(user),
            });
            let error = anyhow::anyhow!("there is no systemd user manager here to run in");
            Err(Failure::new(Exit::Failure, error).with_hint(Some(hint)))
        }
    }
}

/// What decides which command helps.
struct Machine {
    /// systemd is its init, sd_booted(3).
    booted: bool,
    /// We are root.
    root: bool,
    /// The folder of a manager that runs, for which the variables are missing.
    forgotten: Option<PathBuf>,
}

fn hint(machine: &Machine) -> String {
    match machine {
        Machine { forgotten: Some(dir), .. } => format!(
            "export XDG_RUNTIME_DIR={0} DBUS_SESSION_BUS_ADDRESS=unix:path={0}/bus",
            dir.display()
        ),
        Machine { booted: false, root: true, .. } => {
            "tqctl dev --private-systemd, which runs one for itself".to_owned()
        }
        Machine { booted: false, root: false, .. } => {
            "sudo tqctl dev --private-systemd, which runs one for itself".to_owned()
        }
        Machine { root: true, .. } => {
            "log in as the user who develops (machinectl shell USER@), or \
             run tqctl dev --private-systemd"
                .to_owned()
        }
        Machine { root: false, .. } => "sudo loginctl enable-linger $USER, then export \
             XDG_RUNTIME_DIR=/run/user/$(id -u)"
            .to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case::container(false, true, None, "tqctl dev --private-systemd")]
    #[case::container_as_user(false, false, None, "sudo tqctl dev --private-systemd")]
    #[case::root_shell(true, true, None, "machinectl shell USER@")]
    #[case::su(true, false, None, "loginctl enable-linger")]
    #[case::cron(true, false, Some("/run/user/7".into()), "export XDG_RUNTIME_DIR=/run/user/7 ")]
    fn the_hint_fits_the_machine(
        #[case] booted: bool,
        #[case] root: bool,
        #[case] forgotten: Option<PathBuf>,
        #[case] expected: &str,
    ) {
        let hint = hint(&Machine { booted, root, forgotten });
        assert!(hint.contains(expected), "{hint}");
    }
}
