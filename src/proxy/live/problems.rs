//! How a worker's build stands, as pages and error pages tell it.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::config::settings::EditorLink;

/// The most that is kept of a build's log, in bytes. The first error is the one to read.
const MAX_LOG: usize = 32 << 10;

/// The most that is kept of a place's message or name, in bytes.
const MAX_MESSAGE: usize = 2 << 10;

/// The most places that are kept.
const MAX_PLACES: usize = 50;

/// How the build of what a worker is to serve stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Build {
    /// It succeeded, or there is none.
    Fine,
    /// It runs.
    Building,
    /// It failed; what serves, if anything, is from before.
    Failed(Problems),
}

/// What is wrong with a worker's source. Cut to bounds and to plain text when it is set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems {
    /// What the toolchain said, as plain text.
    pub log: String,
    /// The places that it named, the most important first.
    pub places: Vec<Place>,
}

/// A place in a source file, and what is wrong there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file, absolute, for the editor.
    pub file: PathBuf,
    /// The file as it is shown, `workers/index/src/main.rs`.
    pub shown: String,
    /// The line, from 1.
    pub line: u32,
    /// The column, from 1.
    pub column: u32,
    /// What is wrong.
    pub message: String,
}

/// A build, shared by whoever tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Standing {
    /// See [`Build::Building`].
    Building,
    /// See [`Build::Failed`].
    Failed(Arc<Problems>),
}

impl Standing {
    /// `None` for a build that there is nothing to tell of.
    pub(super) fn of(build: Build) -> Option<Self> {
        match build {
            Build::Fine => None,
            Build::Building => Some(Self::Building),
            Build::Failed(problems) => Some(Self::Failed(Arc::new(problems.bounded()))),
        }
    }

    /// What a page's script is told.
    pub(super) fn to_json(&self, editor: &EditorLink) -> Value {
        match self {
            Self::Building => json!({ "state": "building" }),
            Self::Failed(problems) => {
                let place = |place: &Place| {
                    let mut value = place.to_json();
                    let href = editor.href(&place.file, place.line, place.column);
                    value["href"] = href.into();
                    value
                };
                let places: Vec<_> = problems.places.iter().map(place).collect();
                json!({ "state": "failed", "log": problems.log, "places": places })
            }
        }
    }
}

impl Problems {
    fn bounded(self) -> Self {
        let place = |place: Place| Place {
            shown: bounded(&place.shown, MAX_MESSAGE),
            message: bounded(&place.message, MAX_MESSAGE),
            ..place
        };
        Self {
            log: bounded(&self.log, MAX_LOG),
            places: self.places.into_iter().take(MAX_PLACES).map(place).collect(),
        }
    }
}

impl Place {
    /// Without the absolute path, which is nobody's but the editor's.
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "file": self.shown,
            "line": self.line,
            "column": self.column,
            "message": self.message,
        })
    }
}

/// `text` without control characters, but for the ends of lines and tabs, and cut at `max` bytes.
fn bounded(text: &str, max: usize) -> String {
    let end = (0..=max.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    let mut kept = text[..end.unwrap_or(0)].to_owned();
    kept.retain(|c| !c.is_control() || matches!(c, '\n' | '\t'));
    let left = text.len().saturating_sub(max);
    if left > 0 {
        let _ = write!(kept, "\n… {left} more bytes");
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_of_problems_has_bounds() {
        let place = Place {
            file: "/srv/main.rs".into(),
            shown: "main.rs".into(),
            line: 1,
            column: 1,
            message: "é".repeat(MAX_MESSAGE),
        };
        let log = format!("a\r\tb\u{1b}[1m\n{}", "x".repeat(MAX_LOG));
        let Some(Standing::Failed(kept)) =
            Standing::of(Build::Failed(Problems { log, places: vec![place; MAX_PLACES + 1] }))
        else {
            panic!("it has failed")
        };
        assert!(kept.log.starts_with("a\tb[1m\nxx"));
        assert!(kept.log.ends_with("x\n… 9 more bytes"), "{}", &kept.log[MAX_LOG - 20..]);
        assert_eq!(kept.places.len(), MAX_PLACES);
        let half = MAX_MESSAGE / 2;
        assert_eq!(
            kept.places[0].message,
            format!("{}\n… {MAX_MESSAGE} more bytes", "é".repeat(half))
        );
    }
}
