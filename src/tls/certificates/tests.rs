use std::fs;
use std::os::unix::fs::PermissionsExt;

use rcgen::{KeyPair, PKCS_ECDSA_P384_SHA384, PKCS_ED25519};

use super::*;
use crate::tls::testing::{Folder, params};

fn files(source: &CertificateSource) -> (&Path, &Path) {
    let CertificateSource::Files { certificate, key } = source else { panic!("{source:?}") };
    (certificate, key)
}

#[test]
fn everything_that_is_wrong_is_said_with_place_and_file() {
    let folder = Folder::new();
    let good = folder.self_signed("good", &params(&["good.example"]));
    let other = folder.self_signed("other", &params(&["other.example"]));
    let mixed = CertificateSource::Files {
        certificate: files(&good).0.to_owned(),
        key: files(&other).1.to_owned(),
    };
    let absent = CertificateSource::Files {
        certificate: folder.path().join("absent.crt"),
        key: files(&good).1.to_owned(),
    };
    let errors = Certificates::load(&[good, mixed, absent], None).unwrap_err().to_string();
    let path = folder.path().display();
    let expected = format!(
        "`server.https.certificates.1`: {path}/other.key: not the key of the certificate in \
         {path}/good.crt\n`server.https.certificates.2`: {path}/absent.crt: cannot read: No such \
         file or directory (os error 2)"
    );
    assert_eq!(errors, expected);
}

#[test]
fn credentials_are_files_of_their_folder() {
    let folder = Folder::new();
    folder.self_signed("shop", &params(&["shop.example"]));
    let source = CertificateSource::Credential("shop".parse().unwrap());
    let sources = [source];
    let loaded = Certificates::load(&sources, Some(folder.path())).unwrap();
    assert_eq!(loaded.0[0].facts.names, ["shop.example"]);

    fs::remove_file(folder.path().join("shop.key")).unwrap();
    let errors = Certificates::load(&sources, Some(folder.path())).unwrap_err().to_string();
    assert!(errors.contains("LoadCredential=shop.key:FILE"), "{errors}");
    let errors = Certificates::load(&sources, None).unwrap_err().to_string();
    assert!(errors.contains("$CREDENTIALS_DIRECTORY is not set"), "{errors}");
}

#[test]
fn a_key_that_everybody_may_read_is_told() {
    let folder = Folder::new();
    let sources = [folder.self_signed("a", &params(&["a.example"]))];
    let key = files(&sources[0]).1;
    let warnings = |mode| {
        fs::set_permissions(key, fs::Permissions::from_mode(mode)).unwrap();
        Certificates::load(&sources, None).unwrap().warnings(Timestamp::now())
    };
    assert_eq!(warnings(0o640), [""; 0]);
    let told = warnings(0o644);
    assert!(told[0].contains(&format!("chmod o= {}", key.display())), "{told:?}");
}

#[test]
fn a_name_that_is_taken_is_told_unless_the_kinds_of_keys_differ() {
    let folder = Folder::new();
    let of_kind = |stem, names: &[&str], kind| folder.of_kind(stem, names, kind);
    let first = of_kind("first", &["a.example", "*.example"], &PKCS_ECDSA_P384_SHA384);
    let other_kind = of_kind("other_kind", &["a.example"], &PKCS_ED25519);
    let second = folder.self_signed("second", &params(&["b.example", "a.example"]));
    let loaded = Certificates::load(&[first, other_kind, second], None).unwrap();
    let path = folder.path().display();
    let expected = format!(
        "`server.https.certificates.2`: {path}/second.crt: for a.example the one in \
         {path}/first.crt is taken"
    );
    assert_eq!(loaded.warnings(Timestamp::now()), [expected]);
}

#[test]
fn an_expired_certificate_is_no_reason_to_serve_none() {
    let folder = Folder::new();
    let mut params = params(&["a.example"]);
    params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    params.not_before = rcgen::date_time_ymd(2019, 1, 1);
    let key = KeyPair::generate().unwrap();
    let source = folder.pair("a", &[&params.self_signed(&key).unwrap()], &key);
    let loaded = Certificates::load(&[source], None).unwrap();
    assert!(loaded.warnings(Timestamp::now())[0].contains("expired at 2020-01-01"));
}
