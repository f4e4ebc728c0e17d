//! What git knows of the project: the commit to build, and whether the folder is that commit.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::ids::{CommitId, InvalidId};

/// The commit that is checked out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GitFacts {
    /// Its full name.
    pub commit: CommitId,
    /// Its name as git abbreviates it in this repository.
    pub short: String,
    /// The branch; `None` when HEAD is detached.
    pub branch: Option<String>,
    /// A tag of exactly this commit; git's choice where there are several.
    pub tag: Option<String>,
    /// What `git status --porcelain` lists, untracked files included, a line each.
    pub changes: Vec<String>,
}

/// Why git cannot say what is to be built.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// There is no git program.
    #[error("git is not installed (apt install git)")]
    NotInstalled,
    /// The project is no repository.
    #[error(
        "{}: not in a git repository; deployments are named by their commit \
         (git init && git add -A && git commit)", .0.display()
    )]
    NoRepository(PathBuf),
    /// Nothing was ever committed.
    #[error(
        "{}: the repository has no commits yet; deployments are named by their commit \
         (git add -A && git commit)", .0.display()
    )]
    NoCommits(PathBuf),
    /// The commit's name is not a SHA-1.
    #[error(transparent)]
    Commit(#[from] InvalidId),
    /// Anything else git complains about.
    #[error("git {arguments}: {message}")]
    Failed {
        /// What was asked.
        arguments: String,
        /// What git said.
        message: String,
    },
}

impl GitFacts {
    /// Asks git about the repository that `project` lies in. What is untracked below `output`, the
    /// folder that builds are written to, does not count as a change.
    ///
    /// # Errors
    /// No git, no repository, no commits, or what git itself complains about.
    pub fn read(project: &Path, output: &Path) -> Result<Self, GitError> {
        let git = Git { project };
        let top = PathBuf::from(git.line(&["rev-parse", "--show-toplevel"])?);
        let commit = git
            .optional(&["rev-parse", "--verify", "--quiet", "HEAD^{commit}"])?
            .ok_or_else(|| GitError::NoCommits(project.to_owned()))?;
        // Said, as people may configure git not to look: what is untracked would be built in.
        let status = git.run(&["status", "--porcelain=v1", "-z", "--untracked-files=normal"])?;
        let output = output.canonicalize().ok();
        let output = output.as_deref().and_then(|output| output.strip_prefix(&top).ok());
        Ok(Self {
            commit: commit.parse()?,
            short: git.line(&["rev-parse", "--short", "HEAD"])?,
            branch: git.optional(&["symbolic-ref", "--quiet", "--short", "HEAD"])?,
            tag: git.optional(&["describe", "--tags", "--exact-match", "HEAD"])?,
            changes: changes(&status, output),
        })
    }
}

/// The commit that a name of git's means: `HEAD`, a branch, a tag, some digits of a commit. `None`
/// where nothing has that name here.
///
/// # Errors
/// No git, or no repository.
pub fn resolve(project: &Path, name: &str) -> Result<Option<CommitId>, GitError> {
    let git = Git { project };
    git.line(&["rev-parse", "--git-dir"])?;
    let commit = format!("{name}^{{commit}}");
    let found = git.optional(&["rev-parse", "--verify", "--quiet", "--end-of-options", &commit])?;
    Ok(found.map(|text| text.parse()).transpose()?)
}

/// What lies between two commits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Between {
    /// The commits that the later has and the earlier has not, newest first: digits and subject.
    pub gained: Vec<String>,
    /// Those that the earlier has and the later has not.
    pub lost: Vec<String>,
    /// The files that differ, by their path in the repository.
    pub files: Vec<String>,
}

/// What lies between two commits; `None` where the repository does not have both.
///
/// # Errors
/// What git complains about.
pub fn between(
    project: &Path,
    earlier: &CommitId,
    later: &CommitId,
) -> Result<Option<Between>, GitError> {
    let git = Git { project };
    for commit in [earlier, later] {
        if resolve(project, commit.as_str())?.is_none() {
            return Ok(None);
        }
    }
    let log = |from: &CommitId, to: &CommitId| -> Result<Vec<String>, GitError> {
        let text = git.run(&["log", "--no-color", "--format=%h %s", &format!("{from}..{to}")])?;
        Ok(text.lines().map(str::to_owned).collect())
    };
    let (from, to) = (earlier.as_str(), later.as_str());
    let files = git.run(&["diff", "--name-only", "--no-renames", "-z", from, to])?;
    Ok(Some(Between {
        gained: log(earlier, later)?,
        lost: log(later, earlier)?,
        files: files.split('\0').filter(|path| !path.is_empty()).map(str::to_owned).collect(),
    }))
}

/// The files below `folder` that are tracked or not ignored, as paths below it, sorted; `None`
/// where `folder` is in no repository, or there is no git.
///
/// Submodules appear as their folder, and deleted files are still listed.
pub(super) fn files(folder: &Path) -> Result<Option<Vec<String>>, GitError> {
    let git = Git { project: folder };
    let arguments = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    match git.run(&arguments) {
        Ok(text) => {
            let mut files: Vec<_> =
                text.split('\0').filter(|path| !path.is_empty()).map(str::to_owned).collect();
            // A conflict lists a file once a side.
            files.sort();
            files.dedup();
            Ok(Some(files))
        }
        Err(GitError::NotInstalled | GitError::NoRepository(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Lines of `git status --porcelain=v1 -z`, made readable.
fn changes(status: &str, output: Option<&Path>) -> Vec<String> {
    let mut found = Vec::new();
    let mut entries = status.split('\0').filter(|entry| !entry.is_empty());
    while let Some(entry) = entries.next() {
        // After a rename or copy comes the path it had.
        if entry.starts_with(['R', 'C']) {
            entries.next();
        }
        let is_output =
            |path: &str| output.is_some_and(|output| Path::new(path).starts_with(output));
        if !entry.strip_prefix("?? ").is_some_and(is_output) {
            found.push(entry.to_owned());
        }
    }
    found
}

/// The git program, asked about one folder.
struct Git<'a> {
    project: &'a Path,
}

impl Git<'_> {
    fn output(&self, arguments: &[&str]) -> Result<Output, GitError> {
        let mut command = Command::new("git");
        // Messages are matched below, and must not take a lock that a person's git may want.
        command.env("LC_ALL", "C").env("GIT_OPTIONAL_LOCKS", "0");
        command.arg("-C").arg(self.project).args(arguments);
        command.output().map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => GitError::NotInstalled,
            _ => GitError::Failed { arguments: arguments.join(" "), message: error.to_string() },
        })
    }

    fn run(&self, arguments: &[&str]) -> Result<String, GitError> {
        let output = self.output(arguments)?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let message = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        if message.contains("not a git repository") {
            return Err(GitError::NoRepository(self.project.to_owned()));
        }
        Err(GitError::Failed { arguments: arguments.join(" "), message })
    }

    fn line(&self, arguments: &[&str]) -> Result<String, GitError> {
        Ok(self.run(arguments)?.trim_end().to_owned())
    }

    /// For questions to which "no" is an answer.
    fn optional(&self, arguments: &[&str]) -> Result<Option<String>, GitError> {
        let output = self.output(arguments)?;
        let line = String::from_utf8_lossy(&output.stdout).trim_end().to_owned();
        Ok((output.status.success() && !line.is_empty()).then_some(line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn untracked_files_count_whatever_the_person_wants_to_see_of_them() {
        let temp = tempfile::tempdir().unwrap();
        let git = Git { project: temp.path() };
        let author = ["-c", "user.name=A", "-c", "user.email=a@example.org"];
        git.run(&["init", "--quiet"]).unwrap();
        git.run(&["config", "status.showUntrackedFiles", "no"]).unwrap();
        git.run(&[&author[..], &["commit", "--quiet", "--allow-empty", "-m", "first"]].concat())
            .unwrap();
        std::fs::write(temp.path().join("new.rs"), "").unwrap();
        let facts = GitFacts::read(temp.path(), &temp.path().join("deploy")).unwrap();
        assert_eq!(facts.changes, ["?? new.rs"]);
    }

    #[test]
    fn status_lines_leave_out_the_output_folder_and_old_names() {
        let status =
            " M src/a.rs\0R  new.rs\0old.rs\0?? deploy/\0?? deployment.txt\0 M deploy/README.md\0";
        assert_eq!(
            changes(status, Some(Path::new("deploy"))),
            [" M src/a.rs", "R  new.rs", "?? deployment.txt", " M deploy/README.md"]
        );
        assert_eq!(changes(status, None).len(), 5);
    }
}
