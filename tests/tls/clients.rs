//! openssl(1) and curl(1).

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use rcgen::KeyPair;
use tqserver::config::settings::CertificateSource;

use crate::authority::Authority;
use crate::server::Server;

/// A command that is ended when it hangs.
fn bounded(program: &str) -> Command {
    let mut command = Command::new("timeout");
    command.args(["20", program]).stderr(Stdio::piped()).stdout(Stdio::piped());
    command
}

/// What `openssl` prints. It succeeds.
pub(crate) fn openssl(args: &[&str]) -> String {
    let output = bounded("openssl").args(args).output().expect("coreutils are installed");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "openssl {args:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// A certificate with an RSA key, for `name`.
pub(crate) fn rsa_certificate(authority: &Authority, stem: &str, name: &str) -> CertificateSource {
    let path = authority.path().join("rsa.pem");
    let bits = "rsa_keygen_bits:2048";
    let out = path.to_str().unwrap();
    openssl(&["genpkey", "-algorithm", "RSA", "-pkeyopt", bits, "-out", out]);
    let key = KeyPair::from_pem(&fs::read_to_string(path).unwrap()).unwrap();
    authority.of_key(stem, &[name], &key)
}

/// The suites of TLS 1.2 and before that this client can offer.
pub(crate) fn ciphers_of_tls_1_2() -> BTreeSet<String> {
    let list = openssl(&["ciphers", "-s", "-tls1_2", "ALL:COMPLEMENTOFALL:@SECLEVEL=0"]);
    list.trim().split(':').map(str::to_owned).collect()
}

/// Shakes hands and asks for `/`, and returns all that was said about it.
pub(crate) fn s_client(server: &Server, args: &[&str]) -> String {
    let mut child = bounded("openssl")
        .args(["s_client", "-connect", &server.addr.to_string(), "-servername", "a.example"])
        // Until the server closes: session tickets come after the handshake.
        .arg("-ign_eof")
        .args(args)
        .stdin(Stdio::piped())
        .spawn()
        .expect("coreutils are installed");
    // Where there was no handshake nobody reads it.
    let _ = child.stdin.take().unwrap().write_all(b"GET / HTTP/1.0\r\n\r\n");
    let output = child.wait_with_output().unwrap();
    [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat()
}

/// The head of the answer of `host`, which is at the server's address; else what `curl` says.
pub(crate) fn curl(server: &Server, authority: &Authority, host: &str) -> Result<String, String> {
    let (ip, port) = (server.addr.ip(), server.addr.port());
    let output = bounded("curl")
        .args(["--silent", "--show-error", "--include", "--noproxy", "*", "--cacert"])
        .arg(authority.path().join("authority.crt"))
        .args(["--resolve", &format!("{}:{port}:{ip}", host.to_lowercase())])
        .arg(format!("https://{host}:{port}/"))
        .output()
        .expect("coreutils are installed");
    match output.status.success() {
        true => Ok(String::from_utf8(output.stdout).unwrap()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

/// A connection that stays.
pub(crate) struct OpenConnection {
    child: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl OpenConnection {
    pub(crate) fn to(server: &Server) -> Self {
        let mut child = bounded("openssl")
            .args(["s_client", "-quiet", "-connect", &server.addr.to_string()])
            .stdin(Stdio::piped())
            .spawn()
            .expect("coreutils are installed");
        let requests = child.stdin.take().unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap());
        Self { child, requests, answers }
    }

    /// Asks once more, and returns the head of the answer.
    pub(crate) fn get(&mut self) -> String {
        self.requests.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(self.answers.read_line(&mut head).unwrap(), 0, "it was closed: {head}");
        }
        head
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
