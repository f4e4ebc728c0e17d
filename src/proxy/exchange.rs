//! What the two halves of one request share: the claim, and how far the upload has come.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use tokio::time::Instant;

use super::target::{Claim, Target};

/// Why a request's body could not be passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UploadFault {
    /// It is larger than allowed.
    TooLarge,
    /// The client paused for too long.
    ClientStalled,
    /// The client broke off, or framed it wrongly.
    ClientBroke,
}

/// Held by the request's body and by the answer's, so that the claim lives until the last byte
/// of both.
#[derive(Debug)]
pub(crate) struct Exchange {
    claim: RefCell<Claim>,
    /// Whether the request's last byte was handed to the worker's connection.
    pub(crate) uploaded: Cell<bool>,
    /// Whether the next step of the upload is the client's.
    pub(crate) awaits_client: Cell<bool>,
    /// When a piece of the request last moved.
    pub(crate) moved: Cell<Instant>,
    /// Why the upload ended early.
    pub(crate) fault: Cell<Option<UploadFault>>,
}

impl Exchange {
    /// For a request that was just claimed.
    pub(crate) fn new(claim: Claim) -> Self {
        Self {
            claim: RefCell::new(claim),
            uploaded: Cell::new(true),
            awaits_client: Cell::new(false),
            moved: Cell::new(Instant::now()),
            fault: Cell::new(None),
        }
    }

    /// The claimed target.
    pub(crate) fn target(&self) -> Arc<Target> {
        Arc::clone(self.claim.borrow().target())
    }

    /// Moves the request to another target; the old claim ends.
    pub(crate) fn reclaim(&self, claim: Claim) {
        self.claim.replace(claim);
        self.moved.set(Instant::now());
    }
}
