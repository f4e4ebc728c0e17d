//! Starts and stops by way of tq-launcher, `org.tqserver.Launcher1`.

use std::time::Duration;

use serde::Serialize;
use zbus::{Connection, DynamicType, connection, fdo};

use super::launcher1::{DISCONNECTED, NAME, PATH, REFUSED, START, STOP, SYSTEMD};
use super::session::Session;
use super::{LaunchError, Source, StartRequest};
use crate::ids::UnitName;

/// How long tq-launcher may take to answer: it may have to be started, and to copy a large worker.
const CALL_TIMEOUT: Duration = Duration::from_secs(150);

/// A connection to tq-launcher, of its own as its calls take longer than systemd's. Nothing is
/// sent over it until there is a call, and each call starts tq-launcher where it does not run.
#[derive(Debug)]
pub(super) struct Remote {
    connection: Connection,
}

/// Why a call was not performed, as far as is known.
#[derive(Debug)]
enum Unserved {
    /// It had no effect, for this reason.
    Answered(LaunchError),
    /// tq-launcher ended before it answered. Whatever it had asked of systemd by then, systemd has
    /// heard before anything that is asked from now on.
    Ended(String),
    /// There was no answer in time: it may be heard yet.
    Unanswered(String),
}

impl Remote {
    pub(super) async fn connect() -> zbus::Result<Self> {
        let builder = connection::Builder::system().method_timeout(CALL_TIMEOUT);
        Ok(Self { connection: builder.build().await? })
    }

    /// Asks for a generation; returns when systemd has taken the job.
    async fn start(&self, request: &StartRequest) -> Result<(), Unserved> {
        let unit = request.unit();
        let Source::Deployment(commit) = &request.source else {
            return Err(Unserved::Answered(LaunchError::Refused {
                worker: unit.worker,
                reason: "tq-launcher starts deployments only: use --mode prod, or --manager user"
                    .to_owned(),
            }));
        };
        let generation = request.generation.0;
        let (name, port) = (unit.worker.as_str(), unit.port.get());
        self.call(&unit, START, &(name, port, commit.as_str(), generation)).await
    }

    /// Asks for a unit to be stopped.
    async fn stop(&self, unit: &UnitName) -> Result<(), Unserved> {
        self.call(unit, STOP, &(unit.worker.as_str(), unit.port.get())).await
    }

    async fn call(
        &self,
        unit: &UnitName,
        method: &str,
        body: &(impl Serialize + DynamicType),
    ) -> Result<(), Unserved> {
        let call = || self.connection.call_method(Some(NAME), PATH, Some(NAME), method, body);
        let answer = match call().await {
            // Nobody had the name for a moment, so that nobody heard the call.
            Err(error) if is_undelivered(&error) => call().await,
            answer => answer,
        };
        answer.map(drop).map_err(|error| unserved(unit, &error))
    }
}

impl Session {
    /// Asks the service for a unit; returns when the job is queued. A service that ended meanwhile
    /// is asked once more, unless it had done its work.
    pub(super) async fn start_remotely(
        &self,
        remote: &Remote,
        request: &StartRequest,
    ) -> Result<(), LaunchError> {
        let unit = request.unit();
        let mut answer = remote.start(request).await;
        if let Err(Unserved::Ended(_)) = answer {
            answer = match self.names().await {
                Ok(names) if names.contains(&unit) => Ok(()),
                Ok(_) => remote.start(request).await,
                Err(error) => return Err(self.judge(&unit, error).await),
            };
        }
        self.heard(&unit, answer).await
    }

    /// Asks the service for the end of a unit; twice does no harm.
    pub(super) async fn stop_remotely(
        &self,
        remote: &Remote,
        unit: &UnitName,
    ) -> Result<(), LaunchError> {
        let mut answer = remote.stop(unit).await;
        if let Err(Unserved::Ended(_)) = answer {
            answer = remote.stop(unit).await;
        }
        self.heard(unit, answer).await
    }

    /// An answer of the service. Where it may have an effect yet, only a listing tells.
    async fn heard(
        &self,
        unit: &UnitName,
        answer: Result<(), Unserved>,
    ) -> Result<(), LaunchError> {
        match answer {
            Ok(()) => Ok(()),
            Err(Unserved::Answered(error)) => Err(error),
            Err(Unserved::Ended(reason)) => {
                Err(LaunchError::Systemd { unit: unit.clone(), reason })
            }
            Err(Unserved::Unanswered(reason)) => {
                self.close().await;
                Err(LaunchError::Disconnected(reason))
            }
        }
    }
}

fn is_undelivered(error: &zbus::Error) -> bool {
    matches!(error, zbus::Error::FDO(error)
        if matches!(**error, fdo::Error::ServiceUnknown(_) | fdo::Error::NameHasNoOwner(_)))
}

/// What an error of a call means.
fn unserved(unit: &UnitName, error: &zbus::Error) -> Unserved {
    let systemd = |reason| LaunchError::Systemd { unit: unit.clone(), reason };
    match error {
        zbus::Error::MethodError(name, text, _) => {
            let text = text.clone().unwrap_or_else(|| name.to_string());
            match name.as_str() {
                REFUSED => Unserved::Answered(LaunchError::Refused {
                    worker: unit.worker.clone(),
                    reason: text,
                }),
                SYSTEMD => Unserved::Answered(systemd(text)),
                DISCONNECTED => Unserved::Unanswered(text),
                // What systemd says of a unit that it cannot start for the bus.
                _ => Unserved::Answered(systemd(not_started(&text))),
            }
        }
        zbus::Error::FDO(error) => match &**error {
            // The bus says so when the one who was called is gone.
            fdo::Error::NoReply(text) => Unserved::Ended(format!(
                "tq-launcher ended before it answered ({text}): see `journalctl -u tq-launcher`"
            )),
            fdo::Error::ZBus(error) => Unserved::Unanswered(error.to_string()),
            fdo::Error::ServiceUnknown(text) | fdo::Error::NameHasNoOwner(text) => {
                Unserved::Answered(systemd(format!(
                    "D-Bus does not know tq-launcher ({text}): is the package complete? \
                     /usr/share/dbus-1/system-services/{NAME}.service says how to start it"
                )))
            }
            fdo::Error::AccessDenied(text) => Unserved::Answered(systemd(format!(
                "D-Bus does not let this process call tq-launcher ({text}): \
                 /usr/share/dbus-1/system.d/{NAME}.conf lets the user tqserver; if it was made \
                 after the bus was started, `systemctl reload dbus`"
            ))),
            error => Unserved::Answered(systemd(not_started(&error.to_string()))),
        },
        error => Unserved::Unanswered(error.to_string()),
    }
}

fn not_started(text: &str) -> String {
    format!("tq-launcher did not start ({text}): see `systemctl status tq-launcher.service`")
}
