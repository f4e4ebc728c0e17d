//! What is measured, and what is wanted of it.

use crate::fleet::Protocol;
use crate::load::Exchange;

/// Whose time is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cpu {
    /// The proxy's processes.
    Proxy,
    /// Everybody's who takes part, proxy, worker and load: of larger bodies what the kernel sends when
    /// an acknowledgement comes is done by the receiver, on whose account it would be lost.
    All,
}

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Figure {
    /// The time on processors for a request, of those that the row counts.
    Cpu,
    /// Requests a second; more is better.
    Rate,
    /// The time that 99 of 100 answers do not exceed.
    P99,
}

/// What tqserver's figure is to be as a multiple of a peer's: at most, or of [`Figure::Rate`] at least.
#[derive(Clone, Copy, Debug)]
pub struct Goal {
    /// Which figure.
    pub figure: Figure,
    /// Which peer's.
    pub peer: &'static str,
    /// The multiple.
    pub ratio: f64,
}

impl Goal {
    /// Whether what was measured is good enough.
    pub fn is_met(&self, ratio: f64) -> bool {
        match self.figure {
            Figure::Rate => ratio >= self.ratio,
            Figure::Cpu | Figure::P99 => ratio <= self.ratio,
        }
    }
}

const fn cpu(peer: &'static str, ratio: f64) -> Goal {
    Goal { figure: Figure::Cpu, peer, ratio }
}

const fn rate(peer: &'static str, ratio: f64) -> Goal {
    Goal { figure: Figure::Rate, peer, ratio }
}

const fn p99(peer: &'static str, ratio: f64) -> Goal {
    Goal { figure: Figure::P99, peer, ratio }
}

/// A line of the table.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// What chooses it in `ROWS`.
    pub id: &'static str,
    /// What people call it.
    pub what: &'static str,
    /// The proxies' threads.
    pub threads: usize,
    /// What clients speak.
    pub protocol: Protocol,
    /// How many clients there are.
    pub connections: usize,
    /// What a client says.
    pub exchange: fn() -> Exchange,
    /// Whose time is compared.
    pub cpu: Cpu,
    /// What is wanted.
    pub goals: &'static [Goal],
    /// Those who cannot do it.
    pub without: &'static [&'static str],
}

const fn row(id: &'static str, what: &'static str, exchange: fn() -> Exchange) -> Row {
    Row {
        id,
        what,
        threads: 1,
        protocol: Protocol::Http1,
        connections: 64,
        exchange,
        cpu: Cpu::Proxy,
        goals: &[],
        without: &[],
    }
}

/// All of them.
pub const ROWS: &[Row] = &[
    Row {
        goals: &[cpu("nginx", 0.85), cpu("haproxy", 0.85), rate("nginx", 1.15), p99("nginx", 1.0)],
        ..row("64b_64", "64 B, 64 connections", || Exchange::get("/64", 64))
    },
    Row {
        connections: 512,
        goals: &[cpu("nginx", 0.80), cpu("haproxy", 0.75), p99("nginx", 1.0)],
        ..row("64b_512", "64 B, 512 connections", || Exchange::get("/64", 64))
    },
    Row {
        cpu: Cpu::All,
        goals: &[cpu("nginx", 0.90), cpu("haproxy", 0.75)],
        ..row("64k", "64 KiB", || Exchange::get("/65536", 64 << 10))
    },
    Row {
        cpu: Cpu::All,
        goals: &[cpu("nginx", 1.0), cpu("haproxy", 0.75)],
        connections: 16,
        ..row("1m", "1 MiB, 16 connections", || Exchange::get("/1048576", 1 << 20))
    },
    Row {
        goals: &[cpu("nginx", 0.75), cpu("haproxy", 0.50)],
        ..row("post16k", "POST 16 KiB, echoed", || Exchange::post("/echo", 16 << 10))
    },
    Row {
        goals: &[cpu("nginx", 0.90), cpu("haproxy", 0.90)],
        ..row("close", "64 B, a connection each", || Exchange::get_and_close("/64", 64))
    },
    Row {
        goals: &[cpu("nginx", 0.50)],
        without: &["haproxy", "pingora"],
        ..row("static1k", "static file, 1 KiB", || Exchange::get("/static/index/1k.bin", 1 << 10))
    },
    Row {
        cpu: Cpu::All,
        goals: &[cpu("nginx", 0.85)],
        without: &["haproxy", "pingora"],
        ..row("static64k", "static file, 64 KiB", || {
            Exchange::get("/static/index/64k.bin", 64 << 10)
        })
    },
    Row {
        cpu: Cpu::All,
        connections: 16,
        goals: &[cpu("nginx", 0.65)],
        without: &["haproxy", "pingora"],
        ..row("static1m", "static file, 1 MiB, 16 connections", || {
            Exchange::get("/static/index/1m.bin", 1 << 20)
        })
    },
    Row {
        goals: &[cpu("nginx", 1.05)],
        ..row("tunnel", "WebSocket, 32 B messages", || Exchange::message(32))
    },
    Row {
        // 1.4 times the bytes for the same time.
        goals: &[cpu("nginx", 1.0 / 1.4)],
        connections: 16,
        ..row("tunnel_bulk", "WebSocket, 64 KiB messages, 16 connections", || {
            Exchange::message(64 << 10)
        })
    },
    Row {
        threads: 2,
        goals: &[cpu("nginx", 0.80), cpu("haproxy", 0.80)],
        ..row("64b_2t", "64 B, two threads", || Exchange::get("/64", 64))
    },
    Row {
        threads: 2,
        cpu: Cpu::All,
        goals: &[cpu("nginx", 0.80), cpu("haproxy", 0.80)],
        ..row("64k_2t", "64 KiB, two threads", || Exchange::get("/65536", 64 << 10))
    },
    Row {
        // Each with several requests under way, so that these are as many as elsewhere.
        connections: 16,
        protocol: Protocol::Http2,
        goals: &[cpu("nginx", 1.0)],
        ..row("h2", "HTTP/2, 64 B, 16 connections", || Exchange::get("/64", 64))
    },
    Row {
        protocol: Protocol::Tls,
        goals: &[cpu("nginx", 1.1)],
        ..row("tls_handshake", "TLS, 64 B, a handshake each", || {
            Exchange::get_and_close("/64", 64).over_tls()
        })
    },
    Row {
        protocol: Protocol::Tls,
        cpu: Cpu::All,
        connections: 16,
        goals: &[cpu("nginx", 1.1)],
        ..row("tls_1m", "TLS, 1 MiB, 16 connections", || {
            Exchange::get("/1048576", 1 << 20).over_tls()
        })
    },
];
