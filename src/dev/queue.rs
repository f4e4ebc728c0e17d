//! What is built when.
//!
//! Invariant (one build at a time): what is built together is never built twice at once, and what
//! changes meanwhile is built once more after it, however often it changed.
//!
//! Invariant (nothing starves): a build that is wanted and runs is never given up for a newer one, and
//! groups take turns in the order in which they began to wait. One that was begun ahead takes nobody's
//! turn, and may be stopped until it is wanted.

use std::collections::{BTreeMap, BTreeSet};

/// Builds that wait and builds that run; `G` names what is built together, `W` what is built.
#[derive(Debug)]
pub(super) struct Queue<G, W> {
    parallel: usize,
    /// Those that wait, the first to be next.
    waiting: Vec<(G, BTreeSet<W>)>,
    running: BTreeMap<G, BTreeSet<W>>,
}

impl<G: Ord + Clone, W: Ord + Clone> Queue<G, W> {
    /// One that has at most `parallel` builds run at once.
    pub(super) fn new(parallel: usize) -> Self {
        Self { parallel: parallel.max(1), waiting: Vec::new(), running: BTreeMap::new() }
    }

    /// Has at most so many builds run at once from now on.
    pub(super) fn set_parallel(&mut self, parallel: usize) {
        self.parallel = parallel.max(1);
    }

    /// Something of a group is to be built.
    pub(super) fn want(&mut self, group: G, what: W) {
        match self.waiting.iter_mut().find(|(waiting, _)| *waiting == group) {
            Some((_, all)) => {
                all.insert(what);
            }
            None => self.waiting.push((group, [what].into())),
        }
    }

    /// The build to begin now, if there is one.
    pub(super) fn next(&mut self) -> Option<(G, BTreeSet<W>)> {
        if self.running.len() >= self.parallel {
            return None;
        }
        let idle = |(group, _): &(G, _)| !self.running.contains_key(group);
        let (group, what) = self.waiting.remove(self.waiting.iter().position(idle)?);
        self.running.insert(group.clone(), what.clone());
        Some((group, what))
    }

    /// Whether a build may begin before it is wanted, as it takes nobody's turn. Then it runs from now
    /// on.
    pub(super) fn begin_ahead(&mut self, group: &G, what: &BTreeSet<W>) -> bool {
        let is_idle = |group: &G| !self.running.contains_key(group);
        let may_wait = self.waiting.iter().all(|(other, _)| !is_idle(other));
        if self.running.len() >= self.parallel || !is_idle(group) || !may_wait {
            return false;
        }
        self.running.insert(group.clone(), what.clone());
        true
    }

    /// A build has ended.
    pub(super) fn finished(&mut self, group: &G) {
        self.running.remove(group);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Happening {
        Saved(u8, u8),
        /// In a row that is not over yet.
        Paused(u8, u8),
        BuildEnds(usize),
    }

    fn happenings() -> impl Strategy<Value = Vec<Happening>> {
        let saved = (0..4_u8, 0..3_u8).prop_map(|(group, what)| Happening::Saved(group, what));
        let paused = (0..4_u8, 0..3_u8).prop_map(|(group, what)| Happening::Paused(group, what));
        let ends = (0..4_usize).prop_map(Happening::BuildEnds);
        let happening = prop_oneof![3 => saved, 1 => paused, 1 => ends];
        prop::collection::vec(happening, 0..200)
    }

    proptest! {
        /// Whatever is saved when: one build a group, all that was saved is in a build that begins
        /// after it or was begun ahead for it, and no group waits longer than each other group takes
        /// for one build.
        #[test]
        fn nothing_is_built_twice_at_once_forgotten_or_starved(
            parallel in 1..4_usize,
            happenings in happenings(),
        ) {
            let mut queue = Queue::new(parallel);
            let mut running: Vec<u8> = Vec::new();
            // Of those, what may still turn out to be wanted.
            let mut ahead: BTreeMap<u8, u8> = BTreeMap::new();
            // Saved and not yet in a build, with the builds begun since.
            let mut owed: BTreeMap<(u8, u8), usize> = BTreeMap::new();
            let end = (0..64).map(|_| Happening::BuildEnds(0));
            for happening in happenings.into_iter().chain(end) {
                match happening {
                    Happening::Saved(group, what) => {
                        // It is wanted now, or is stopped and ends some time.
                        if ahead.remove(&group) != Some(what) {
                            queue.want(group, what);
                            owed.entry((group, what)).or_insert(0);
                        }
                    }
                    Happening::Paused(group, what) => {
                        if queue.begin_ahead(&group, &[what].into()) {
                            prop_assert!(!running.contains(&group));
                            running.push(group);
                            prop_assert!(running.len() <= parallel);
                            ahead.insert(group, what);
                            let waits = |of: &u8| owed.keys().any(|(owed, _)| owed == of);
                            prop_assert!((0..4).all(|of| running.contains(&of) || !waits(&of)));
                        }
                    }
                    Happening::BuildEnds(index) if !running.is_empty() => {
                        let group = running.remove(index % running.len());
                        ahead.remove(&group);
                        queue.finished(&group);
                    }
                    Happening::BuildEnds(_) => {}
                }
                while let Some((group, built)) = queue.next() {
                    prop_assert!(!running.contains(&group));
                    running.push(group);
                    prop_assert!(running.len() <= parallel);
                    owed.retain(|(of, what), _| !(*of == group && built.contains(what)));
                    for ((of, _), begun) in &mut owed {
                        // While one's own build runs the others may have many.
                        if !running.contains(of) {
                            *begun += 1;
                            prop_assert!(*begun <= 4, "group {of} starves");
                        }
                    }
                }
            }
            prop_assert!(owed.is_empty(), "never built: {owed:?}");
        }
    }
}
