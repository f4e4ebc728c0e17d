//! What the two processes say to each other: JSON, one message a packet of a unix socket pair, in
//! the order of [`Message`]. The sockets themselves travel with the first (SCM_RIGHTS, unix(7)).

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg,
    sendmsg, socketpair,
};
use serde::{Deserialize, Serialize};
use tokio::io::Interest;
use tokio::net::UnixDatagram;

use crate::ids::WorkerName;
use crate::sd::sockets::Role;

/// The version of these messages. A program of another one declines to take over.
pub(super) const PROTOCOL: u32 = 1;

/// The largest message, in bytes: a few thousand workers' names.
const MAX_MESSAGE: usize = 128 << 10;

/// The most sockets that are passed: what the kernel takes at once (SCM_MAX_FD, unix(7)).
const MAX_SOCKETS: usize = 253;

/// A message. "Old" is who hands over, "new" who takes over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Message {
    /// Old: these are the sockets.
    Offer {
        /// [`PROTOCOL`]
        protocol: u32,
        /// What each of the descriptors that come along is for.
        sockets: Vec<Role>,
    },
    /// The short-lived process between the two: this is the new one.
    Launched {
        /// Its process id.
        pid: i32,
    },
    /// New: configuration, bus and sockets are as they should be.
    Prepared,
    /// New, at any time before [`Message::Ready`]: it cannot be, and this is why.
    Failed(String),
    /// Old: it decides nothing any more. It is the new one's turn.
    Yours {
        /// The workers that are served.
        serving: Vec<WorkerName>,
    },
    /// New: it serves them, and accepts connections.
    Ready,
    /// Old: the service manager was told that the new one is the service.
    Main {
        /// How long the old one may still finish requests, in milliseconds.
        gone_within_ms: u64,
    },
    /// New: the service is to stop, so streams should end now.
    Hurry,
}

/// One end of the connection. The other end's process is gone when [`Channel::receive`] says
/// `None`.
///
/// To tokio it is a datagram socket, whose calls are the same for one of packets; only packets tell
/// of the other's end.
#[derive(Debug)]
pub(super) struct Channel(UnixDatagram);

/// A message and the descriptors that came with it.
pub(super) type Packet = (Message, Vec<OwnedFd>);

/// Two ends. They are closed on exec, and neither blocks.
pub(super) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?)
}

impl Channel {
    /// Goes on with an end of [`pair`].
    pub(super) fn new(end: OwnedFd) -> io::Result<Self> {
        UnixDatagram::from_std(end.into()).map(Self)
    }

    /// Sends.
    pub(super) async fn send(&self, message: &Message) -> io::Result<()> {
        self.send_with(message, &[]).await
    }

    /// Sends, and gives the other end duplicates of descriptors.
    pub(super) async fn send_with(
        &self,
        message: &Message,
        descriptors: &[BorrowedFd<'_>],
    ) -> io::Result<()> {
        self.0.async_io(Interest::WRITABLE, || send(&self.0, message, descriptors)).await
    }

    /// The next message; `None` when the other process has ended. Cancel safe.
    pub(super) async fn receive(&self) -> io::Result<Option<Message>> {
        Ok(self.receive_with().await?.map(|(message, _)| message))
    }

    /// The same, with what came along.
    pub(super) async fn receive_with(&self) -> io::Result<Option<Packet>> {
        self.0.async_io(Interest::READABLE, || receive(&self.0)).await
    }
}

/// Sends without waiting.
pub(super) fn send(
    end: impl AsFd,
    message: &Message,
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let bytes = serde_json::to_vec(message)?;
    if bytes.len() > MAX_MESSAGE || descriptors.len() > MAX_SOCKETS {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "too much for one message"));
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_SOCKETS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() {
        ancillary.push(SendAncillaryMessage::ScmRights(descriptors));
    }
    sendmsg(end, &[IoSlice::new(&bytes)], &mut ancillary, SendFlags::NOSIGNAL)?;
    Ok(())
}

fn receive(end: impl AsFd) -> io::Result<Option<Packet>> {
    let mut bytes = vec![0; MAX_MESSAGE];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_SOCKETS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC;
    let received = match recvmsg(end, &mut [IoSliceMut::new(&mut bytes)], &mut ancillary, flags) {
        Ok(received) => received,
        // It went away with something of ours unread.
        Err(rustix::io::Errno::CONNRESET) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    if received.bytes == 0 {
        return Ok(None);
    }
    if received.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "a message larger than any should be",
        ));
    }
    let mut descriptors = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptors.extend(rights);
        }
    }
    Ok(Some((serde_json::from_slice(&bytes[..received.bytes])?, descriptors)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use std::net::{TcpListener, TcpStream};

    #[tokio::test]
    async fn sockets_arrive_with_their_roles_and_still_listen() {
        let (ours, theirs) = pair().unwrap();
        let (old, new) = (Channel::new(ours).unwrap(), Channel::new(theirs).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let offer = Message::Offer { protocol: PROTOCOL, sockets: vec![Role::Http] };
        old.send_with(&offer, &[listener.as_fd()]).await.unwrap();
        old.send(&Message::Yours { serving: vec!["index".parse().unwrap()] }).await.unwrap();
        drop((old, listener));

        let (message, mut descriptors) = new.receive_with().await.unwrap().unwrap();
        assert_eq!(message, offer);
        let listener = TcpListener::from(descriptors.pop().unwrap());
        assert!(descriptors.is_empty());
        TcpStream::connect(addr).unwrap().write_all(b"x").unwrap();
        assert!(listener.accept().is_ok());
        assert!(matches!(new.receive().await.unwrap(), Some(Message::Yours { .. })));
        assert_eq!(new.receive().await.unwrap(), None, "the other has ended");
    }

    #[tokio::test]
    async fn what_nobody_says_is_an_error() {
        let (ours, theirs) = pair().unwrap();
        let channel = Channel::new(ours).unwrap();
        rustix::net::send(&theirs, br#"{"unheard_of":1}"#, SendFlags::empty()).unwrap();
        assert!(channel.receive().await.is_err());
        let long = Message::Failed("x".repeat(MAX_MESSAGE));
        assert!(channel.send(&long).await.is_err());
    }
}
