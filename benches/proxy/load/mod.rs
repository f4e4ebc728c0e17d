//! Clients in a closed loop: each sends its next request when its last one is answered.
//!
//! One thread, and little work for a request: what the load costs is the same for everybody that is
//! compared, but it takes from the differences.

mod client;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};

pub use client::Exchange;
use client::{Client, Progress};

use crate::figures::percentile;

/// Nothing here takes that long unless it hangs.
const PATIENCE_MS: u16 = 10_000;

/// Clients with their connections.
pub struct Load {
    addr: SocketAddr,
    exchange: Exchange,
    clients: Vec<Client>,
    epoll: Epoll,
    scratch: Vec<u8>,
}

/// What clients met for some time.
#[derive(Debug, Default)]
pub struct Seen {
    /// How many requests were answered.
    pub answered: u64,
    /// How long that took.
    pub took: Duration,
    /// Each answer's time from its request, in microseconds, sorted.
    pub latencies: Vec<u32>,
    /// Clients that got no answer at all.
    pub left_out: usize,
}

impl Load {
    /// Connects that many clients, which send nothing yet.
    pub fn connect(addr: SocketAddr, connections: usize, exchange: Exchange) -> Self {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).unwrap();
        let connect = |number: usize| {
            let client = Client::connect(addr, &exchange);
            epoll.add(client.stream(), event(EpollFlags::EPOLLIN, number)).unwrap();
            client
        };
        let clients = (0..connections).map(connect).collect();
        Self { addr, exchange, clients, epoll, scratch: vec![0; 256 << 10] }
    }

    /// Goes on for that long, from where it was left. Answers that come later are counted when it goes
    /// on again.
    pub fn run(&mut self, duration: Duration) -> Seen {
        self.run_until(duration, u64::MAX)
    }

    /// The same, and stops at so many answers.
    pub fn run_until(&mut self, duration: Duration, answers: u64) -> Seen {
        let began = Instant::now();
        let mut seen = Seen::default();
        let mut events = [EpollEvent::empty(); 256];
        for number in 0..self.clients.len() {
            if self.clients[number].is_idle() {
                self.send(number);
            }
        }
        while began.elapsed() < duration && seen.answered < answers {
            let count = self.epoll.wait(&mut events, PATIENCE_MS).unwrap();
            assert!(count > 0, "{}: no answer within {PATIENCE_MS} ms", self.addr);
            for event in &events[..count] {
                self.step(event, &mut seen);
            }
        }
        seen.took = began.elapsed();
        let is_left_out = |client: &&Client| !client.is_answered_since(began);
        seen.left_out = self.clients.iter().filter(is_left_out).count();
        seen.latencies.sort_unstable();
        seen
    }

    fn step(&mut self, came: &EpollEvent, seen: &mut Seen) {
        let number = came.data() as usize;
        let client = &mut self.clients[number];
        if came.events().contains(EpollFlags::EPOLLOUT) {
            return self.send(number);
        }
        match client.receive(&self.exchange, &mut self.scratch) {
            Ok(Progress::Waits) => {}
            Ok(Progress::Answered(latency)) => {
                seen.add(latency);
                self.send(number);
            }
            Ok(Progress::Ended(latency)) => {
                seen.add(latency);
                let next = Client::connect(self.addr, &self.exchange);
                self.clients[number] = next.after(&self.clients[number]);
                let added = event(EpollFlags::EPOLLIN, number);
                self.epoll.add(self.clients[number].stream(), added).unwrap();
                self.send(number);
            }
            Err(error) => panic!("{}: {error}", self.addr),
        }
    }

    /// Sends what can be of a client's request, and sees to it that the rest is.
    fn send(&mut self, number: usize) {
        let client = &mut self.clients[number];
        let was_sending = client.is_sending();
        client.send(&self.exchange).unwrap_or_else(|error| panic!("{}: {error}", self.addr));
        if client.is_sending() != was_sending {
            let flags = match client.is_sending() {
                true => EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT,
                false => EpollFlags::EPOLLIN,
            };
            self.epoll.modify(client.stream(), &mut event(flags, number)).unwrap();
        }
    }
}

impl Seen {
    fn add(&mut self, latency: Duration) {
        self.answered += 1;
        self.latencies.push(latency.as_micros() as u32);
    }

    /// The time that a share of all answers, in percent, do not exceed, in milliseconds.
    pub fn percentile(&self, percent: usize) -> f64 {
        percentile(&self.latencies, percent).map_or(0.0, |micros| f64::from(micros) / 1e3)
    }
}

fn event(flags: EpollFlags, number: usize) -> EpollEvent {
    EpollEvent::new(flags, number as u64)
}
