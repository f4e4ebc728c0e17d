//! Whose program is at the other end of a connection within this machine.
//!
//! An address says little: when a worker has died, anybody may listen on its port before its death is
//! known. The kernel remembers of each socket in which control group it was made (`INET_DIAG_CGROUP_ID`
//! of sock_diag(7), Linux 5.8), and systemd gives each unit one that only its processes are in.

use std::cell::Cell;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::path::Path;

use netlink_packet_core::{NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload, Nla as _};
use netlink_packet_sock_diag::SockDiagMessage;
use netlink_packet_sock_diag::constants::{AF_INET, IPPROTO_TCP};
use netlink_packet_sock_diag::inet::nlas::Nla;
use netlink_packet_sock_diag::inet::{ExtensionFlags, InetRequest, SocketId, StateFlags};
use nix::errno::Errno;
use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, statfs};
use rustix::fs::stat;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, connect, netlink, recv, send,
    socket_with,
};
use tokio::net::TcpStream;

/// Where systemd mounts the unified hierarchy: alone, or beside those of cgroup v1.
const HIERARCHIES: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];

/// The attribute of an answer with the group's number; `linux/inet_diag.h`.
const INET_DIAG_CGROUP_ID: u16 = 21;

/// No socket in particular, only these addresses; `linux/inet_diag.h`.
const INET_DIAG_NOCOOKIE: [u8; 8] = [0xff; 8];

/// More than an answer to a question without extensions has.
const ANSWER: usize = 1024;

/// A control group of the unified hierarchy (cgroups(7)), by the number that the kernel gives it
/// once and to no other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ControlGroup(u64);

impl ControlGroup {
    /// The group that systemd calls `path`, as in a unit's `ControlGroup`: it begins with a slash.
    /// `None` where there is none, or no unified hierarchy.
    pub fn at(path: &str) -> Option<Self> {
        let below = path.strip_prefix('/')?;
        HIERARCHIES.iter().find_map(|hierarchy| {
            let folder = Path::new(hierarchy).join(below);
            let is_unified = statfs(&folder).ok()?.filesystem_type() == CGROUP2_SUPER_MAGIC;
            // Its number is that of its folder (kernfs).
            is_unified.then(|| stat(&folder).ok()).flatten().map(|it| Self(it.st_ino))
        })
    }
}

/// Asks the kernel for whose a connection is. Not shared between threads: a question and its answer are
/// two system calls, of which neither waits.
#[derive(Debug)]
pub struct SockDiag {
    socket: OwnedFd,
    asked: Cell<u32>,
}

impl SockDiag {
    /// # Errors
    /// Those of socket(2) and connect(2): `EAFNOSUPPORT` where `RestrictAddressFamilies=` of
    /// systemd.exec(5) lacks `AF_NETLINK`.
    pub fn new() -> io::Result<Self> {
        let (family, flags) = (AddressFamily::NETLINK, SocketFlags::CLOEXEC);
        let socket = socket_with(family, SocketType::DGRAM, flags, Some(netlink::SOCK_DIAG))?;
        connect(&socket, &netlink::SocketAddrNetlink::new(0, 0))?;
        Ok(Self { socket, asked: Cell::new(0) })
    }

    /// The group of whoever made the socket that `connection` leads to, or the listener that it came
    /// from; `None` when the peer has gone, is on another machine, or this kernel does not tell.
    ///
    /// # Errors
    /// Those of send(2) and recv(2).
    pub fn of_peer(&self, connection: &TcpStream) -> io::Result<Option<ControlGroup>> {
        let (peer, near) = (connection.peer_addr()?, connection.local_addr()?);
        if let Some(group) = self.of(peer, near)? {
            return Ok(Some(group));
        }
        // One that was not accepted may be no socket yet (TCP_DEFER_ACCEPT of tcp(7)).
        self.of(peer, SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)))
    }

    /// Of the socket at `source` that is connected with `destination`, or else listens.
    fn of(&self, source: SocketAddr, destination: SocketAddr) -> io::Result<Option<ControlGroup>> {
        let (IpAddr::V4(_), IpAddr::V4(_)) = (source.ip(), destination.ip()) else {
            return Ok(None);
        };
        let number = self.asked.get().wrapping_add(1);
        self.asked.set(number);
        let mut header = NetlinkHeader::default();
        (header.flags, header.sequence_number) = (NLM_F_REQUEST, number);
        let question = SockDiagMessage::InetRequest(InetRequest {
            family: AF_INET,
            protocol: IPPROTO_TCP,
            extensions: ExtensionFlags::empty(),
            states: StateFlags::all(),
            socket_id: SocketId {
                source_port: source.port(),
                destination_port: destination.port(),
                source_address: source.ip(),
                destination_address: destination.ip(),
                interface_id: 0,
                cookie: INET_DIAG_NOCOOKIE,
            },
        });
        let mut message = NetlinkMessage::new(header, question.into());
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        send(&self.socket, &bytes, SendFlags::empty())?;
        loop {
            let mut room = [0; ANSWER];
            // The answer is there when the question has been sent.
            let (_, n) = recv(&self.socket, &mut room[..], RecvFlags::DONTWAIT)?;
            let answer = room.get(..n).unwrap_or(&room);
            let answer = NetlinkMessage::<SockDiagMessage>::deserialize(answer)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            // Of a question whose answer was not taken.
            if answer.header.sequence_number != number {
                continue;
            }
            return match answer.payload {
                NetlinkPayload::InnerMessage(SockDiagMessage::InetResponse(socket)) => {
                    Ok(socket.nlas.iter().find_map(group))
                }
                NetlinkPayload::Error(error) => match error.to_io() {
                    none if none.raw_os_error() == Some(Errno::ENOENT as i32) => Ok(None),
                    error => Err(error),
                },
                _ => Err(io::ErrorKind::InvalidData.into()),
            };
        }
    }
}

fn group(attribute: &Nla) -> Option<ControlGroup> {
    let Nla::Other(attribute) = attribute else { return None };
    let mut number = [0; 8];
    if attribute.kind() != INET_DIAG_CGROUP_ID || attribute.value_len() != number.len() {
        return None;
    }
    attribute.emit_value(&mut number);
    Some(ControlGroup(u64::from_ne_bytes(number)))
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn of_ones_own_listener_it_is_ones_own_group() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let other = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let diag = SockDiag::new().unwrap();
        let addr = listener.local_addr().unwrap();
        let waiting = TcpStream::connect(addr).await.unwrap();
        let first = diag.of_peer(&waiting).unwrap();
        assert!(first.is_some());
        let _accepted = listener.accept().await.unwrap();
        assert_eq!(diag.of_peer(&waiting).unwrap(), first);
        let elsewhere = TcpStream::connect(other.local_addr().unwrap()).await.unwrap();
        assert_eq!(diag.of_peer(&elsewhere).unwrap(), first);
        drop((waiting, elsewhere));
    }

    #[tokio::test]
    async fn of_a_peer_that_has_gone_nothing_is_known() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let connection = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (accepted, _) = listener.accept().await.unwrap();
        rustix::net::sockopt::set_socket_linger(&accepted, Some(std::time::Duration::ZERO))
            .unwrap();
        drop((accepted, listener));
        assert_eq!(SockDiag::new().unwrap().of_peer(&connection).unwrap_or(None), None);
    }

    #[test]
    fn what_is_no_group_has_no_number() {
        assert_eq!(ControlGroup::at("/there/is/no/such/group"), None);
        assert_eq!(ControlGroup::at(""), None, "a unit without processes");
        // Out of the hierarchy.
        assert_eq!(ControlGroup::at("/../../../tmp"), None);
    }
}
