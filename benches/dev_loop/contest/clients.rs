//! Clients that keep a server equally busy, whatever becomes of it, and count what it loses.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::client::{Connection, Failure};

/// Half of them keep their connection, the others make one for each request.
const CLIENTS: u32 = 20;

/// Between two requests of one client.
const PACE: Duration = Duration::from_millis(20);

/// Running clients.
pub struct Clients {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Seen>>,
}

/// What clients have seen.
#[derive(Debug, Default)]
pub struct Seen {
    /// Requests that were sent, or could not be.
    pub requests: u64,
    /// Those without a whole answer of status 200.
    pub lost: u64,
    /// Those that were answered when they were sent once more.
    pub repeated: u64,
    /// When the first of the lost ones began and the last ended.
    out: Option<(Instant, Instant)>,
}

impl Seen {
    /// How long requests were lost: from the first to the last.
    pub fn out(&self) -> Duration {
        self.out.map_or(Duration::ZERO, |(first, last)| last - first)
    }

    fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.lost += other.lost;
        self.repeated += other.repeated;
        self.out = match (self.out, other.out) {
            (Some(one), Some(other)) => Some((one.0.min(other.0), one.1.max(other.1))),
            (one, other) => one.or(other),
        };
    }
}

impl Clients {
    /// Starts them.
    pub fn start(addr: SocketAddr) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let client = |number| {
            let stop = Arc::clone(&stop);
            thread::spawn(move || {
                // So that they do not all come at once.
                thread::sleep(PACE * number / CLIENTS);
                run(addr, number % 2 == 0, &stop)
            })
        };
        let threads = (0..CLIENTS).map(client).collect();
        Self { stop, threads }
    }

    /// Lets them finish what they are at.
    pub fn finish(self) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Seen::default();
        for thread in self.threads {
            all.add(&thread.join().expect("a client panicked"));
        }
        assert!(all.requests > 0, "nothing was asked");
        all
    }
}

fn run(addr: SocketAddr, keeps: bool, stop: &AtomicBool) -> Seen {
    let mut seen = Seen::default();
    let mut kept = None;
    while !stop.load(Ordering::Relaxed) {
        let began = Instant::now();
        seen.requests += 1;
        match request(addr, kept.take()) {
            Ok((connection, repeated)) => {
                kept = Some(connection).filter(|_| keeps);
                seen.repeated += u64::from(repeated);
            }
            Err(_) => {
                let first = seen.out.map_or(began, |(first, _)| first);
                seen.lost += 1;
                seen.out = Some((first, Instant::now()));
            }
        }
        thread::sleep(PACE.saturating_sub(began.elapsed()));
    }
    seen
}

/// One GET. As browsers do, it is sent once more where a kept connection was closed before the
/// first byte of an answer (RFC 9110 section 9.2.2); returns whether it was.
fn request(addr: SocketAddr, kept: Option<Connection>) -> io::Result<(Connection, bool)> {
    let repeated = kept.is_some();
    if let Some(mut connection) = kept {
        match connection.get("/") {
            Ok(_) => return Ok((connection, false)),
            Err(Failure::Unanswered) => {}
            Err(Failure::Broken(error)) => return Err(error),
        }
    }
    let mut connection = Connection::open(addr)?;
    connection.get("/")?;
    Ok((connection, repeated))
}
