//! A client that tells what a server owes it.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

/// Nothing here takes that long unless it hangs.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How long new code may take, with its compiler on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// Between two looks whether new code answers.
const INTERVAL: Duration = Duration::from_millis(1);

/// A connection that is kept.
pub struct Connection(BufReader<TcpStream>);

/// Why there is no whole answer of status 200.
#[derive(Debug)]
pub enum Failure {
    /// Not a byte came.
    Unanswered,
    /// What came is not what was asked for.
    Broken(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Broken(error)
    }
}

impl From<Failure> for io::Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Unanswered => io::ErrorKind::UnexpectedEof.into(),
            Failure::Broken(error) => error,
        }
    }
}

impl Connection {
    /// Connects.
    pub fn open(addr: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(addr)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        Ok(Self(BufReader::new(stream)))
    }

    /// GETs a path; returns the answer's body.
    pub fn get(&mut self, path: &str) -> Result<String, Failure> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n");
        let sent = self.0.get_mut().write_all(request.as_bytes());
        let mut line = String::new();
        let closed = |error: &io::Error| {
            matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
        };
        match sent.and_then(|()| self.0.read_line(&mut line)) {
            Ok(0) => return Err(Failure::Unanswered),
            Err(error) if closed(&error) && line.is_empty() => return Err(Failure::Unanswered),
            read => read?,
        };
        if !line.starts_with("HTTP/1.1 200 ") {
            return Err(io::Error::other(line).into());
        }
        let mut length = None;
        loop {
            line.clear();
            self.0.read_line(&mut line)?;
            match line.trim_end().split_once(':') {
                None if line == "\r\n" => break,
                None => return Err(io::Error::other(line).into()),
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                    length = value.trim().parse().ok();
                }
                Some(_) => {}
            }
        }
        let mut body = vec![0; length.ok_or_else(|| io::Error::other("no length"))?];
        self.0.read_exact(&mut body)?;
        String::from_utf8(body).map_err(|error| io::Error::other(error).into())
    }
}

/// Waits until `/` is answered, on a new connection, with what begins with `text`; returns how long
/// after `began` that was.
#[track_caller]
pub fn await_answer(addr: SocketAddr, text: &str, began: Instant) -> Duration {
    let get = || Ok::<_, io::Error>(Connection::open(addr)?.get("/")?);
    while !get().is_ok_and(|body| body.starts_with(text)) {
        assert!(began.elapsed() < PATIENCE, "{addr} does not say {text:?}");
        thread::sleep(INTERVAL);
    }
    began.elapsed()
}
