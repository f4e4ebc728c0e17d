//! Names that loosen a sandbox. systemd passes over those it does not know, so that a mistyped one
//! would change nothing, in silence.

/// The groups of system calls (`systemd-analyze syscall-filter`).
#[rustfmt::skip]
const SYSTEM_CALL_GROUPS: [&str; 28] = [
    "aio", "basic-io", "chown", "clock", "cpu-emulation", "debug", "default", "file-system",
    "io-event", "ipc", "keyring", "known", "memlock", "module", "mount", "network-io", "obsolete",
    "pkey", "privileged", "process", "raw-io", "reboot", "resources", "setuid", "signal", "swap",
    "sync", "timer",
];

/// A system call's name, or a group of them (systemd.exec(5), `SystemCallFilter=`). Names differ by
/// machine and kernel, and are not looked up.
pub(super) fn system_call(text: &str) -> Result<String, String> {
    if let Some(group) = text.strip_prefix('@') {
        return match SYSTEM_CALL_GROUPS.contains(&group) {
            true => Ok(text.to_owned()),
            false => Err(unknown(
                text,
                "group of system calls",
                SYSTEM_CALL_GROUPS.map(|g| format!("@{g}")),
            )),
        };
    }
    let name = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    match text.bytes().all(name) && text.starts_with(|c: char| c.is_ascii_lowercase()) {
        true => Ok(text.to_owned()),
        false => Err(format!("{text:?} is neither a system call nor a group such as @resources")),
    }
}

/// Families of sockets that a worker may be allowed (address_families(7)), beside those it has:
/// AF_UNIX, AF_INET and AF_INET6.
#[rustfmt::skip]
const ADDRESS_FAMILIES: [&str; 14] = [
    "AF_ALG", "AF_BLUETOOTH", "AF_CAN", "AF_KEY", "AF_NETLINK", "AF_NFC", "AF_PACKET", "AF_PHONET",
    "AF_PPPOX", "AF_QIPCRTR", "AF_RDS", "AF_TIPC", "AF_VSOCK", "AF_XDP",
];

/// A family of sockets (systemd.exec(5), `RestrictAddressFamilies=`).
pub(super) fn address_family(text: &str) -> Result<String, String> {
    match ADDRESS_FAMILIES.contains(&text) {
        true => Ok(text.to_owned()),
        false if ["AF_UNIX", "AF_INET", "AF_INET6"].contains(&text) => {
            Err(format!("{text} is there for every worker; remove it"))
        }
        false => Err(unknown(text, "family of sockets", ADDRESS_FAMILIES.map(str::to_owned))),
    }
}

/// An error that names what was probably meant.
fn unknown<const N: usize>(text: &str, kind: &str, known: [String; N]) -> String {
    let nearest = known.into_iter().min_by_key(|known| strsim::osa_distance(known, text));
    let meant = nearest.map(|nearest| format!("; did you mean {nearest}?")).unwrap_or_default();
    format!("{text:?} is no {kind}{meant}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("@resources", true)]
    #[case("io_uring_setup", true)]
    #[case("@resource", false)]
    #[case("~@resources", false)]
    #[case("personality:1", false)]
    #[case("", false)]
    fn system_calls(#[case] text: &str, #[case] valid: bool) {
        assert_eq!(system_call(text).is_ok(), valid);
    }

    #[test]
    fn what_is_nearly_right_is_named() {
        let wrong = [system_call("@resource"), address_family("AF_NETLNK")].map(Result::unwrap_err);
        assert!(wrong[0].ends_with("did you mean @resources?"), "{}", wrong[0]);
        assert!(wrong[1].ends_with("did you mean AF_NETLINK?"), "{}", wrong[1]);
    }
}
