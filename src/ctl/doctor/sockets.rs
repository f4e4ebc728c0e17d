//! Listening sockets as `/proc/net` lists them, and lists of ports as the kernel writes them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Instant;

use super::ask::PATIENCE;

/// A socket that accepts connections, in the tables of TCP.
const LISTEN: &str = "0A";

/// A unix socket that accepts connections (`__SO_ACCEPTCON`).
const ACCEPTS: u32 = 0x10000;

/// The inodes of sockets that listen where a server on 127.0.0.1 would, by port.
pub(super) fn tcp_listeners() -> BTreeMap<u16, u64> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"];
    tables.into_iter().flat_map(|path| table(path, tcp_listener)).collect()
}

/// The inodes of sockets that listen on a path. There are several where other mount namespaces
/// have files of the same name.
pub(super) fn unix_listeners(path: &Path) -> Vec<u64> {
    let inode = |line: &str| {
        let (inode, bound) = unix_listener_of(line)?;
        (Path::new(bound) == path).then_some(inode)
    };
    table("/proc/net/unix", inode)
}

/// What `entry` makes of a table's lines. There can be as many as there are connections.
fn table<T>(path: &str, entry: impl Fn(&str) -> Option<T>) -> Vec<T> {
    let deadline = Instant::now() + PATIENCE;
    let lines = File::open(path).map(|file| BufReader::new(file).lines());
    let lines = lines.into_iter().flatten().map_while(Result::ok);
    lines.take_while(|_| Instant::now() < deadline).filter_map(|line| entry(&line)).collect()
}

/// `0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 12345 …`
fn tcp_listener(line: &str) -> Option<(u16, u64)> {
    let fields: Vec<_> = line.split_whitespace().collect();
    let (&local, &state, &inode) = (fields.get(1)?, fields.get(3)?, fields.get(9)?);
    let (address, port) = local.split_once(':')?;
    if state != LISTEN || !is_ours(address) {
        return None;
    }
    Some((u16::from_str_radix(port, 16).ok()?, inode.parse().ok()?))
}

/// Whether who listens on this address has the port of 127.0.0.1, too.
fn is_ours(address: &str) -> bool {
    let word = |text: &str| u32::from_str_radix(text, 16).ok();
    let words: Option<Vec<u32>> =
        (0..address.len() / 8).map(|index| word(address.get(index * 8..index * 8 + 8)?)).collect();
    // Words are printed as numbers of the machine, and are in the order of the network.
    let bytes: Vec<u8> = words.into_iter().flatten().flat_map(u32::to_ne_bytes).collect();
    let mine = |address: Ipv4Addr| address.is_unspecified() || address == Ipv4Addr::LOCALHOST;
    if let Ok(bytes) = <[u8; 4]>::try_from(bytes.as_slice()) {
        return mine(bytes.into());
    }
    let Ok(bytes) = <[u8; 16]>::try_from(bytes.as_slice()) else { return false };
    let address = Ipv6Addr::from(bytes);
    address.is_unspecified() || address.to_ipv4_mapped().is_some_and(mine)
}

/// `ffff8f…: 00000002 00000000 00010000 0001 01 23456 /run/…`
fn unix_listener_of(line: &str) -> Option<(u64, &str)> {
    let path = line.get(line.find('/')?..)?;
    let fields: Vec<_> = line.split_whitespace().collect();
    let flags = u32::from_str_radix(fields.get(3)?, 16).ok()?;
    (flags & ACCEPTS != 0).then_some(())?;
    Some((fields.get(6)?.parse().ok()?, path))
}

/// `8080,9000-9999`
pub(super) fn ranges(text: &str) -> Vec<RangeInclusive<u16>> {
    let range = |part: &str| {
        let (start, end) = part.split_once('-').unwrap_or((part, part));
        Some(start.trim().parse().ok()?..=end.trim().parse().ok()?)
    };
    text.split(',').filter_map(range).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use std::net::TcpListener;
    use std::os::unix::net::UnixListener;

    #[rstest]
    #[case::v4("127.0.0.1", true)]
    #[case::all_of_v4("0.0.0.0", true)]
    #[case::another("127.0.0.53", false)]
    #[case::all("::", true)]
    #[case::mapped("::ffff:127.0.0.1", true)]
    #[case::v6("::1", false)]
    fn listeners_that_are_in_the_way_are_found(#[case] address: &str, #[case] in_the_way: bool) {
        let address: std::net::IpAddr = address.parse().unwrap();
        let Ok(listener) = TcpListener::bind((address, 0)) else {
            assert!(address.is_ipv6(), "this machine has IPv4");
            return;
        };
        let port = listener.local_addr().unwrap().port();
        assert_eq!(tcp_listeners().contains_key(&port), in_the_way);
        drop(listener);
        assert!(!tcp_listeners().contains_key(&port));
    }

    #[test]
    fn a_unix_socket_is_found_by_its_path_while_somebody_listens() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("with a space.sock");
        let listener = UnixListener::bind(&path).unwrap();
        assert_eq!(unix_listeners(&path).len(), 1);
        drop(listener);
        assert!(unix_listeners(&path).is_empty());
    }

    #[rstest]
    #[case("", &[])]
    #[case("8080", &[8080..=8080])]
    #[case("80,9000-9999", &[80..=80, 9000..=9999])]
    fn lists_of_ports_are_read(#[case] text: &str, #[case] expected: &[RangeInclusive<u16>]) {
        assert_eq!(ranges(text), expected);
    }
}
