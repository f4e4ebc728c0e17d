//! Whether a deployment's folder is, byte for byte, what its record says.

mod problem;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use jiff::Timestamp;

use super::deployment::{Deployment, ServerPart, WorkerPart};
use super::digest::{self, DigestCache, FileDigest, TreeDigest, WorkerSums, is_built};
use super::elf::Machine;
use super::findings::Findings;
use super::layout::{DeployDir, describes};
use super::modes::is_guarded;
use super::stage::Staging;
use super::walk::{WalkError, walk_outside};
use crate::ids::{Sha256, WorkerName};
pub use problem::{Problem, VerifyError};

/// How much of a deployment is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// All of it: for whoever builds it, or starts its programs from where they lie.
    Whole,
    /// Its record and what all may read: `public/` and `config/`. Programs and private files, which
    /// the reader may have no right to, are verified by whoever starts them.
    Public,
}

impl Scope {
    /// Whether the file or folder at `path`, below the deployment's, is left out.
    fn leaves_out(self, path: &str) -> bool {
        self == Self::Public && is_guarded(path)
    }
}

/// Compares the folder of a deployment with `deployment`, as far as `scope` goes: its record, and
/// every file by its SHA-256, none missing and none too many; and its programs with this machine.
///
/// `now` is the time before the call, see [`DigestCache`]. Blocks: reads every file that the cache
/// does not know. With a warm one it costs a stat for each, and a look at the header of each
/// program.
///
/// # Errors
/// All problems, the first twenty named.
pub fn verify(
    deploy: &DeployDir,
    deployment: &Deployment,
    scope: Scope,
    cache: &mut DigestCache,
    now: Timestamp,
) -> Result<(), VerifyError> {
    let commit = &deployment.git_commit;
    let folder = deploy.commit_dir(commit);
    let mut check = Check { folder: &folder, scope, problems: Findings::none() };
    match folder.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            check.problems.push(Problem::NoFolder(folder.clone()));
        }
        _ => check.all(deploy, deployment, cache, now),
    }
    check.problems.into_result(|problems| VerifyError { commit: commit.clone(), problems })
}

/// Compares a folder that is still put together with the record that it is to get: every file by its
/// SHA-256, none missing and none too many; and its programs with this machine.
///
/// # Errors
/// All problems, the first twenty named.
pub fn verify_staged(
    staging: &Staging,
    deployment: &Deployment,
    now: Timestamp,
) -> Result<(), VerifyError> {
    let commit = &deployment.git_commit;
    let mut check =
        Check { folder: staging.path(), scope: Scope::Whole, problems: Findings::none() };
    check.content(deployment, &mut DigestCache::default(), now);
    check.problems.into_result(|problems| VerifyError { commit: commit.clone(), problems })
}

struct Check<'a> {
    folder: &'a Path,
    scope: Scope,
    problems: Findings<Problem>,
}

impl Check<'_> {
    fn all(
        &mut self,
        deploy: &DeployDir,
        deployment: &Deployment,
        cache: &mut DigestCache,
        now: Timestamp,
    ) {
        match Deployment::read(deploy, &deployment.git_commit) {
            Ok(record) if record == *deployment => {}
            Ok(_) => self.problems.push(Problem::RecordDiffers),
            Err(error) => self.problems.push(error.into()),
        }
        self.content(deployment, cache, now);
    }

    fn content(&mut self, deployment: &Deployment, cache: &mut DigestCache, now: Timestamp) {
        let found = self.digest(cache, now);
        let sound = self.files(&found, deployment);
        if let Some(server) = &deployment.server {
            self.server(server, &found, sound.contains("server"));
        }
        for (name, worker) in &deployment.workers {
            self.worker(name, worker, &found, sound.contains(worker.path.as_str()));
        }
    }

    /// What there is; what is unacceptable is noted.
    fn digest(&mut self, cache: &mut DigestCache, now: Timestamp) -> TreeDigest {
        let mut files = BTreeMap::new();
        let scope = self.scope;
        let skip = |path: &str| scope.leaves_out(path);
        let walked = walk_outside(self.folder, &skip, &mut |found| {
            let digest = found.and_then(|found| {
                let digest = digest::file(&found, cache, now)
                    .map_err(|source| WalkError::io(self.folder.join(found.path), source))?;
                Ok((found.path.to_owned(), digest))
            });
            match digest {
                Ok((path, digest)) => drop(files.insert(path, digest)),
                Err(error) => self.problems.push(error.into()),
            }
            Ok::<_, std::convert::Infallible>(())
        });
        let Ok(()) = walked;
        TreeDigest::new(files)
    }

    /// Compares file by file, and returns the parts whose files are all as they must be.
    fn files<'d>(&mut self, found: &TreeDigest, deployment: &'d Deployment) -> BTreeSet<&'d str> {
        let expected = expected(deployment, self.scope);
        let mut sound: BTreeSet<_> = parts(deployment).map(|(path, _)| path).collect();
        for (path, file) in &expected {
            let problem = match found.files.get(path) {
                None => Problem::Missing(path.clone()),
                Some(digest) if digest.sha256 != *file.sha256 => Problem::Changed {
                    path: path.clone(),
                    found: digest.sha256,
                    expected: *file.sha256,
                },
                Some(_) => continue,
            };
            sound.remove(file.part);
            self.problems.push(problem);
        }
        for path in found.files.keys() {
            if !describes(path) && !expected.contains_key(path) {
                sound.retain(|part| digest::below(part, path).is_none());
                self.problems.push(Problem::Surplus(path.clone()));
            }
        }
        sound
    }

    fn server(&mut self, server: &ServerPart, found: &TreeDigest, sound: bool) {
        let has = |folder| found.below(&server.path).any(|(path, _)| path.starts_with(folder));
        if !sound {
            return;
        }
        self.sum("server", "has_public", has("public/") == server.has_public);
        let path = format!("{}/{}", server.path, server.binary);
        let Some(binary) = found.files.get(&path).filter(|_| self.scope == Scope::Whole) else {
            return;
        };
        self.sum("server", "binary_md5", binary.md5 == server.binary_md5);
        self.sum("server", "size_bytes", binary.size == server.size_bytes);
        self.sum("server", "has_private", has("private/") == server.has_private);
        self.program(path, binary, true);
    }

    fn worker(&mut self, name: &WorkerName, part: &WorkerPart, found: &TreeDigest, sound: bool) {
        // Sums over files that are wrong are wrong too, and say nothing new.
        if !sound {
            return;
        }
        let tree = found.subtree(&part.path);
        self.sum(&part.path, "public_md5", tree.md5_of(&["public"]) == part.public_md5);
        let sums = WorkerSums::of(&tree, name, &part.binary);
        let Some(sums) = sums.filter(|_| self.scope == Scope::Whole) else { return };
        self.sum(&part.path, "binary_md5", sums.binary_md5 == part.binary_md5);
        self.sum(&part.path, "size_bytes", sums.size_bytes == part.size_bytes);
        self.sum(&part.path, "private_md5", sums.private_md5 == part.private_md5);
        self.program(
            format!("{}/{}", part.path, part.binary),
            &tree.files[&part.binary],
            is_built(name, &part.binary),
        );
        self.sum(&part.path, "tree_md5", sums.tree_md5 == part.tree_md5);
    }

    fn sum(&mut self, part: &str, sum: &'static str, equal: bool) {
        if !equal {
            self.problems.push(Problem::Sum { part: part.to_owned(), sum });
        }
    }

    /// A program that was built is a native one. What `run:` names may be a script that an
    /// interpreter reads; only where it is an ELF program the same holds for it.
    fn program(&mut self, path: String, digest: &FileDigest, built: bool) {
        let full = self.folder.join(&path);
        let machine = match Machine::of_file(&full) {
            Ok(machine) => machine,
            Err(source) => return self.problems.push(WalkError::io(full, source).into()),
        };
        match machine {
            None if built => self.problems.push(Problem::NotAProgram(path.clone())),
            None => return,
            Some(found) if found != Machine::native() => {
                self.problems.push(Problem::Foreign { path: path.clone(), found });
            }
            Some(_) => {}
        }
        if !digest.executable {
            self.problems.push(Problem::NotExecutable(path));
        }
    }
}

struct Expected<'a> {
    sha256: &'a Sha256,
    part: &'a str,
}

/// Every file of a deployment but its record, by its path below the deployment's folder, as far as
/// `scope` goes.
fn expected(deployment: &Deployment, scope: Scope) -> BTreeMap<String, Expected<'_>> {
    parts(deployment)
        .flat_map(|(part, files)| files.iter().map(move |(path, sha256)| (part, path, sha256)))
        .map(|(part, path, sha256)| (format!("{part}/{path}"), Expected { sha256, part }))
        .filter(|(path, _)| !scope.leaves_out(path))
        .collect()
}

/// The folder of each part, and its files below that.
fn parts(deployment: &Deployment) -> impl Iterator<Item = (&str, &BTreeMap<String, Sha256>)> {
    let server = deployment.server.iter().map(|part| (part.path.as_str(), &part.sha256));
    server.chain(deployment.workers.values().map(|part| (part.path.as_str(), &part.sha256)))
}
