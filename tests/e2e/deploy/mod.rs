//! `tqctl deploy` from one project to a host that serves another, by ssh and without.

mod host;
mod sshd;
mod user_bed;
