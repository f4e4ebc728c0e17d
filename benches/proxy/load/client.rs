//! One client: its connection and how far its exchange is.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::ClientConfig;

use super::stream::{Stream, TlsStream, client_config};
use crate::frame;
use crate::head::{Head, end_of_head};

/// What a client says again and again.
#[derive(Clone, Debug)]
pub struct Exchange {
    path: String,
    /// Sent as it is.
    sent: Vec<u8>,
    /// What has to come back.
    answer: Answer,
    /// For TLS, how it is spoken.
    tls: Option<Arc<ClientConfig>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// A body of that many bytes.
    Body(usize),
    /// The same, and the end of the connection.
    LastBody(usize),
    /// That many bytes, in a tunnel.
    Bytes(usize),
}

impl Exchange {
    /// GETs a path that is answered with that many bytes.
    pub fn get(path: &str, length: usize) -> Self {
        let sent = format!("GET {path} HTTP/1.1\r\nHost: bench.test\r\nAccept: */*\r\n\r\n").into();
        Self::new(path, sent, Answer::Body(length))
    }

    /// The same, each on a connection of its own.
    pub fn get_and_close(path: &str, length: usize) -> Self {
        let sent = format!(
            "GET {path} HTTP/1.1\r\nHost: bench.test\r\nAccept: */*\r\nConnection: close\r\n\r\n"
        );
        Self::new(path, sent.into(), Answer::LastBody(length))
    }

    /// POSTs that many bytes, which come back.
    pub fn post(path: &str, length: usize) -> Self {
        let mut sent = format!(
            "POST {path} HTTP/1.1\r\nHost: bench.test\r\nAccept: */*\r\n\
             Content-Type: application/octet-stream\r\nContent-Length: {length}\r\n\r\n"
        )
        .into_bytes();
        sent.resize(sent.len() + length, b'1');
        Self::new(path, sent, Answer::Body(length))
    }

    /// Sends a WebSocket message of that many bytes, which comes back.
    pub fn message(length: usize) -> Self {
        let payload = vec![b'2'; length];
        let mut answer = Vec::new();
        frame::write_from_server(&payload, &mut answer);
        Self::new("/tunnel", frame::from_client(&payload), Answer::Bytes(answer.len()))
    }

    /// The same inside TLS; not of messages.
    pub fn over_tls(self) -> Self {
        Self { tls: Some(client_config()), ..self }
    }

    fn new(path: &str, sent: Vec<u8>, answer: Answer) -> Self {
        Self { path: path.to_owned(), sent, answer, tls: None }
    }

    /// What is asked for.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// How long the answer's body has to be.
    pub fn body_length(&self) -> usize {
        let (Answer::Body(length) | Answer::LastBody(length) | Answer::Bytes(length)) = self.answer;
        length
    }

    fn is_tunnel(&self) -> bool {
        matches!(self.answer, Answer::Bytes(_))
    }
}

/// What came of looking at a connection.
pub enum Progress {
    /// There is more to come.
    Waits,
    /// The answer is whole.
    Answered(Duration),
    /// It is, and the connection has ended after it.
    Ended(Duration),
}

/// A connection.
pub struct Client {
    stream: Stream,
    /// How much of the request is sent; none while it is idle.
    sent: Option<usize>,
    is_sending: bool,
    began: Instant,
    /// When the last answer was whole, on this connection or one before it.
    answered: Option<Instant>,
    /// A head that has not come as a whole.
    head: Vec<u8>,
    /// How much of the answer is to come, once its head is known.
    left: Option<usize>,
    /// When it was whole, while the end of the connection is awaited.
    whole: Option<Duration>,
}

impl Client {
    /// Connects, and has the protocol switched if that is wanted.
    pub fn connect(addr: SocketAddr, exchange: &Exchange) -> Self {
        let connect = || {
            let mut stream = TcpStream::connect(addr)?;
            stream.set_nodelay(true)?;
            if exchange.is_tunnel() {
                switch(&mut stream)?;
            }
            stream.set_nonblocking(true)?;
            Ok::<_, io::Error>(match &exchange.tls {
                Some(config) => Stream::Tls(Box::new(TlsStream::new(stream, config))),
                None => Stream::Plain(stream),
            })
        };
        let stream = connect().unwrap_or_else(|error| panic!("{addr}: {error}"));
        Self {
            stream,
            sent: None,
            is_sending: false,
            began: Instant::now(),
            answered: None,
            head: Vec::new(),
            left: None,
            whole: None,
        }
    }

    /// Its socket.
    pub fn socket(&self) -> &TcpStream {
        self.stream.tcp()
    }

    /// Takes the place of one whose connection has ended.
    pub fn after(self, ended: &Self) -> Self {
        Self { answered: ended.answered, ..self }
    }

    /// Whether it has been answered since then.
    pub fn is_answered_since(&self, then: Instant) -> bool {
        self.answered.is_some_and(|answered| answered >= then)
    }

    /// Whether it has no request under way.
    pub fn is_idle(&self) -> bool {
        self.sent.is_none()
    }

    /// Whether a part of its request could not be sent yet.
    pub fn is_sending(&self) -> bool {
        self.is_sending
    }

    /// Begins a request, or sends more of it.
    pub fn send(&mut self, exchange: &Exchange) -> io::Result<()> {
        if self.sent.is_none() {
            self.began = Instant::now();
        }
        let sent = self.sent.get_or_insert(0);
        while *sent < exchange.sent.len() {
            match self.stream.write(&exchange.sent[*sent..]) {
                Ok(length) => *sent += length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        let flushed = match self.stream.flush() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => false,
            flushed => flushed.map(|()| true)?,
        };
        self.is_sending = !flushed || *sent < exchange.sent.len();
        Ok(())
    }

    /// Receives what has come.
    pub fn receive(&mut self, exchange: &Exchange, scratch: &mut [u8]) -> io::Result<Progress> {
        let length = match self.stream.read(scratch) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Progress::Waits),
            read => read?,
        };
        if let Some(whole) = self.whole {
            return match length {
                0 => Ok(Progress::Ended(whole)),
                _ => Err(io::Error::other("more than the answer")),
            };
        }
        if length == 0 {
            return Err(io::Error::other("the connection was closed before the answer was whole"));
        }
        let left = match (self.left, exchange.answer) {
            (Some(left), _) => left.checked_sub(length),
            (None, Answer::Bytes(expected)) => expected.checked_sub(length),
            (None, Answer::Body(expected) | Answer::LastBody(expected)) => {
                match self.body_begun(&scratch[..length], expected)? {
                    None => return Ok(Progress::Waits),
                    Some(begun) => expected.checked_sub(begun),
                }
            }
        };
        let left = left.ok_or_else(|| io::Error::other("more than the answer"))?;
        self.left = Some(left);
        if left > 0 {
            return Ok(Progress::Waits);
        }
        let now = Instant::now();
        let whole = now - self.began;
        self.answered = Some(now);
        if matches!(exchange.answer, Answer::LastBody(_)) {
            self.whole = Some(whole);
            return Ok(Progress::Waits);
        }
        self.left = None;
        self.sent = None;
        Ok(Progress::Answered(whole))
    }

    /// How much of the body `bytes` brought, once they complete its head, which has to be right.
    fn body_begun(&mut self, bytes: &[u8], expected: usize) -> io::Result<Option<usize>> {
        let bytes = match self.head.is_empty() {
            true => bytes,
            false => {
                self.head.extend_from_slice(bytes);
                &self.head
            }
        };
        let Some(end) = end_of_head(bytes) else {
            if self.head.is_empty() {
                self.head = bytes.to_vec();
            }
            return Ok(None);
        };
        let head = &bytes[..end];
        let parsed = Head::parse(head).and_then(|it| it.content_length);
        if !head.starts_with(b"HTTP/1.1 200 ") || parsed != Some(expected) {
            let head = String::from_utf8_lossy(head);
            return Err(io::Error::other(format!("not 200 with {expected} bytes: {head:?}")));
        }
        let begun = bytes.len() - end;
        self.head = Vec::new();
        Ok(Some(begun))
    }
}

/// Asks for a WebSocket, with the key of RFC 6455 section 1.3.
fn switch(stream: &mut TcpStream) -> io::Result<()> {
    stream.write_all(
        b"GET /tunnel HTTP/1.1\r\nHost: bench.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
          Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    )?;
    let mut head = Vec::new();
    while end_of_head(&head).is_none() {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    match head.starts_with(b"HTTP/1.1 101 ") {
        true => Ok(()),
        false => Err(io::Error::other(format!("not 101: {:?}", String::from_utf8_lossy(&head)))),
    }
}
