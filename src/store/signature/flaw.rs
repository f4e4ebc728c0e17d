//! Why a deployment is not admitted, and what to do.

use std::path::PathBuf;

use jiff::Timestamp;

use super::MAX_SIGNATURE_BYTES;
use crate::ids::CommitId;
use crate::store::document::ReadError;
use crate::store::layout::RECORD;

/// Why a deployment is not admitted.
#[derive(Debug, thiserror::Error)]
pub enum SignatureError {
    /// Signature or record cannot be read.
    #[error(transparent)]
    Document(#[from] ReadError),
    /// The signature does not stand for the record, or it is not its turn.
    #[error("{}: {flaw}", path.display())]
    Refused {
        /// The signature.
        path: PathBuf,
        /// Why.
        flaw: Flaw,
    },
}

/// What is wrong with a signature, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum Flaw {
    /// There is none.
    #[error(
        "is not there, and this host runs signed deployments only (require_signature in \
         deployment.yaml): sign it with `tqctl build --sign KEY`, and upload it again"
    )]
    Unsigned,
    /// Larger than any signature.
    #[error("is larger than {} KiB, as no signature is: sign it again", MAX_SIGNATURE_BYTES >> 10)]
    TooLarge,
    /// No OpenPGP signature.
    #[error("is not a detached OpenPGP signature: make one with `tqctl build --sign KEY`")]
    NotASignature,
    /// Several signatures in one file.
    #[error("has several signatures, and must have one: make it with `tqctl build --sign KEY`")]
    Several,
    /// Made over text, which leaves line ends open.
    #[error("signs {RECORD} as a text and not byte by byte: make it with `tqctl build --sign KEY`")]
    OfText,
    /// The record or the signature was changed.
    #[error(
        "does not match {RECORD}: one of the two was altered after key {0} had signed it; upload \
         the deployment again from where it was built"
    )]
    Altered(String),
    /// The key is not in the keyring.
    #[error(
        "was made with key {key}, which is not in {}: sign it with a key that is, or, if that key \
         is to be trusted, add it there", keyring.display()
    )]
    UnknownKey {
        /// Its id.
        key: String,
        /// Where it should be.
        keyring: PathBuf,
    },
    /// The key has expired.
    #[error(
        "key {key} has expired: extend it (`gpg --quick-set-expire`) and export it to {} anew, or \
         sign with another", keyring.display()
    )]
    ExpiredKey {
        /// Its id.
        key: String,
        /// Where it is.
        keyring: PathBuf,
    },
    /// The signature has expired.
    #[error("the signature of key {0} has expired: sign it again with `tqctl build --sign KEY`")]
    ExpiredSignature(String),
    /// The key was revoked.
    #[error("key {0} was revoked: sign it again with another, `tqctl build --sign KEY`")]
    RevokedKey(String),
    /// An algorithm that is unknown, or too weak.
    #[error(
        "cannot be verified, as its algorithms are unknown here or too weak (key {0}): sign with \
         an Ed25519 or RSA key, and SHA-256 or SHA-512"
    )]
    Unsupported(String),
    /// gpgv said something else.
    #[error("gpgv does not accept it: {0}")]
    Unclear(String),
    /// The keyring cannot be used.
    #[error("cannot be verified: keyring {}: {reason}", path.display())]
    Keyring {
        /// Which.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        reason: String,
    },
    /// gpgv cannot be used.
    #[error("cannot be verified: {}: {reason}", program.display())]
    Gpgv {
        /// The program.
        program: PathBuf,
        /// What is wrong with it, and what to do.
        reason: String,
    },
    /// The manifest describes another deployment than was signed.
    #[error("signs another {RECORD} than manifest.json repeats: activate the deployment again")]
    OtherRecord,
    /// An old deployment, which never ran here.
    #[error(
        "the deployment was built at {built_at}, before {} of {newest_built_at}, and never ran \
         here: only what has run here can be gone back to; to run it all the same, remove its \
         folder where it was built, build and sign it again", newest.short()
    )]
    Replayed {
        /// When it was built.
        built_at: Timestamp,
        /// The newest that was admitted.
        newest: CommitId,
        /// When that was built.
        newest_built_at: Timestamp,
    },
    /// Built in the future.
    #[error(
        "the deployment was built at {0}, which is still to come: set the clocks of the machine \
         that built it and of this one, and build it again"
    )]
    FromTheFuture(Timestamp),
    /// What was admitted is not known.
    #[error(
        "what ran here before is not known: {}: {reason}; after its removal any signed deployment \
         is admitted once, however old it is", path.display()
    )]
    Ledger {
        /// Where it is kept.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

impl Flaw {
    pub(super) fn is_expiry(&self) -> bool {
        matches!(self, Self::ExpiredKey { .. } | Self::ExpiredSignature(_))
    }
}
