//! The ports: who has the server's, whether the workers' are free, and stay so.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, TcpListener};
use std::ops::RangeInclusive;

use super::ask;
use super::check::{Check, EDITOR};
use super::limits::permanently;
use super::processes::{Process, Processes};
use super::sockets;
use crate::config::settings::Settings;

/// What is known of ports.
#[derive(Debug)]
pub(super) struct Facts {
    /// `server.port`
    pub(super) server: u16,
    /// The range that workers' ports come from.
    pub(super) range: RangeInclusive<u16>,
    /// How many workers there are.
    pub(super) workers: usize,
    /// Ports that somebody listens on where we would, and who that is, if we may see it.
    pub(super) listeners: BTreeMap<u16, Option<Process>>,
    /// What the kernel gives to outgoing connections (net.ipv4.ip_local_port_range).
    pub(super) ephemeral: Option<RangeInclusive<u16>>,
    /// What it then leaves out (net.ipv4.ip_local_reserved_ports), as it is written there.
    pub(super) reserved: String,
    /// Whether 127.0.0.1 can be listened on, or why not.
    pub(super) loopback: Result<(), String>,
}

impl Facts {
    /// Looks at sockets and the kernel's settings.
    pub(super) fn gather(settings: &Settings, workers: usize, processes: &Processes) -> Self {
        let listeners = sockets::tcp_listeners();
        let holder = |(port, inode)| (port, processes.holder(inode).cloned());
        let rollout = &settings.rollout;
        let setting = |name: &str| ask::file(format!("/proc/sys/net/ipv4/{name}"));
        let bound = TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
        Self {
            server: settings.listener.port,
            range: rollout.port_range_start..=rollout.port_range_end,
            workers,
            listeners: listeners.into_iter().map(holder).collect(),
            ephemeral: setting("ip_local_port_range").as_deref().and_then(range),
            reserved: setting("ip_local_reserved_ports").unwrap_or_default(),
            loopback: bound.map(drop).map_err(|error| error.to_string()),
        }
    }
}

/// Two numbers, with white space between them.
fn range(text: &str) -> Option<RangeInclusive<u16>> {
    let mut ends = text.split_whitespace().map(str::parse);
    let (Some(Ok(start)), Some(Ok(end))) = (ends.next(), ends.next()) else { return None };
    Some(start..=end)
}

/// How the ports stand.
pub(super) fn judge(facts: &Facts) -> Vec<Check> {
    vec![loopback(&facts.loopback), server(facts), workers(facts), ephemeral(facts)]
}

fn loopback(bound: &Result<(), String>) -> Check {
    match bound {
        Ok(()) => Check::ok("loopback", "127.0.0.1 is up"),
        Err(error) => {
            Check::failed("loopback", format!("127.0.0.1: {error}")).mend("sudo ip link set lo up")
        }
    }
}

fn server(facts: &Facts) -> Check {
    let port = facts.server;
    let name = format!("port {port}");
    let other = "or change server.port in config/server.yaml";
    match facts.listeners.get(&port) {
        None => Check::ok(name, "free, for the server"),
        Some(None) => Check::failed(name, "held by a process of another user's")
            .mend(format!("sudo ss -ltnp 'sport = :{port}'   # says whose it is; {other}")),
        Some(Some(Process { pid, name: holder })) => match holder.as_str() {
            "tqserver" => Check::ok(name, format!("tqserver (pid {pid}) serves on it")),
            // Maybe for tqserver.socket; what listens for another is found by its name.
            "systemd" => {
                Check::info(name, format!("held by systemd (pid {pid}), for a socket unit"))
                    .mend("systemctl list-sockets   # or with --user, says for which")
            }
            _ => Check::failed(name, format!("held by {holder} (pid {pid})"))
                .mend(format!("kill {pid}   # {other}")),
        },
    }
}

fn workers(facts: &Facts) -> Check {
    let range = &facts.range;
    let name = format!("ports {}-{}", range.start(), range.end());
    let taken: Vec<_> = facts.listeners.range(range.clone()).collect();
    let free = range.len().saturating_sub(taken.len());
    // While a generation is replaced, its worker has two.
    let needed = 2 * facts.workers.max(1);
    let holder = |(port, holder): (&u16, &Option<Process>)| match holder {
        Some(Process { pid, name }) => format!("{port}: {name} (pid {pid})"),
        None => format!("{port}: a process of another user's"),
    };
    let found = format!("{free} of {} free, for workers", range.len());
    let check = if free < needed {
        Check::failed(name, format!("{found}, and {needed} are needed"))
            .mend(format!("{EDITOR} config/server.yaml   # widen workers.port_range_end"))
    } else {
        Check::ok(name, found)
    };
    check.details(taken.into_iter().map(holder))
}

/// Outgoing connections get ports of the kernel's choice, and with one of ours nobody could listen
/// on it.
fn ephemeral(facts: &Facts) -> Check {
    let name = "outgoing ports";
    let Some(kernel) = &facts.ephemeral else {
        return Check::info(name, "the kernel does not say which it gives to connections");
    };
    let reserved = sockets::ranges(&facts.reserved);
    let is_kept = |port: &u16| {
        !kernel.contains(port) || reserved.iter().any(|reserved| reserved.contains(port))
    };
    let own = [facts.server..=facts.server, facts.range.clone()];
    let exposed: Vec<_> =
        own.into_iter().filter(|range| !range.clone().all(|port| is_kept(&port))).collect();
    let of_kernel = format!("{}-{}", kernel.start(), kernel.end());
    if exposed.is_empty() {
        return Check::ok(name, format!("{of_kernel}, apart from ours"));
    }
    let in_words = |range: &RangeInclusive<u16>| match range.end() - range.start() {
        0 => range.start().to_string(),
        _ => format!("{}-{}", range.start(), range.end()),
    };
    let ours: Vec<_> = exposed.iter().map(in_words).collect();
    // The setting replaces what is reserved for others.
    let before = Some(facts.reserved.clone()).filter(|text| !text.is_empty());
    let all: Vec<_> = before.into_iter().chain(ours.clone()).collect();
    let found = format!(
        "the kernel gives {of_kernel} to connections, {} among them; keep ours out of that:",
        ours.join(" and ")
    );
    permanently(Check::warning(name, found), "net.ipv4.ip_local_reserved_ports", all.join(","))
}
