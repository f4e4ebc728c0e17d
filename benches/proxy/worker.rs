//! The worker that all proxies have in common: one thread, answers that lie ready.
//!
//! `GET /<n>` is answered with n bytes, `POST` with what was sent, and a WebSocket returns each frame.

use std::collections::HashMap;
use std::io::{self, IoSlice, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixDatagram;
use std::{env, mem};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::frame;
use crate::head::{Head, end_of_head};

/// The longest body that can be asked for.
pub const MAX_BODY: usize = 16 << 20;

/// Answers the key of RFC 6455 section 1.3, which the load sends.
const SWITCHING: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTKxaO9kGzzhZRbK+xOo=\r\n\r\n";

/// Does what tqserver expects of a worker (docs/worker-contract.md).
pub fn main() -> ! {
    // Every proxy may have as many connections to it as it has clients, and keep them.
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, most, most).unwrap();
    let port: u16 = env::var("PORT").unwrap().parse().unwrap();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
    if let Some(socket) = env::var_os("NOTIFY_SOCKET") {
        UnixDatagram::unbound().unwrap().send_to(b"READY=1", socket).unwrap();
    }
    serve(&listener)
}

/// Serves as long as the process lives.
pub fn serve(listener: &TcpListener) -> ! {
    listener.set_nonblocking(true).unwrap();
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).unwrap();
    let readable = |fd: u64| EpollEvent::new(EpollFlags::EPOLLIN, fd);
    let listening = listener.as_raw_fd() as u64;
    epoll.add(listener, readable(listening)).unwrap();
    let zeros = vec![b'0'; MAX_BODY];
    let mut scratch = vec![0; 256 << 10];
    let mut connections: HashMap<u64, Connection> = HashMap::new();
    let mut events = [EpollEvent::empty(); 256];
    loop {
        let count = epoll.wait(&mut events, EpollTimeout::NONE).unwrap_or(0);
        for event in &events[..count] {
            let fd = event.data();
            if fd == listening {
                loop {
                    let stream = match listener.accept() {
                        Ok((stream, _)) => stream,
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                        Err(error) => panic!("a connection cannot be accepted: {error}"),
                    };
                    stream.set_nonblocking(true).unwrap();
                    stream.set_nodelay(true).unwrap();
                    let fd = stream.as_raw_fd() as u64;
                    epoll.add(&stream, readable(fd)).unwrap();
                    connections.insert(fd, Connection::new(stream));
                }
                continue;
            }
            let Some(connection) = connections.get_mut(&fd) else { continue };
            let was_waiting = connection.waits_to_send();
            match connection.go_on(&mut scratch, &zeros) {
                Ok(()) if connection.waits_to_send() == was_waiting => {}
                Ok(()) => {
                    let wanted = match connection.waits_to_send() {
                        true => EpollFlags::EPOLLOUT,
                        false => EpollFlags::EPOLLIN,
                    };
                    epoll.modify(&connection.stream, &mut EpollEvent::new(wanted, fd)).unwrap();
                }
                Err(_) => drop(connections.remove(&fd)),
            }
        }
    }
}

struct Connection {
    stream: TcpStream,
    /// What has come and is not answered yet.
    received: Vec<u8>,
    /// What is to be sent: own bytes, and then so many of those that lie ready.
    own: Vec<u8>,
    own_sent: usize,
    ready_left: usize,
    is_tunnel: bool,
    is_last: bool,
}

impl Connection {
    fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            received: Vec::new(),
            own: Vec::new(),
            own_sent: 0,
            ready_left: 0,
            is_tunnel: false,
            is_last: false,
        }
    }

    fn waits_to_send(&self) -> bool {
        self.own_sent < self.own.len() || self.ready_left > 0
    }

    /// Reads and sends what can be without waiting. An error is its end.
    fn go_on(&mut self, scratch: &mut [u8], zeros: &[u8]) -> io::Result<()> {
        if !self.waits_to_send() {
            match self.stream.read(scratch) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(length) => self.received.extend_from_slice(&scratch[..length]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        loop {
            if !self.send(zeros)? {
                return Ok(());
            }
            if self.is_last {
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            let understood = match self.is_tunnel {
                true => self.take_frame(),
                false => self.take_request()?,
            };
            if !understood {
                return Ok(());
            }
        }
    }

    /// Sends what is to be sent; returns whether all of it is.
    fn send(&mut self, zeros: &[u8]) -> io::Result<bool> {
        while self.waits_to_send() {
            let own = &self.own[self.own_sent..];
            let slices = [IoSlice::new(own), IoSlice::new(&zeros[..self.ready_left])];
            let own_left = own.len();
            match self.stream.write_vectored(&slices) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(sent) => {
                    self.own_sent += sent.min(own_left);
                    self.ready_left -= sent.saturating_sub(own_left);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        self.own.clear();
        self.own_sent = 0;
        Ok(true)
    }

    /// Takes a whole request and makes its answer; false if it has not come yet.
    fn take_request(&mut self) -> io::Result<bool> {
        let Some(end) = end_of_head(&self.received) else { return Ok(false) };
        let refused = || io::Error::from(io::ErrorKind::InvalidData);
        let head = Head::parse(&self.received[..end]).ok_or_else(refused)?;
        let whole = end + head.content_length.unwrap_or(0);
        if self.received.len() < whole {
            return Ok(false);
        }
        self.is_last = head.is_last;
        if head.is_upgrade {
            self.is_tunnel = true;
            self.own.extend_from_slice(SWITCHING);
        } else {
            let mut words = self.received.split(|byte| *byte == b' ');
            let path = words.nth(1).and_then(|it| str::from_utf8(it).ok());
            let asked = path.and_then(|path| path.get(1..)?.parse::<usize>().ok());
            let length = match head.content_length.unwrap_or(0) {
                // /health among others.
                0 => asked.unwrap_or(0).min(MAX_BODY),
                sent => sent,
            };
            write!(
                self.own,
                "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n\
                 Content-Length: {length}\r\n\r\n"
            )?;
            match whole > end {
                true => self.own.extend_from_slice(&self.received[end..whole]),
                false => self.ready_left = length,
            }
        }
        self.received.drain(..whole);
        Ok(true)
    }

    /// Takes a whole frame and returns it; false if it has not come yet.
    fn take_frame(&mut self) -> bool {
        let Some(payload) = frame::payload_from_client(&self.received) else { return false };
        let mut own = mem::take(&mut self.own);
        frame::write_from_server(&self.received[payload.clone()], &mut own);
        self.own = own;
        self.received.drain(..payload.end);
        true
    }
}
