//! The certificate that everybody has, of a key on P-256.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};

/// Its files.
pub(super) struct Certificate {
    /// The certificate, which has signed itself.
    pub(super) certificate: PathBuf,
    /// Its key.
    pub(super) key: PathBuf,
    /// Both in one.
    pub(super) both: PathBuf,
}

impl Certificate {
    /// Makes one.
    pub(super) fn write(folder: &Path) -> Self {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let params = CertificateParams::new(vec!["bench.test".to_owned()]).unwrap();
        let certificate = params.self_signed(&key).unwrap().pem();
        let file = |name, text: &str| {
            let path = folder.join(name);
            fs::write(&path, text).unwrap();
            path
        };
        Self {
            certificate: file("bench.crt", &certificate),
            key: file("bench.key", &key.serialize_pem()),
            both: file("bench.pem", &(certificate.clone() + &key.serialize_pem())),
        }
    }
}
