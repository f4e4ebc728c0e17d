//! The loop of a development session.
//!
//! Nothing slow is done in it: files are compared, programs built and reloads awaited beside it. Only
//! while manifests are read again does it stand still, as what they say decides about all the rest.

mod ahead;
mod builds;
mod changes;
mod open;
mod reading;
mod serving;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::announce::Announcer;
use super::browsers::Browsers;
use super::job::Ended;
use super::queue::Queue;
use crate::admin::events::EventKind;
use crate::admin::feed::Feed;
use crate::build::dev::{SourceTree, Together};
use crate::config::Sources;
use crate::config::settings::{Settings, WatchSettings};
use crate::ids::WorkerName;
use crate::proxy::Live;
use crate::rollout::actor::RolloutHandle;
use crate::rollout::load::HeldBack;
use crate::rollout::report::{Report, ReportResult};
use crate::watch::contents::{Contents, Different};
use crate::watch::tree::{Changes, Noticed, TreeWatch};
use ahead::{HeadStart, Wishes};

/// What a session is made with.
pub struct Parts {
    /// Where the configuration is.
    pub sources: Sources,
    /// What it says.
    pub settings: Settings,
    /// Where it is told what happens.
    pub feed: Feed,
    /// The browsers to be told, unless pages are left as they are.
    pub live: Option<Arc<Live>>,
    /// Asks for everything to be built anew.
    pub rebuild: mpsc::Receiver<()>,
}

/// Watches, builds, and has the rollout serve what was built.
pub struct Session {
    sources: Sources,
    settings: Settings,
    watch_settings: WatchSettings,
    feed: Feed,
    rebuild: mpsc::Receiver<()>,
    held_back: Arc<HeldBack>,
    /// `None` while the project's manifests cannot be read.
    tree: Option<Arc<SourceTree>>,
    watch: TreeWatch,
    /// `None` while it is read beside us.
    contents: Option<Contents>,
    queue: Queue<Together, WorkerName>,
    /// Of each build that runs, whether its sources have changed since it began.
    outdated: BTreeMap<Together, Arc<AtomicBool>>,
    /// When the sources were written that each worker waits to be built for.
    written: BTreeMap<WorkerName, Instant>,
    announcer: Announcer,
    browsers: Browsers,
    /// What would be built if the row of changes were over that is noticed.
    wishes: Wishes,
    /// Builds that have begun before it is.
    ahead: BTreeMap<Together, HeadStart>,
    ended: (mpsc::UnboundedSender<Ended>, mpsc::UnboundedReceiver<Ended>),
    beside: JoinSet<Beside>,
}

/// What comes back from beside the session.
enum Beside {
    Contents(Contents),
    /// What has changed of what was noticed so far.
    Peeked(Contents, Different),
    /// What has changed of what was noticed, and when that was written.
    Compared(Contents, Different, Changes),
    Job,
    /// What a reload came to, and whether configuration had changed before it.
    Reloaded(Report, bool),
}

impl Session {
    /// Follows changes for as long as the daemon runs.
    pub async fn run(mut self, rollout: RolloutHandle) {
        let mut snapshots = rollout.snapshots();
        self.look(&mut snapshots);
        loop {
            self.build();
            self.build_ahead();
            tokio::select! {
                noticed = self.watch.noticed(), if self.contents.is_some() => match noticed {
                    Noticed::Pause(paths) => self.peek(paths),
                    Noticed::Over(changes) => self.compare(changes),
                },
                Some(ended) = self.ended.1.recv() => self.ended(ended, &rollout),
                Some(back) = self.beside.join_next() => {
                    let back = back.unwrap_or_else(|e| std::panic::resume_unwind(e.into_panic()));
                    self.back(back, &rollout).await;
                }
                Ok(()) = snapshots.changed() => self.look(&mut snapshots),
                Some(()) = self.rebuild.recv() => self.rebuild_all(&rollout).await,
            }
        }
    }

    async fn back(&mut self, back: Beside, rollout: &RolloutHandle) {
        match back {
            Beside::Contents(contents) => self.contents = Some(contents),
            Beside::Peeked(contents, different) => {
                self.contents = Some(contents);
                self.paused(&different);
            }
            Beside::Compared(contents, different, changes) => {
                self.contents = Some(contents);
                self.changed(&different, changes, rollout).await;
            }
            Beside::Job => {}
            Beside::Reloaded(report, configured) => {
                let refused =
                    report.reason.clone().filter(|_| report.result == ReportResult::Refused);
                if configured || refused.is_some() {
                    self.feed.publish(EventKind::Configuration { refused });
                }
                self.not_serving(&report);
            }
        }
    }

    /// A path as people see it: below the root.
    fn shown(&self, path: &Path) -> String {
        path.strip_prefix(&self.sources.root).unwrap_or(path).display().to_string()
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
