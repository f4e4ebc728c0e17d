//! The notations of values: sizes, quotas, networks, globs, environment.

use std::net::IpAddr;

use super::limits::INFINITY;
use super::settings::IpNetwork;
use super::template::is_variable_name;

/// A number of bytes as systemd writes it: `256M`, with K, M, G and T to the base 1024
/// (systemd.resource-control(5), `MemoryMax=`).
pub(super) fn size(text: &str) -> Result<u64, String> {
    let shift = match text.bytes().last() {
        Some(b'K') => 10,
        Some(b'M') => 20,
        Some(b'G') => 30,
        Some(b'T') => 40,
        _ => 0,
    };
    let digits = if shift == 0 { text } else { &text[..text.len() - 1] };
    let number = digits.parse::<u64>().ok().filter(|_| digits.bytes().all(|b| b.is_ascii_digit()));
    number
        .and_then(|number| number.checked_mul(1 << shift))
        .ok_or_else(|| format!("{text:?} is not a size such as 32K, 256M or 1G"))
}

/// A memory limit in bytes: a size of at least 1M, or `infinity`.
pub(super) fn memory_max(text: &str) -> Result<u64, String> {
    if text == "infinity" {
        return Ok(INFINITY);
    }
    match size(text)? {
        bytes if bytes < 1 << 20 => Err(format!("{text} is less than 1M; is a unit missing?")),
        bytes => Ok(bytes),
    }
}

/// Percent of one CPU (systemd.resource-control(5), `CPUQuota=`): `50%`, or `200%` for two.
pub(super) fn cpu_quota(text: &str) -> Result<u32, String> {
    let percent = text.strip_suffix('%').and_then(|digits| digits.parse().ok());
    percent
        .filter(|percent| (1..=100_000).contains(percent))
        .ok_or_else(|| format!("{text:?} is not a share of one CPU such as 50% or 200%"))
}

/// A number of tasks, or `infinity`.
pub(super) fn tasks_max(text: &str) -> Result<u64, String> {
    if text == "infinity" {
        return Ok(INFINITY);
    }
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| format!("{text:?} is not a number of tasks from 1, or infinity"))
}

/// What the Go runtime accepts as GOMEMLIMIT (<https://pkg.go.dev/runtime#hdr-Environment_Variables>).
pub(super) fn go_mem_limit(text: &str) -> Result<String, String> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = &text[digits.len()..];
    let number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    if text == "off" || (number && ["", "B", "KiB", "MiB", "GiB", "TiB"].contains(&unit)) {
        return Ok(text.to_owned());
    }
    Err(format!("{text:?} is not a limit such as 256MiB or 1GiB, or off"))
}

/// A network in CIDR form, or one address.
pub(super) fn network(text: &str) -> Result<IpNetwork, String> {
    let wrong = || format!("{text:?} is not a network such as 10.0.0.0/8 or an address");
    let (addr, prefix) = text.split_once('/').map_or((text, None), |(a, p)| (a, Some(p)));
    let addr: IpAddr = addr.parse().map_err(|_| wrong())?;
    if addr.to_canonical() != addr {
        return Err(format!("{text:?} is an IPv4 network; write it as one"));
    }
    let bits = if addr.is_ipv4() { 32 } else { 128 };
    let prefix_len = prefix.map_or(Ok(bits), str::parse).map_err(|_| wrong())?;
    let clipped = match addr {
        _ if prefix_len > bits => return Err(wrong()),
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix_len)).unwrap_or(0);
            IpAddr::from((v4.to_bits() & mask).to_be_bytes())
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix_len)).unwrap_or(0);
            IpAddr::from((v6.to_bits() & mask).to_be_bytes())
        }
    };
    if clipped != addr {
        return Err(format!(
            "{text:?} has bits beyond its prefix; {clipped}/{prefix_len} is meant?"
        ));
    }
    Ok(IpNetwork { addr, prefix_len })
}

/// A glob below a folder.
pub(super) fn relative_glob(text: &str) -> Result<String, String> {
    if text.starts_with('/') || text.split('/').any(|part| part == "..") {
        return Err(format!("{text:?} must stay below its folder: no leading `/`, no `..`"));
    }
    glob::Pattern::new(text).map_err(|error| format!("{text:?}: {error}"))?;
    Ok(text.to_owned())
}

/// Variables that tqserver and systemd set for every worker, beside those that begin with `TQ_`.
const RESERVED: [&str; 5] =
    ["PORT", "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "INVOCATION_ID"];

/// Whether workers may be given this variable.
pub(super) fn worker_variable(name: &str, template: &str) -> Result<(), String> {
    if !is_variable_name(name) {
        return Err(format!("{name:?} is no name of a variable: letters, digits and _ only"));
    }
    let fixed = match name {
        "TQ_MODE" => "${DEPLOYMENT_MODE}",
        "TQ_WORKER_BASE" => "${WORKER_BASE}",
        _ if name.starts_with("TQ_") => {
            return Err(format!("{name}: names that begin with TQ_ are tqserver's own; remove it"));
        }
        _ if RESERVED.contains(&name) => {
            return Err(format!("{name} is set by tqserver for every worker; remove it"));
        }
        _ => template,
    };
    if template != fixed {
        return Err(format!("{name} is set by tqserver; it can only be `{fixed}`"));
    }
    // systemd takes no other control characters in an environment (env-util.c, env_value_is_valid).
    if template.chars().any(|c| c.is_control() && c != '\t' && c != '\n') {
        return Err(format!("{name} has control characters in it"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("0", Some(0))]
    #[case("1024", Some(1024))]
    #[case("32K", Some(32 << 10))]
    #[case("256M", Some(256 << 20))]
    #[case("2T", Some(2 << 40))]
    #[case("", None)]
    #[case("M", None)]
    #[case("+1M", None)]
    #[case("1MB", None)]
    #[case("1m", None)]
    #[case("99999999999T", None)]
    fn sizes(#[case] text: &str, #[case] bytes: Option<u64>) {
        assert_eq!(size(text).ok(), bytes);
    }

    #[rstest]
    #[case("256", None)]
    #[case("1M", Some(1 << 20))]
    #[case("infinity", Some(u64::MAX))]
    fn memory_limits(#[case] text: &str, #[case] limit: Option<u64>) {
        assert_eq!(memory_max(text).ok(), limit);
    }

    #[rstest]
    #[case("50%", Some(50))]
    #[case("200%", Some(200))]
    #[case("50", None)]
    #[case("0%", None)]
    #[case("1.5%", None)]
    fn quotas(#[case] text: &str, #[case] percent: Option<u32>) {
        assert_eq!(cpu_quota(text).ok(), percent);
    }

    #[rstest]
    #[case("256MiB", true)]
    #[case("1000", true)]
    #[case("off", true)]
    #[case("256M", false)]
    #[case("MiB", false)]
    #[case("1x0B", false)]
    fn go_limits(#[case] text: &str, #[case] valid: bool) {
        assert_eq!(go_mem_limit(text).is_ok(), valid);
    }

    #[rstest]
    #[case("10.0.0.0/8", "10.255.0.1", true)]
    #[case("10.0.0.0/8", "11.0.0.1", false)]
    #[case("10.0.0.0/8", "::ffff:10.0.0.1", true)]
    #[case("127.0.0.1", "127.0.0.1", true)]
    #[case("127.0.0.1", "127.0.0.2", false)]
    #[case("0.0.0.0/0", "8.8.8.8", true)]
    #[case("fd00::/8", "fd12::1", true)]
    fn networks_contain(#[case] net: &str, #[case] addr: &str, #[case] inside: bool) {
        assert_eq!(network(net).unwrap().contains(addr.parse().unwrap()), inside);
    }

    #[rstest]
    #[case("10.0.0.0/33")]
    #[case("10.0.0.1/8")]
    #[case("fd00::1/8")]
    #[case("::ffff:10.0.0.0/104")]
    #[case("example.org")]
    fn bad_networks(#[case] text: &str) {
        assert!(network(text).is_err());
    }

    #[rstest]
    #[case("GOGC", "50", true)]
    #[case("TQ_MODE", "${DEPLOYMENT_MODE}", true)]
    #[case("TQ_MODE", "dev", false)]
    #[case("TQ_FINGERPRINT", "0", false)]
    #[case("TQ_OF_MY_OWN", "x", false)]
    #[case("PORT", "80", false)]
    #[case("A-B", "x", false)]
    #[case("A", "x\u{1b}", false)]
    fn worker_variables(#[case] name: &str, #[case] value: &str, #[case] valid: bool) {
        assert_eq!(worker_variable(name, value).is_ok(), valid);
    }
}
