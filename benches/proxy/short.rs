//! `BENCH=short`: fewer rounds.

use std::env;

/// Whether the short form is wanted.
///
/// # Panics
///
/// When the variable says something else.
pub fn is_wanted() -> bool {
    match env::var("BENCH").as_deref() {
        Err(_) | Ok("") => false,
        Ok("short") => true,
        Ok(other) => panic!("BENCH={other}: there is only short"),
    }
}
