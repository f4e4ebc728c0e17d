//! A loop that does what tools of the kind of `air` do: on a change it waits for the end of the
//! row, builds, and, if that succeeded, kills what runs and starts the new program.

use std::io;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use inotify::{Inotify, WatchMask};

/// After a change, before the build.
const DELAY: Duration = Duration::from_millis(100);

/// Between two looks for changes.
const INTERVAL: Duration = Duration::from_millis(2);

/// The loop. It ends, with what it runs, when this is dropped.
pub struct Restarter {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Restarter {
    /// Begins to follow what is written to files directly in `folder`. `command` makes the command
    /// that runs a program in the project's folder.
    pub fn start(folder: &Path, command: impl Fn(&str) -> Command + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut inotify = Inotify::init().unwrap();
        inotify.watches().add(folder, WatchMask::CLOSE_WRITE).unwrap();
        let thread = thread::spawn({
            let stop = Arc::clone(&stop);
            move || follow(&mut inotify, &stop, command)
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Restarter {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn follow(inotify: &mut Inotify, stop: &AtomicBool, command: impl Fn(&str) -> Command) {
    let build = || command("cargo").args(["build", "--quiet"]).status().unwrap().success();
    let start = || command("target/debug/index").spawn().unwrap();
    assert!(build(), "the first build succeeds");
    let mut runs = start();
    while !stop.load(Ordering::Relaxed) {
        if !has_changed(inotify) {
            thread::sleep(INTERVAL);
            continue;
        }
        thread::sleep(DELAY);
        has_changed(inotify);
        if build() {
            end(&mut runs);
            runs = start();
        }
    }
    end(&mut runs);
}

fn has_changed(inotify: &mut Inotify) -> bool {
    match inotify.read_events(&mut [0; 4096]) {
        Ok(events) => events.count() > 0,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => false,
        Err(error) => panic!("inotify: {error}"),
    }
}

fn end(child: &mut Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}
