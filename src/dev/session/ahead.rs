//! Head starts: builds that begin in a pause of a row of changes, before it is over.
//!
//! Invariant (a row is one change): what is built ahead is neither told of nor put in its place
//! before the row is over, and then only if the row has come to just what it is built from, with
//! nothing of that written since; otherwise it is stopped. So of a row there is one build at most,
//! and that is of its end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::time::Instant;

use super::super::meaning::Meaning;
use super::Session;
use crate::build::Verdict;
use crate::build::dev::Together;
use crate::ids::WorkerName;
use crate::watch::contents::Different;

/// What would be built if the row were over.
pub(super) type Wishes = BTreeMap<Together, Wish>;

/// Of what is built together, what would be.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Wish {
    workers: BTreeSet<WorkerName>,
    /// Their sources that have changed in the row.
    sources: Different,
}

/// A build that was begun ahead. It is stopped with this, unless it is wanted by then.
pub(super) struct HeadStart {
    /// What it is built for.
    wish: Wish,
    verdict: Arc<Verdict>,
}

impl Drop for HeadStart {
    fn drop(&mut self) {
        self.verdict.stop();
    }
}

impl Session {
    /// There is a pause in a row that has come to this.
    pub(super) fn paused(&mut self, different: &Different) {
        let meaning = self.meaning(different);
        self.wishes = self.wishes_of(&meaning, different);
        let wishes = &self.wishes;
        self.ahead.retain(|group, head_start| wishes.get(group) == Some(&head_start.wish));
    }

    /// Begins the builds of the row that can begin.
    pub(super) fn build_ahead(&mut self) {
        for (group, wish) in std::mem::take(&mut self.wishes) {
            if self.ahead.contains_key(&group) || !self.queue.begin_ahead(&group, &wish.workers) {
                self.wishes.insert(group, wish);
                continue;
            }
            let verdict = Arc::new(Verdict::default());
            self.begin(group.clone(), wish.workers.clone(), Some(Arc::clone(&verdict)));
            self.ahead.insert(group, HeadStart { wish, verdict });
        }
    }

    /// The row is over and has come to this: what is built for just that is wanted, all else is stopped.
    /// Returns the workers that need no other build.
    pub(super) fn row_is_over(
        &mut self,
        meaning: &Meaning,
        different: &Different,
        written: Instant,
    ) -> BTreeSet<WorkerName> {
        let wishes = self.wishes_of(meaning, different);
        self.wishes.clear();
        let mut begun = BTreeSet::new();
        for (group, head_start) in std::mem::take(&mut self.ahead) {
            if wishes.get(&group) != Some(&head_start.wish) {
                continue;
            }
            let workers = &head_start.wish.workers;
            self.tell_building(workers);
            self.written.extend(workers.iter().map(|worker| (worker.clone(), written)));
            begun.extend(workers.iter().cloned());
            head_start.verdict.want();
        }
        begun
    }

    /// Stops what was begun ahead: what there is to build is found out anew.
    pub(super) fn give_up_ahead(&mut self) {
        self.wishes.clear();
        self.ahead.clear();
    }

    fn wishes_of(&self, meaning: &Meaning, different: &Different) -> Wishes {
        let mut wishes = Wishes::new();
        // What there is to build may be something else then.
        let Some(tree) = self.tree.as_ref().filter(|_| !meaning.reads_anew()) else {
            return wishes;
        };
        for (worker, files) in &meaning.sources {
            let Some(group) = tree.together(worker).filter(|_| tree.can_be_stopped(worker)) else {
                continue;
            };
            let wish = wishes.entry(group).or_default();
            wish.workers.insert(worker.clone());
            let sources = files.iter().filter_map(|file| different.get_key_value(file));
            wish.sources.extend(sources.map(|(file, known)| (file.clone(), *known)));
        }
        wishes
    }
}
