//! What a build tells while it goes on.

use std::path::PathBuf;
use std::time::Duration;

use super::git::GitFacts;
use crate::ids::CommitId;

/// Something that people may want to see.
#[derive(Debug)]
pub enum Event<'a> {
    /// What is going to be built.
    Tree(&'a GitFacts),
    /// These programs are being built.
    Building(&'a [&'a str]),
    /// A message of a compiler.
    Diagnostic(Diagnostic<'a>),
    /// A compiler or build command has ended, after so long.
    Compiled(Duration),
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

/// A message of a compiler.
#[derive(Debug, Clone, Copy)]
pub struct Diagnostic<'a> {
    /// As the compiler would print it, line ends included.
    pub text: &'a str,
    /// What to look at first; `None` where it is no error, or names no place.
    pub error: Option<&'a Place>,
}

/// Where in the sources something is wrong, and what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file, absolute.
    pub file: PathBuf,
    /// From 1.
    pub line: u32,
    /// From 1.
    pub column: u32,
    /// The error in a sentence.
    pub message: String,
}

/// Somebody to tell. Called from several threads.
pub trait Report: Sync {
    /// Tells it.
    fn event(&self, event: Event<'_>);
}
