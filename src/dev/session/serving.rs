//! What becomes of programs: the rollout is asked to look, and what it says is told.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::Instant;

use super::super::announce::NowServing;
use super::{Beside, Session, millis};
use crate::admin::events::EventKind;
use crate::rollout::actor::RolloutHandle;
use crate::rollout::report::{Report, ReportResult};
use crate::rollout::status::Snapshot;

impl Session {
    pub(super) fn reload(&mut self, rollout: &RolloutHandle, configured: bool) {
        let report = rollout.reload();
        self.beside.spawn(async move { Beside::Reloaded(report.await, configured) });
    }

    /// Tells of workers whose new generation does not come to serve.
    pub(super) fn not_serving(&mut self, report: &Report) {
        if report.result != ReportResult::Failed {
            return;
        }
        let (reason, details) = (report.reason.clone().unwrap_or_default(), &report.details);
        for worker in &report.failed {
            self.browsers.not_started(worker, &reason, details);
            self.feed.publish(EventKind::NotServing {
                worker: worker.clone(),
                reason: reason.clone(),
                details: details.clone(),
                serving: self.announcer.serving(worker),
            });
        }
    }

    pub(super) fn look(&mut self, snapshots: &mut watch::Receiver<Arc<Snapshot>>) {
        let snapshot = Arc::clone(&snapshots.borrow_and_update());
        for NowServing { worker, generation, event } in
            self.announcer.look(&snapshot, Instant::now())
        {
            let about = self.tree.as_ref().and_then(|tree| tree.about(&worker));
            let language = about.map_or(String::new(), |(_, language)| language.to_owned());
            self.browsers.serves(&worker);
            self.feed.publish(EventKind::Serving {
                worker,
                route: event.route,
                language,
                generation,
                ready_ms: millis(event.ready),
                tabs: event.tabs,
                overhead_ms: event.overhead.map(millis),
            });
        }
    }
}
