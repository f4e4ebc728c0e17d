//! The Debian package: installed from a signed repository, used by those it is for, upgraded under
//! load, removed and purged.

// One program, whose modules see each other.
#![allow(unreachable_pub)]
// What a load did is worth reading in a test's output.
#![allow(clippy::print_stderr)]

#[path = "../support/mod.rs"]
mod support;

// The sample project is shared with the end-to-end tests, which use more of it.
#[allow(dead_code)]
#[path = "../e2e/samples.rs"]
mod samples;

mod deb;
mod load;
mod machine;
mod repository;
/// Named after the kind of bed, as the test runner groups tests by it.
mod system_bed {
    mod access_log;
    mod dashboard;
    mod deploys;
    mod https;
    mod installs;
    mod networks;
    mod privileges;
    mod removal;
    mod repositories;
    mod rights;
    mod scores;
    mod strangers;
    mod upgrades;
}
