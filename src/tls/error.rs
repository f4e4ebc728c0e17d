//! Why certificates cannot be used, and what to do.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::config::settings::CredentialName;

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A socket for HTTPS, and nothing to show on it.
    #[error(
        "the socket \"https\" was passed, and `server.https.certificates` of server.yaml is empty: \
         name a certificate there, or systemctl disable --now tqserver-https.socket"
    )]
    NoCertificate,
    /// Certificates that cannot be used.
    #[error(transparent)]
    Certificates(#[from] CertificateErrors),
}

/// Everything that is wrong with the certificates that are configured, at least one.
#[derive(Debug)]
pub struct CertificateErrors(pub(super) Vec<CertificateError>);

impl fmt::Display for CertificateErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            let line_end = if index == 0 { "" } else { "\n" };
            write!(f, "{line_end}{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for CertificateErrors {}

/// One certificate that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("`server.https.certificates.{index}`: {}: {problem}", path.display())]
pub struct CertificateError {
    /// Its place in the configuration, from 0.
    pub index: usize,
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// It is not there, or the disk fails.
    #[error("cannot read: {0}")]
    Read(#[from] io::Error),
    /// Its mode, owner or group forbid it.
    #[error(
        "permission denied; let the group of tqserver read it, and nobody else: \
         chgrp tqserver {file}; chmod 0640 {file}",
        file = .0.display()
    )]
    Denied(PathBuf),
    /// A folder above it may not be entered.
    #[error(
        "permission denied, as tqserver may not enter {folder}; have a copy made where it may, or \
         pass a credential",
        folder = .0.display()
    )]
    FolderDenied(PathBuf),
    /// A folder, a pipe or a device.
    #[error("not a regular file")]
    NotRegular,
    /// Larger than any chain of certificates.
    #[error("larger than {} KiB", super::pem::MAX_BYTES >> 10)]
    TooLarge,
    /// The service has no credentials.
    #[error(
        "$CREDENTIALS_DIRECTORY is not set: this process has no credentials. For the service, \
         `systemctl edit tqserver`: [Service], LoadCredential={0}.crt:CERTIFICATE, \
         LoadCredential={0}.key:KEY; then restart it"
    )]
    NoCredentials(CredentialName),
    /// The service has not this one.
    #[error(
        "there is no such credential. `systemctl edit tqserver`: [Service], \
         LoadCredential={0}:FILE; then restart the service, as a reload reads no credentials"
    )]
    NoSuchCredential(String),
    /// Bytes that are not PEM.
    #[error("broken PEM: {0}")]
    Pem(rustls_pki_types::pem::Error),
    /// DER, most likely.
    #[error("not PEM; `openssl x509 -inform der` and `openssl pkey -inform der` make that of DER")]
    Der,
    /// PEM without a certificate.
    #[error("there is no certificate in it (-----BEGIN CERTIFICATE-----)")]
    NoCertificate,
    /// A certificate that cannot be read.
    #[error("certificate {place} of its chain is malformed: {reason}")]
    BadCertificate {
        /// Its place in the file, from 1.
        place: usize,
        /// Why.
        reason: String,
    },
    /// PEM without a private key.
    #[error("there is no private key in it (-----BEGIN PRIVATE KEY-----)")]
    NoKey,
    /// PEM with more than one.
    #[error("there are several private keys in it")]
    SeveralKeys,
    /// A key with a passphrase, which nobody could type.
    #[error("the key is encrypted; decrypt it with `openssl pkey`, and pass it as a credential")]
    EncryptedKey,
    /// A kind or length of key that is not supported.
    #[error("this key cannot be used: RSA from 2048 bits, ECDSA P-256 or P-384, or Ed25519 ({0})")]
    UnusableKey(rustls::Error),
    /// The key of another certificate.
    #[error("not the key of the certificate in {}", .0.display())]
    OtherKey(PathBuf),
}
