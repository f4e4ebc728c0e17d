//! Who listens on a port, as far as proc(5) lets us see.

use std::fs;

use crate::ctl::output::printable;

/// `process 4711 (nginx)`, for one that listens on `port` and is ours to look at.
pub(super) fn of_port(port: u16) -> Option<String> {
    let sockets: Vec<_> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .flat_map(|table| listeners(&table, port))
        .collect();
    let holds = |process: u32| {
        let descriptors = fs::read_dir(format!("/proc/{process}/fd"));
        let mut links = descriptors.into_iter().flatten().flatten();
        links.any(|link| {
            let target = fs::read_link(link.path()).unwrap_or_default();
            sockets.iter().any(|socket| target.as_os_str() == socket.as_str())
        })
    };
    let mut processes = fs::read_dir("/proc")
        .ok()?
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let process = processes.find(|process| holds(*process))?;
    let name = fs::read_to_string(format!("/proc/{process}/comm")).ok()?;
    Some(format!("process {process} ({})", printable(name.trim_end())))
}

/// Listening sockets with this local port in a table of the kernel, as descriptors name them.
fn listeners(table: &str, port: u16) -> Vec<String> {
    const LISTEN: &str = "0A";
    let local = format!(":{port:04X}");
    table
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter_map(|fields| match fields[..] {
            [_, at, _, LISTEN, _, _, _, _, _, inode, ..] if at.ends_with(&local) => {
                Some(format!("socket:[{inode}]"))
            }
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_is_told_from_a_connection() {
        let table = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 111 1
   1: 0100007F:1F90 0100007F:C350 01 00000000:00000000 00:00000000 00000000  1000        0 222 1
   2: 0100007F:1F91 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 333 1";
        assert_eq!(listeners(table, 8080), ["socket:[111]"]);
    }
}
