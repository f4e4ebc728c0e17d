use std::fs;

use rcgen::KeyPair;

use super::*;

/// A reload is refused as a whole, and what was loaded before is somebody else's already.
#[test]
fn certificates_that_cannot_be_used_refuse_the_load() {
    let project = tempfile::tempdir().unwrap();
    let file = |name: &str| project.path().join(name);
    fs::create_dir(file("config")).unwrap();
    fs::create_dir(file("workers")).unwrap();
    let text = "server: {https: {certificates: [{certificate: a.crt, key: a.key}]}}";
    fs::write(file("config/server.yaml"), text).unwrap();
    let sources = Sources { mode: Some(Mode::Dev), ..Sources::of_project(project.path()) };
    let output = Output::Files(crate::launcher::output::OutputDir::new(file("output")));
    let loader = Loader::new(sources, output, Scope::Whole, project.path());
    let mut loader = loader.with_tls(TlsLoader { credentials: None, listening: true });

    let key = KeyPair::generate().unwrap();
    let names = vec!["a.example".to_owned()];
    let certificate = rcgen::CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
    fs::write(file("a.crt"), certificate.pem()).unwrap();
    fs::write(file("a.key"), key.serialize_pem()).unwrap();
    assert!(!loader.load_wanted().unwrap().certificates.is_empty());

    fs::write(file("a.key"), KeyPair::generate().unwrap().serialize_pem()).unwrap();
    let refused = loader.load_wanted().unwrap_err().to_string();
    assert!(refused.contains("a.key: not the key of the certificate in"), "{refused}");
}
