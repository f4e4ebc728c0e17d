//! Deployments on disk.

pub mod activate;
pub mod atomic;
pub mod consistency;
mod deployed;
pub mod deployment;
pub mod digest;
pub mod document;
pub mod elf;
pub mod findings;
pub mod layout;
pub mod lock;
pub mod manifest;
mod manifest_sum;
mod modes;
pub mod prune;
#[cfg(test)]
mod schema;
pub mod signature;
pub mod space;
pub mod stage;
#[cfg(test)]
pub(crate) mod testing;
pub mod verify;
mod walk;
pub mod way_back;
