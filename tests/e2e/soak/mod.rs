//! Faults of all kinds at random, under load, for as long as wanted: the promise holds, and nothing is
//! left over at the end.
//!
//! `SOAK_SECONDS` says for how long, and `SOAK_SEED` repeats the faults of another run: the same faults
//! in the same order with the same pauses, though the machine is never quite as fast as it was.

mod base;
mod faults;
mod judgement;

use std::env;
use std::time::{Duration, Instant};

use base::Base;
use faults::Faults;

use crate::load::point_at;
use crate::samples::Samples;
use crate::session::{PATIENCE, Session};
use crate::support::load::{Kind, Load};
use crate::support::wait::await_until;

/// What a run in the test suite takes.
const SHORT: u64 = 40;

/// Clients of all kinds.
const CLIENTS: &[(Kind, usize)] = &[
    (Kind::KeepAlive, 8),
    (Kind::NewConnection, 6),
    (Kind::Post, 6),
    (Kind::Download, 3),
    (Kind::Events, 3),
    (Kind::WebSocket, 3),
];

/// How many exchanges warm up what is compared at the end.
const WARM_UP: u64 = 2000;

fn number(variable: &str) -> Option<u64> {
    let text = env::var(variable).ok().filter(|text| !text.is_empty())?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}={text} is no number")))
}

/// A module of this name has the machine for itself, see `.config/nextest.toml`.
mod load {
    use super::*;

    #[test]
    fn random_faults_lose_nothing_and_leave_nothing() {
        let seed = number("SOAK_SEED").unwrap_or_else(|| fastrand::u64(..));
        let time = Duration::from_secs(number("SOAK_SECONDS").unwrap_or(SHORT));
        eprintln!("SOAK_SEED={seed} SOAK_SECONDS={}", time.as_secs());

        let samples = Samples::new();
        let session = Session::user(samples.path(), |ports| {
            samples.configure(&format!("{ports}{}", faults::CALM));
        });
        let mut faults = Faults::new(&samples, &session, seed);
        point_at(&samples, faults.first());
        assert_eq!(session.get("/").status, 200, "{}", session.log());

        let warm_up = Load::start(session.addr(), CLIENTS, true);
        await_until("the warm-up", PATIENCE, || warm_up.done() >= WARM_UP);
        eprintln!("without faults: {}", warm_up.finish());
        let base = Base::settled(&session);

        let (load, begun) = (Load::start(session.addr(), CLIENTS, true), Instant::now());
        while begun.elapsed() < time {
            faults.next();
        }
        faults.calm_down();
        let tally = load.stop();
        eprintln!("{faults}with faults: {tally}");

        judgement::judge(&tally, &faults, || session.log());
        base.compare(&session);
    }
}
