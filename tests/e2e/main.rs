//! The built programs against real systemd.

// One program, whose modules see each other.
#![allow(unreachable_pub)]
// What a load did is worth reading in a test's output.
#![allow(clippy::print_stderr)]

#[path = "../support/mod.rs"]
mod support;

mod access_log;
mod browser;
mod canary;
mod clock;
mod command_line;
mod crashes;
mod dashboard;
mod deploy;
mod deployments;
mod dev;
mod disturbances;
mod doctor;
mod fallback;
mod faults;
mod handover;
mod https;
mod instances;
mod journal;
mod languages;
mod load;
mod new_worker;
mod nothing_deployed;
mod operator;
mod paths;
mod pins;
mod project;
mod restart;
mod rollout;
mod samples;
mod saves;
mod scaling;
mod session;
mod settings;
mod soak;
mod source_tree;
mod strangers;
