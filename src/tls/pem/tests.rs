use std::fs::Permissions;

use super::*;
use crate::tls::testing::{Folder, as_nobody, params};

fn key_pair() -> rcgen::KeyPair {
    rcgen::KeyPair::generate().unwrap()
}

/// The message about a file with this in it.
fn about(text: impl AsRef<[u8]>, read: impl Fn(&Path) -> Option<Problem>) -> String {
    let folder = Folder::new();
    read(&folder.write("file.pem", text)).expect("a problem").to_string()
}

fn about_key(text: impl AsRef<[u8]>) -> String {
    about(text, |path| read_key(path).err())
}

fn about_chain(text: impl AsRef<[u8]>) -> String {
    about(text, |path| read_chain(path).err())
}

#[test]
fn what_is_no_key_is_refused_by_its_name() {
    let key = key_pair();
    let pem = key.serialize_pem();
    assert!(about_key("").contains("there is no private key"));
    assert!(about_key(pem.replace("BEGIN PRIVATE", "BEGIN PUBLIC")).contains("PEM"));
    assert!(about_key(format!("{pem}{pem}")).contains("several private keys"));
    assert!(about_key(key.serialize_der()).contains("openssl pkey -inform der"));
    assert!(about_key(pem.replace("PRIVATE", "ENCRYPTED PRIVATE")).contains("is encrypted"));
    let header = "PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\n";
    assert!(about_key(pem.replacen("PRIVATE KEY-----\n", header, 1)).contains("is encrypted"));
    assert!(about_key(&pem[..pem.len() / 2]).contains("broken PEM"));
}

#[test]
fn what_is_no_chain_is_refused_by_its_name() {
    let certificate = params(&["a"]).self_signed(&key_pair()).unwrap();
    assert!(about_chain(key_pair().serialize_pem()).contains("there is no certificate"));
    assert!(about_chain(certificate.der()).contains("openssl x509 -inform der"));
    let pem = certificate.pem();
    assert!(about_chain(&pem[..pem.len() / 2]).contains("broken PEM"));
    assert!(about_chain(vec![b'#'; 300 << 10]).contains("larger than 256 KiB"));
}

/// Files as certbot's `privkey.pem`, and those that have both.
#[test]
fn chain_and_key_may_be_in_one_file_among_comments() {
    let (key, folder) = (key_pair(), Folder::new());
    let certificate = params(&["a"]).self_signed(&key).unwrap().pem();
    let text = format!("Bag Attributes\n{certificate}\n{}\n{certificate}", key.serialize_pem());
    let path = folder.write("both.pem", text);
    assert_eq!(read_chain(&path).unwrap().len(), 2);
    assert_eq!(read_key(&path).unwrap().0.secret_der(), key.serialize_der());
}

#[test]
fn nothing_waits_for_a_pipe() {
    let folder = Folder::new();
    let path = folder.path().join("pipe");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert!(matches!(read_chain(&path), Err(Problem::NotRegular)));
}

#[test]
fn what_must_not_be_read_is_told_from_what_must_not_be_entered() {
    let folder = Folder::new();
    let set = |path: &Path, mode| std::fs::set_permissions(path, Permissions::from_mode(mode));
    set(folder.path(), 0o755).unwrap();
    let file = folder.write("key.pem", key_pair().serialize_pem());
    set(&file, 0o000).unwrap();
    let problem = as_nobody(|| read_key(&file).unwrap_err()).to_string();
    assert!(problem.contains(&format!("chmod 0640 {}", file.display())), "{problem}");

    let live = folder.path().join("live");
    std::fs::create_dir_all(live.join("example.org")).unwrap();
    set(&live, 0o000).unwrap();
    let below = live.join("example.org/privkey.pem");
    let problem = as_nobody(|| read_key(&below).unwrap_err()).to_string();
    set(&live, 0o700).unwrap();
    assert!(problem.contains(&format!("may not enter {};", live.display())), "{problem}");
}
