//! A run of `tqctl dev` while it looks at a session: events become lines, keys and signals are
//! heeded.

use std::time::Duration;

use jiff::tz::TimeZone;
use tokio::time::{Instant, sleep, sleep_until};

use super::browser;
use super::keys::{Key, Keys};
use super::log::Follower;
use super::render::Renderer;
use super::session::Session;
use super::signals::Signals;
use crate::admin::events::Event;
use crate::ctl::client::{Client, ClientError, Events};
use crate::ctl::exit::{Exit, Failure};
use crate::ctl::output::{Output, Role, printable};

/// How long the first event may take before the first line is printed without it.
const PATIENCE: Duration = Duration::from_secs(2);
/// Between two attempts to reach a tqserver that is being started again.
const RETRY: Duration = Duration::from_millis(200);

/// Why it is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// Ctrl-C.
    Interrupted,
    /// SIGTERM, or the terminal is gone.
    Told,
    /// `q`.
    Quit,
    /// Somebody else has ended the session, or it has failed.
    SessionEnded,
}

impl Ending {
    /// The exit code for it.
    pub(super) fn exit(self) -> Exit {
        match self {
            Self::Interrupted => Exit::Interrupted,
            Self::Told | Self::Quit | Self::SessionEnded => Exit::Ok,
        }
    }
}

/// What is needed to look.
pub(super) struct Attached<'a> {
    feed: Feed<'a>,
    client: Client,
    renderer: Renderer,
    keys: Option<Keys>,
    log: Option<Follower>,
    url: String,
    out: &'a Output,
}

impl<'a> Attached<'a> {
    /// Looks at `session`, which is served at `url`.
    pub(super) fn new(
        session: &'a Session,
        client: Client,
        url: String,
        out: &'a Output,
    ) -> anyhow::Result<Self> {
        let verbose = out.is_verbose();
        let renderer = Renderer::new(url.clone(), TimeZone::system(), out.painter(), verbose);
        let feed = Feed { session, client: client.clone(), events: None, last: None };
        let keys = if out.wants_json() { None } else { Keys::open()? };
        let log = if verbose { Follower::start(session) } else { None };
        Ok(Self { feed, client, renderer, keys, log, url, out })
    }

    /// Prints what happens until something ends it.
    pub(super) async fn follow(mut self, signals: &mut Signals) -> Result<Ending, Failure> {
        if self.keys.is_some() {
            let hint = "o open in the browser · r rebuild · l one worker's lines · q quit";
            self.out.line(self.out.painter().paint(Role::Dim, hint))?;
        }
        let patience = Instant::now() + PATIENCE;
        loop {
            tokio::select! {
                biased;
                signal = signals.next_or_resumed() => match signal {
                    Some(ending) => return Ok(ending),
                    None => if let Some(keys) = &self.keys { keys.take()? },
                },
                key = Keys::next(&mut self.keys) => match key {
                    Key::Quit => return Ok(Ending::Quit),
                    key => self.act(key).await?,
                },
                event = self.feed.next() => match event.map_err(|error| error.into_failure())? {
                    Some(event) => self.show(&event)?,
                    None => return Ok(Ending::SessionEnded),
                },
                line = Follower::next(&mut self.log) => self.out.detail(printable(&line)),
                () = sleep_until(patience), if !self.renderer.has_begun() => {
                    let workers = self.client.status().await.map(|status| status.workers.len());
                    self.out.line(self.renderer.begin(workers.ok(), None))?;
                }
            }
        }
    }

    fn show(&mut self, event: &Event) -> anyhow::Result<()> {
        self.out.document(event)?;
        for line in self.renderer.event(event) {
            self.out.line(line)?;
        }
        Ok(())
    }

    async fn act(&mut self, key: Key) -> anyhow::Result<()> {
        match key {
            Key::Open => {
                if let Err(error) = browser::open(&self.url) {
                    self.out.warning(format_args!("xdg-open {}: {error}", self.url));
                }
            }
            Key::Rebuild => {
                if let Err(error) = self.client.rebuild().await {
                    self.out.warning(crate::ctl::output::printable_lines(&error.to_string()));
                }
            }
            Key::Filter => self.out.line(self.renderer.next_filter())?,
            Key::Quit => {}
        }
        Ok(())
    }
}

/// The session's events, over restarts of tqserver.
struct Feed<'a> {
    session: &'a Session,
    client: Client,
    events: Option<Events>,
    /// The number of the last event.
    last: Option<u64>,
}

impl Feed<'_> {
    /// The next event; `None` once the session has ended. Loses nothing when it is dropped before it
    /// completes.
    async fn next(&mut self) -> Result<Option<Event>, ClientError> {
        loop {
            let Some(events) = &mut self.events else {
                match self.client.events(self.last).await {
                    Ok(events) => self.events = Some(events),
                    Err(error @ (ClientError::Refused { .. } | ClientError::Schema(_))) => {
                        return Err(error);
                    }
                    Err(_) if self.ended().await => return Ok(None),
                    Err(_) => sleep(RETRY).await,
                }
                continue;
            };
            match events.next().await {
                Ok(Some(event)) => {
                    self.last = Some(event.id);
                    return Ok(Some(event));
                }
                Err(error @ ClientError::Schema(_)) => return Err(error),
                Ok(None) | Err(_) => self.events = None,
            }
        }
    }

    /// Whether there is nothing to come back to. A manager that does not answer says nothing.
    async fn ended(&self) -> bool {
        matches!(self.session.is_served().await, Ok(false))
    }
}
