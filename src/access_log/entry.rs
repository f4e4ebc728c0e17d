//! What is known of one request.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant, SystemTime};

use crate::ids::{Generation, WorkerName};

/// The longest text that is kept, in bytes; of longer ones the beginning is. A line is bounded so,
/// whatever a client says.
pub(super) const MAX_TEXT: usize = 2048;

/// How many texts a request has.
pub(super) const TEXTS: usize = 7;

/// What a request said, as texts that may hold any byte.
#[derive(Debug, Clone, Copy)]
pub struct Heard<'a> {
    /// Who asks: an address.
    pub client: &'a str,
    /// The request's name.
    pub id: &'a str,
    /// The method.
    pub method: &'a str,
    /// The path; empty where there was no request.
    pub path: &'a str,
    /// What follows the question mark, if there is one.
    pub query: Option<&'a str>,
    /// The host that is asked.
    pub host: &'a str,
    /// `Referer`.
    pub referer: &'a [u8],
    /// `User-Agent`.
    pub user_agent: &'a [u8],
}

/// A request that is being answered. Whoever learns something of it notes it here.
#[derive(Debug)]
pub struct Entry {
    /// The texts behind one another.
    pub(super) texts: Vec<u8>,
    /// How long each is.
    pub(super) lens: [u16; TEXTS],
    began_at: SystemTime,
    began: Instant,
    status: Cell<u16>,
    upstream: Cell<Option<Duration>>,
    worker: RefCell<Option<(WorkerName, Generation)>>,
    aborted: Cell<bool>,
}

/// Numbers of a request that was answered.
#[derive(Debug, Clone)]
pub(super) struct Facts {
    pub(super) lens: [u16; TEXTS],
    pub(super) began_at: SystemTime,
    pub(super) took: Duration,
    pub(super) upstream: Option<Duration>,
    /// 499: the client was gone before there was an answer.
    pub(super) status: u16,
    pub(super) sent: u64,
    pub(super) worker: Option<(WorkerName, Generation)>,
    pub(super) aborted: bool,
    pub(super) protocol: &'static str,
}

/// The status of a request whose client went away before it was answered, as other servers write it.
const CLIENT_GONE: u16 = 499;

impl Entry {
    /// Of a request whose head was read now; `texts` is an empty buffer.
    pub fn new(heard: &Heard<'_>, mut texts: Vec<u8>) -> Self {
        let mark = heard.query.map_or("", |_| "?");
        let mut lens = [0; TEXTS];
        let all: [&[&[u8]]; TEXTS] = [
            &[heard.client.as_bytes()],
            &[heard.id.as_bytes()],
            &[heard.method.as_bytes()],
            &[heard.path, mark, heard.query.unwrap_or_default()].map(str::as_bytes),
            &[heard.host.as_bytes()],
            &[heard.referer],
            &[heard.user_agent],
        ];
        for (len, parts) in lens.iter_mut().zip(all) {
            let start = texts.len();
            for part in parts {
                let room = MAX_TEXT - (texts.len() - start);
                texts.extend_from_slice(&part[..part.len().min(room)]);
            }
            // Not more than MAX_TEXT.
            *len = (texts.len() - start) as u16;
        }
        Self {
            texts,
            lens,
            began_at: SystemTime::now(),
            began: Instant::now(),
            status: Cell::new(CLIENT_GONE),
            upstream: Cell::new(None),
            worker: RefCell::new(None),
            aborted: Cell::new(false),
        }
    }

    /// It is sent to a worker's generation.
    pub fn sent_to(&self, worker: &WorkerName, generation: Generation) {
        self.worker.replace(Some((worker.clone(), generation)));
    }

    /// The worker took so long until the head of its answer was here.
    pub fn answered_after(&self, upstream: Duration) {
        self.upstream.set(Some(upstream));
    }

    /// It is answered with this status.
    pub fn responded(&self, status: u16) {
        self.status.set(status);
    }

    /// Its answer broke off before its end.
    pub fn broke_off(&self) {
        self.aborted.set(true);
    }

    /// The buffer it was made with, when it is of no more use.
    pub fn into_buffer(self) -> Vec<u8> {
        self.texts
    }

    /// All of it, now that it is over.
    pub(super) fn facts(&self, sent: u64, protocol: &'static str) -> Facts {
        Facts {
            lens: self.lens,
            began_at: self.began_at,
            took: self.began.elapsed(),
            upstream: self.upstream.get(),
            status: self.status.get(),
            sent,
            worker: self.worker.borrow_mut().take(),
            aborted: self.aborted.get(),
            protocol,
        }
    }
}
