//! What a build tells while it goes on.

use super::git::GitFacts;
use crate::ids::CommitId;

/// Something that people may want to see.
#[derive(Debug)]
pub enum Event<'a> {
    /// What is going to be built.
    Tree(&'a GitFacts),
    /// These programs are being built.
    Building(&'a [&'a str]),
    /// A message of a compiler, as it would print it, line ends included.
    Diagnostic(&'a str),
    /// What a build command printed.
    Output(&'a str),
    /// An earlier program could have been used again, but it is not what was built then.
    Damaged {
        /// The program.
        name: &'a str,
        /// The deployment it was taken from.
        commit: &'a CommitId,
        /// The file that differs from its record.
        file: &'a str,
    },
}

/// Somebody to tell. Called from several threads.
pub trait Report: Sync {
    /// Tells it.
    fn event(&self, event: Event<'_>);
}
