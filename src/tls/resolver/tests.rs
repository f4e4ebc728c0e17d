use rcgen::{PKCS_ECDSA_P256_SHA256, PKCS_ED25519};
use rstest::rstest;
use rustls::SignatureScheme::{ECDSA_NISTP256_SHA256 as ECDSA, ED25519, RSA_PSS_SHA256};

use super::*;
use crate::tls::testing::{Folder, params};

/// What clients of a name get, by the place of the certificate.
fn chosen(
    certificates: &Certificates,
    name: Option<&str>,
    schemes: &[SignatureScheme],
) -> Option<usize> {
    let key = ByName::new(certificates).choose(name, schemes)?;
    certificates.0.iter().position(|certificate| Arc::ptr_eq(&certificate.key, &key))
}

#[rstest]
#[case::nothing_asked(None, 0)]
#[case::nobody(Some("elsewhere.example"), 0)]
#[case::exact(Some("shop.example"), 1)]
#[case::one_label(Some("a.shop.example"), 2)]
#[case::exact_before_wildcard(Some("www.shop.example"), 1)]
#[case::two_labels(Some("a.b.shop.example"), 0)]
#[case::a_suffix_is_no_match(Some("workshop.example"), 0)]
fn a_client_gets_the_certificate_of_its_name(#[case] name: Option<&str>, #[case] index: usize) {
    let folder = Folder::new();
    let names: [&[&str]; 3] =
        [&["first.example"], &["shop.example", "www.shop.example"], &["*.shop.example"]];
    let sources: Vec<_> = names
        .iter()
        .enumerate()
        .map(|(index, names)| folder.self_signed(&index.to_string(), &params(names)))
        .collect();
    let certificates = Certificates::load(&sources, None).unwrap();
    assert_eq!(chosen(&certificates, name, &[ECDSA]), Some(index));
}

#[test]
fn a_client_gets_one_that_it_can_check() {
    let folder = Folder::new();
    let sources = [
        folder.of_kind("a", &["a.example"], &PKCS_ECDSA_P256_SHA256),
        folder.of_kind("b", &["b.example"], &PKCS_ED25519),
        folder.of_kind("c", &["b.example"], &PKCS_ECDSA_P256_SHA256),
    ];
    let certificates = Certificates::load(&sources, None).unwrap();
    let name = Some("b.example");
    assert_eq!(chosen(&certificates, name, &[ECDSA, ED25519]), Some(1));
    assert_eq!(chosen(&certificates, name, &[ECDSA]), Some(2));
    assert_eq!(chosen(&certificates, Some("a.example"), &[ED25519]), Some(1));
    assert_eq!(chosen(&certificates, name, &[RSA_PSS_SHA256]), None);
}
