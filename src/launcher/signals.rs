//! systemd's signals, reduced to what a generation's life is read from.

use std::collections::HashMap;

use zbus::{MatchRule, Message, OwnedObjectPath, Variant, message};

use super::systemd1;
use crate::ids::UnitName;

const SYSTEMD: &str = "org.freedesktop.systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const BUS: &str = "org.freedesktop.DBus";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

/// A signal about a worker unit, or about the manager as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Signal {
    /// A job was queued for a unit.
    JobNew(UnitName),
    /// A unit's job ended, with this result.
    JobRemoved(UnitName, String),
    /// A unit was unloaded.
    UnitRemoved(UnitName),
    /// Some of a unit's properties changed.
    Changed(UnitName, Change),
    /// The manager is about to re-read all units, or to re-execute itself: it unloads them first.
    Reloading,
    /// The manager has re-read all units, or has just re-executed itself.
    Reloaded,
    /// The manager has this unique name now; `None` while there is no manager.
    Owner(Option<String>),
}

/// The properties of interest in one `PropertiesChanged`.
///
/// One signal carries one interface: systemd sends the service's first, the unit's after it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Change {
    /// `Unit.ActiveState`
    pub(super) active_state: Option<String>,
    /// Whether `Unit.Job` names a job.
    pub(super) job: Option<bool>,
    /// `Service.Result`
    pub(super) result: Option<String>,
    /// `Service.ExecMainCode`, a CLD_ constant (sigaction(2)).
    pub(super) main_code: Option<i32>,
    /// `Service.ExecMainStatus`, an exit status or a signal.
    pub(super) main_status: Option<i32>,
}

/// What to ask the bus for. systemd is matched by its well-known name, as it gets another unique
/// one whenever it re-executes itself.
pub(super) fn match_rules() -> zbus::Result<Vec<MatchRule<'static>>> {
    let signal = || MatchRule::builder().msg_type(message::Type::Signal);
    let manager = |member| signal().sender(SYSTEMD).interface(MANAGER).member(member).build();
    vec![
        manager("JobNew"),
        manager("JobRemoved"),
        manager("UnitRemoved"),
        manager("Reloading"),
        signal()
            .sender(SYSTEMD)
            .interface(PROPERTIES)
            .member("PropertiesChanged")
            .path_namespace("/org/freedesktop/systemd1/unit")
            .build(),
        signal().sender(BUS).interface(BUS).member("NameOwnerChanged").add_arg(SYSTEMD).build(),
    ]
    .into_iter()
    .collect()
}

impl Signal {
    /// Reads a message from the bus; `None` for everything that is of no interest.
    ///
    /// A signal may be addressed to us by anybody on the bus, whatever we asked for: only what
    /// the manager itself (`owner`) or the bus sent counts.
    pub(super) fn parse(message: &Message, owner: Option<&str>) -> Option<Self> {
        if message.message_type() != message::Type::Signal {
            return None;
        }
        let header = message.header();
        let sender = header.sender()?.as_str();
        let (interface, member) = (header.interface()?.as_str(), header.member()?.as_str());
        let body = message.body();
        if sender == BUS {
            let (name, _old, new): (&str, &str, &str) = body.deserialize().ok()?;
            let concerned = (interface, member, name) == (BUS, "NameOwnerChanged", SYSTEMD);
            return concerned.then(|| Self::Owner(Some(new.to_owned()).filter(|n| !n.is_empty())));
        }
        if Some(sender) != owner {
            return None;
        }
        match (interface, member) {
            (MANAGER, "JobNew") => {
                let (_id, _job, unit): (u32, OwnedObjectPath, &str) = body.deserialize().ok()?;
                Some(Self::JobNew(unit.parse().ok()?))
            }
            (MANAGER, "JobRemoved") => {
                let (_id, _job, unit, result): (u32, OwnedObjectPath, &str, &str) =
                    body.deserialize().ok()?;
                Some(Self::JobRemoved(unit.parse().ok()?, result.to_owned()))
            }
            (MANAGER, "UnitRemoved") => {
                let (unit, _path): (&str, OwnedObjectPath) = body.deserialize().ok()?;
                Some(Self::UnitRemoved(unit.parse().ok()?))
            }
            (MANAGER, "Reloading") => match body.deserialize::<bool>().ok()? {
                true => Some(Self::Reloading),
                false => Some(Self::Reloaded),
            },
            (PROPERTIES, "PropertiesChanged") => {
                let unit = systemd1::unit_of(header.path()?.as_str())?;
                let (_interface, changed, _invalidated): (
                    &str,
                    HashMap<&str, Variant<'_>>,
                    Vec<&str>,
                ) = body.deserialize().ok()?;
                Some(Self::Changed(unit, Change::read(&changed)))
            }
            _ => None,
        }
    }
}

impl Change {
    fn read(changed: &HashMap<&str, Variant<'_>>) -> Self {
        let text = |name| match changed.get(name) {
            Some(Variant::Str(text)) => Some(text.as_str().to_owned()),
            _ => None,
        };
        let number = |name| match changed.get(name) {
            Some(Variant::I32(number)) => Some(*number),
            _ => None,
        };
        // Job is (uo), with 0 for none.
        let job = match changed.get("Job") {
            Some(Variant::Structure(job)) => Some(job.fields().first() != Some(&Variant::U32(0))),
            _ => None,
        };
        Self {
            active_state: text("ActiveState"),
            job,
            result: text("Result"),
            main_code: number("ExecMainCode"),
            main_status: number("ExecMainStatus"),
        }
    }
}
