//! Who runs tqctl.

use nix::unistd::{Group, User as Entry, getegid, getuid};
use rustix::process::getgroups;

/// Who runs tqctl.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct User {
    pub(super) uid: u32,
    /// The login name; the number where there is none.
    pub(super) name: String,
}

impl User {
    /// Whose process this is.
    pub(super) fn of_process() -> Self {
        let uid = getuid();
        let entry = Entry::from_uid(uid).ok().flatten();
        Self { uid: uid.as_raw(), name: entry.map_or_else(|| uid.to_string(), |it| it.name) }
    }

    /// Whether nothing is forbidden.
    pub(super) fn is_root(&self) -> bool {
        self.uid == 0
    }
}

/// How far a user is a member of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Membership {
    /// This process has the group's rights.
    Effective,
    /// The user was added after this session began.
    FromNextLogin,
    /// Not a member, or there is no such group.
    None,
}

impl Membership {
    /// Looks at one group.
    pub(super) fn of(user: &User, group: &str) -> Self {
        let Ok(Some(group)) = Group::from_name(group) else { return Self::None };
        let gid = group.gid.as_raw();
        let supplementary = getgroups().unwrap_or_default();
        if getegid().as_raw() == gid || supplementary.iter().any(|it| it.as_raw() == gid) {
            Self::Effective
        } else if group.mem.contains(&user.name) {
            Self::FromNextLogin
        } else {
            Self::None
        }
    }
}
