//! TLS as real clients see it: openssl(1) and curl(1) against what the library publishes.

#[path = "../support/authority.rs"]
mod authority;
mod clients;
mod server;

use std::collections::BTreeSet;
use std::fs;

use authority::Authority;
use clients::{OpenConnection, ciphers_of_tls_1_2, curl, rsa_certificate, s_client};
use server::Server;
use tqserver::config::settings::CertificateSource;
use tqserver::tls::Certificates;

#[test]
fn no_protocol_below_tls_1_2_is_spoken() {
    let authority = Authority::new();
    let server = Server::with(&[authority.certificate("a", &["a.example"])]);
    for version in ["-tls1", "-tls1_1"] {
        // What the client itself would refuse first is allowed to it.
        let refused = s_client(&server, &[version, "-cipher", "ALL:@SECLEVEL=0"]);
        assert!(refused.contains("New, (NONE)"), "{version}: {refused}");
        assert!(refused.contains("SSL alert number"), "{version}, the server refuses: {refused}");
    }
    for (version, name) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        let spoken = s_client(&server, &[version]);
        assert!(spoken.contains(&format!("New, {name}, Cipher is")), "{spoken}");
    }
}

/// Every suite of TLS 1.2 that the client knows, one at a time: what is accepted has an ephemeral
/// key exchange and authenticated encryption. All of TLS 1.3 have both.
#[test]
fn no_weak_cipher_is_accepted() {
    let authority = Authority::new();
    let sources = [
        authority.certificate("ec", &["a.example"]),
        rsa_certificate(&authority, "rsa", "a.example"),
    ];
    let server = Server::with(&sources);
    let known = ciphers_of_tls_1_2();
    assert!(known.len() > 50 && known.contains("AES128-SHA"), "{known:?}");
    let accepts = |cipher: &&String| {
        let cipher = format!("{cipher}:@SECLEVEL=0");
        s_client(&server, &["-tls1_2", "-cipher", &cipher]).contains("New, TLSv1.2, Cipher is")
    };
    let accepted: BTreeSet<_> = known.iter().filter(accepts).map(String::as_str).collect();
    let strong = [
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        "ECDHE-RSA-AES128-GCM-SHA256",
        "ECDHE-RSA-AES256-GCM-SHA384",
        "ECDHE-RSA-CHACHA20-POLY1305",
    ];
    assert_eq!(accepted, strong.into());
}

#[test]
fn the_name_decides_which_certificate_is_shown() {
    let authority = Authority::new();
    let server = Server::with(&[
        authority.certificate("first", &["first.example", "127.0.0.1"]),
        authority.certificate("shop", &["shop.example", "*.shop.example"]),
    ]);
    // curl compares names and checks the chain.
    for host in ["first.example", "shop.example", "img.shop.example", "SHOP.example", "127.0.0.1"] {
        let answer = curl(&server, &authority, host);
        assert!(answer.is_ok_and(|text| text.starts_with("HTTP/1.1 200 ")), "{host}");
    }
    let other = curl(&server, &authority, "elsewhere.example").unwrap_err();
    assert!(other.contains("no alternative certificate subject name matches"), "{other}");
}

#[test]
fn sessions_are_resumed_also_after_a_reload() {
    let authority = Authority::new();
    let sources = [authority.certificate("a", &["a.example"])];
    let server = Server::with(&sources);
    let session = authority.path().join("session.pem");
    let session = session.to_str().unwrap();
    for how in [&["-tls1_3"][..], &["-tls1_2"], &["-tls1_2", "-no_ticket"]] {
        let first = s_client(&server, &[how, &["-sess_out", session]].concat());
        assert!(first.contains("New, TLSv1"), "{how:?}: {first}");
        for reload in [false, true] {
            if reload {
                server.publish(&sources);
            }
            let second = s_client(&server, &[how, &["-sess_in", session]].concat());
            assert!(second.contains("Reused, TLSv1"), "{how:?}, reload {reload}: {second}");
        }
    }
}

#[test]
fn protocols_are_negotiated() {
    let authority = Authority::new();
    let server = Server::with(&[authority.certificate("a", &["a.example"])]);
    let spoken = s_client(&server, &["-alpn", "h2,http/1.1"]);
    assert!(spoken.contains("ALPN protocol: http/1.1"), "{spoken}");
    let refused = s_client(&server, &["-alpn", "h2"]);
    assert!(refused.contains("alert no application protocol"), "{refused}");
}

#[test]
fn a_reload_is_for_new_connections_and_old_ones_go_on() {
    let authority = Authority::new();
    let source = authority.certificate("a", &["a.example"]);
    let server = Server::with(std::slice::from_ref(&source));
    let mut old = OpenConnection::to(&server);
    assert!(old.get().starts_with("HTTP/1.1 200 "));
    let before = serial(&server);

    // As certbot does it: the same files with another certificate.
    authority.certificate("a", &["a.example"]);
    assert_eq!(serial(&server), before, "nobody asked for a reload");
    server.publish(std::slice::from_ref(&source));
    assert_ne!(serial(&server), before);
    assert!(old.get().starts_with("HTTP/1.1 200 "));

    let key = authority.path().join("a.key");
    fs::write(&key, fs::read(authority.path().join("authority.key")).unwrap()).unwrap();
    let refused = Certificates::load(&[source], None).unwrap_err().to_string();
    assert!(refused.contains("a.key: not the key of the certificate in"), "{refused}");
    assert!(old.get().starts_with("HTTP/1.1 200 "));
}

/// The serial number of the certificate that a new connection is shown.
fn serial(server: &Server) -> String {
    let shown = s_client(server, &["-showcerts"]);
    let begin = shown.find("-----BEGIN CERTIFICATE-----").unwrap_or_else(|| panic!("{shown}"));
    let end = shown.find("-----END CERTIFICATE-----").unwrap();
    shown[begin..end].to_owned()
}

#[test]
fn a_key_that_is_too_short_is_refused() {
    let authority = Authority::new();
    let key = authority.path().join("short.key");
    clients::openssl(&["genrsa", "-out", key.to_str().unwrap(), "1024"]);
    let CertificateSource::Files { certificate, .. } = authority.certificate("a", &["a.example"])
    else {
        unreachable!("a certificate in files")
    };
    let source = CertificateSource::Files { certificate, key };
    let refused = Certificates::load(&[source], None).unwrap_err().to_string();
    assert!(refused.contains("RSA from 2048 bits"), "{refused}");
}
