//! `targets:` of deployment.yaml: the machines that `tqctl deploy` brings deployments to.
//!
//! What ends up in a command line, here or there, is parsed into types that need no quoting and
//! cannot be taken for an option.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::section::Section;
use super::worker::command;

/// Where the package keeps deployments: the folder that has `deploy/` in it.
const PACKAGE_PATH: &str = "/var/lib/tqserver";
/// How long a new deployment is watched by default.
const SOAK: Duration = Duration::from_secs(10);
/// The most hosts of one target.
const MAX_HOSTS: usize = 64;

/// A target's name: `[a-z][a-z0-9_-]{0,31}`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TargetName(Box<str>);

impl TargetName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TargetName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let tail = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-".contains(&b);
        let head = text.bytes().next().is_some_and(|b| b.is_ascii_lowercase());
        if !head || !text.bytes().all(tail) || text.len() > 32 {
            return Err(format!(
                "{:?} is not the name of a target: it must match [a-z][a-z0-9_-]{{0,31}}",
                excerpt(text)
            ));
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for TargetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A host's name or address as ssh(1) takes it: letters, digits, `.`, `_`, `-` and `:`, none of the
/// signs first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostName(Box<str>);

impl HostName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for HostName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match is_word(text, b"._-:", 253) {
            true => Ok(Self(text.into())),
            false => Err(format!(
                "{:?} is no name or address of a host; a user and a port are keys of their own",
                excerpt(text)
            )),
        }
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A user's name on a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserName(Box<str>);

impl UserName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for UserName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match is_word(text, b"._-@", 64) {
            true => Ok(Self(text.into())),
            false => Err(format!("{:?} is no user's name", excerpt(text))),
        }
    }
}

/// An absolute path on a host, of letters, digits and `/._+@-`, without `.` and `..`: every shell
/// and rsync take it as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostPath(Box<str>);

impl HostPath {
    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The path.
    pub fn as_path(&self) -> &Path {
        Path::new(&*self.0)
    }
}

impl FromStr for HostPath {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"/._+@-".contains(&b);
        let parts = text.strip_prefix('/').map(|rest| rest.split('/'));
        let clean =
            parts.is_some_and(|mut parts| parts.all(|part| !["", ".", ".."].contains(&part)));
        if !clean || !text.bytes().all(plain) || text.len() > 1024 {
            return Err(format!(
                "{:?} is not an absolute path of letters, digits and `/._+@-`, without `.` and `..`",
                excerpt(text)
            ));
        }
        Ok(Self(text.into()))
    }
}

impl TryFrom<String> for HostPath {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<HostPath> for String {
    fn from(path: HostPath) -> Self {
        path.0.into()
    }
}

impl fmt::Display for HostPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// In which order the hosts of a target switch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Order {
    /// One after the other; the first that fails ends it.
    #[default]
    Rolling,
    /// All at once.
    Parallel,
}

impl FromStr for Order {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "rolling" => Ok(Self::Rolling),
            "parallel" => Ok(Self::Parallel),
            _ => Err(format!("{:?} is neither rolling nor parallel", excerpt(text))),
        }
    }
}

/// Where deployments are brought to, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Its hosts, in the order in which they switch; none stands for this machine, without ssh.
    pub hosts: Vec<HostName>,
    /// Who deploys there; ssh's own configuration decides where this is `None`.
    pub user: Option<UserName>,
    /// Where sshd listens; ssh's own configuration decides where this is `None`.
    pub port: Option<u16>,
    /// A configuration of ssh for this target alone.
    pub ssh_config: Option<PathBuf>,
    /// The folder on the host that `deploy/` is in.
    pub path: HostPath,
    /// tqctl on the host, where it is not in the user's search path.
    pub tqctl: Option<HostPath>,
    /// The control socket on the host, where it is not the system's.
    pub socket: Option<HostPath>,
    /// In which order the hosts switch.
    pub order: Order,
    /// How long a new deployment is watched before it counts as deployed; zero: not at all.
    pub soak: Duration,
    /// What runs here before anything is done there.
    pub before: Option<Vec<String>>,
    /// What runs here afterwards, however it went.
    pub after: Option<Vec<String>>,
}

/// Reads `targets:`.
pub(super) fn read(file: &mut Section<'_, '_>, root: &Path) -> BTreeMap<TargetName, Target> {
    file.sections("targets", "<target>", |target| {
        let hosts = target.list("hosts", str::parse::<HostName>).unwrap_or_default();
        let at = target.position("hosts");
        if hosts.len() > MAX_HOSTS {
            target.error(at, format!("a target has at most {MAX_HOSTS} hosts"));
        }
        if let Some(twice) =
            hosts.iter().enumerate().find_map(|(n, host)| hosts[..n].contains(host).then_some(host))
        {
            target.error(at, format!("the host {twice} is there twice"));
        }
        let (before, after) =
            target.section("hooks", |hooks| (command(hooks, "before"), command(hooks, "after")));
        Target {
            hosts,
            user: target.parsed("user", str::parse).map(|found| found.value),
            port: target.number("port", 1..=u16::MAX),
            ssh_config: target.text("ssh_config").map(|found| root.join(found.value)),
            path: target.parsed("path", str::parse).map_or_else(default_path, |found| found.value),
            tqctl: target.parsed("tqctl", str::parse).map(|found| found.value),
            socket: target.parsed("socket", str::parse).map(|found| found.value),
            order: target.parsed("order", str::parse).map_or_else(Order::default, |it| it.value),
            soak: target.seconds("soak_seconds", 0..=3600).unwrap_or(SOAK),
            before,
            after,
        }
    })
}

fn default_path() -> HostPath {
    HostPath(PACKAGE_PATH.into())
}

/// Whether `text` consists of letters, digits and `signs`, and begins with none of the signs.
fn is_word(text: &str, signs: &[u8], longest: usize) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || signs.contains(&b);
    // An IPv6 address may begin with a colon; nothing takes it for an option.
    let head = text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric() || b == b':');
    head && text.bytes().all(allowed) && text.len() <= longest
}

fn excerpt(text: &str) -> String {
    text.chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("-oProxyCommand=x")]
    #[case("ada@host")]
    #[case("host name")]
    #[case("host;reboot")]
    #[case("$(reboot)")]
    #[case("")]
    fn what_ssh_or_a_shell_would_take_for_something_else_is_no_host(#[case] text: &str) {
        assert!(text.parse::<HostName>().is_err());
    }

    #[rstest]
    #[case("web1.example.org")]
    #[case("10.0.0.1")]
    #[case("::1")]
    #[case("fe80::1")]
    fn names_and_addresses_are_hosts(#[case] text: &str) {
        assert_eq!(text.parse::<HostName>().unwrap().as_str(), text);
    }

    #[rstest]
    #[case("deploy")]
    #[case("/")]
    #[case("/srv/../etc")]
    #[case("/srv//shop")]
    #[case("/srv/shop/")]
    #[case("/srv/my shop")]
    #[case("/srv/$HOME")]
    #[case("~/shop")]
    fn a_path_that_needs_quoting_or_leads_elsewhere_is_refused(#[case] text: &str) {
        assert!(text.parse::<HostPath>().is_err());
    }
}
