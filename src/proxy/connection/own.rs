//! Answers that tqserver gives itself: pages, files, refusals.

use std::io;

use http::header::STRICT_TRANSPORT_SECURITY;
use http::{Response, StatusCode};
use tokio::time::Instant;

use super::super::body::Body;
use super::super::client::Client;
use super::super::forwarding::RequestId;
use super::super::live::Visit;
use super::super::logged;
use super::super::respond::{give, respond};
use super::super::service::{self, Ask, Refusal};
use super::super::socket::Socket;
use super::super::static_files::Hit;
use super::{Connection, Next, Upgraded};

impl Connection {
    /// Adds it to an answer of our own.
    fn secure(&self, response: &mut Response<Body>) {
        if let Some(hsts) = &self.hsts {
            response.headers_mut().insert(STRICT_TRANSPORT_SECURITY, hsts.clone());
        }
    }

    /// Says that there is no other answer, and why.
    pub(super) async fn refuse<S: Socket>(
        &self,
        client: &mut Client<S>,
        ask: &Ask,
        refusal: &Refusal,
        visit: Option<&Visit>,
    ) -> Next {
        let response = service::page(refusal, client.head(), &ask.id, visit);
        self.respond(client, ask, response, None, refusal.close).await
    }

    /// Says an answer of our own.
    pub(super) async fn respond<S: Socket>(
        &self,
        client: &mut Client<S>,
        ask: &Ask,
        mut response: Response<Body>,
        upgraded: Option<Upgraded>,
        close: bool,
    ) -> Next {
        self.secure(&mut response);
        let ending = self.begin_answer(client, ask, response.status(), close);
        let date = self.core.date.now(<[u8]>::to_vec);
        let limit = self.settings.listener.write_timeout;
        let said = respond(client, response, ask.is_head, ending.connection, &date, limit).await;
        match upgraded.filter(|_| said.is_ok()) {
            Some(upgraded) => Next::Upgrade(upgraded),
            None => self.end_answer(client, ask, &ending, said),
        }
    }

    /// Gives a file's answer that is at hand.
    pub(super) async fn give<S: Socket>(
        &self,
        client: &mut Client<S>,
        ask: &Ask,
        hit: &Hit,
    ) -> Next {
        let ending = self.begin_answer(client, ask, hit.status(), false);
        let limit = self.settings.listener.write_timeout;
        let date = &self.core.date;
        let hsts = self.hsts();
        let said = give(client, hit, ask.is_head, ending.connection, hsts, date, limit).await;
        self.end_answer(client, ask, &ending, said)
    }

    /// Counts an answer of our own, and decides what comes after it.
    fn begin_answer<S: Socket>(
        &self,
        client: &mut Client<S>,
        ask: &Ask,
        status: StatusCode,
        close: bool,
    ) -> Ending {
        self.core.counters.responded(status.as_u16());
        if let Some(entry) = &ask.entry {
            entry.responded(status.as_u16());
        }
        // What is left of the request would be taken for the next one.
        let unread = !client.skip_body(ask.body);
        let closing = self.core.closing.connections.is_said();
        let keeps_alive = ask.keeps_alive && !close && !unread && !closing;
        let switches = status == StatusCode::SWITCHING_PROTOCOLS;
        let connection = ask.connection_field(keeps_alive).filter(|_| !switches);
        Ending { connection, keeps_alive, lingers: close || unread }
    }

    fn end_answer<S: Socket>(
        &self,
        client: &mut Client<S>,
        ask: &Ask,
        ending: &Ending,
        said: io::Result<()>,
    ) -> Next {
        match said {
            Err(error) => {
                self.core.counters.aborted.add(1);
                if let Some(entry) = &ask.entry {
                    entry.broke_off();
                }
                tracing::debug!(client = %self.peer, request = %ask.id, "answer broken off: {error}");
                Next::Close
            }
            Ok(()) if ending.keeps_alive => {
                client.answered(Instant::now());
                Next::Request
            }
            Ok(()) if ending.lingers => Next::Linger,
            Ok(()) => self.end(client),
        }
    }

    /// Refuses what is no request.
    pub(super) async fn refuse_unheard<S: Socket>(
        &self,
        client: &mut Client<S>,
        status: StatusCode,
    ) -> Next {
        self.core.counters.responded(status.as_u16());
        let id = RequestId::Own(fastrand::u128(..));
        let (entry, sent_before) = (logged::begin_unheard(self, &id), client.leg.sent);
        let mut response = service::page(&Refusal::closing(status), &[], &id, None);
        self.secure(&mut response);
        let date = self.core.date.now(<[u8]>::to_vec);
        let limit = self.settings.listener.write_timeout;
        let said = respond(client, response, false, Some("close"), &date, limit).await;
        if let Some(entry) = entry {
            entry.responded(status.as_u16());
            if said.is_err() {
                entry.broke_off();
            }
            self.core.access_log.write(&entry, client.leg.sent - sent_before, "-");
        }
        match said {
            Ok(()) => Next::Linger,
            Err(_) => Next::Close,
        }
    }

    /// Ends a connection after a whole answer.
    pub(super) fn end<S: Socket>(&self, client: &Client<S>) -> Next {
        // What came on its heels will not be answered, and closed at once the kernel would reset.
        if client.leg.inbox.unread().is_empty() { Next::Close } else { Next::Linger }
    }
}

/// What comes after an answer of our own.
struct Ending {
    /// What the client is told of the connection.
    connection: Option<&'static str>,
    keeps_alive: bool,
    /// Whether the client may still be sending what will not be read.
    lingers: bool,
}
