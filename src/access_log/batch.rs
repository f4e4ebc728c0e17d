//! Requests that go to the writer together.

use super::entry::{Entry, Facts, TEXTS};

/// A batch of so many bytes is passed on at once.
pub(super) const FULL_BYTES: usize = 32 << 10;

/// Some requests, in the order in which they ended.
#[derive(Debug, Default)]
pub(super) struct Batch {
    facts: Vec<Facts>,
    texts: Vec<u8>,
}

/// One of them, with what it said: each text as it was sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Written<'b> {
    pub(super) facts: &'b Facts,
    pub(super) client: &'b [u8],
    pub(super) id: &'b [u8],
    pub(super) method: &'b [u8],
    pub(super) target: &'b [u8],
    pub(super) host: &'b [u8],
    pub(super) referer: &'b [u8],
    pub(super) user_agent: &'b [u8],
}

impl Batch {
    /// Adds a request that is over.
    pub(super) fn push(&mut self, entry: &Entry, sent: u64, protocol: &'static str) {
        self.texts.extend_from_slice(&entry.texts);
        self.facts.push(entry.facts(sent, protocol));
    }

    /// How many requests it has.
    pub(super) fn len(&self) -> usize {
        self.facts.len()
    }

    /// Whether it has none.
    pub(super) fn is_empty(&self) -> bool {
        self.facts.is_empty()
    }

    /// Whether no more should be added.
    pub(super) fn is_full(&self) -> bool {
        self.texts.len() + self.facts.len() * size_of::<Facts>() >= FULL_BYTES
    }

    /// Each of its requests.
    pub(super) fn iter(&self) -> impl Iterator<Item = Written<'_>> {
        let mut rest = &self.texts[..];
        self.facts.iter().map(move |facts| {
            let mut texts = [&[][..]; TEXTS];
            for (text, len) in texts.iter_mut().zip(facts.lens) {
                (*text, rest) = rest.split_at(usize::from(len));
            }
            let [client, id, method, target, host, referer, user_agent] = texts;
            Written { facts, client, id, method, target, host, referer, user_agent }
        })
    }
}
