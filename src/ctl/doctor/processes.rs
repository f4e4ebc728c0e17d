//! Who holds what: sockets and inotify instances of the processes that we may look into.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Instant;

use super::ask::{self, PATIENCE};

/// A process, as `ps` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) pid: u32,
    /// The kernel's short name of its program.
    pub(super) name: String,
}

/// What was seen in `/proc`, in which others' descriptors are hidden from those who are not root.
#[derive(Debug, Default)]
pub(super) struct Processes {
    /// By the socket's inode.
    sockets: HashMap<u64, Vec<Process>>,
    /// inotify instances of this user.
    pub(super) inotify_instances: u64,
    /// Folders and files that those watch.
    pub(super) inotify_watches: u64,
    /// Processes whose descriptors may not be seen.
    pub(super) hidden: Vec<Process>,
}

impl Processes {
    /// Looks at all processes of the pid namespace that `uid` may look into.
    pub(super) fn look(uid: u32) -> Self {
        let mut found = Self::default();
        let deadline = Instant::now() + PATIENCE;
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let pid = entry.file_name().to_str().and_then(|name| name.parse().ok());
            let (Some(pid), true) = (pid, Instant::now() < deadline) else { continue };
            let folder = entry.path();
            let Some(name) = ask::file(folder.join("comm")) else { continue };
            let is_own = entry.metadata().is_ok_and(|it| it.uid() == uid);
            found.add(&folder, Process { pid, name }, is_own);
        }
        found
    }

    fn add(&mut self, folder: &Path, process: Process, is_own: bool) {
        let descriptors = match fs::read_dir(folder.join("fd")) {
            Ok(descriptors) => descriptors,
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                self.hidden.push(process);
                return;
            }
            // It has ended since.
            Err(_) => return,
        };
        for descriptor in descriptors.flatten() {
            let Ok(target) = fs::read_link(descriptor.path()) else { continue };
            let Some(target) = target.to_str() else { continue };
            let socket = target.strip_prefix("socket:[").and_then(|it| it.strip_suffix(']'));
            if let Some(inode) = socket.and_then(|inode| inode.parse().ok()) {
                let holders = self.sockets.entry(inode).or_default();
                if !holders.contains(&process) {
                    holders.push(process.clone());
                }
            } else if target == "anon_inode:inotify" && is_own {
                self.inotify_instances += 1;
                let info = folder.join("fdinfo").join(descriptor.file_name());
                let info = fs::read_to_string(info).unwrap_or_default();
                let watches = info.lines().filter(|line| line.starts_with("inotify ")).count();
                self.inotify_watches += watches as u64;
            }
        }
    }

    /// Who has the socket with this inode. systemd keeps those that it hands out, so it is named
    /// only where nobody else is.
    pub(super) fn holder(&self, inode: u64) -> Option<&Process> {
        let holders = self.sockets.get(&inode)?;
        holders.iter().find(|process| process.name != "systemd").or(holders.first())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use inotify::{Inotify, WatchMask};

    #[test]
    fn what_this_process_holds_is_seen() {
        let uid = nix::unistd::getuid().as_raw();
        let folder = tempfile::tempdir().unwrap();
        let inotify = Inotify::init().unwrap();
        inotify.watches().add(folder.path(), WatchMask::CREATE).unwrap();
        let socket = std::net::UdpSocket::bind(("127.0.0.1", 0)).unwrap();
        let fd = std::os::fd::AsRawFd::as_raw_fd(&socket);
        let link = fs::read_link(format!("/proc/self/fd/{fd}")).unwrap();
        let inode = link.to_str().unwrap().trim_matches(|c: char| !c.is_ascii_digit());

        let found = Processes::look(uid);
        assert_eq!(found.holder(inode.parse().unwrap()).unwrap().pid, std::process::id());
        assert!(found.inotify_instances >= 1 && found.inotify_watches >= 1, "{found:?}");
        assert_eq!(found.holder(0), None);
    }
}
