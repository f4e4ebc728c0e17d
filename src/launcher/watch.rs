//! The task that owns the connection: it turns signals into events, and gets a new connection
//! when one is lost.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::StreamExt;
use tokio::sync::{mpsc, watch};

use super::session::{Bus, Session, Signals, Through};
use super::signals::Signal;
use super::tracker::Tracker;
use super::{LauncherConfig, UnitEvent};

/// Waits between attempts to reconnect: the first, and the longest.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// Follows worker units until the receiver of events is dropped.
pub(super) struct Watch {
    bus: Bus,
    through: Through,
    config: Arc<ArcSwap<LauncherConfig>>,
    /// Where calls find the connection; empty while there is none.
    current: watch::Sender<Option<Arc<Session>>>,
    events: mpsc::Sender<UnitEvent>,
    /// What the receiver has not had room for yet. Calls and signals share a connection, which
    /// stands still while its signals are not read: a slow receiver must not stop them.
    outbox: VecDeque<UnitEvent>,
    tracker: Tracker,
}

/// Why a connection is no longer followed.
enum Ended {
    Lost(String),
    NobodyListens,
}

impl Watch {
    pub(super) fn new(
        (bus, through): (Bus, Through),
        config: Arc<ArcSwap<LauncherConfig>>,
        current: watch::Sender<Option<Arc<Session>>>,
        events: mpsc::Sender<UnitEvent>,
    ) -> Self {
        let (outbox, tracker) = (VecDeque::new(), Tracker::default());
        Self { bus, through, config, current, events, outbox, tracker }
    }

    /// Connects, and follows what is there from then on.
    ///
    /// # Errors
    /// When there is no bus, or no systemd on it, and none comes within seconds: they may be
    /// starting at this moment, too.
    pub(super) async fn connect(&mut self) -> zbus::Result<Signals> {
        let (mut wait, longest) = BACK_OFF;
        loop {
            match self.open().await {
                Err(_) if wait < longest => tokio::time::sleep(wait).await,
                answer => return answer,
            }
            wait *= 2;
        }
    }

    async fn open(&mut self) -> zbus::Result<Signals> {
        let (session, signals) = Session::open(self.bus, self.through).await?;
        self.tracker.follow(&session.list(&self.config.load_full()).await?);
        self.current.send_replace(Some(Arc::new(session)));
        Ok(signals)
    }

    /// Runs, beginning with a connection there is.
    pub(super) async fn run(mut self, mut signals: Signals) {
        while let Ended::Lost(reason) = self.follow(signals).await {
            self.current.send_replace(None);
            tracing::warn!(reason, "connection to systemd lost; connecting again");
            signals = self.reconnect().await;
            tracing::info!("connected to systemd again");
        }
    }

    async fn follow(&mut self, mut signals: Signals) -> Ended {
        loop {
            let message = tokio::select! {
                message = signals.stream.next() => message,
                permit = self.events.reserve(), if !self.outbox.is_empty() => {
                    let (Ok(permit), Some(event)) = (permit, self.outbox.pop_front()) else {
                        return Ended::NobodyListens;
                    };
                    permit.send(event);
                    continue;
                }
                () = self.events.closed() => return Ended::NobodyListens,
            };
            let taken = match message {
                Some(Ok(message)) => {
                    let signal = Signal::parse(&message, signals.owner.as_deref());
                    self.take(signal, &mut signals.owner).await
                }
                Some(Err(error)) => Err(error),
                None => return Ended::Lost("the bus hung up".to_owned()),
            };
            if let Err(error) = taken {
                return Ended::Lost(error.to_string());
            }
        }
    }

    async fn take(
        &mut self,
        signal: Option<Signal>,
        owner: &mut Option<String>,
    ) -> zbus::Result<()> {
        match signal {
            None => {}
            // One that was known when we connected may be announced after it.
            Some(Signal::Owner(name)) if name == *owner => {}
            Some(Signal::Owner(name)) => {
                *owner = name;
                if owner.is_some() {
                    self.resync().await?;
                }
            }
            Some(Signal::Reloaded) => self.resync().await?,
            Some(signal) => self.outbox.extend(self.tracker.apply(signal)),
        }
        Ok(())
    }

    /// Reports all there is. What is signalled meanwhile waits in the stream and is taken after.
    async fn resync(&mut self) -> zbus::Result<()> {
        let Some(session) = self.current.borrow().clone() else { return Ok(()) };
        session.subscribe().await?;
        let units = session.list(&self.config.load_full()).await?;
        self.tracker.follow(&units);
        self.outbox.push_back(UnitEvent::Resync(units));
        Ok(())
    }

    async fn reconnect(&mut self) -> Signals {
        let (mut wait, longest) = BACK_OFF;
        loop {
            tokio::time::sleep(wait).await;
            let attempt = async {
                let (session, signals) = Session::open(self.bus, self.through).await?;
                self.current.send_replace(Some(Arc::new(session)));
                self.resync().await?;
                zbus::Result::Ok(signals)
            };
            match attempt.await {
                Ok(signals) => return signals,
                Err(error) => tracing::debug!(%error, ?wait, "still no connection to systemd"),
            }
            self.current.send_replace(None);
            wait = (wait * 2).min(longest);
        }
    }
}
