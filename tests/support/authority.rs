//! Certificates that clients can check.

use std::fs;
use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tqserver::config::settings::CertificateSource;

/// Who signs the certificates of a test, and the folder they are in.
pub(crate) struct Authority {
    folder: tempfile::TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// With its certificate in `authority.crt`, and its key beside it.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.distinguished_name.push(DnType::CommonName, "authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        fs::write(folder.path().join("authority.crt"), certificate.pem()).unwrap();
        fs::write(folder.path().join("authority.key"), key.serialize_pem()).unwrap();
        Self { folder, issuer: Issuer::new(params, key) }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes `<stem>.crt` and `<stem>.key`, another certificate each time.
    pub(crate) fn certificate(&self, stem: &str, names: &[&str]) -> CertificateSource {
        self.of_key(stem, names, &KeyPair::generate().unwrap())
    }

    /// The same with this key.
    pub(crate) fn of_key(&self, stem: &str, names: &[&str], key: &KeyPair) -> CertificateSource {
        let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name.push(DnType::CommonName, stem);
        let chain = params.signed_by(key, &self.issuer).unwrap().pem();
        let issuer = fs::read_to_string(self.path().join("authority.crt")).unwrap();
        let file = |ending| self.path().join(format!("{stem}.{ending}"));
        let (certificate, key_file) = (file("crt"), file("key"));
        fs::write(&certificate, chain + &issuer).unwrap();
        fs::write(&key_file, key.serialize_pem()).unwrap();
        CertificateSource::Files { certificate, key: key_file }
    }
}
