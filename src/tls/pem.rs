//! Certificates and keys out of files in PEM.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rustls_pki_types::pem::{Error, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::error::Problem;

/// The most bytes of a file; a chain with RSA keys of 4096 bits has about 10 KiB.
pub(super) const MAX_BYTES: u64 = 256 << 10;

/// A chain of certificates, the server's own first.
pub(super) fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, Problem> {
    let (text, _) = read(path)?;
    let chain: Vec<_> =
        CertificateDer::pem_slice_iter(&text).collect::<Result<_, _>>().map_err(Problem::Pem)?;
    if chain.is_empty() {
        return Err(if is_der(&text) { Problem::Der } else { Problem::NoCertificate });
    }
    Ok(chain)
}

/// A private key, and whether everybody may read it.
pub(super) fn read_key(path: &Path) -> Result<(PrivateKeyDer<'static>, bool), Problem> {
    let (text, mode) = read(path)?;
    let mut keys = PrivateKeyDer::pem_slice_iter(&text);
    let key = match keys.next() {
        // Both kinds of encrypted keys say so: in their label, or in a header (RFC 1421).
        _ if contains(&text, b"ENCRYPTED") => return Err(Problem::EncryptedKey),
        None if is_der(&text) => return Err(Problem::Der),
        None | Some(Err(Error::NoItemsFound)) => return Err(Problem::NoKey),
        Some(key) => key.map_err(Problem::Pem)?,
    };
    match keys.next() {
        None => Ok((key, mode & 0o004 != 0)),
        Some(_) => Err(Problem::SeveralKeys),
    }
}

/// An ASN.1 sequence, which both certificates and keys are.
fn is_der(bytes: &[u8]) -> bool {
    bytes.first() == Some(&0x30)
}

fn contains(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|window| window == word)
}

/// The bytes of a regular file, and its mode.
fn read(path: &Path) -> Result<(Vec<u8>, u32), Problem> {
    // Opening a pipe waits for its writer otherwise.
    let nonblocking = rustix::fs::OFlags::NONBLOCK.bits() as i32;
    let opened = OpenOptions::new().read(true).custom_flags(nonblocking).open(path);
    let file = opened.map_err(|error| match error.kind() {
        io::ErrorKind::PermissionDenied => denied(path),
        _ => Problem::Read(error),
    })?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(Problem::NotRegular);
    }
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(Problem::TooLarge);
    }
    Ok((bytes, metadata.permissions().mode()))
}

/// Whether it is the file that must not be read, or a folder that must not be entered.
fn denied(path: &Path) -> Problem {
    let forbids = |folder: &&Path| {
        let below = folder.join(".").symlink_metadata();
        below.is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
    };
    // Behind a folder that may not be entered nothing can be said about those below it.
    let folders: Vec<_> = path.ancestors().skip(1).collect();
    match folders.into_iter().rev().find(forbids) {
        Some(folder) => Problem::FolderDenied(folder.to_owned()),
        None => Problem::Denied(path.to_owned()),
    }
}

#[cfg(test)]
mod tests;
