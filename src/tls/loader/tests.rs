use rstest::rstest;

use super::*;
use crate::config::{Sources, parse};
use crate::tls::testing::{Folder, params};

/// The settings of a project with this in its `server.https.certificates`.
fn settings(mode: Mode, certificates: &str) -> Settings {
    let sources = Sources { mode: Some(mode), ..Sources::of_project("/srv") };
    let text = format!("server: {{https: {{certificates: [{certificates}]}}}}");
    parse(&sources, text.as_bytes(), None).unwrap().settings
}

#[test]
fn a_socket_gets_the_certificates_of_the_configuration() {
    let folder = Folder::new();
    folder.self_signed("shop", &params(&[]));
    let loader = TlsLoader { credentials: Some(folder.path().to_owned()), listening: true };
    let loaded = loader.load(&settings(Mode::Prod, "{credential: shop}")).unwrap();
    assert!(!loaded.certificates.is_empty());
    assert!(loaded.warnings[0].contains("names no server"), "{:?}", loaded.warnings);
    let refused = loader.load(&settings(Mode::Prod, "{credential: blog}")).unwrap_err().to_string();
    assert!(refused.contains("LoadCredential=blog.crt"), "{refused}");
}

#[test]
fn a_socket_without_certificates_is_refused() {
    let loader = TlsLoader { credentials: None, listening: true };
    let refused = loader.load(&settings(Mode::Prod, "")).unwrap_err().to_string();
    assert!(refused.contains("systemctl disable --now tqserver-https.socket"), "{refused}");
}

/// Nor are they looked at: these do not exist.
#[rstest]
#[case(Mode::Prod, "{credential: shop}", 1)]
#[case(Mode::Dev, "{credential: shop}", 0)]
#[case(Mode::Prod, "", 0)]
fn certificates_without_a_socket_are_told_in_production(
    #[case] mode: Mode,
    #[case] certificates: &str,
    #[case] warnings: usize,
) {
    let loaded = TlsLoader::default().load(&settings(mode, certificates)).unwrap();
    assert!(loaded.certificates.is_empty());
    assert_eq!(loaded.warnings.len(), warnings);
}
