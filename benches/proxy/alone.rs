//! Taking turns with others who measure on the same machine, by a file that all of them lock (flock).

use std::env;
use std::fs::File;
use std::time::{Duration, Instant};

/// After so long others get a chance between two rows.
const LONG: Duration = Duration::from_secs(90);

/// The file that `LOCK` names, if it names one.
pub struct Alone {
    file: Option<File>,
    since: Option<Instant>,
}

impl Alone {
    /// Does not lock it yet.
    pub fn by_environment() -> Self {
        let open = |path| File::open(&path).unwrap_or_else(|error| panic!("LOCK={path}: {error}"));
        Self { file: env::var("LOCK").ok().map(open), since: None }
    }

    /// Sees to it that it is locked, until [`Alone::end`].
    pub fn begin(&mut self) {
        let Some(file) = &self.file else { return };
        if self.since.is_some_and(|since| since.elapsed() > LONG) {
            file.unlock().unwrap();
            self.since = None;
        }
        if self.since.is_none() {
            file.lock().unwrap();
            self.since = Some(Instant::now());
        }
    }

    /// Sees to it that nobody else has locked it, for what disturbs others and is not disturbed by them,
    /// until [`Alone::end`].
    pub fn share(&mut self) {
        if let Some(file) = &self.file {
            file.lock_shared().unwrap();
            self.since = Some(Instant::now());
        }
    }

    /// Unlocks it.
    pub fn end(&mut self) {
        if let Some(file) = self.file.as_ref().filter(|_| self.since.take().is_some()) {
            file.unlock().unwrap();
        }
    }
}
