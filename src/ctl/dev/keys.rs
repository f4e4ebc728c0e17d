//! Keys, read one by one from the terminal. Ctrl-C stays a signal, and the terminal is as it was
//! afterwards, whatever happens.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Read};
use std::sync::Once;

use nix::libc;
use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};
use nix::unistd::{getpgrp, tcgetpgrp};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

/// What a key asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    /// Show it in the browser.
    Open,
    /// Build everything anew.
    Rebuild,
    /// Show another worker's lines.
    Filter,
    /// End.
    Quit,
}

impl Key {
    fn of(byte: u8) -> Option<Self> {
        match byte {
            b'o' => Some(Self::Open),
            b'r' => Some(Self::Rebuild),
            b'l' => Some(Self::Filter),
            b'q' => Some(Self::Quit),
            _ => None,
        }
    }
}

/// The terminal without line editing and echo, as long as this value lives.
#[derive(Debug)]
pub(super) struct Keys {
    terminal: File,
    before: Termios,
    pressed: mpsc::Receiver<Key>,
}

impl Keys {
    /// The keys of the terminal that we run on; `None` where people neither see our lines nor can
    /// type.
    pub(super) fn open() -> io::Result<Option<Self>> {
        if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
            return Ok(None);
        }
        let terminal = OpenOptions::new().read(true).open("/dev/tty")?;
        if !is_foreground(&terminal) {
            return Ok(None);
        }
        let before = tcgetattr(&terminal)?;
        restore_on_panic(terminal.try_clone()?, &before);
        let (press, pressed) = mpsc::channel(1);
        let reader = terminal.try_clone()?;
        let keys = Self { terminal, before, pressed };
        keys.take()?;
        // It waits for a key until the process ends: to read without waiting would have to be
        // switched on for all who have the terminal open.
        std::thread::Builder::new().name("keys".to_owned()).spawn(move || read(reader, &press))?;
        Ok(Some(keys))
    }

    /// Takes the terminal, again after the shell had it.
    pub(super) fn take(&self) -> io::Result<()> {
        if !is_foreground(&self.terminal) {
            return Ok(());
        }
        let mut ours = self.before.clone();
        ours.local_flags.remove(LocalFlags::ICANON | LocalFlags::ECHO);
        Ok(tcsetattr(&self.terminal, SetArg::TCSANOW, &ours)?)
    }

    /// The next key that means something. Never completes where there are none, or no more.
    pub(super) async fn next(keys: &mut Option<Self>) -> Key {
        if let Some(keys) = keys
            && let Some(key) = keys.pressed.recv().await
        {
            return key;
        }
        std::future::pending().await
    }
}

fn read(mut terminal: File, press: &mpsc::Sender<Key>) {
    let mut byte = [0];
    loop {
        match terminal.read(&mut byte) {
            Ok(0) => return,
            Ok(_) => {
                let Some(key) = Key::of(byte[0]) else { continue };
                // What was typed ahead of what it was meant for is left out.
                if let Err(TrySendError::Closed(_)) = press.try_send(key) {
                    return;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        restore(&self.terminal, &self.before);
    }
}

/// Whether we may set it: a process in the background would be stopped. In a namespace of its own
/// both numbers can be 0.
fn is_foreground(terminal: &File) -> bool {
    tcgetpgrp(terminal).is_ok_and(|group| group == getpgrp())
}

fn restore(terminal: &File, before: &Termios) {
    if is_foreground(terminal) {
        // Nobody is left to tell.
        let _ = tcsetattr(terminal, SetArg::TCSANOW, before);
    }
}

/// A panic ends a release build at once, and runs no destructors.
fn restore_on_panic(terminal: File, before: &Termios) {
    static HOOK: Once = Once::new();
    let before = libc::termios::from(before.clone());
    HOOK.call_once(|| {
        let report = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            restore(&terminal, &Termios::from(before));
            report(panic);
        }));
    });
}
