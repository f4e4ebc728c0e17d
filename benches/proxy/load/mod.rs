//! Clients in a closed loop: each sends its next request when its last one is answered.
//!
//! One thread, and little work for a request: what the load costs is the same for everybody that is
//! compared, but it takes from the differences.

mod client;
pub mod h2load;
mod stream;

use std::net::SocketAddr;
use std::rc::Rc;
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
    /// Each with what it says.
    clients: Vec<(Client, Rc<Exchange>)>,
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
        Self::connect_each(addr, [(connections, exchange)])
    }

    /// The same of clients that do not all say the same.
    pub fn connect_each(
        addr: SocketAddr,
        mix: impl IntoIterator<Item = (usize, Exchange)>,
    ) -> Self {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).unwrap();
        let exchanges = mix.into_iter().flat_map(|(connections, exchange)| {
            let exchange = Rc::new(exchange);
            (0..connections).map(move |_| Rc::clone(&exchange))
        });
        let connect = |(number, exchange): (usize, Rc<Exchange>)| {
            let client = Client::connect(addr, &exchange);
            epoll.add(client.socket(), event(EpollFlags::EPOLLIN, number)).unwrap();
            (client, exchange)
        };
        let clients = exchanges.enumerate().map(connect).collect();
        Self { addr, clients, epoll, scratch: vec![0; 256 << 10] }
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
            if self.clients[number].0.is_idle() {
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
        let clients = self.clients.iter();
        seen.left_out = clients.filter(|(client, _)| !client.is_answered_since(began)).count();
        seen.latencies.sort_unstable();
        seen
    }

    fn step(&mut self, came: &EpollEvent, seen: &mut Seen) {
        let number = came.data() as usize;
        if came.events().contains(EpollFlags::EPOLLOUT) {
            return self.send(number);
        }
        let (client, exchange) = &mut self.clients[number];
        match client.receive(exchange, &mut self.scratch) {
            Ok(Progress::Waits) => {}
            Ok(Progress::Answered(latency)) => {
                seen.add(latency);
                self.send(number);
            }
            Ok(Progress::Ended(latency)) => {
                seen.add(latency);
                *client = Client::connect(self.addr, exchange).after(client);
                let added = event(EpollFlags::EPOLLIN, number);
                self.epoll.add(client.socket(), added).unwrap();
                self.send(number);
            }
            Err(error) => panic!("{}: {error}", self.addr),
        }
    }

    /// Sends what can be of a client's request, and sees to it that the rest is.
    fn send(&mut self, number: usize) {
        let (client, exchange) = &mut self.clients[number];
        let was_sending = client.is_sending();
        client.send(exchange).unwrap_or_else(|error| panic!("{}: {error}", self.addr));
        if client.is_sending() != was_sending {
            let flags = match client.is_sending() {
                true => EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT,
                false => EpollFlags::EPOLLIN,
            };
            self.epoll.modify(client.socket(), &mut event(flags, number)).unwrap();
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
