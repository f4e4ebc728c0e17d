//! Whether the files of credentials changed.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::config::settings::CredentialName;

/// What tells one content of a file from another, without reading it: who computes it may only
/// look.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Stamp {
    inode: u64,
    size: u64,
    /// In seconds since 1970, and nanoseconds.
    changed: (i64, i64),
}

/// The stamps of those files that lie below `config_dir`.
///
/// Others are not stamped: the unprivileged process and the privileged one must come to the same
/// fingerprint, and only there do both see the same.
///
/// # Errors
/// A file that is missing, or that cannot be looked at where it must.
pub(super) fn stamps(
    config_dir: &Path,
    credentials: &BTreeMap<CredentialName, PathBuf>,
) -> Result<BTreeMap<CredentialName, Stamp>, String> {
    let mut stamps = BTreeMap::new();
    for (name, path) in credentials {
        let ours = path.starts_with(config_dir);
        let wrong = |reason: &str| format!("credential {name}: {} {reason}", path.display());
        match fs::metadata(path) {
            Ok(stat) if ours && !stat.is_file() => return Err(wrong("is not a file")),
            Ok(stat) if ours => {
                let changed = (stat.mtime(), stat.mtime_nsec());
                let stamp = Stamp { inode: stat.ino(), size: stat.size(), changed };
                stamps.insert(name.clone(), stamp);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(wrong("is missing: put the secret there, mode 0600"));
            }
            Err(error) if ours => return Err(wrong(&format!("cannot be looked at: {error}"))),
            // systemd will read it, or say that it cannot.
            Ok(_) | Err(_) => {}
        }
    }
    Ok(stamps)
}
