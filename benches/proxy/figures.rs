//! Arithmetic of what was measured.

/// The middle of numbers, of an even count the mean of both; none of none.
pub fn median(numbers: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut numbers: Vec<_> = numbers.into_iter().collect();
    numbers.sort_by(f64::total_cmp);
    let half = numbers.len() / 2;
    match numbers.len() {
        0 => None,
        length if length % 2 == 1 => Some(numbers[half]),
        _ => Some(f64::midpoint(numbers[half - 1], numbers[half])),
    }
}

/// The median of the ratios of what belongs together. What disturbs a round disturbs both in it.
pub fn median_of_ratios(ours: &[f64], theirs: &[f64]) -> Option<f64> {
    assert_eq!(ours.len(), theirs.len(), "a round has both");
    median(ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs))
}

/// What a share of all, in percent, do not exceed: of sorted numbers the smallest such; none of none.
pub fn percentile(sorted: &[u32], percent: usize) -> Option<u32> {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied()
}
