//! Receives a deployment: what is there already is taken over, the rest is brought, and nothing has
//! the deployment's name before all of it was verified.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::PathBuf;

use anyhow::{Context, bail};
use flate2::read::GzDecoder;
use jiff::Timestamp;

use super::known::Content;
use super::protocol::Reply;
use super::wire::Wire;
use crate::ctl::exit::Failure;
use crate::ids::CommitId;
use crate::store::deployment::Deployment;
use crate::store::digest::DigestCache;
use crate::store::layout::DeployDir;
use crate::store::lock::DeployLock;
use crate::store::signature;
use crate::store::space;
use crate::store::stage::{Staging, is_linked};
use crate::store::verify::{Scope, verify, verify_staged};

/// How many deployments rsync is told to look for resembling files in.
const RESEMBLING: usize = 3;
/// What a file takes on the disk beside its content, at most, in bytes.
const BLOCK: u64 = 4096;

/// A record that was sent.
pub(super) fn record(text: &str) -> Result<Deployment, Failure> {
    let record = Deployment::parse(text.as_bytes()).context("deployment.json")?;
    if record.to_json() != text.as_bytes() {
        // It is written anew here, and must come out the same.
        let error = anyhow::anyhow!("deployment.json was written by another version of tqctl");
        return Err(Failure::from(error)
            .with_hint(Some("install tqctl of the same version on both".to_owned())));
    }
    Ok(record)
}

/// A deployment that is being received.
pub(super) struct Receiving {
    staging: Staging,
    record: Deployment,
    signature: Option<String>,
    /// Paths below the deployment's folder, sorted.
    missing: Vec<String>,
    resembling: Vec<CommitId>,
}

impl Receiving {
    /// Begins; `None` where the deployment is there and intact, and has the signature, if there is
    /// one.
    pub(super) fn begin(
        lock: &DeployLock,
        text: &str,
        sizes: &[u64],
        signature: Option<String>,
    ) -> Result<Option<Self>, Failure> {
        let deploy = lock.deploy();
        let record = record(text)?;
        let commit = &record.git_commit;
        if deploy.commit_dir(commit).symlink_metadata().is_ok() {
            let mut cache = DigestCache::default();
            return match verify(deploy, &record, Scope::Whole, &mut cache, Timestamp::now()) {
                Ok(()) => {
                    sign(deploy, commit, signature.as_deref())?;
                    Ok(None)
                }
                Err(error) => {
                    let folder = deploy.commit_dir(commit);
                    let hint = format!(
                        "if it does not serve, remove it there and deploy again: rm -r {}",
                        folder.display()
                    );
                    Err(Failure::from(error).with_hint(Some(hint)))
                }
            };
        }
        let content = Content::of(deploy)?;
        let found: Vec<_> = record.files().map(|(path, sum)| (path, content.file(sum))).collect();
        if found.len() != sizes.len() {
            return Err(anyhow::anyhow!("the sizes are not those of the record's files").into());
        }
        let takes_room = |from: &Option<&PathBuf>| from.is_none_or(|from| !is_linked(from));
        let written = found.iter().zip(sizes).filter(|((_, from), _)| takes_room(from));
        let needed =
            written.fold(0_u64, |sum, (_, size)| sum.saturating_add(size.saturating_add(BLOCK)));
        space::require(deploy.path(), needed)?;
        let staging = Staging::begin(deploy, commit)?;
        let mut missing = Vec::new();
        for (path, from) in found {
            match from {
                Some(from) => drop(staging.take_over(from, &path)?),
                None => missing.push(path),
            }
        }
        missing.sort();
        let resembling = content.resembling(&missing, RESEMBLING);
        Ok(Some(Self { staging, record, signature, missing, resembling }))
    }

    /// What is to be brought, and where to.
    pub(super) fn staged(&self) -> Result<Reply, Failure> {
        Ok(Reply::Staged {
            folder: self.staging.path().to_str().context("a path is not UTF-8")?.to_owned(),
            missing: self.missing.clone(),
            resembling: self.resembling.clone(),
        })
    }

    /// Reads the missing files from an archive.
    pub(super) fn unpack(&self, wire: &mut Wire) -> Result<(), Failure> {
        let mut chunks = wire.chunks();
        self.unpack_from(GzDecoder::new(&mut chunks))?;
        // What pads the archive is no more than a few bytes, and the next request is behind it.
        std::io::copy(&mut chunks, &mut std::io::sink())?;
        Ok(())
    }

    fn unpack_from(&self, content: impl Read) -> anyhow::Result<()> {
        let mut wanted: BTreeSet<&str> = self.missing.iter().map(String::as_str).collect();
        let mut archive = tar::Archive::new(content);
        for entry in archive.entries()? {
            let mut entry = entry.context("the archive is damaged")?;
            let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            if !entry.header().entry_type().is_file() || !wanted.remove(path.as_str()) {
                bail!("the archive has {path:?}, which was not asked for");
            }
            let executable = entry.header().mode()? & 0o111 != 0;
            self.staging.receive(&mut entry, executable, &path)?;
        }
        Ok(())
    }

    /// Verifies it and gives it its name.
    pub(super) fn publish(self, lock: &DeployLock) -> Result<(), Failure> {
        verify_staged(&self.staging, &self.record, Timestamp::now())?;
        self.staging.finish(&self.record)?;
        sign(lock.deploy(), &self.record.git_commit, self.signature.as_deref())
    }
}

/// Puts the signature in its place. Who runs the deployment verifies it.
fn sign(deploy: &DeployDir, commit: &CommitId, signature: Option<&str>) -> Result<(), Failure> {
    if let Some(signature) = signature {
        signature::put(deploy, commit, signature.as_bytes())?;
    }
    Ok(())
}
