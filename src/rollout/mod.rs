//! The control plane: from "this is wanted" to "this is served", without losing a request.
//!
//! [`controller`] decides and touches nothing; [`actor`] does what was decided, owns all state and
//! is the only one to change it. What is wanted comes from [`desired`], what happened arrives as
//! [`event::Event`], what is to be done leaves as [`event::Effect`].

pub mod actor;
pub mod controller;
pub mod desired;
pub mod event;
pub mod generation;
pub mod last_lines;
pub mod launch_queue;
pub mod load;
mod pinned;
pub mod plan;
pub mod ports;
pub mod probe;
pub mod report;
pub mod soak;
pub mod state;
pub mod status;
