//! Metrics as Prometheus reads them: its text format, version 0.0.4.

use std::fmt::{Display, Write};

/// The media type of what [`Exposition::finish`] gives.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It only rises; its name ends with `_total`.
    Counter,
    /// It rises and falls.
    Gauge,
    /// Cumulative buckets, with a sum and a count.
    Histogram,
    /// A sum and a count, here without quantiles.
    Summary,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Summary => "summary",
        }
    }
}

/// Metrics that are being written.
#[derive(Debug, Default)]
pub struct Exposition(String);

/// One metric, whose samples are being written.
#[derive(Debug)]
pub struct Family<'a> {
    text: &'a mut String,
    name: &'static str,
}

/// Labels of a sample, each a name and a value.
pub type Labels<'a> = &'a [(&'a str, &'a str)];

impl Exposition {
    /// Begins a metric. `help` is one line that says what it means.
    pub fn family(&mut self, name: &'static str, kind: Kind, help: &str) -> Family<'_> {
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(self.0, "# HELP {name} {help}");
        let _ = writeln!(self.0, "# TYPE {name} {}", kind.as_str());
        Family { text: &mut self.0, name }
    }

    /// All of it.
    pub fn finish(self) -> String {
        self.0
    }
}

impl Family<'_> {
    /// Writes a sample.
    pub fn sample(&mut self, labels: Labels<'_>, value: impl Display) {
        self.line("", labels, None, value);
    }

    /// Writes a histogram: how many were in each bucket, with the bucket's upper bound, how many there were
    /// in all, and what they come to together.
    pub fn histogram(
        &mut self,
        labels: Labels<'_>,
        buckets: impl IntoIterator<Item = (f64, u64)>,
        count: u64,
        sum: f64,
    ) {
        let mut below = 0;
        for (bound, in_bucket) in buckets {
            below += in_bucket;
            self.line("_bucket", labels, Some(&bound.to_string()), below);
        }
        self.line("_bucket", labels, Some("+Inf"), count);
        self.line("_sum", labels, None, sum);
        self.line("_count", labels, None, count);
    }

    /// Writes a summary: how many there were, and what they come to together.
    pub fn summary(&mut self, labels: Labels<'_>, count: u64, sum: f64) {
        self.line("_sum", labels, None, sum);
        self.line("_count", labels, None, count);
    }

    fn line(&mut self, suffix: &str, labels: Labels<'_>, bound: Option<&str>, value: impl Display) {
        let _ = write!(self.text, "{}{suffix}", self.name);
        let all = labels.iter().copied().chain(bound.map(|bound| ("le", bound)));
        let mut before = '{';
        for (name, value) in all {
            let _ = write!(self.text, "{before}{name}=\"");
            for char in value.chars() {
                match char {
                    '\\' | '"' => self.text.extend(['\\', char]),
                    '\n' => self.text.push_str("\\n"),
                    other => self.text.push(other),
                }
            }
            self.text.push('"');
            before = ',';
        }
        if before == ',' {
            self.text.push('}');
        }
        let _ = writeln!(self.text, " {value}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_lines_and_buckets_add_up() {
        let mut exposition = Exposition::default();
        exposition.family("a_total", Kind::Counter, "How many.").sample(&[], 3);
        let mut family = exposition.family("b_seconds", Kind::Histogram, "How long.");
        family.histogram(&[("worker", "app")], [(0.25, 1), (0.5, 2)], 4, 7.5);
        insta::assert_snapshot!(exposition.finish(), @r#"
        # HELP a_total How many.
        # TYPE a_total counter
        a_total 3
        # HELP b_seconds How long.
        # TYPE b_seconds histogram
        b_seconds_bucket{worker="app",le="0.25"} 1
        b_seconds_bucket{worker="app",le="0.5"} 3
        b_seconds_bucket{worker="app",le="+Inf"} 4
        b_seconds_sum{worker="app"} 7.5
        b_seconds_count{worker="app"} 4
        "#);
    }

    #[test]
    fn values_of_labels_cannot_end_them() {
        let mut exposition = Exposition::default();
        let mut family = exposition.family("a", Kind::Gauge, "One.");
        family.sample(&[("version", "1\"} 2\nb \\")], 1);
        assert!(exposition.finish().ends_with("\na{version=\"1\\\"} 2\\nb \\\\\"} 1\n"));
    }
}
