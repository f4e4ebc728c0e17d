//! The sandbox of a worker, all of it, in the terms of systemd.exec(5) and
//! systemd.resource-control(5).
//!
//! A worker sees the system read-only and of the deployments only its own folder. It has a user of
//! its own, no privileges and no way to any, and reaches nobody but this machine's own addresses.
//! `docs/sandbox.md` tells users the same, and `tests/sandbox.rs` tries it.

use std::net::{IpAddr, Ipv6Addr};
use std::path::Path;

use zbus::Variant;

use super::LauncherConfig;
use super::facts::Facts;
use super::policy::text;
use super::systemd1::Property;
use crate::config::settings::{AddressRange, IpNetwork};
use crate::ids::WorkerName;

/// What differs from worker to worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sandbox {
    /// `User=`, which systemd makes up for as long as a generation lives (`DynamicUser=`). Equal for
    /// all generations of a worker.
    pub user: String,
    /// `BindReadOnlyPaths=`, source: the verified copy of the worker's folder.
    pub copy: String,
    /// `BindReadOnlyPaths=`, destination: where the folder is in the deployment.
    pub folder: String,
    /// `TemporaryFileSystem=`: the folder of deployments, which is empty but for `folder`.
    pub deployments: String,
    /// `InaccessiblePaths=`, where they exist: configuration, control socket, others' copies.
    pub inaccessible: Vec<String>,
    /// `MemoryDenyWriteExecute=`
    pub memory_deny_write_execute: bool,
    /// `SystemCallFilter=`: allowed beyond [`SYSTEM_CALLS`].
    pub system_call_filter: Vec<String>,
    /// `RestrictAddressFamilies=`: allowed beyond [`ADDRESS_FAMILIES`].
    pub restrict_address_families: Vec<String>,
    /// `IPAddressAllow=`: allowed beyond localhost.
    pub ip_address_allow: Vec<AddressRange>,
    /// `LoadCredential=`: names, and the files that systemd reads as root.
    pub load_credential: Vec<(String, String)>,
    /// `StateDirectory=`, below `/var/lib`.
    pub state_directory: Option<String>,
}

/// What a worker must not reach beside the configuration, if it is there: the control socket,
/// tqserver's state, and the copies of other workers. The modes of these would keep it out as well.
const INACCESSIBLE: [&str; 3] =
    ["/run/tqserver", "/var/lib/tqserver/state", "/var/lib/tq-launcher"];

/// `SystemCallFilter=`: what services commonly need …
const SYSTEM_CALLS: [&str; 1] = ["@system-service"];

/// … without what needs privileges, or takes priority over others.
const NO_SYSTEM_CALLS: [&str; 2] = ["@privileged", "@resources"];

/// `RestrictAddressFamilies=`. READY=1 goes through AF_UNIX.
const ADDRESS_FAMILIES: [&str; 3] = ["AF_UNIX", "AF_INET", "AF_INET6"];

/// `StateDirectoryMode=` is for the worker alone, as is what it creates.
const PRIVATE_MODE: u32 = 0o700;
const PRIVATE_UMASK: u32 = 0o077;

/// `RestrictNamespaces=`: all but CLONE_NEWUTS of unshare(2), which needs a privilege that nobody
/// gets without a namespace of users. systemd writes "none at all" into the unit's file as an empty
/// text, and reads that as "any" when it reloads (seen with 252).
const NAMESPACES: u64 = 0x0400_0000;

/// errno(3) of a system call that is filtered: programs cope with it, or say so.
const EPERM: i32 = 1;

impl Sandbox {
    /// The sandbox of `worker`, whose verified copy is `copy`.
    ///
    /// # Errors
    /// A path that is not UTF-8.
    pub(super) fn new(
        config: &LauncherConfig,
        worker: &WorkerName,
        facts: &Facts,
        copy: &Path,
    ) -> Result<Self, String> {
        let settings = &facts.settings;
        let allowed = &settings.sandbox.allowed;
        // The dash: where they exist (systemd.exec(5)).
        let inaccessible = INACCESSIBLE.map(|path| format!("-{path}"));
        let config_dir = format!("-{}", text(&config.config_dir)?);
        let credentials = settings.credentials.iter();
        Ok(Self {
            user: format!("tqw-{worker}"),
            copy: text(copy)?,
            folder: text(&facts.base)?,
            deployments: text(&config.deploy_dir)?,
            inaccessible: std::iter::once(config_dir).chain(inaccessible).collect(),
            memory_deny_write_execute: settings.sandbox.memory_deny_write_execute,
            system_call_filter: allowed.system_call_filter.iter().cloned().collect(),
            restrict_address_families: allowed.restrict_address_families.iter().cloned().collect(),
            ip_address_allow: allowed.ip_address_allow.iter().copied().collect(),
            load_credential: credentials
                .map(|(name, path)| Ok((name.to_string(), text(path)?)))
                .collect::<Result<_, String>>()?,
            state_directory: settings.state_directory.then(|| format!("tq-workers/{worker}")),
        })
    }

    /// The properties, each with exactly the signature that systemd expects
    /// (org.freedesktop.systemd1(5)).
    pub(super) fn properties(&self) -> Vec<Property<'_>> {
        let mut properties: Vec<Property<'_>> = vec![
            // Who it is.
            ("DynamicUser", true.into()),
            ("User", self.user.as_str().into()),
            ("NoNewPrivileges", true.into()),
            ("CapabilityBoundingSet", 0_u64.into()),
            ("AmbientCapabilities", 0_u64.into()),
            ("PrivateUsers", true.into()),
            ("KeyringMode", "private".into()),
            // DynamicUser= has it so: what a generation leaves must not be the next user's.
            ("RestrictSUIDSGID", true.into()),
            ("RemoveIPC", true.into()),
            // Which files it sees.
            ("ProtectSystem", "strict".into()),
            ("ProtectHome", "yes".into()),
            ("PrivateTmp", true.into()),
            ("PrivateDevices", true.into()),
            ("DevicePolicy", "closed".into()),
            ("TemporaryFileSystem", vec![(self.deployments.clone(), "ro".to_owned())].into()),
            ("BindReadOnlyPaths", bind(&self.copy, &self.folder)),
            ("InaccessiblePaths", self.inaccessible.clone().into()),
            ("UMask", PRIVATE_UMASK.into()),
            // Which processes and what of the kernel.
            ("ProtectProc", "invisible".into()),
            ("ProcSubset", "pid".into()),
            ("PrivateIPC", true.into()),
            ("ProtectClock", true.into()),
            ("ProtectHostname", true.into()),
            ("ProtectKernelTunables", true.into()),
            ("ProtectKernelModules", true.into()),
            ("ProtectKernelLogs", true.into()),
            ("ProtectControlGroups", true.into()),
            ("RestrictNamespaces", NAMESPACES.into()),
            ("RestrictRealtime", true.into()),
            ("LockPersonality", true.into()),
            ("MemoryDenyWriteExecute", self.memory_deny_write_execute.into()),
            ("SystemCallArchitectures", owned(&["native"]).into()),
            // The first makes it a list of what is allowed; the second takes away from it, the
            // third adds again.
            ("SystemCallFilter", (true, owned(&SYSTEM_CALLS)).into()),
            ("SystemCallFilter", (false, owned(&NO_SYSTEM_CALLS)).into()),
            ("SystemCallErrorNumber", EPERM.into()),
            // Whom it can talk to.
            ("RestrictAddressFamilies", (true, self.address_families()).into()),
            ("IPAddressDeny", networks(&[AddressRange::Any])),
            ("IPAddressAllow", self.addresses()),
            // A core dump would put the worker's secrets on the disk.
            ("LimitCORE", 0_u64.into()),
        ];
        if !self.system_call_filter.is_empty() {
            let more = (true, self.system_call_filter.clone());
            properties.push(("SystemCallFilter", more.into()));
        }
        if !self.load_credential.is_empty() {
            properties.push(("LoadCredential", self.load_credential.clone().into()));
        }
        if let Some(directory) = &self.state_directory {
            properties.push(("StateDirectory", vec![directory.clone()].into()));
            properties.push(("StateDirectoryMode", PRIVATE_MODE.into()));
        }
        properties
    }

    fn address_families(&self) -> Vec<String> {
        [owned(&ADDRESS_FAMILIES), self.restrict_address_families.clone()].concat()
    }

    fn addresses(&self) -> Variant<'static> {
        let localhost = [([127, 0, 0, 0].into(), 8), (Ipv6Addr::LOCALHOST.into(), 128)]
            .map(|(addr, prefix_len)| AddressRange::Network(IpNetwork { addr, prefix_len }));
        networks(&[&localhost, self.ip_address_allow.as_slice()].concat())
    }
}

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}

/// `a(ssbt)`: from where, to where, that it must exist, and that mounts below it come along
/// (MS_REC of mount(2)).
fn bind(from: &str, to: &str) -> Variant<'static> {
    const RECURSIVE: u64 = 0x4000;
    vec![(from.to_owned(), to.to_owned(), false, RECURSIVE)].into()
}

/// `a(iayu)`: address family, address in network order, and how many of its bits count.
fn networks(ranges: &[AddressRange]) -> Variant<'static> {
    const AF_INET: i32 = 2;
    const AF_INET6: i32 = 10;
    let of = |range: &AddressRange| match range {
        AddressRange::Any => vec![(AF_INET, vec![0; 4], 0), (AF_INET6, vec![0; 16], 0)],
        AddressRange::Network(IpNetwork { addr, prefix_len }) => match addr {
            IpAddr::V4(addr) => {
                vec![(AF_INET, addr.octets().to_vec(), u32::from(*prefix_len))]
            }
            IpAddr::V6(addr) => {
                vec![(AF_INET6, addr.octets().to_vec(), u32::from(*prefix_len))]
            }
        },
    };
    ranges.iter().flat_map(of).collect::<Vec<_>>().into()
}
