//! Leases of worker ports.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, TcpListener};
use std::ops::RangeInclusive;

use crate::ids::Port;

/// The range that workers' ports come from, and those that are taken.
///
/// Leases go round the range rather than back to its start, so that a port just given back rests:
/// whoever still remembers it must not meet its successor there.
#[derive(Debug)]
pub struct PortPool {
    range: RangeInclusive<u16>,
    leased: BTreeSet<Port>,
    next: u16,
    is_free: fn(Port) -> bool,
}

/// No port of the range could be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "no port is free in {start}-{end} ({leased} held by workers, {foreign} by other programs): \
     widen workers.port_range_end or stop what holds them"
)]
pub struct PortsExhausted {
    start: u16,
    end: u16,
    leased: usize,
    foreign: usize,
}

impl PortPool {
    /// A pool over `start..=end`. `is_free` tells whether a port that no worker holds can be
    /// bound at this moment; [`can_bind`] is the real one.
    pub fn new(start: u16, end: u16, is_free: fn(Port) -> bool) -> Self {
        Self { range: start..=end, leased: BTreeSet::new(), next: start, is_free }
    }

    /// Goes on with another range. Leases outside it stay until they are given back.
    pub fn set_range(&mut self, start: u16, end: u16) {
        if self.range != (start..=end) {
            self.range = start..=end;
            self.next = start;
        }
    }

    /// Leases a port that is neither leased nor bound by anybody else.
    pub fn lease(&mut self) -> Result<Port, PortsExhausted> {
        let (start, end) = (*self.range.start(), *self.range.end());
        let mut foreign = 0;
        for number in (self.next..=end).chain(start..self.next) {
            let Some(port) = Port::new(number) else { continue };
            if self.leased.contains(&port) {
                continue;
            }
            if !(self.is_free)(port) {
                foreign += 1;
                continue;
            }
            self.leased.insert(port);
            self.next = self.behind(number);
            return Ok(port);
        }
        let leased = self.leased.iter().filter(|port| self.range.contains(&port.get())).count();
        Err(PortsExhausted { start, end, leased, foreign })
    }

    /// Takes a port that a live unit was found on, and goes on behind it: the process before us
    /// may still send requests there when it is given back.
    pub fn adopt(&mut self, port: Port) {
        self.leased.insert(port);
        if self.range.contains(&port.get()) && port.get() >= self.next {
            self.next = self.behind(port.get());
        }
    }

    fn behind(&self, number: u16) -> u16 {
        if number == *self.range.end() { *self.range.start() } else { number + 1 }
    }

    /// Gives a port back.
    pub fn release(&mut self, port: Port) {
        self.leased.remove(&port);
    }

    /// How many ports are leased.
    #[cfg(test)]
    pub(super) fn leased(&self) -> usize {
        self.leased.len()
    }
}

/// Whether a worker could bind the port on 127.0.0.1 now. It can be taken between this look and
/// the worker's own bind; then the worker fails and says so.
pub fn can_bind(port: Port) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port.get())).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(number: u16) -> Port {
        Port::new(number).unwrap()
    }

    #[test]
    fn leases_go_round_and_skip_what_is_taken() {
        let mut pool = PortPool::new(9000, 9003, |port| port.get() != 9001);
        assert_eq!(pool.lease(), Ok(port(9000)));
        assert_eq!(pool.lease(), Ok(port(9002)));
        pool.release(port(9000));
        assert_eq!(pool.lease(), Ok(port(9003)), "a port given back rests");
        assert_eq!(pool.lease(), Ok(port(9000)));
        let error = pool.lease().unwrap_err().to_string();
        assert!(error.contains("9000-9003 (3 held by workers, 1 by other programs)"), "{error}");
    }

    #[test]
    fn an_adopted_port_is_not_leased() {
        let mut pool = PortPool::new(9000, 9001, |_| true);
        pool.adopt(port(9000));
        assert_eq!(pool.lease(), Ok(port(9001)));
        assert!(pool.lease().is_err());
    }

    #[test]
    fn a_bound_port_is_not_free() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        assert!(!can_bind(port(listener.local_addr().unwrap().port())));
    }
}
