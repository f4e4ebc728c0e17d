//! Whether somebody who is trusted has signed a deployment, and whether it is its turn.
//!
//! A detached OpenPGP signature lies beside the record, whose SHA-256 sums bind every file. gpgv
//! judges it by a keyring that root has chosen. What was signed once stays signed, with its holes:
//! so a [`Ledger`] has what was admitted here, and an older deployment that is not in it is refused.

mod chosen;
mod file;
mod flaw;
mod gpgv;
mod ledger;
mod status;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use sha2::Digest;

use super::deployment::Deployment;
use super::document::{self, ReadError};
use super::layout::{DeployDir, RECORD, SIGNATURE};
use crate::ids::{Sha256, WorkerName};
pub use chosen::{Chosen, ChosenWorker};
pub use file::{put, read};
pub use flaw::{Flaw, SignatureError};
use gpgv::Gpgv;
use ledger::Ledger;

/// The name of the ledger in a program's state folder.
pub const LEDGER: &str = "signed.json";

/// The largest signature that is read, in bytes; an armoured one has some 800.
const MAX_SIGNATURE_BYTES: usize = 64 << 10;

/// How far the clock of a build may be ahead of ours. One far ahead would make all that is built
/// after it look old.
const CLOCK_SKEW: SignedDuration = SignedDuration::from_hours(1);

/// Admits deployments that are signed by a key of `keyring`, and remembers in `ledger` which.
///
/// Invariant: only one process at a time admits by one ledger.
#[derive(Debug, Clone)]
pub struct Gate {
    keyring: PathBuf,
    ledger: PathBuf,
    gpgv: Gpgv,
    chosen: Vec<Chosen>,
}

/// A record that was signed, and was not altered since.
#[derive(Debug)]
pub struct Authentic<'g> {
    gate: &'g Gate,
    signature: PathBuf,
    digest: Sha256,
}

impl Gate {
    /// A gate that opens to the keys of `keyring`, an absolute path. `ledger` is a file in a folder
    /// that nobody else can write to; it is made when it is first needed.
    pub fn new(keyring: impl Into<PathBuf>, ledger: impl Into<PathBuf>) -> Self {
        let (keyring, ledger) = (keyring.into(), ledger.into());
        Self { keyring, ledger, gpgv: Gpgv::default(), chosen: Vec::new() }
    }

    /// Opens it to workers that are `chosen`, however old their deployment is: who has named just that
    /// commit, in a file that deployers cannot write, is not led back to it. It must be signed all the
    /// same, and nothing else of that deployment is admitted by it.
    #[must_use]
    pub fn choosing(self, chosen: Vec<Chosen>) -> Self {
        Self { chosen, ..self }
    }

    /// Whether `signature`, which was read from the file at `path`, is one of the bytes of
    /// `record`. Blocks, for ten seconds at most.
    ///
    /// What was admitted before stays so when its key or signature expires: its workers must be
    /// able to start again.
    ///
    /// # Errors
    /// What is wrong with the signature, its key, the keyring or gpgv.
    pub fn authenticate(
        &self,
        record: &[u8],
        signature: &[u8],
        path: &Path,
    ) -> Result<Authentic<'_>, SignatureError> {
        let refused = |flaw| SignatureError::Refused { path: path.to_path_buf(), flaw };
        let digest = Sha256::new(sha2::Sha256::digest(record).into());
        let authentic = Authentic { gate: self, signature: path.to_path_buf(), digest };
        if signature.len() > MAX_SIGNATURE_BYTES {
            return Err(refused(Flaw::TooLarge));
        }
        check_keyring(&self.keyring)
            .map_err(|reason| refused(Flaw::Keyring { path: self.keyring.clone(), reason }))?;
        match self.gpgv.verify(&self.keyring, record, signature) {
            Ok(fingerprint) => {
                tracing::debug!(fingerprint, "{}: is good", path.display());
                Ok(authentic)
            }
            Err(flaw) if flaw.is_expiry() && self.read_ledger().map_err(refused)?.has(digest) => {
                tracing::debug!("{}: {flaw}; it was admitted before", path.display());
                Ok(authentic)
            }
            Err(flaw) => Err(refused(flaw)),
        }
    }

    /// Reads record and signature of `deployment` from its folder, and admits it. Blocks.
    ///
    /// # Errors
    /// See [`authenticate`](Self::authenticate) and [`Authentic::admit`]; and when the record there
    /// is not `deployment`.
    pub fn admit(
        &self,
        deploy: &DeployDir,
        deployment: &Deployment,
        now: Timestamp,
    ) -> Result<(), SignatureError> {
        self.authentic(deploy, deployment)?.admit(deployment, None, now)
    }

    /// Reads record and signature of `deployment` from its folder, and judges them. Whether it is its
    /// turn is left open. Blocks.
    ///
    /// # Errors
    /// See [`authenticate`](Self::authenticate); and when the record there is not `deployment`.
    pub fn authentic(
        &self,
        deploy: &DeployDir,
        deployment: &Deployment,
    ) -> Result<Authentic<'_>, SignatureError> {
        let commit = &deployment.git_commit;
        let folder = deploy.commit_dir(commit);
        let record = document::read_in(&folder, RECORD)?;
        let path = folder.join(SIGNATURE);
        let signature = present(document::read_in(&folder, SIGNATURE))?;
        let authentic = self.authenticate(&record, &signature, &path)?;
        match Deployment::parse(&record) {
            Ok(signed) if signed == *deployment => Ok(authentic),
            Ok(_) => Err(SignatureError::Refused { path, flaw: Flaw::OtherRecord }),
            Err(error) => Err(error.in_file(&deploy.record(commit)).into()),
        }
    }

    fn read_ledger(&self) -> Result<Ledger, Flaw> {
        Ledger::read(&self.ledger)
            .map_err(|reason| Flaw::Ledger { path: self.ledger.clone(), reason })
    }
}

impl Authentic<'_> {
    /// Admits `deployment`, which is what the record says. `worker` is the one that is about to
    /// start: going back to a deployment, it may run again what it ran before, whichever deployment
    /// that came with.
    ///
    /// # Errors
    /// When it is an old deployment that was never admitted, or the ledger does not work.
    pub fn admit(
        &self,
        deployment: &Deployment,
        worker: Option<&WorkerName>,
        now: Timestamp,
    ) -> Result<(), SignatureError> {
        let refused = |flaw| SignatureError::Refused { path: self.signature.clone(), flaw };
        let mut ledger = self.gate.read_ledger().map_err(refused)?;
        let is_chosen = |worker| self.gate.chosen.iter().any(|it| it.is(worker, deployment));
        if ledger.has(self.digest)
            || worker.is_some_and(|it| ledger.has_code(it, deployment) || is_chosen(it))
        {
            return Ok(());
        }
        let built_at = deployment.built_at;
        if built_at > now.saturating_add(CLOCK_SKEW).unwrap_or(Timestamp::MAX) {
            return Err(refused(Flaw::FromTheFuture(built_at)));
        }
        if let Some((newest, newest_built_at)) = ledger.newest()
            && built_at <= newest_built_at
        {
            let newest = newest.clone();
            return Err(refused(Flaw::Replayed { built_at, newest, newest_built_at }));
        }
        ledger.add(self.digest, deployment, now);
        ledger.write(&self.gate.ledger).map_err(|error| {
            refused(Flaw::Ledger { path: self.gate.ledger.clone(), reason: error.to_string() })
        })
    }
}

/// The signature that was read, where there is one.
///
/// # Errors
/// [`Flaw::Unsigned`] where there is none.
pub fn present(read: Result<Vec<u8>, ReadError>) -> Result<Vec<u8>, SignatureError> {
    read.map_err(|error| match error {
        ReadError::Absent(path) => SignatureError::Refused { path, flaw: Flaw::Unsigned },
        error => error.into(),
    })
}

/// gpgv says of an armoured or absent keyring only that there is no key.
fn check_keyring(path: &Path) -> Result<(), String> {
    let read = || {
        let mut begin = Vec::new();
        let file = File::open(path)?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("is not a regular file"));
        }
        file.take(5).read_to_end(&mut begin)?;
        Ok(begin)
    };
    let export = format!("`gpg --export KEY >{}` makes one", path.display());
    match read() {
        Ok(begin) if begin.is_empty() => Err(format!("is empty; {export}")),
        Ok(begin) if begin == b"-----" => Err(format!("is armoured; {export}, without --armor")),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(format!("does not exist; {export}"))
        }
        Err(error) => Err(error.to_string()),
    }
}
