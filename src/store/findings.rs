//! All that is wrong at once, as far as anybody wants to read it.

use std::fmt;

/// How many are kept; the rest is counted.
const SHOWN: usize = 20;

/// What was found, in order: the first twenty, and how many more there were. Shown one to a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Findings<T> {
    /// The first of them.
    pub shown: Vec<T>,
    /// How many were not kept.
    pub more: usize,
}

impl<T> Findings<T> {
    pub(crate) fn none() -> Self {
        Self { shown: Vec::new(), more: 0 }
    }

    pub(crate) fn push(&mut self, finding: T) {
        if self.shown.len() < SHOWN {
            self.shown.push(finding);
        } else {
            self.more += 1;
        }
    }

    /// Success where nothing was found, else what `error` makes of it.
    pub(crate) fn into_result<E>(self, error: impl FnOnce(Self) -> E) -> Result<(), E> {
        if self.shown.is_empty() { Ok(()) } else { Err(error(self)) }
    }
}

impl<T: fmt::Display> fmt::Display for Findings<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // One alone fits on the line of what it is about.
        if let ([only], 0) = (self.shown.as_slice(), self.more) {
            return only.fmt(f);
        }
        write!(f, "{} problems", self.shown.len() + self.more)?;
        for finding in &self.shown {
            write!(f, "\n  {finding}")?;
        }
        if self.more > 0 {
            write!(f, "\n  and {} more", self.more)?;
        }
        Ok(())
    }
}
