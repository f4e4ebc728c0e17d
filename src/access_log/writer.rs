//! The one thread that may wait for a disk or the journal.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use super::batch::Batch;
use super::sink::Sink;
use super::{AccessLog, lock};
use crate::config::settings::AccessLogSettings;

/// How often it is said that lines are lost.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(60);

/// What the writer is to do.
#[derive(Debug, Default)]
pub(super) struct Order {
    /// With which settings. `None`: none were applied yet.
    pub(super) settings: Option<AccessLogSettings>,
    /// How often the file was to be opened anew.
    pub(super) reopened: u64,
}

/// Writes batches until there are none to come.
pub(super) struct Writer {
    log: Arc<AccessLog>,
    sink: Option<Sink>,
    /// Of what `sink` was made.
    settings: Option<AccessLogSettings>,
    /// How much of the orders is carried out.
    changes: u64,
    reopened: u64,
    /// How many lines were lost when that was said last, and when that was.
    complained: Option<(u64, Instant)>,
}

impl Writer {
    pub(super) fn new(log: Arc<AccessLog>) -> Self {
        Self { log, sink: None, settings: None, changes: 0, reopened: 0, complained: None }
    }

    /// Returns when all pens and the log's own end of the queue are gone.
    pub(super) fn run(mut self, batches: &Receiver<Batch>) {
        while let Ok(batch) = batches.recv() {
            self.obey();
            self.write(&batch);
            self.complain();
        }
    }

    fn obey(&mut self) {
        let changes = self.log.changes.load(Ordering::Acquire);
        if changes == self.changes && self.sink.is_some() {
            return;
        }
        self.changes = changes;
        let order = lock(&self.log.order);
        if self.settings != order.settings {
            self.settings.clone_from(&order.settings);
            self.sink = self.settings.as_ref().map(Sink::new);
        } else if self.reopened != order.reopened
            && let Some(sink) = &mut self.sink
        {
            sink.reopen();
        }
        self.reopened = order.reopened;
    }

    fn write(&mut self, batch: &Batch) {
        let Some(sink) = &mut self.sink else { return };
        let appended = sink.append(batch);
        let written = match &appended {
            Ok(()) => batch.len(),
            Err((written, _)) => *written,
        };
        let counts = &self.log.counts;
        counts.written.fetch_add(written as u64, Ordering::Relaxed);
        if let Err((_, error)) = appended {
            let lost = (batch.len() - written) as u64;
            counts.dropped.fetch_add(lost, Ordering::Relaxed);
            if self.may_complain() {
                tracing::error!("the access log cannot be written: {error}");
                self.complained = Some((self.log.dropped(), Instant::now()));
            }
        }
    }

    /// Says that lines were lost for want of time.
    fn complain(&mut self) {
        let dropped = self.log.dropped();
        let before = self.complained.map_or(0, |(lost, _)| lost);
        if dropped > before && self.may_complain() {
            let lost = dropped - before;
            tracing::warn!(lost, "the access log is behind: {lost} lines were dropped");
            self.complained = Some((dropped, Instant::now()));
        }
    }

    fn may_complain(&self) -> bool {
        self.complained.is_none_or(|(_, at)| at.elapsed() >= COMPLAINT_INTERVAL)
    }
}
