//! The journal: whether workers' lines go there, and who may read them.

use std::path::Path;

use super::check::{Check, quoted};
use super::user::{Membership, User};

/// The groups that may read the whole journal, by Debian's rules.
const READERS: [&str; 2] = ["systemd-journal", "adm"];

/// What is known of the journal.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) user: User,
    /// Whether systemd is the init system; else there is no journal to expect.
    pub(super) booted: bool,
    /// Whether journald listens.
    pub(super) listens: bool,
    /// The best membership of [`READERS`].
    pub(super) membership: Membership,
    /// Whether it is kept over a reboot.
    pub(super) persistent: bool,
}

impl Facts {
    /// Looks for it.
    pub(super) fn gather(user: &User) -> Self {
        let memberships = READERS.map(|group| Membership::of(user, group));
        let best = [Membership::Effective, Membership::FromNextLogin]
            .into_iter()
            .find(|membership| memberships.contains(membership));
        Self {
            user: user.clone(),
            booted: Path::new("/run/systemd/system").is_dir(),
            listens: Path::new("/run/systemd/journal/socket").exists(),
            membership: best.unwrap_or(Membership::None),
            persistent: Path::new("/var/log/journal").is_dir(),
        }
    }
}

/// How the journal stands.
pub(super) fn judge(facts: &Facts) -> Vec<Check> {
    if !facts.listens {
        let found = "none; workers' lines go to files in $XDG_RUNTIME_DIR/tqserver/output";
        return vec![match facts.booted {
            true => Check::warning("journald", found)
                .mend("sudo systemctl start systemd-journald.socket"),
            false => Check::info("journald", found),
        }];
    }
    let storage = match facts.persistent {
        true => "kept over a reboot (/var/log/journal)",
        false => "forgotten at the next boot (there is no /var/log/journal)",
    };
    vec![Check::ok("journald", "listens"), reading(facts), Check::info("storage", storage)]
}

fn reading(facts: &Facts) -> Check {
    match facts.membership {
        _ if facts.user.is_root() => Check::ok("reading", "root may read it"),
        Membership::Effective => Check::ok("reading", format!("{} may read it", facts.user.name)),
        Membership::FromNextLogin => {
            Check::warning("reading", "your groups let you read it from your next login on")
                .mend("exec newgrp systemd-journal   # in this shell already")
        }
        Membership::None => {
            let (one, other) = (READERS[0], READERS[1]);
            let found = format!("only root and the groups {one} and {other} may read all of it");
            let name = quoted(&facts.user.name);
            Check::warning("reading", found)
                .mend(format!("sudo usermod --append --groups {one} {name}   # then log in again"))
        }
    }
}
