//! `tqctl deploy` from one project to a host that serves another, by ssh and without.

mod full;
mod host;
mod killed;
mod several;
mod sources;
mod sshd;
mod user_bed;
