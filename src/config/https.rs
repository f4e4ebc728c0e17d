//! `server.https`: certificates, and what becomes of requests without TLS.

use std::path::Path;
use std::time::Duration;

use super::section::Section;
use super::server::{DAY, path_in};
use super::settings::{CertificateSource, HttpsSettings};

/// Reads `server.https`; relative paths start from `root`.
pub(super) fn read(section: &mut Section<'_, '_>, root: &Path) -> HttpsSettings {
    let before = section.findings();
    let certificates =
        section.items("certificates", |certificate| read_certificate(certificate, root));
    let redirect_http = section.flag("redirect_http").is_some_and(|found| found.value);
    let hsts_max_age = section.seconds("hsts_max_age_seconds", 0..=2 * 366 * DAY);
    let hsts_max_age = hsts_max_age.unwrap_or(Duration::ZERO);
    if certificates.is_empty() && section.findings() == before {
        let wanted =
            [("redirect_http", redirect_http), ("hsts_max_age_seconds", !hsts_max_age.is_zero())];
        for (key, _) in wanted.iter().filter(|(_, wanted)| *wanted) {
            let message = format!("`server.https.{key}` needs a certificate: there is no HTTPS");
            section.error(section.position(key), message);
        }
    }
    let certificates = certificates.into_iter().flatten().collect();
    HttpsSettings { certificates, redirect_http, hsts_max_age }
}

fn read_certificate(section: &mut Section<'_, '_>, root: &Path) -> Option<CertificateSource> {
    let before = section.findings();
    let certificate = section.parsed("certificate", |text| path_in(root, text));
    let key = section.parsed("key", |text| path_in(root, text));
    let credential = section.parsed("credential", str::parse);
    match (certificate, key, credential) {
        (Some(certificate), Some(key), None) => {
            Some(CertificateSource::Files { certificate: certificate.value, key: key.value })
        }
        (None, None, Some(name)) => Some(CertificateSource::Credential(name.value)),
        _ => {
            if section.findings() == before {
                let message = "a certificate has either `certificate` and `key`, which are paths, \
                               or `credential`";
                section.error(section.place(), message);
            }
            None
        }
    }
}
