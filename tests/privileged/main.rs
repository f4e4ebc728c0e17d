//! Who may do what, in a booted system with tqserver's users, units and D-Bus files.

// One program, whose modules see each other.
#![allow(unreachable_pub)]

#[path = "../support/mod.rs"]
mod support;

mod installation;
/// Named after the kind of bed, as the test runner groups tests by it.
mod system_bed {
    mod calls;
    mod pruning;
    mod refusals;
    mod serving;
    mod signatures;
    mod starts;
}
