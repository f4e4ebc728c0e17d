//! Noticing that the manifest was replaced.
//!
//! inotify watches the *directory*: the file itself is replaced by rename, and a watch on it would
//! go with the old one. A slow poll nets what inotify cannot tell: a directory that was not there
//! yet, a full queue, a network file system.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use inotify::{EventMask, EventStream, Inotify, WatchMask};
use tokio::time::{Instant, sleep_until};

use super::limits;

/// Waits for a manifest to change.
#[derive(Debug)]
pub struct ManifestWatch {
    path: PathBuf,
    /// Its sum, `<path>.md5`, where there is one: a manifest whose sum arrives later is another one.
    sum: PathBuf,
    interval: Duration,
    seen: [Option<Stamp>; 2],
    events: Option<EventStream<[u8; 4096]>>,
    next_poll: Instant,
    /// Whether `events` is there, for others to see.
    is_told: Arc<AtomicBool>,
}

/// What tells one version of a file from another without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let meta = std::fs::symlink_metadata(path).ok()?;
        Some(Self {
            inode: meta.ino(),
            size: meta.size(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        })
    }
}

impl ManifestWatch {
    /// Watches the file at `path`, and looks at it every `interval` besides.
    pub fn new(path: PathBuf, interval: Duration) -> Self {
        let mut sum = path.clone().into_os_string();
        sum.push(".md5");
        let sum = PathBuf::from(sum);
        let seen = [&path, &sum].map(|path| Stamp::of(path));
        let next_poll = Instant::now() + interval;
        let is_told = Arc::default();
        let mut watch = Self { path, sum, interval, seen, events: None, next_poll, is_told };
        watch.arm();
        watch
    }

    /// Whether the kernel tells of changes now; else they are only polled for.
    pub fn is_told(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.is_told)
    }

    /// Completes when the file is another one than it was at the last completion.
    ///
    /// Cancel safe: what was noticed is only forgotten once it was returned.
    pub async fn changed(&mut self) {
        loop {
            let stamps = [&self.path, &self.sum].map(|path| Stamp::of(path));
            if stamps[0].is_some() && stamps != self.seen {
                self.seen = stamps;
                return;
            }
            tokio::select! {
                alive = next_hint(&mut self.events, [&self.path, &self.sum]) => if !alive {
                    self.events = None;
                    self.is_told.store(false, Ordering::Relaxed);
                },
                () = sleep_until(self.next_poll) => {
                    self.next_poll = Instant::now() + self.interval;
                    if self.events.is_none() {
                        self.arm();
                    }
                }
            }
        }
    }

    fn arm(&mut self) {
        let Some(dir) = self.path.parent() else { return };
        let mask = WatchMask::CLOSE_WRITE
            | WatchMask::MOVED_TO
            | WatchMask::DELETE_SELF
            | WatchMask::MOVE_SELF
            | WatchMask::ONLYDIR;
        let armed = Inotify::init().and_then(|inotify| {
            inotify.watches().add(dir, mask)?;
            inotify.into_event_stream([0; 4096])
        });
        match armed {
            Ok(events) => {
                self.events = Some(events);
                self.is_told.store(true, Ordering::Relaxed);
            }
            Err(error) => {
                let poll = self.interval.as_secs();
                let dir = dir.display();
                match limits::remedy(&error) {
                    Some(command) => tracing::warn!(
                        "cannot watch {dir}, polling every {poll} s: raise the limit with \
                         '{command}'"
                    ),
                    None => tracing::debug!("cannot watch {dir} yet: {error}"),
                }
            }
        }
    }
}

/// Waits for an event that may concern one of the files; `false` when there will be no more of them.
async fn next_hint(events: &mut Option<EventStream<[u8; 4096]>>, paths: [&PathBuf; 2]) -> bool {
    let Some(stream) = events else { return std::future::pending().await };
    while let Some(Ok(event)) = stream.next().await {
        let gone = EventMask::DELETE_SELF | EventMask::MOVE_SELF | EventMask::IGNORED;
        if event.mask.intersects(gone) {
            return false;
        }
        // An overflow has no name: look, whatever it was.
        let name = event.name.as_deref();
        if name.is_none() || paths.iter().any(|path| path.file_name() == name) {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    const LONG: Duration = Duration::from_secs(3600);

    #[tokio::test]
    async fn a_rename_is_noticed_at_once_and_other_files_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let manifest = dir.path().join("manifest.json");
        std::fs::write(&manifest, "1").unwrap();
        let mut watch = ManifestWatch::new(manifest.clone(), LONG);
        std::fs::write(dir.path().join("other"), "x").unwrap();
        assert!(watch.changed().now_or_never().is_none());
        std::fs::write(dir.path().join("manifest.json.new"), "2").unwrap();
        std::fs::rename(dir.path().join("manifest.json.new"), &manifest).unwrap();
        watch.changed().await;
        assert!(watch.changed().now_or_never().is_none(), "one change is told once");
    }

    #[tokio::test(start_paused = true)]
    async fn a_directory_that_comes_later_is_found_by_the_poll() {
        let dir = tempfile::tempdir().unwrap();
        let deploy = dir.path().join("deploy");
        let mut watch = ManifestWatch::new(deploy.join("manifest.json"), LONG);
        assert!(watch.changed().now_or_never().is_none());
        std::fs::create_dir(&deploy).unwrap();
        std::fs::write(deploy.join("manifest.json"), "1").unwrap();
        watch.changed().await;
    }
}
