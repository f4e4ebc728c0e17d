//! Opening the browser.

use std::io;
use std::process::Stdio;

use tokio::process::Command;

/// Has the desktop open `url`. The browser is nobody's child that Ctrl-C would reach.
pub(super) fn open(url: &str) -> io::Result<()> {
    let mut open = Command::new("xdg-open");
    open.arg(url).process_group(0);
    open.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // The runtime reaps it.
    open.spawn().map(drop)
}
