//! The certificates of a configuration, for a process that has a listener for them or has not.

use std::path::PathBuf;

use jiff::Timestamp;

use super::certificates::Certificates;
use super::error::TlsError;
use crate::config::settings::{Mode, Settings};

/// What does not change while a process lives.
#[derive(Debug, Clone, Default)]
pub struct TlsLoader {
    /// `$CREDENTIALS_DIRECTORY` (systemd.exec(5)), where there is one.
    pub credentials: Option<PathBuf>,
    /// Whether a socket for HTTPS was passed. Otherwise certificates are not looked at: a project's
    /// configuration names those of the server that it is for.
    pub listening: bool,
}

/// What a configuration says about TLS, with what is in the files it names.
#[derive(Debug, Default)]
pub struct LoadedTls {
    /// All of them, or none where nothing listens.
    pub certificates: Certificates,
    /// What their owner should look at, each with its place.
    pub warnings: Vec<String>,
}

impl TlsLoader {
    /// Reads the certificates of `settings`, as they are now. Blocks for the disk.
    ///
    /// # Errors
    /// One of them cannot be used, or there is none for the socket.
    pub fn load(&self, settings: &Settings) -> Result<LoadedTls, TlsError> {
        let configured = &settings.https.certificates;
        match (self.listening, configured.is_empty()) {
            (true, true) => Err(TlsError::NoCertificate),
            (true, false) => {
                let certificates = Certificates::load(configured, self.credentials.as_deref())?;
                let warnings = certificates.warnings(Timestamp::now());
                Ok(LoadedTls { certificates, warnings })
            }
            (false, false) if settings.mode == Mode::Prod => {
                let warning = "`server.https.certificates`: no socket was passed for HTTPS; \
                               systemctl enable tqserver-https.socket, and restart tqserver";
                Ok(LoadedTls { warnings: vec![warning.to_owned()], ..LoadedTls::default() })
            }
            (false, _) => Ok(LoadedTls::default()),
        }
    }
}

#[cfg(test)]
mod tests;
