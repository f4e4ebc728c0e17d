//! Noticing that files of a source tree were written to.
//!
//! inotify watches *folders*: editors replace files, and a watch on a file would go with the old
//! one. Where the kernel's limits do not allow that, the tree is looked through every second.

mod folders;

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use inotify::{Event, EventMask};
use tokio::time::{Instant, sleep_until};

use super::debounce::Debounce;
use super::limits;
use super::selection::{Selection, walk};
use folders::Folders;

/// How often the tree is looked through where it cannot be watched.
const POLL: Duration = Duration::from_secs(1);

/// How long changes are held back while git writes files.
const PATIENCE_WITH_GIT: Duration = Duration::from_secs(10);

/// More files than this at once are no editor's work, and a row of them has no pauses.
const FEW: usize = 64;

/// How often to look whether it still does.
const LOOK_AT_GIT: Duration = Duration::from_millis(20);

/// Waits for files of a tree to change.
pub struct TreeWatch {
    root: PathBuf,
    selection: Arc<dyn Selection>,
    debounce: Debounce,
    watching: Watching,
    pending: BTreeSet<PathBuf>,
    rescan: bool,
    waits_for_git: bool,
}

/// What is noticed.
#[derive(Debug)]
pub enum Noticed {
    /// Some files and folders may have changed since the row of changes began, and nothing more did
    /// for some milliseconds; the row is not over, and what comes of it may be something else.
    Pause(BTreeSet<PathBuf>),
    /// The row is over.
    Over(Changes),
}

/// What may have changed, once nothing more has for a while.
#[derive(Debug)]
pub struct Changes {
    /// Files and folders, some of which may be gone, or be what they were.
    pub paths: BTreeSet<PathBuf>,
    /// Whether anything else may have changed as well.
    pub rescan: bool,
    /// When the last of it was noticed.
    pub last: Instant,
}

enum Watching {
    Folders(Folders),
    Polling { reason: String, next: Instant },
}

impl TreeWatch {
    /// Watches what is selected below `root`; changes are told of once there were none for
    /// `debounce`, and half a second after the first at the latest. Blocks.
    pub fn new(root: &Path, selection: Arc<dyn Selection>, debounce: Duration) -> Self {
        let watching = Watching::begin(root, &selection);
        Self {
            root: root.to_owned(),
            selection,
            debounce: Debounce::new(debounce),
            watching,
            pending: BTreeSet::new(),
            rescan: false,
            waits_for_git: false,
        }
    }

    /// Watches another selection from now on. What was written and not heard of yet is in a change
    /// of everything, which follows. Blocks.
    pub fn select(&mut self, selection: Arc<dyn Selection>, debounce: Duration) {
        self.selection = selection;
        self.debounce = Debounce::new(debounce);
        self.begin_anew();
    }

    /// How many folders are watched.
    pub fn folders(&self) -> usize {
        match &self.watching {
            Watching::Folders(folders) => folders.by_path.len(),
            Watching::Polling { .. } => walk(&self.root, &self.selection, false).folders.len(),
        }
    }

    /// Why the tree is looked through every second, and what to type against it; `None` where it
    /// is watched.
    pub fn polling(&self) -> Option<&str> {
        match &self.watching {
            Watching::Folders(_) => None,
            Watching::Polling { reason, .. } => Some(reason),
        }
    }

    /// Completes when something may have changed.
    ///
    /// Cancel safe: what was noticed is only forgotten once it was returned.
    pub async fn noticed(&mut self) -> Noticed {
        loop {
            let (pause, due) = (self.debounce.pause(), self.due());
            match &mut self.watching {
                Watching::Folders(folders) => tokio::select! {
                    event = folders.events.next() => self.heed(event),
                    () = until(pause) => {
                        self.debounce.paused();
                        if !self.rescan && self.pending.len() <= FEW && !self.git_writes() {
                            return Noticed::Pause(self.pending.clone());
                        }
                    }
                    () = until(due) => {
                        if self.git_writes() {
                            self.waits_for_git = true;
                        } else if std::mem::take(&mut self.waits_for_git) {
                            // What it wrote last may still be on its way to us.
                            self.debounce.restart(Instant::now());
                        } else {
                            return Noticed::Over(self.take());
                        }
                    }
                },
                Watching::Polling { next, .. } => {
                    sleep_until(*next).await;
                    *next = Instant::now() + POLL;
                    self.rescan = true;
                    return Noticed::Over(self.take());
                }
            }
        }
    }

    fn take(&mut self) -> Changes {
        Changes {
            last: self.debounce.take().unwrap_or_else(Instant::now),
            paths: std::mem::take(&mut self.pending),
            rescan: std::mem::take(&mut self.rescan),
        }
    }

    /// When to look whether the pending changes are to be told.
    fn due(&self) -> Option<Instant> {
        let due = self.debounce.due()?;
        Some(if self.waits_for_git { Instant::now() + LOOK_AT_GIT } else { due })
    }

    /// Whether git is in the middle of writing files: then changes wait, so that a checkout of many
    /// is one change.
    fn git_writes(&self) -> bool {
        let since = self.debounce.since();
        since.is_some_and(|since| since.elapsed() < PATIENCE_WITH_GIT)
            && self.root.join(".git/index.lock").exists()
    }

    fn heed(&mut self, event: Option<io::Result<Event<std::ffi::OsString>>>) {
        let event = match event {
            Some(Ok(event)) => event,
            // It cannot be read any more: begin anew, and look at everything.
            Some(Err(_)) | None => return self.begin_anew(),
        };
        let Watching::Folders(folders) = &mut self.watching else { return };
        if event.mask.contains(EventMask::Q_OVERFLOW) {
            return self.begin_anew();
        }
        if event.mask.contains(EventMask::IGNORED) {
            folders.forget(&event.wd);
            return;
        }
        let Some(folder) = folders.by_descriptor.get(&event.wd) else { return };
        let Some(name) = event.name else { return };
        let path = folder.join(name);
        if event.mask.contains(EventMask::ISDIR) {
            if event.mask.contains(EventMask::ATTRIB) || !self.selection.enters(&path) {
                return;
            }
            if event.mask.intersects(EventMask::CREATE | EventMask::MOVED_TO) {
                // Its files may have come before the watch: the folder as a whole has changed.
                if let Err(error) = folders.add(&path, &self.selection) {
                    self.watching = Watching::polling(&error);
                }
            } else {
                folders.remove_below(&path);
            }
        } else if !self.selection.wants(&path) {
            return;
        }
        self.pending.insert(path);
        self.debounce.changed(Instant::now());
    }

    fn begin_anew(&mut self) {
        self.watching = Watching::begin(&self.root, &self.selection);
        self.rescan = true;
        self.debounce.changed(Instant::now());
    }
}

impl Watching {
    fn begin(root: &Path, selection: &Arc<dyn Selection>) -> Self {
        Folders::begin(root, selection).map_or_else(|error| Self::polling(&error), Self::Folders)
    }

    fn polling(error: &io::Error) -> Self {
        let every = POLL.as_secs();
        let reason = match limits::remedy(error) {
            Some(command) => format!(
                "the source tree is looked through every {every} s, as the kernel's limit on \
                 watching is reached; to raise it: {command}"
            ),
            None => format!(
                "the source tree is looked through every {every} s, as it cannot be watched: {error}"
            ),
        };
        Self::Polling { reason, next: Instant::now() + POLL }
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
