//! The systemd protocols of the process itself: sockets, notification, watchdog, journal.

pub mod journal;
pub mod logging;
pub mod notify;
pub mod sockets;
