//! Whether tqserver's memory stays as it is, however many requests it answers.

use std::time::{Duration, Instant};

use crate::alone::Alone;
use crate::figures::median;
use crate::fleet::{Fleet, Protocol};
use crate::load::{Exchange, Load};
use crate::memory::{of_tree, open_files};

/// How often it is looked at; a multiple of four.
const SAMPLES: usize = 40;

/// What the last quarter may be above the first, in bytes of the resident set size; the proportional one goes
/// up and down with others that share a library.
///
/// Samples of the same state differ by some pages that the allocator has or has not given back. Between the
/// middles of the two quarters lie three quarters of all requests: of ten million, one byte lost with every
/// twenty-ninth would be more than this.
const MOST: f64 = (256 << 10) as f64;

/// tqserver, looked at after so many requests.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// How many, since the first that counts.
    pub requests: u64,
    /// Its proportional set size, in bytes.
    pub pss: u64,
    /// Its resident set size, in bytes.
    pub rss: u64,
    /// Its open files.
    pub files: usize,
}

/// All that was seen.
pub struct Flat {
    /// In the order of time.
    pub samples: Vec<Sample>,
    /// How long it took.
    pub took: Duration,
}

/// Sends that many requests, after a tenth as many that do not count: mostly GETs on kept connections, some
/// POSTs of 16 KiB, and some on connections of their own. All connections are new after each sample; then
/// others may measure.
pub fn measure(requests: u64, alone: &mut Alone) -> Flat {
    let fleet = Fleet::start(1, Protocol::Http1, &[], None);
    let ours = &fleet.proxies[0];
    let mix = [
        (56, Exchange::get("/64", 64)),
        (4, Exchange::post("/echo", 16 << 10)),
        (4, Exchange::get_and_close("/64", 64)),
    ];
    let mut answer = |requests| {
        alone.share();
        let mut load = Load::connect_each(ours.addr, mix.clone());
        let answered = load.run_until(Duration::MAX, requests).answered;
        alone.end();
        answered
    };
    answer(requests / 10);
    let began = Instant::now();
    let mut answered = 0;
    let samples = (1..=SAMPLES as u64).map(|number| {
        let wanted = requests * number / SAMPLES as u64;
        answered += answer(wanted.saturating_sub(answered));
        Sample {
            requests: answered,
            pss: of_tree(ours.root, "Pss"),
            rss: of_tree(ours.root, "Rss"),
            files: open_files(ours.root),
        }
    });
    Flat { samples: samples.collect(), took: began.elapsed() }
}

impl Flat {
    /// The median of a figure in one of the four quarters, counted from 0.
    pub fn quarter(&self, number: usize, of: impl Fn(&Sample) -> u64) -> f64 {
        let length = self.samples.len() / 4;
        let samples = &self.samples[number * length..(number + 1) * length];
        median(samples.iter().map(|sample| of(sample) as f64)).unwrap_or(f64::NAN)
    }

    /// How much more the last quarter has than the first, in bytes.
    pub fn growth(&self) -> f64 {
        self.quarter(3, |it| it.rss) - self.quarter(0, |it| it.rss)
    }

    /// What is wrong, if anything is.
    ///
    /// # Errors
    /// It has grown by more than [`MOST`].
    pub fn verdict(&self) -> Result<(), String> {
        let growth = self.growth();
        let (grown, most) = (growth / 1024.0, MOST / 1024.0);
        match growth <= MOST {
            true => Ok(()),
            false => {
                Err(format!("memory is not flat: {grown:+.0} KiB, and at most {most:+.0} are"))
            }
        }
    }
}
