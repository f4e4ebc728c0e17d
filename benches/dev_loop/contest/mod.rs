//! Side by side: the same worker, the same saves, the same clients.
//!
//! Rounds are interleaved, each contender having each of them, so that what disturbs the machine
//! disturbs all of them; the order changes from round to round.

mod clients;
mod contenders;
mod restarter;

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use clients::{Clients, Seen};
use contenders::Contender;

use crate::client::await_answer;
use crate::figures::Figures;

/// Clients are busy this long before a save, and after its answer.
const AROUND: Duration = Duration::from_millis(300);

/// How long it takes to see that code is broken, and to mend it.
const MENDING: Duration = Duration::from_secs(2);

/// Which contender is tqserver as it is installed.
const INSTALLED: usize = 0;

/// What is written to be broken.
const BROKEN: &str = "fn main() { nonsense }";

/// What came of one contender's rounds.
pub struct Result {
    /// Which.
    pub name: &'static str,
    /// Whether it is tqserver.
    pub ours: bool,
    /// How long it waits for further changes, in milliseconds; tqserver builds meanwhile.
    pub waits: u32,
    /// From the save of good code to its first answer.
    pub answered: Figures,
    /// The same as a multiple, in the same round, of that of the tqserver that waits as long for
    /// further changes; the median.
    pub ratio: f64,
    /// The same, of that of tqserver as it is installed.
    pub to_installed: f64,
    /// How long requests were lost in a round.
    pub out: Figures,
    /// How many requests there were in all rounds.
    pub requests: u64,
    /// How many of these were lost.
    pub lost: u64,
    /// How many were answered when they were sent once more.
    pub repeated: u64,
}

/// Those that take part.
pub struct Contest {
    contenders: Vec<Contender>,
    saves: usize,
}

impl Contest {
    /// Starts them, and has each build once. `watchexec` is the program.
    pub fn begin(watchexec: &Path) -> Self {
        // Each beside a tqserver that waits as long for further changes: 100 ms is its default, and so
        // that of the first.
        let contenders = vec![
            Contender::tqserver("tqserver dev", 100),
            Contender::restarter(),
            Contender::tqserver("tqserver dev, 50 ms", 50),
            Contender::watchexec(watchexec),
        ];
        Self { contenders, saves: 0 }
    }

    /// Rounds with a save of good code, after one of broken code if `broken`.
    pub fn rounds(&mut self, rounds: usize, broken: bool) -> Vec<Result> {
        let count = self.contenders.len();
        let mut seen: Vec<Vec<(Duration, Seen)>> = (0..count).map(|_| Vec::new()).collect();
        for round in 0..rounds {
            for place in 0..count {
                let contender = (round + place) % count;
                self.saves += 1;
                let text = format!("save {}.", self.saves);
                seen[contender].push(save(&self.contenders[contender], &text, broken));
            }
        }
        let result = |(contender, rounds): (&Contender, &Vec<(Duration, Seen)>)| {
            let like = |other: &Contender| other.ours && other.waits == contender.waits;
            let like = self.contenders.iter().position(like).expect("one that waits as long");
            let to = |other: usize| {
                let pairs = rounds.iter().zip(&seen[other]);
                median(pairs.map(|((one, _), (other, _))| one.div_duration_f64(*other)).collect())
            };
            Result {
                name: contender.name,
                ours: contender.ours,
                waits: contender.waits,
                answered: rounds.iter().map(|(answered, _)| *answered).collect(),
                ratio: to(like),
                to_installed: to(INSTALLED),
                out: rounds.iter().map(|(_, seen)| seen.out()).collect(),
                requests: rounds.iter().map(|(_, seen)| seen.requests).sum(),
                lost: rounds.iter().map(|(_, seen)| seen.lost).sum(),
                repeated: rounds.iter().map(|(_, seen)| seen.repeated).sum(),
            }
        };
        self.contenders.iter().zip(&seen).map(result).collect()
    }
}

/// One save, under load; returns how long the new code took to answer, and what clients saw.
fn save(contender: &Contender, text: &str, broken: bool) -> (Duration, Seen) {
    let clients = Clients::start(contender.addr);
    thread::sleep(AROUND);
    if broken {
        contender.project.write("workers/index/src/main.rs", BROKEN);
        thread::sleep(MENDING);
    }
    let began = Instant::now();
    contender.project.says("index", text);
    let answered = await_answer(contender.addr, text, began);
    thread::sleep(AROUND);
    (answered, clients.finish())
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied().unwrap_or(f64::NAN)
}
