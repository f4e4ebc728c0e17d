//! `org.tqserver.Launcher1`: the D-Bus names that tq-launcher and its client share.

use super::LaunchError;

/// The bus name, and the interface of its one object.
pub(super) const NAME: &str = "org.tqserver.Launcher1";

/// The object.
pub(super) const PATH: &str = "/org/tqserver/Launcher1";

/// `StartWorker(s name, q port, s commit, t generation) -> ()`
pub(super) const START: &str = "StartWorker";

/// `StopWorker(s name, q port) -> ()`
pub(super) const STOP: &str = "StopWorker";

/// [`LaunchError::Refused`]; the text is the reason.
pub(super) const REFUSED: &str = "org.tqserver.Launcher1.Error.Refused";

/// [`LaunchError::Systemd`]; the text is systemd's.
pub(super) const SYSTEMD: &str = "org.tqserver.Launcher1.Error.Systemd";

/// [`LaunchError::Disconnected`]; whether the call had an effect is not known.
pub(super) const DISCONNECTED: &str = "org.tqserver.Launcher1.Error.Disconnected";

/// The D-Bus error that carries `error`: its name and its text.
pub(super) fn error_of(error: &LaunchError) -> (&'static str, &str) {
    match error {
        LaunchError::Refused { reason, .. } => (REFUSED, reason),
        LaunchError::Systemd { reason, .. } => (SYSTEMD, reason),
        LaunchError::Disconnected(reason) => (DISCONNECTED, reason),
    }
}
