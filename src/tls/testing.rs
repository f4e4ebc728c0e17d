//! Certificates for tests.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nix::unistd::{Gid, Uid, geteuid, setfsgid, setfsuid};
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, IsCa, Issuer, KeyPair,
    SignatureAlgorithm,
};

use crate::config::settings::CertificateSource;

/// Parameters of a certificate for these names, called after the first.
pub(super) fn params(names: &[&str]) -> CertificateParams {
    let owned: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
    let mut params = CertificateParams::new(owned).unwrap();
    params.distinguished_name.push(DnType::CommonName, names.first().copied().unwrap_or("nobody"));
    params
}

/// A folder with certificates in it.
pub(super) struct Folder(tempfile::TempDir);

impl Folder {
    pub(super) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Writes `text` to `name`, readable by its owner only.
    pub(super) fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    /// Writes `<stem>.crt` and `<stem>.key`.
    pub(super) fn pair(
        &self,
        stem: &str,
        chain: &[&Certificate],
        key: &KeyPair,
    ) -> CertificateSource {
        let chain: String = chain.iter().map(|certificate| certificate.pem()).collect();
        CertificateSource::Files {
            certificate: self.write(&format!("{stem}.crt"), chain),
            key: self.write(&format!("{stem}.key"), key.serialize_pem()),
        }
    }

    /// The same of a certificate that has signed itself.
    pub(super) fn self_signed(&self, stem: &str, params: &CertificateParams) -> CertificateSource {
        let key = KeyPair::generate().unwrap();
        self.pair(stem, &[&params.self_signed(&key).unwrap()], &key)
    }

    /// The same with a key of this kind.
    pub(super) fn of_kind(
        &self,
        stem: &str,
        names: &[&str],
        kind: &'static SignatureAlgorithm,
    ) -> CertificateSource {
        let key = KeyPair::generate_for(kind).unwrap();
        self.pair(stem, &[&params(names).self_signed(&key).unwrap()], &key)
    }
}

/// Somebody who signs certificates.
pub(super) struct Authority {
    pub(super) certificate: Certificate,
    pub(super) issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(super) fn called(name: &str) -> Self {
        let mut params = params(&[]);
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Self { certificate, issuer: Issuer::new(params, key) }
    }
}

/// Does something as somebody who owns nothing: on a thread of its own, whose file system identity
/// differs (credentials(7)). Whoever is not root already cannot pass by modes.
pub(super) fn as_nobody<T: Send>(act: impl FnOnce() -> T + Send) -> T {
    let acting = move || {
        if geteuid().is_root() {
            setfsgid(Gid::from_raw(65534));
            setfsuid(Uid::from_raw(65534));
        }
        act()
    };
    std::thread::scope(|scope| scope.spawn(acting).join()).unwrap()
}
