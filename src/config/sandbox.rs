//! What configuration can say of a worker's sandbox: how far it is loosened, in the terms of
//! systemd.exec(5) and systemd.resource-control(5). What the sandbox is without that, the launcher
//! knows.

mod names;

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use names::{address_family, system_call};

use super::section::Section;
use super::settings::IpNetwork;
use super::units::network;

/// How a worker's sandbox differs from the one that every worker has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Sandbox {
    /// `MemoryDenyWriteExecute=`; `false` for programs that compile while they run.
    pub memory_deny_write_execute: bool,
    /// What is allowed beyond the default.
    #[serde(flatten)]
    pub allowed: Allowed,
}

/// What one layer of the configuration says of it; `None` says nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SandboxOverrides {
    /// See [`Sandbox::memory_deny_write_execute`].
    pub memory_deny_write_execute: Option<bool>,
    /// Allowed beside what other layers allow.
    pub allowed: Allowed,
}

/// What the sandbox allows beyond its default. Layers of configuration add up.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Allowed {
    /// `SystemCallFilter=`: groups (`@resources`) and names of system calls.
    pub system_call_filter: BTreeSet<String>,
    /// `RestrictAddressFamilies=`: `AF_NETLINK` and such.
    pub restrict_address_families: BTreeSet<String>,
    /// `IPAddressAllow=`, beside localhost.
    pub ip_address_allow: BTreeSet<AddressRange>,
}

/// Addresses that a worker may exchange packets with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AddressRange {
    /// All, of IPv4 and IPv6.
    Any,
    /// Those of one network.
    Network(IpNetwork),
}

impl Default for Sandbox {
    /// Nothing loosened.
    fn default() -> Self {
        Self { memory_deny_write_execute: true, allowed: Allowed::default() }
    }
}

impl Sandbox {
    /// The items that are loosened, one text each: `ip_address_allow=10.0.0.0/8`.
    pub fn loosened(&self) -> Vec<String> {
        let executable = (!self.memory_deny_write_execute)
            .then(|| "memory_deny_write_execute=no".to_owned())
            .into_iter();
        let allowed = self.allowed.items();
        executable.chain(allowed.map(|(key, item)| format!("{key}={item}"))).collect()
    }
}

impl Allowed {
    /// Adds what another layer allows.
    pub(super) fn extend(&mut self, other: &Self) {
        self.system_call_filter.extend(other.system_call_filter.iter().cloned());
        self.restrict_address_families.extend(other.restrict_address_families.iter().cloned());
        self.ip_address_allow.extend(&other.ip_address_allow);
    }

    /// All of it, each item with its key.
    pub(super) fn items(&self) -> impl Iterator<Item = (&'static str, String)> {
        let calls = self.system_call_filter.iter().map(|item| (SYSTEM_CALLS, item.clone()));
        let families = self.restrict_address_families.iter().map(|item| (FAMILIES, item.clone()));
        let ranges = self.ip_address_allow.iter().map(|item| (ADDRESSES, item.to_string()));
        calls.chain(families).chain(ranges)
    }

    /// What is in here, but not in `available`. A network that lies in an allowed one is allowed.
    pub(super) fn beyond(&self, available: &Self) -> Self {
        let ranges = &available.ip_address_allow;
        let covered = |range: AddressRange| ranges.iter().any(|allowed| allowed.covers(range));
        let beyond = self.ip_address_allow.iter().copied().filter(|range| !covered(*range));
        Self {
            system_call_filter: &self.system_call_filter - &available.system_call_filter,
            restrict_address_families: &self.restrict_address_families
                - &available.restrict_address_families,
            ip_address_allow: beyond.collect(),
        }
    }
}

/// The key of [`Allowed::system_call_filter`].
const SYSTEM_CALLS: &str = "system_call_filter";
/// The key of [`Allowed::restrict_address_families`].
const FAMILIES: &str = "restrict_address_families";
/// The key of [`Allowed::ip_address_allow`].
const ADDRESSES: &str = "ip_address_allow";

/// Reads a `sandbox:` part.
pub(super) fn read(section: &mut Section<'_, '_>) -> SandboxOverrides {
    fn set<T: Ord>(items: Option<Vec<T>>) -> BTreeSet<T> {
        items.into_iter().flatten().collect()
    }
    SandboxOverrides {
        memory_deny_write_execute: section
            .flag("memory_deny_write_execute")
            .map(|found| found.value),
        allowed: Allowed {
            system_call_filter: set(section.list(SYSTEM_CALLS, system_call)),
            restrict_address_families: set(section.list(FAMILIES, address_family)),
            ip_address_allow: set(section.list(ADDRESSES, AddressRange::from_str)),
        },
    }
}

impl AddressRange {
    /// Whether all of `other` lies in it.
    fn covers(self, other: Self) -> bool {
        match (self, other) {
            (Self::Any, _) => true,
            (Self::Network(all), Self::Network(part)) => {
                all.prefix_len <= part.prefix_len && all.contains(part.addr)
            }
            (Self::Network(_), Self::Any) => false,
        }
    }
}

impl FromStr for AddressRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "any" => Ok(Self::Any),
            other => network(other).map(Self::Network),
        }
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any"),
            Self::Network(network) => write!(f, "{}/{}", network.addr, network.prefix_len),
        }
    }
}

impl Serialize for AddressRange {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("any", "10.0.0.0/8", true)]
    #[case("any", "any", true)]
    #[case("10.0.0.0/8", "10.1.0.0/16", true)]
    #[case("10.0.0.0/8", "10.0.0.0/8", true)]
    #[case("10.0.0.0/8", "0.0.0.0/0", false)]
    #[case("10.0.0.0/8", "11.0.0.1", false)]
    #[case("0.0.0.0/0", "fd00::/8", false)]
    #[case("0.0.0.0/0", "any", false)]
    fn a_range_covers_what_lies_in_it(
        #[case] allowed: AddressRange,
        #[case] asked: AddressRange,
        #[case] covered: bool,
    ) {
        assert_eq!(allowed.covers(asked), covered);
    }

    #[test]
    fn what_is_loosened_is_told_item_by_item() {
        assert_eq!(Sandbox::default().loosened(), [""; 0]);
        let allowed = Allowed {
            system_call_filter: ["@resources".to_owned()].into(),
            restrict_address_families: ["AF_NETLINK".to_owned()].into(),
            ip_address_allow: [AddressRange::Any, "10.0.0.0/8".parse().unwrap()].into(),
        };
        let sandbox = Sandbox { memory_deny_write_execute: false, allowed };
        assert_eq!(
            sandbox.loosened(),
            [
                "memory_deny_write_execute=no",
                "system_call_filter=@resources",
                "restrict_address_families=AF_NETLINK",
                "ip_address_allow=any",
                "ip_address_allow=10.0.0.0/8",
            ]
        );
    }
}
