//! One call of a compiler, and what it said.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;

use crate::build::dev::{Outcome, SourceTree, Together};
use crate::build::report::{Diagnostic, Event, Place, Report};
use crate::build::{BuildError, Verdict};
use crate::ids::WorkerName;

/// The longest log that is kept, in bytes.
const LONGEST_LOG: usize = 256 << 10;

/// A build to run beside the session.
pub(super) struct Job {
    /// What is built together.
    pub(super) group: Together,
    /// Of that, what is wanted.
    pub(super) workers: BTreeSet<WorkerName>,
    /// What there is to build.
    pub(super) tree: Arc<SourceTree>,
    /// Set where sources have changed since the build began.
    pub(super) outdated: Arc<AtomicBool>,
    /// Of a build that is begun ahead.
    pub(super) ahead: Option<Arc<Verdict>>,
}

/// How a build has ended.
pub(super) enum Ended {
    Done(Done),
    /// It was begun ahead and stopped, and has left nothing.
    Stopped(Together),
}

/// What a build has come to.
pub(super) struct Done {
    pub(super) group: Together,
    pub(super) workers: BTreeSet<WorkerName>,
    /// By worker; an error where the build could not even begin.
    pub(super) outcomes: Result<BTreeMap<WorkerName, Outcome>, String>,
    pub(super) said: Said,
}

/// What compilers said.
#[derive(Debug, Default)]
pub(super) struct Said {
    pub(super) log: String,
    /// What is wrong where.
    pub(super) places: Vec<Place>,
    /// How long they took; of those that ran at once, the longest.
    pub(super) took: Duration,
}

impl Job {
    /// Builds, tells `done` as soon as programs lie in their places, and then remembers what they
    /// were made from. Blocks.
    pub(super) fn run(self, ended: &mpsc::UnboundedSender<Ended>) {
        let Self { group, workers, tree, outdated, ahead } = self;
        let said = Listener::default();
        let names: Vec<_> = workers.iter().cloned().collect();
        let built = tree.build(&names, ahead.as_ref(), &said);
        // Where the session has ended there is nobody to tell.
        if let Err(BuildError::Stopped) = built {
            let _ = ended.send(Ended::Stopped(group));
            return;
        }
        let outcomes = built.as_ref().map(|built| built.outcomes());
        let outcomes = outcomes.map_err(|error| error.to_string());
        let said = said.into_said();
        let _ = ended.send(Ended::Done(Done { group, workers, outcomes, said }));
        // What was digested may be newer than what was built.
        if let Ok(built) = built
            && !outdated.load(Ordering::Acquire)
            && let Err(error) = built.finish()
        {
            tracing::warn!("the next session will build again: {error}");
        }
    }
}

/// Collects what compilers say: errors with a place, and, where there are none, everything.
#[derive(Default)]
struct Listener(Mutex<Heard>);

#[derive(Default)]
struct Heard {
    errors: String,
    others: String,
    places: Vec<Place>,
    took: Duration,
}

impl Listener {
    fn into_said(self) -> Said {
        let heard = self.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        let log = if heard.places.is_empty() { heard.others } else { heard.errors };
        Said { log, places: heard.places, took: heard.took }
    }
}

impl Report for Listener {
    fn event(&self, event: Event<'_>) {
        let mut heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Diagnostic(Diagnostic { text, error: Some(place) }) => {
                heard.places.push(place.clone());
                append(&mut heard.errors, text);
            }
            Event::Diagnostic(Diagnostic { text, error: None }) | Event::Output(text) => {
                append(&mut heard.others, text);
            }
            Event::Compiled(took) => heard.took = heard.took.max(took),
            Event::Tree(_) | Event::Building(_) | Event::Damaged { .. } => {}
        }
    }
}

/// Adds text with a line's end, as far as there is room for it.
fn append(log: &mut String, text: &str) {
    let room = LONGEST_LOG.saturating_sub(log.len()).min(text.len());
    let end = (0..=room).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
    log.push_str(&text[..end]);
    if end > 0 && !log.ends_with('\n') {
        log.push('\n');
    }
}
