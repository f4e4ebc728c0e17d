//! A development session: what is written to the source tree is built, and served when it is ready.
//!
//! [`session`] holds the loop: changes of files come from `watch`, programs are built by `build`, and
//! what was built is handed to the very rollout that production uses. What is decided on the way is
//! apart and pure: which file means what ([`meaning`]), and what is built when ([`queue`]).

mod announce;
mod browsers;
mod job;
mod meaning;
mod pattern;
mod queue;
mod selection;
mod session;

pub use session::{Parts, Session};
