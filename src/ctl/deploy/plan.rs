//! What a deployment will do to a host.

use std::fmt::Write;

use serde::Serialize;

use super::upload::megabytes;
use crate::build::git::GitError;
use crate::build::{Project, git};
use crate::ctl::exit::Failure;
use crate::ctl::output::{Painter, Role};
use crate::ids::{CommitId, WorkerName};
use crate::store::deployment::Deployment;

/// What will be done, as far as it is known before.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct Plan {
    /// The machine.
    pub(super) host: String,
    /// What serves there.
    pub(super) from: Option<CommitId>,
    /// What is to.
    pub(super) to: CommitId,
    /// Commits that are gained, and that are lost; absent where git does not know both.
    pub(super) commits: Option<(usize, usize)>,
    /// What becomes of the workers; absent where the deployment is not built yet.
    #[serde(flatten)]
    pub(super) workers: Option<Workers>,
    /// Bytes of the files that the host has not.
    pub(super) upload_bytes: Option<u64>,
}

/// What becomes of the workers. What the host's own configuration changes for them is known there
/// only.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(in crate::ctl) struct Workers {
    /// Those that get a new generation.
    pub(in crate::ctl) restart: Vec<WorkerName>,
    /// Those that are new.
    pub(in crate::ctl) add: Vec<WorkerName>,
    /// Those that run on.
    pub(in crate::ctl) keep: Vec<WorkerName>,
    /// Those that end.
    pub(in crate::ctl) remove: Vec<WorkerName>,
    /// Those of `keep` whose public files change.
    pub(in crate::ctl) files: Vec<WorkerName>,
}

impl Workers {
    /// What changes from one deployment to another.
    pub(in crate::ctl) fn between(from: Option<&Deployment>, to: &Deployment) -> Self {
        let mut found = Self::default();
        for (name, part) in &to.workers {
            let before = from.and_then(|from| from.workers.get(name));
            let group = match before {
                None => &mut found.add,
                Some(before)
                    if (before.binary_md5, before.private_md5)
                        != (part.binary_md5, part.private_md5) =>
                {
                    &mut found.restart
                }
                Some(before) => {
                    if before.public_md5 != part.public_md5 {
                        found.files.push(name.clone());
                    }
                    &mut found.keep
                }
            };
            group.push(name.clone());
        }
        let gone = from.into_iter().flat_map(|from| from.workers.keys());
        found.remove = gone.filter(|name| !to.workers.contains_key(*name)).cloned().collect();
        found
    }

    /// `restart: index    keep: api_users`
    pub(in crate::ctl) fn text(&self) -> String {
        let groups = [
            ("restart", &self.restart),
            ("add", &self.add),
            ("remove", &self.remove),
            ("keep", &self.keep),
            ("files of", &self.files),
        ];
        let shown = groups.iter().filter(|(_, names)| !names.is_empty()).map(|(what, names)| {
            let names = names.iter().map(WorkerName::as_str).collect::<Vec<_>>();
            format!("{what}: {}", names.join(", "))
        });
        shown.collect::<Vec<_>>().join("    ")
    }
}

/// How many commits lie between, as far as git knows them.
pub(super) fn commits(
    project: &Project,
    from: Option<&CommitId>,
    to: &CommitId,
) -> Result<Option<(usize, usize)>, Failure> {
    let Some(from) = from else { return Ok(None) };
    match git::between(&project.root, from, to) {
        Ok(between) => Ok(between.map(|between| (between.gained.len(), between.lost.len()))),
        // What was built elsewhere can be deployed without either.
        Err(GitError::NotInstalled | GitError::NoRepository(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

impl Plan {
    /// `Plan  production  9f8e7d6 → a1b2c3d  4 commits    restart: index    upload ≈ 2.1 MB`
    pub(super) fn text(&self, target: &str, paint: Painter) -> String {
        let from = self.from.as_ref().map_or("nothing", CommitId::short);
        let mut text = format!("{}  {target}  ", paint.paint(Role::Strong, "Plan"));
        // Writing to a String cannot fail.
        if self.host != "here" {
            let _ = write!(text, "{}  ", self.host);
        }
        let _ = write!(text, "{from} → {}", self.to.short());
        match self.commits {
            None | Some((0, 0)) => {}
            Some((gained, 0)) => drop(write!(text, "  {}", count(gained, "commit"))),
            Some((0, lost)) => drop(write!(text, "  {} back", count(lost, "commit"))),
            Some((gained, lost)) => drop(write!(
                text,
                "  {}, without {}",
                count(gained, "commit"),
                count(lost, "of another line")
            )),
        }
        match &self.workers {
            Some(workers) => drop(write!(text, "    {}", workers.text())),
            None => text.push_str("    not built yet, which tells what restarts"),
        }
        if let Some(bytes) = self.upload_bytes {
            let _ = write!(text, "    upload ≈ {}", megabytes(bytes));
        }
        text
    }
}

fn count(number: usize, what: &str) -> String {
    match (number, what) {
        (1, _) | (_, "of another line") => format!("{number} {what}"),
        _ => format!("{number} {what}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::{commit, fill, record};

    #[test]
    fn programs_and_private_files_restart_a_worker_and_public_files_do_not() {
        let temp = tempfile::tempdir().unwrap();
        fill(temp.path());
        let old = record(temp.path(), &commit('a'));
        let write = |path: &str, text: &str| std::fs::write(temp.path().join(path), text).unwrap();
        write("workers/index/private/views/index.html", "<h2>");
        write("workers/index/public/css/a.css", "b{}");
        let new = record(temp.path(), &commit('b'));
        let names = |names: &[&str]| names.iter().map(|it| it.parse().unwrap()).collect::<Vec<_>>();
        let found = Workers::between(Some(&old), &new);
        assert_eq!((found.restart, found.keep), (names(&["index"]), names(&["api"])));

        let mut smaller = new.clone();
        smaller.workers.retain(|name, _| name.as_str() == "index");
        assert_eq!(Workers::between(Some(&new), &smaller).remove, names(&["api"]));
        assert_eq!(Workers::between(Some(&smaller), &new).add, names(&["api"]));
        assert_eq!(Workers::between(None, &smaller).add, names(&["index"]));
    }
}
