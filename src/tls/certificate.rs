//! One certificate with its key.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use rustls::crypto::ring;
use rustls::sign::CertifiedKey;

use super::error::{CertificateError, Problem};
use super::facts::Facts;
use super::pem;
use crate::config::settings::CertificateSource;

/// A certificate that can be used.
#[derive(Debug)]
pub(super) struct Certificate {
    /// Chain and key, as handshakes want them.
    pub(super) key: Arc<CertifiedKey>,
    /// What it says about itself.
    pub(super) facts: Facts,
    /// The file of the chain.
    pub(super) path: PathBuf,
    /// Its place in the configuration, from 0.
    pub(super) index: usize,
    /// The file of the key, if everybody may read it.
    exposed_key: Option<PathBuf>,
}

impl Certificate {
    /// Reads what `source`, the one at `index`, names. Credentials are in the folder of that name.
    pub(super) fn load(
        index: usize,
        source: &CertificateSource,
        credentials: Option<&Path>,
    ) -> Result<Self, CertificateError> {
        let wrong = |path: &Path| {
            let path = path.to_owned();
            move |problem| CertificateError { index, path, problem }
        };
        let (path, key_path) = match source {
            CertificateSource::Files { certificate, key } => (certificate.clone(), key.clone()),
            CertificateSource::Credential(name) => {
                let folder = credentials.ok_or_else(|| {
                    wrong(Path::new(name.as_str()))(Problem::NoCredentials(name.clone()))
                })?;
                (folder.join(format!("{name}.crt")), folder.join(format!("{name}.key")))
            }
        };
        let credential = matches!(source, CertificateSource::Credential(_));
        let explain = |path: &Path| {
            let wrong = wrong(path);
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            move |problem| match problem {
                Problem::Read(error)
                    if credential && error.kind() == std::io::ErrorKind::NotFound =>
                {
                    wrong(Problem::NoSuchCredential(name))
                }
                other => wrong(other),
            }
        };
        let chain = pem::read_chain(&path).map_err(explain(&path))?;
        let facts = Facts::of(&chain).map_err(wrong(&path))?;
        let (key, exposed) = pem::read_key(&key_path).map_err(explain(&key_path))?;
        let loaded = CertifiedKey::from_der(chain, key, &ring::default_provider());
        let key = loaded.map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => Problem::OtherKey(path.clone()),
            other => Problem::UnusableKey(other),
        });
        let key = Arc::new(key.map_err(wrong(&key_path))?);
        Ok(Self { key, facts, path, index, exposed_key: exposed.then_some(key_path) })
    }

    /// What its owner should look at.
    pub(super) fn warnings(&self, now: Timestamp) -> Vec<String> {
        let exposed = self.exposed_key.iter().map(|key| {
            let key = key.display();
            format!("everybody on this machine may read the key: chmod o= {key}")
        });
        self.facts.warnings(now).into_iter().chain(exposed).map(|text| self.about(&text)).collect()
    }

    /// A message with the place of what it is about.
    pub(super) fn about(&self, text: &str) -> String {
        format!("`server.https.certificates.{}`: {}: {text}", self.index, self.path.display())
    }
}
