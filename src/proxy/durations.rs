//! How long requests took, in buckets that are fixed: two an octave, from a quarter of a millisecond
//! to a minute. That is fine enough for a median, and few enough to be passed on for every worker.

use std::time::Duration;

use super::counters::Count;

/// How many bounds there are.
pub const BOUNDS: usize = 37;
/// The bounded buckets, and one for what took longer than the last bound.
const BUCKETS: usize = BOUNDS + 1;
/// Half the first bound, of which all bounds are multiples.
const STEP_MICROS: u64 = 125;

/// The upper bound of a bucket, which belongs to it: 0.25 ms, 0.375 ms, 0.5 ms, 0.75 ms, … 65.536 s.
pub fn bound(bucket: usize) -> Duration {
    let odd = bucket as u64 % 2;
    Duration::from_micros((STEP_MICROS * (2 + odd)) << (bucket / 2))
}

/// Which bucket a duration of so many microseconds belongs to.
fn bucket_of(micros: u64) -> usize {
    let steps = micros.div_ceil(STEP_MICROS);
    if steps <= 2 {
        return 0;
    }
    let below = steps - 1;
    let octave = below.ilog2();
    let half = (below >> (octave - 1)) & 1;
    let bucket = u64::from(octave - 1) * 2 + half + 1;
    usize::try_from(bucket).map_or(BOUNDS, |bucket| bucket.min(BOUNDS))
}

/// One thread's durations.
#[derive(Debug)]
pub(super) struct Durations {
    buckets: [Count; BUCKETS],
    micros: Count,
}

impl Default for Durations {
    fn default() -> Self {
        Self { buckets: std::array::from_fn(|_| Count::default()), micros: Count::default() }
    }
}

impl Durations {
    pub(super) fn took(&self, duration: Duration) {
        let micros = duration.as_secs() * 1_000_000 + u64::from(duration.subsec_micros());
        self.buckets[bucket_of(micros)].add(1);
        self.micros.add(micros);
    }

    pub(super) fn sums(&self) -> DurationSums {
        DurationSums {
            buckets: std::array::from_fn(|n| self.buckets[n].get()),
            micros: self.micros.get(),
        }
    }
}

/// Durations of several threads, or of several generations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DurationSums {
    buckets: [u64; BUCKETS],
    micros: u64,
}

impl Default for DurationSums {
    fn default() -> Self {
        Self { buckets: [0; BUCKETS], micros: 0 }
    }
}

impl DurationSums {
    /// Those of the given durations.
    #[cfg(test)]
    pub(crate) fn of(all: impl IntoIterator<Item = Duration>) -> Self {
        let durations = Durations::default();
        all.into_iter().for_each(|duration| durations.took(duration));
        durations.sums()
    }

    /// How many there were.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// What they come to together, in microseconds.
    pub fn micros(&self) -> u64 {
        self.micros
    }

    /// How many were in each bounded bucket; those beyond the last bound are only in
    /// [`count`](Self::count).
    pub fn bounded(&self) -> &[u64] {
        &self.buckets[..BOUNDS]
    }

    /// Adds others.
    pub fn add(&mut self, others: &Self) {
        for (sum, other) in self.buckets.iter_mut().zip(&others.buckets) {
            *sum += other;
        }
        self.micros += others.micros;
    }

    /// Those since `earlier`, which were the same threads' and generations'.
    pub fn since(&self, earlier: &Self) -> Self {
        let buckets = std::array::from_fn(|n| self.buckets[n].saturating_sub(earlier.buckets[n]));
        Self { buckets, micros: self.micros.saturating_sub(earlier.micros) }
    }

    /// The bound below which `share` (0 to 1) of them stay; `None` where there are none. What took longer
    /// than the last bound counts as that.
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let count = self.count();
        let rank = ((count as f64 * share).ceil() as u64).max(1);
        let mut below = 0;
        let found = self.buckets.iter().position(|bucket| {
            below += bucket;
            below >= rank
        });
        found.filter(|_| count > 0).map(|bucket| bound(bucket.min(BOUNDS - 1)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_duration_is_in_the_first_bucket_whose_bound_it_keeps(micros in 0u64..80_000_000) {
            let bucket = bucket_of(micros);
            let duration = Duration::from_micros(micros);
            prop_assert!(bucket == BOUNDS || duration <= bound(bucket));
            prop_assert!(bucket == 0 || duration > bound(bucket - 1));
        }
    }

    #[test]
    fn bounds_rise_by_halves_of_an_octave() {
        let bounds: Vec<u128> = (0..6).map(|n| bound(n).as_micros()).collect();
        assert_eq!(bounds, [250, 375, 500, 750, 1000, 1500]);
        assert_eq!(bound(BOUNDS - 1), Duration::from_millis(65_536));
    }

    #[test]
    fn quantiles_are_bounds_of_what_was_since_then() {
        let durations = Durations::default();
        assert_eq!(durations.sums().quantile(0.5), None);
        durations.took(Duration::from_secs(600));
        let before = durations.sums();
        for _ in 0..98 {
            durations.took(Duration::from_micros(900));
        }
        durations.took(Duration::from_millis(20));
        durations.took(Duration::from_millis(20));
        let since = durations.sums().since(&before);
        assert_eq!(since.quantile(0.5), Some(Duration::from_millis(1)));
        assert_eq!(since.quantile(0.99), Some(Duration::from_millis(24)));
        assert_eq!((since.count(), since.micros()), (100, 98 * 900 + 40_000));
        assert_eq!(durations.sums().quantile(1.0), Some(bound(BOUNDS - 1)));
    }
}
