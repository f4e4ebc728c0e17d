//! How figures are written for people.

use jiff::Timestamp;

/// `412`, and `0.3` below ten, where a digit more tells whether there is anything.
pub fn rate(per_second: f64) -> String {
    if per_second < 9.95 && per_second > 0.0 {
        format!("{per_second:.1}")
    } else {
        format!("{per_second:.0}")
    }
}

/// `0.1%`
pub fn percent(share: f64, digits: usize) -> String {
    format!("{:.digits$}%", share * 100.0)
}

/// `31M`, as systemctl writes it.
pub fn bytes(bytes: u64) -> String {
    let (mut value, mut unit) = (bytes as f64, "B");
    for larger in ["K", "M", "G", "T"] {
        if value < 1024.0 {
            break;
        }
        (value, unit) = (value / 1024.0, larger);
    }
    let digits = usize::from(value < 9.95 && unit != "B");
    format!("{value:.digits$}{unit}")
}

/// The largest unit that is not nought: `3d`, `5h`, `12m`, `40s`.
pub fn age(since: Timestamp, now: Timestamp) -> String {
    let seconds = now.as_second().saturating_sub(since.as_second()).max(0);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// A dash for what is not known.
pub fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(999, "999B")]
    #[case(1024, "1.0K")]
    #[case(31 << 20, "31M")]
    #[case(u64::MAX, "16777216T")]
    fn sizes_are_in_the_largest_unit(#[case] size: u64, #[case] expected: &str) {
        assert_eq!(bytes(size), expected);
    }

    #[rstest]
    #[case(0, "0s")]
    #[case(59, "59s")]
    #[case(60, "1m")]
    #[case(86_399, "23h")]
    #[case(3 * 86_400 + 5, "3d")]
    #[case(-30, "0s")]
    fn ages_are_in_the_largest_unit(#[case] seconds: i64, #[case] expected: &str) {
        let since = Timestamp::UNIX_EPOCH;
        assert_eq!(age(since, Timestamp::from_second(seconds).unwrap()), expected);
    }
}
