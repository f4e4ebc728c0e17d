//! inotify's watches on folders.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use inotify::{EventStream, Inotify, WatchDescriptor, WatchMask, Watches};

use super::super::selection::{Selection, walk};

/// Whole events of names of any length: one read takes some dozens of them.
const BUFFER: usize = 16 << 10;

/// A change of a file by whoever writes to it, or of a name.
const MASK: WatchMask = WatchMask::CLOSE_WRITE
    .union(WatchMask::CREATE)
    .union(WatchMask::DELETE)
    .union(WatchMask::MOVED_FROM)
    .union(WatchMask::MOVED_TO)
    .union(WatchMask::ATTRIB)
    .union(WatchMask::ONLYDIR)
    .union(WatchMask::DONT_FOLLOW);

/// Folders that are watched.
pub(super) struct Folders {
    pub(super) events: EventStream<Vec<u8>>,
    watches: Watches,
    pub(super) by_descriptor: HashMap<WatchDescriptor, PathBuf>,
    pub(super) by_path: BTreeMap<PathBuf, WatchDescriptor>,
}

impl Folders {
    /// Watches what is selected below `root`.
    pub(super) fn begin(root: &Path, selection: &Arc<dyn Selection>) -> io::Result<Self> {
        let inotify = Inotify::init()?;
        let watches = inotify.watches();
        let events = inotify.into_event_stream(vec![0; BUFFER])?;
        let mut folders =
            Self { events, watches, by_descriptor: HashMap::new(), by_path: BTreeMap::new() };
        folders.add(root, selection)?;
        Ok(folders)
    }

    /// Watches a folder and what is selected below it.
    pub(super) fn add(&mut self, folder: &Path, selection: &Arc<dyn Selection>) -> io::Result<()> {
        for path in walk(folder, selection, false).folders {
            match self.watches.add(&path, MASK) {
                Ok(descriptor) => {
                    self.by_descriptor.insert(descriptor.clone(), path.clone());
                    self.by_path.insert(path, descriptor);
                }
                // It has gone again.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) if error.kind() == io::ErrorKind::NotADirectory => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// A folder was moved away or deleted: what is below it has another path now, or none.
    pub(super) fn remove_below(&mut self, folder: &Path) {
        let below = self.by_path.range(folder.to_owned()..);
        let gone: Vec<_> = below
            .take_while(|(path, _)| path.starts_with(folder))
            .map(|(path, descriptor)| (path.clone(), descriptor.clone()))
            .collect();
        for (path, descriptor) in gone {
            self.by_path.remove(&path);
            self.by_descriptor.remove(&descriptor);
            // Fails where the kernel has ended it already.
            let _ = self.watches.remove(descriptor);
        }
    }

    /// The kernel has ended a watch.
    pub(super) fn forget(&mut self, descriptor: &WatchDescriptor) {
        if let Some(path) = self.by_descriptor.remove(descriptor)
            && self.by_path.get(&path) == Some(descriptor)
        {
            self.by_path.remove(&path);
        }
    }
}
