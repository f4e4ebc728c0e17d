//! The kernel's limits on watching, and what lifts them.

use std::io;

use nix::errno::Errno;

/// What to type when `error` says that a limit on watching is reached (inotify(7)); `None` when it
/// says something else.
pub(super) fn remedy(error: &io::Error) -> Option<&'static str> {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ENOSPC) => Some("sysctl fs.inotify.max_user_watches=524288"),
        Some(Errno::EMFILE) => Some("sysctl fs.inotify.max_user_instances=1024"),
        _ => None,
    }
}
