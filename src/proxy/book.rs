//! What workers have done, through all their generations: a worker's numbers only rise, although
//! those that counted come and go.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::table::RouteTable;
use super::tally::WorkerFigures;
use super::target::Target;
use crate::ids::WorkerName;

/// The figures of every worker that is routed, or finishes requests.
#[derive(Debug, Default)]
pub(super) struct Book(Mutex<Pages>);

#[derive(Debug, Default)]
struct Pages {
    /// What was published and may still count.
    live: Vec<Arc<Target>>,
    /// What those before have counted.
    past: BTreeMap<WorkerName, WorkerFigures>,
}

impl Book {
    /// Takes note of a table that is about to be published. Workers that it does not have, and that have
    /// nothing in flight, are forgotten: so there is a bound to them.
    pub(super) fn note(&self, table: &RouteTable) {
        let mut pages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pages.close_accounts();
        for target in table.routes().iter().flat_map(|route| route.all_targets()) {
            if !pages.live.iter().any(|known| Arc::ptr_eq(known, target)) {
                pages.live.push(Arc::clone(target));
            }
        }
        let Pages { live, past } = &mut *pages;
        for route in table.routes() {
            past.entry(route.worker.clone()).or_default();
        }
        past.retain(|name, _| {
            let is_routed = table.routes().iter().any(|route| route.worker == *name);
            is_routed || live.iter().any(|target| target.worker == *name)
        });
    }

    /// The sums of this moment.
    pub(super) fn read(&self) -> BTreeMap<WorkerName, WorkerFigures> {
        let mut pages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pages.close_accounts();
        let mut sums = pages.past.clone();
        for target in &pages.live {
            sums.entry(target.worker.clone()).or_default().add(&target.figures());
        }
        sums
    }
}

impl Pages {
    /// Adds up what counts no more: it drains, and all that it was asked is answered.
    fn close_accounts(&mut self) {
        let past = &mut self.past;
        self.live.retain(|target| {
            if !target.is_drained() {
                return true;
            }
            past.entry(target.worker.clone()).or_default().add(&target.figures());
            false
        });
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::ids::Generation;
    use crate::proxy::table::{Route, UpstreamTimeouts, WeightedTargets};

    fn target(worker: &str, generation: u64) -> Arc<Target> {
        let name = worker.parse().unwrap();
        Target::new(name, Generation(generation), ([127, 0, 0, 1], 9000).into())
    }

    fn table(targets: &[&Arc<Target>]) -> RouteTable {
        let second = Duration::from_secs(1);
        RouteTable::new(targets.iter().map(|target| Route {
            worker: target.worker.clone(),
            path: crate::ids::RoutePath::from_worker_name(&target.worker),
            strip_prefix: false,
            timeouts: UpstreamTimeouts { response: second, body_idle: second },
            compression: None,
            targets: WeightedTargets::single(Arc::clone(target)),
            public: Vec::new(),
            canary: None,
            refused: None,
            asleep: None,
        }))
    }

    #[test]
    fn a_workers_figures_outlive_its_generations() {
        let (book, first, second) = (Book::default(), target("app", 1), target("app", 2));
        book.note(&table(&[&first]));
        first.tally(0).requests.add(2);
        let late = first.claim().unwrap();
        book.note(&table(&[&second]));
        first.start_draining();
        second.tally(1).requests.add(3);
        // It still owes an answer, which is counted when it comes.
        first.tally(0).responded(503);
        drop(late);
        for _ in 0..2 {
            let figures = book.read()[&first.worker];
            assert_eq!((figures.requests, figures.responses[4]), (5, 1));
        }
    }

    #[test]
    fn workers_that_are_gone_are_forgotten_once_they_owe_nothing() {
        let (book, app, other) = (Book::default(), target("app", 1), target("other", 1));
        book.note(&table(&[&app, &other]));
        let claim = app.claim();
        book.note(&table(&[&other]));
        app.start_draining();
        assert!(book.read().contains_key(&app.worker));
        drop(claim);
        book.note(&table(&[&other]));
        assert_eq!(book.read().into_keys().collect::<Vec<_>>(), ["other".parse().unwrap()]);
    }
}
