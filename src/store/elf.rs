//! What machine a program was built for, from the first bytes of its file (elf(5)).

use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;

/// `e_machine` of the architectures that Debian has, by the names of [`std::env::consts::ARCH`].
const MACHINES: [(u16, &str); 9] = [
    (3, "x86"),
    (8, "mips64"),
    (21, "powerpc64"),
    (22, "s390x"),
    (40, "arm"),
    (62, "x86_64"),
    (183, "aarch64"),
    (243, "riscv64"),
    (258, "loongarch64"),
];

/// Where the part of the header that is read here ends.
const HEADER: usize = 20;

/// The machine an ELF file was built for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Machine {
    /// `EI_CLASS`: 1 is 32 bit, 2 is 64 bit.
    class: u8,
    /// `EI_DATA`: 1 is little-endian, 2 is big-endian.
    data: u8,
    /// `e_machine`.
    number: u16,
}

impl Machine {
    /// The one this program was built for.
    pub(crate) fn native() -> Self {
        let arch = std::env::consts::ARCH;
        let number = MACHINES.iter().find(|(_, name)| *name == arch).map_or(0, |(n, _)| *n);
        Self {
            class: if cfg!(target_pointer_width = "64") { 2 } else { 1 },
            data: if cfg!(target_endian = "little") { 1 } else { 2 },
            number,
        }
    }

    /// The one a file was built for that begins with `header`; `None` where it is no ELF file.
    fn of(header: &[u8]) -> Option<Self> {
        let header = header.first_chunk::<HEADER>()?;
        if !header.starts_with(b"\x7fELF") {
            return None;
        }
        let (class, data, number) = (header[4], header[5], [header[18], header[19]]);
        let number =
            if data == 2 { u16::from_be_bytes(number) } else { u16::from_le_bytes(number) };
        Some(Self { class, data, number })
    }

    /// The one the file at `path` was built for; `None` where it is no ELF file.
    pub(crate) fn of_file(path: &Path) -> io::Result<Option<Self>> {
        let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32;
        let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
        let mut header = Vec::with_capacity(HEADER);
        file.take(HEADER as u64).read_to_end(&mut header)?;
        Ok(Self::of(&header))
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match MACHINES.iter().find(|(number, _)| *number == self.number) {
            Some((_, name)) => f.write_str(name)?,
            None => write!(f, "machine {}", self.number)?,
        }
        let native = Self::native();
        if self.number == native.number && self != &native {
            let bits = if self.class == 1 { 32 } else { 64 };
            let order = if self.data == 1 { "little" } else { "big" };
            write!(f, " ({bits} bit, {order}-endian)")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_test_is_native() {
        let here = std::env::current_exe().unwrap();
        assert_eq!(Machine::of_file(&here).unwrap(), Some(Machine::native()));
    }

    #[test]
    fn others_are_named() {
        let mut header = [0; HEADER];
        header[..6].copy_from_slice(b"\x7fELF\x02\x01");
        for (number, name) in [(183, "aarch64"), (9999, "machine 9999")] {
            header[18..].copy_from_slice(&u16::to_le_bytes(number));
            let machine = Machine::of(&header).unwrap();
            assert_ne!(machine, Machine { number: 62, ..machine });
            assert_eq!(machine.to_string(), name);
        }
        header[5] = 2;
        header[18..].copy_from_slice(&22u16.to_be_bytes());
        assert_eq!(Machine::of(&header).unwrap().to_string(), "s390x");
    }

    #[test]
    fn what_is_no_elf_file_has_no_machine() {
        for header in [&b""[..], b"\x7fELF", b"#!/usr/bin/env python3\n", &[0; 64]] {
            assert_eq!(Machine::of(header), None);
        }
    }
}
