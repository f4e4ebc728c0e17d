//! All certificates of a configuration.

use std::path::Path;

use jiff::Timestamp;

use super::certificate::Certificate;
use super::error::CertificateErrors;
use crate::config::settings::CertificateSource;

/// Certificates that were read and checked, in the order of the configuration.
#[derive(Debug, Default)]
pub struct Certificates(pub(super) Vec<Certificate>);

impl Certificates {
    /// Reads all of `sources`. Credentials are files in the folder `credentials`
    /// (`$CREDENTIALS_DIRECTORY`, systemd.exec(5)). Blocks for the disk.
    ///
    /// # Errors
    /// What is wrong with any of them. One that has expired is no error: see [`Self::warnings`].
    pub fn load(
        sources: &[CertificateSource],
        credentials: Option<&Path>,
    ) -> Result<Self, CertificateErrors> {
        let (mut certificates, mut errors) = (Vec::new(), Vec::new());
        for (index, source) in sources.iter().enumerate() {
            match Certificate::load(index, source, credentials) {
                Ok(certificate) => certificates.push(certificate),
                Err(error) => errors.push(error),
            }
        }
        if errors.is_empty() { Ok(Self(certificates)) } else { Err(CertificateErrors(errors)) }
    }

    /// Whether there are none, so that there is no HTTPS.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// When the first of them expires.
    pub fn expiry(&self) -> Option<Timestamp> {
        self.0.iter().map(|certificate| certificate.facts.not_after).min()
    }

    /// What their owner should look at, at the time `now`: what expires soon or has expired, chains
    /// that clients refuse, keys that everybody may read, names that are in two of them.
    pub fn warnings(&self, now: Timestamp) -> Vec<String> {
        let own = self.0.iter().flat_map(|certificate| certificate.warnings(now));
        own.chain(self.0.iter().flat_map(|certificate| self.shadowed(certificate))).collect()
    }

    /// Names for which an earlier certificate is taken. Two of different kinds of keys go together:
    /// a client gets the one that it can check.
    fn shadowed(&self, later: &Certificate) -> Vec<String> {
        let kind = later.key.key.algorithm();
        let mut warnings = Vec::new();
        for name in &later.facts.names {
            let mut earlier = self.0[..later.index].iter();
            let taken = earlier.find(|earlier| {
                earlier.key.key.algorithm() == kind && earlier.facts.names.contains(name)
            });
            if let Some(taken) = taken {
                let taken = taken.path.display();
                warnings.push(later.about(&format!("for {name} the one in {taken} is taken")));
            }
        }
        warnings
    }
}

#[cfg(test)]
mod tests;
