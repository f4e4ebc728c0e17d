//! Whether tqserver's memory stays as it is, however many requests it answers.

use std::time::Duration;

use crate::figures::median;

/// How often it is looked at; a multiple of four.
pub const SAMPLES: usize = 40;

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
                Err(format!("memory is not flat: {grown:+.0} KiB, and at most {most:+.0} KiB are"))
            }
        }
    }
}
