use rcgen::{CertificateParams, KeyPair};
use rstest::rstest;

use super::*;
use crate::tls::testing::{Authority, params};

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn facts(params: &CertificateParams) -> Facts {
    let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
    Facts::of(&[certificate.der().clone()]).unwrap()
}

#[test]
fn names_are_those_of_the_extension_in_lower_case() {
    let mut params = params(&["Example.ORG", "*.Example.org", "192.0.2.1", "2001:db8::1"]);
    params.distinguished_name.push(rcgen::DnType::CommonName, "ignored.example");
    let facts = facts(&params);
    assert_eq!(facts.names, ["example.org", "*.example.org"]);
    let addresses: Vec<_> = facts.addresses.iter().map(ToString::to_string).collect();
    assert_eq!(addresses, ["192.0.2.1", "2001:db8::1"]);
    assert_eq!(facts.warnings(Timestamp::now()), [""; 0]);
}

#[test]
fn a_certificate_for_nobody_is_told() {
    let warnings = facts(&params(&[])).warnings(Timestamp::now());
    assert!(warnings[0].starts_with("names no server"), "{warnings:?}");
}

/// One of ninety days, and one of six: a warning is for renewals that have failed.
#[rstest]
#[case(90, "2026-03-31T00:00:00Z", Some("expired at 2026-03-31T00:00:00Z"))]
#[case(90, "2026-03-29T12:00:00Z", Some("expires in 36 h"))]
#[case(90, "2026-03-18T00:00:00Z", Some("expires in 13 days, at 2026-03-31T00:00:00Z"))]
#[case(90, "2026-03-16T00:00:00Z", None)]
#[case(90, "2025-12-30T00:00:00Z", Some("not valid before 2025-12-31T00:00:00Z"))]
#[case(6, "2026-01-05T00:00:00Z", Some("expires in 24 h"))]
#[case(6, "2026-01-04T00:00:00Z", None)]
fn the_end_of_its_life_is_told_in_time(
    #[case] days: u8,
    #[case] now: &str,
    #[case] expected: Option<&str>,
) {
    let mut params = params(&["a.example"]);
    params.not_before = rcgen::date_time_ymd(2025, 12, 31);
    params.not_after = match days {
        90 => rcgen::date_time_ymd(2026, 3, 31),
        _ => rcgen::date_time_ymd(2026, 1, 6),
    };
    let mut now = at(now);
    if expected.is_some_and(|text| text.starts_with("expired")) {
        now += SignedDuration::from_secs(1);
    }
    let warnings = facts(&params).warnings(now);
    match expected {
        Some(text) => assert!(warnings[0].starts_with(text), "{warnings:?}"),
        None => assert_eq!(warnings, [""; 0]),
    }
}

#[test]
fn a_chain_with_a_gap_is_told() {
    let (ours, other) = (Authority::called("ours"), Authority::called("other"));
    let key = KeyPair::generate().unwrap();
    let own = params(&["a.example"]).signed_by(&key, &ours.issuer).unwrap();
    let warnings = |chain: &[&rcgen::Certificate]| {
        let chain: Vec<_> = chain.iter().map(|certificate| certificate.der().clone()).collect();
        Facts::of(&chain).unwrap().warnings(Timestamp::now())
    };
    assert_eq!(warnings(&[&own, &ours.certificate]), [""; 0]);
    let alone = warnings(&[&own]);
    assert!(alone[0].contains("use the file with the full chain"), "{alone:?}");
    let gap = warnings(&[&own, &other.certificate]);
    assert!(gap[0].starts_with("certificate 2 is not the issuer"), "{gap:?}");
}

#[test]
fn what_is_no_certificate_is_refused_with_its_place() {
    let own = params(&["a"]).self_signed(&KeyPair::generate().unwrap()).unwrap();
    let chain = [own.der().clone(), CertificateDer::from(vec![0x30, 0x03, 0x02, 0x01, 0x01])];
    let problem = Facts::of(&chain).unwrap_err().to_string();
    assert!(problem.starts_with("certificate 2 of its chain is malformed"), "{problem}");
}
