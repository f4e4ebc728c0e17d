//! What is measured, and what is wanted of it.
//!
//! HTTP/2 and TLS get rows of their own here once tqserver speaks them.

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

/// A line of the table.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// What chooses it in `ROWS`.
    pub id: &'static str,
    /// What people call it.
    pub what: &'static str,
    /// The proxies' threads.
    pub threads: usize,
    /// How many clients there are.
    pub connections: usize,
    /// What a client says.
    pub exchange: fn() -> Exchange,
    /// Whose time is compared.
    pub cpu: Cpu,
    /// tqserver's time for a request is to be at most this multiple of a peer's.
    pub goals: &'static [(&'static str, f64)],
    /// Those who cannot do it.
    pub without: &'static [&'static str],
}

const fn row(id: &'static str, what: &'static str, exchange: fn() -> Exchange) -> Row {
    let (threads, connections, cpu) = (1, 64, Cpu::Proxy);
    Row { id, what, threads, connections, exchange, cpu, goals: &[], without: &[] }
}

/// All of them.
pub const ROWS: &[Row] = &[
    Row {
        goals: &[("nginx", 0.85), ("haproxy", 0.85)],
        ..row("64b_64", "64 B, 64 connections", || Exchange::get("/64", 64))
    },
    Row {
        connections: 512,
        goals: &[("nginx", 0.80), ("haproxy", 0.75)],
        ..row("64b_512", "64 B, 512 connections", || Exchange::get("/64", 64))
    },
    Row {
        cpu: Cpu::All,
        goals: &[("nginx", 0.90), ("haproxy", 0.75)],
        ..row("64k", "64 KiB", || Exchange::get("/65536", 64 << 10))
    },
    Row {
        cpu: Cpu::All,
        goals: &[("nginx", 1.0), ("haproxy", 0.75)],
        connections: 16,
        ..row("1m", "1 MiB, 16 connections", || Exchange::get("/1048576", 1 << 20))
    },
    Row {
        goals: &[("nginx", 0.75), ("haproxy", 0.50)],
        ..row("post16k", "POST 16 KiB, echoed", || Exchange::post("/echo", 16 << 10))
    },
    Row {
        goals: &[("nginx", 0.90), ("haproxy", 0.90)],
        ..row("close", "64 B, a connection each", || Exchange::get_and_close("/64", 64))
    },
    Row {
        goals: &[("nginx", 0.50)],
        without: &["haproxy"],
        ..row("static1k", "static file, 1 KiB", || Exchange::get("/static/index/1k.bin", 1 << 10))
    },
    Row {
        cpu: Cpu::All,
        goals: &[("nginx", 0.85)],
        without: &["haproxy"],
        ..row("static64k", "static file, 64 KiB", || {
            Exchange::get("/static/index/64k.bin", 64 << 10)
        })
    },
    Row {
        cpu: Cpu::All,
        connections: 16,
        goals: &[("nginx", 0.65)],
        without: &["haproxy"],
        ..row("static1m", "static file, 1 MiB, 16 connections", || {
            Exchange::get("/static/index/1m.bin", 1 << 20)
        })
    },
    Row {
        goals: &[("nginx", 1.05)],
        ..row("tunnel", "WebSocket, 32 B messages", || Exchange::message(32))
    },
    Row {
        // 1.4 times the bytes for the same time.
        goals: &[("nginx", 1.0 / 1.4)],
        connections: 16,
        ..row("tunnel_bulk", "WebSocket, 64 KiB messages, 16 connections", || {
            Exchange::message(64 << 10)
        })
    },
    Row {
        threads: 2,
        goals: &[("nginx", 0.80), ("haproxy", 0.80)],
        ..row("64b_2t", "64 B, two threads", || Exchange::get("/64", 64))
    },
    Row {
        threads: 2,
        cpu: Cpu::All,
        goals: &[("nginx", 0.80), ("haproxy", 0.80)],
        ..row("64k_2t", "64 KiB, two threads", || Exchange::get("/65536", 64 << 10))
    },
];
