//! OpenPGP keys of a test's own, made by the true gpg.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// A moment long ago, as gpg takes it for its clock.
pub const LONG_AGO: &str = "20200101T120000";

/// A folder of keys. Gone with the value, and so is gpg's agent.
pub struct Keys {
    home: TempDir,
}

impl Keys {
    /// An empty folder.
    pub fn new() -> Self {
        Self { home: tempfile::tempdir().unwrap() }
    }

    /// Makes a key without a passphrase, whose owner is `name`.
    pub fn make(&self, name: &str) {
        self.run(&["--quick-generate-key", name, "ed25519", "sign", "never"]);
    }

    /// Makes a key that was valid for a day, long ago.
    pub fn make_expired(&self, name: &str) {
        let key = ["--quick-generate-key", name, "ed25519", "sign", "1d"];
        self.run(&[&["--faked-system-time", LONG_AGO][..], &key].concat());
    }

    /// Makes an expired key valid for ever.
    pub fn extend(&self, name: &str) {
        let fingerprint = self.fingerprint(name);
        self.run(&["--quick-set-expire", &fingerprint, "0"]);
    }

    /// Revokes a key, by the certificate that gpg has made along with it.
    pub fn revoke(&self, name: &str) {
        let fingerprint = self.fingerprint(name);
        let file = format!("openpgp-revocs.d/{fingerprint}.rev");
        let certificate = fs::read_to_string(self.home.path().join(file)).unwrap();
        // A colon keeps it from being imported by mistake.
        let path = self.home.path().join("revocation");
        fs::write(&path, certificate.replace(":-----BEGIN", "-----BEGIN")).unwrap();
        self.run(&["--import", path.to_str().unwrap()]);
    }

    /// Writes the public keys to a keyring.
    pub fn export(&self, names: &[&str], keyring: &Path) {
        let _ = fs::remove_file(keyring);
        let keyring = keyring.to_str().unwrap();
        self.run(&[&["--output", keyring, "--export"][..], names].concat());
    }

    /// Signs a file, as `tqctl build --sign` does, with further arguments for gpg.
    pub fn sign_with(&self, name: &str, file: &Path, arguments: &[&str]) {
        let signature = format!("{}.asc", file.display());
        let _ = fs::remove_file(&signature);
        let owner = format!("={name}");
        let sign = ["--armor", "--local-user", &owner, "--output", &signature, "--detach-sign"];
        self.run(&[arguments, &sign, &[file.to_str().unwrap()]].concat());
    }

    /// Signs a file, as `tqctl build --sign` does.
    pub fn sign(&self, name: &str, file: &Path) {
        self.sign_with(name, file, &[]);
    }

    /// Where gpg finds them.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    fn fingerprint(&self, name: &str) -> String {
        let listing = self.run(&["--with-colons", "--fingerprint", name]);
        let line = listing.lines().find_map(|line| line.strip_prefix("fpr:")).unwrap();
        line.trim_matches(':').to_owned()
    }

    #[track_caller]
    fn run(&self, arguments: &[&str]) -> String {
        let output = Command::new("gpg")
            .env("GNUPGHOME", self.home.path())
            .args(["--batch", "--yes", "--quiet"])
            .args(["--pinentry-mode", "loopback", "--passphrase", ""])
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .expect("gpg is installed");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "gpg {arguments:?}: {said}");
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        let _ = Command::new("gpgconf")
            .env("GNUPGHOME", self.home.path())
            .args(["--kill", "all"])
            .status();
    }
}
