//! What the daemon does for as long as it runs, beside serving.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::signal::unix::Signal;
use tokio::task::JoinSet;

use super::reloads::Reloads;
use crate::access_log::AccessLog;
use crate::proxy::CountersReader;
use crate::rollout::actor::RolloutHandle;
use crate::rollout::report::ReportResult;
use crate::sd::notify::Notifier;
use crate::tls::PublishedTls;
use crate::watch::manifest::ManifestWatch;

/// Has the rollout look whenever the manifest may have changed.
pub(super) async fn manifest(mut watch: ManifestWatch, rollout: RolloutHandle) {
    loop {
        watch.changed().await;
        rollout.manifest_changed().await;
    }
}

/// Reloads whenever SIGHUP comes, if it is to be heeded. The access log is opened anew in any case.
pub(super) async fn hangups(
    mut signals: Signal,
    heed: bool,
    reloads: Reloads,
    access_log: Arc<AccessLog>,
) {
    let mut verdicts = JoinSet::new();
    loop {
        tokio::select! {
            Some(()) = signals.recv() => {
                access_log.reopen();
                if heed {
                    Notifier.reloading();
                    // A later one must not wait for this verdict.
                    verdicts.spawn(reloads.reload());
                } else {
                    tracing::warn!("SIGHUP is ignored: reload_triggers does not name it");
                }
            }
            Some(report) = verdicts.join_next() => {
                match report {
                    // Its first word is READY=1; from us none is taken any more.
                    Ok(report) if report.result == ReportResult::HandedOver => {}
                    Ok(report) => Notifier.ready(&report.to_string()),
                    Err(error) => Notifier.ready(&error.to_string()),
                }
            }
        }
    }
}

/// Keeps the line that `systemctl status` shows up to date.
pub(super) async fn status(rollout: RolloutHandle) {
    let mut shown = String::new();
    let mut snapshots = rollout.snapshots();
    while snapshots.changed().await.is_ok() {
        let line = snapshots.borrow_and_update().to_string();
        if line != shown {
            Notifier.status(&line);
            shown = line;
        }
    }
}

/// Says once a day what there is to say about the certificates: nobody reloads after a renewal that
/// has failed.
pub(super) async fn certificates(published: Arc<PublishedTls>) {
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    loop {
        tokio::time::sleep(DAY).await;
        for warning in published.warnings(Timestamp::now()) {
            tracing::warn!("{warning}");
        }
    }
}

/// Whether every thread of the data plane has done something since the last asking. The control
/// plane needs no such look: where it hangs, this is not asked.
pub(super) fn heartbeats(counters: CountersReader) -> impl FnMut() -> bool {
    let mut last: Vec<u64> = Vec::new();
    move || {
        let now = counters.heartbeats();
        let alive = last.is_empty() || last.iter().zip(&now).all(|(before, now)| before != now);
        last = now;
        alive
    }
}
