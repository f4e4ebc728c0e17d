//! A worker that tells how long it was ready, and probed, before the first request came.

use std::env;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::sync::OnceLock;
use std::thread;
use std::time::Instant;

/// The field that has both, in microseconds, with a comma between them.
pub const FIELD: &str = "X-Ready-Before: ";

static READY: OnceLock<Instant> = OnceLock::new();
static PROBED: OnceLock<Instant> = OnceLock::new();
static FIRST: OnceLock<[u128; 2]> = OnceLock::new();

/// Does what tqserver expects of a worker (docs/worker-contract.md).
pub fn main() -> ! {
    let port: u16 = env::var("PORT").unwrap().parse().unwrap();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
    READY.get_or_init(Instant::now);
    let socket = env::var_os("NOTIFY_SOCKET").unwrap();
    UnixDatagram::unbound().unwrap().send_to(b"READY=1", socket).unwrap();
    loop {
        let (stream, _) = listener.accept().unwrap();
        thread::spawn(move || serve(&stream));
    }
}

fn serve(stream: &TcpStream) -> Option<()> {
    let (mut lines, mut writer) = (BufReader::new(stream), stream);
    loop {
        let mut line = String::new();
        lines.read_line(&mut line).ok().filter(|read| *read > 0)?;
        let is_probe = line.starts_with("GET /health ");
        while lines.read_line(&mut line).ok()? > 2 {}
        let field = match is_probe {
            true => String::new(),
            false => {
                let ready = READY.get_or_init(Instant::now);
                let [ready, probed] = FIRST.get_or_init(|| {
                    [ready, PROBED.get().unwrap_or(ready)].map(|since| since.elapsed().as_micros())
                });
                format!("{FIELD}{ready},{probed}\r\n")
            }
        };
        let answer = format!("HTTP/1.1 200 OK\r\n{field}Content-Length: 1\r\n\r\n!");
        writer.write_all(answer.as_bytes()).ok()?;
        if is_probe {
            PROBED.get_or_init(Instant::now);
        }
    }
}
