use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use rstest::rstest;

use super::*;
use crate::store::testing::{commit, deploy};

// The built programs are tested with the same keys.
#[allow(dead_code, unreachable_pub)]
#[path = "../../../tests/support/keys.rs"]
mod keys;
use keys::{Keys, LONG_AGO};

/// Whose key is trusted.
const ADA: &str = "Ada <ada@example.org>";
const EVE: &str = "Eve <eve@example.org>";

/// A host with deployments and a keyring, and a folder of keys that sign for it.
struct Host {
    dir: tempfile::TempDir,
    deploy: DeployDir,
    keys: Keys,
    gate: Gate,
}

impl Host {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let deploy = DeployDir::new(dir.path().join("deploy"));
        fs::create_dir(deploy.path()).unwrap();
        let keys = Keys::new();
        keys.make(ADA);
        let gate = Gate::new(dir.path().join("trusted.gpg"), dir.path().join(LEDGER));
        let host = Self { dir, deploy, keys, gate };
        host.trust(&[ADA]);
        host
    }

    fn trust(&self, names: &[&str]) {
        self.keys.export(names, &self.keyring());
    }

    fn keyring(&self) -> PathBuf {
        self.dir.path().join("trusted.gpg")
    }

    /// A deployment of this host, built some hours after the first, and not signed.
    fn unsigned(&self, digit: char, hours: i64) -> Deployment {
        let mut record = deploy(&self.deploy, &commit(digit));
        record.built_at += SignedDuration::from_hours(hours);
        self.put(&record);
        record
    }

    fn put(&self, record: &Deployment) {
        fs::write(self.deploy.record(&record.git_commit), record.to_json()).unwrap();
    }

    fn signed(&self, digit: char, hours: i64) -> Deployment {
        let record = self.unsigned(digit, hours);
        self.keys.sign(ADA, &self.deploy.record(&record.git_commit));
        record
    }

    /// One in which a file of `index` differs.
    fn signed_with(&self, digit: char, hours: i64, file: &str) -> Deployment {
        let mut record = self.unsigned(digit, hours);
        let index = record.workers.get_mut(&"index".parse().unwrap()).unwrap();
        *index.sha256.get_mut(file).unwrap() = Sha256::new([digit as u8; 32]);
        self.put(&record);
        self.keys.sign(ADA, &self.deploy.record(&record.git_commit));
        record
    }

    fn admit(&self, deployment: &Deployment) -> Result<(), String> {
        let admitted = self.gate.admit(&self.deploy, deployment, Timestamp::now());
        admitted.map_err(|error| error.to_string())
    }

    /// As whoever starts workers asks.
    fn admit_worker(&self, deployment: &Deployment, name: &str) -> Result<(), String> {
        let commit = &deployment.git_commit;
        let path = self.deploy.signature(commit);
        let record = fs::read(self.deploy.record(commit)).unwrap();
        let authentic = self.gate.authenticate(&record, &fs::read(&path).unwrap(), &path);
        let admitted =
            authentic.unwrap().admit(deployment, Some(&name.parse().unwrap()), Timestamp::now());
        admitted.map_err(|error| error.to_string())
    }

    #[track_caller]
    fn refuses(&self, deployment: &Deployment, reason: &str) {
        let error = self.admit(deployment).unwrap_err();
        let file = self.deploy.signature(&deployment.git_commit).display().to_string();
        assert!(error.starts_with(&file) && error.contains(reason), "{error}");
        assert!(!self.dir.path().join(LEDGER).exists(), "and it is not remembered");
    }
}

#[test]
fn what_a_trusted_key_has_signed_is_admitted() {
    let host = Host::new();
    host.keys.make(EVE);
    host.trust(&[EVE, ADA]);
    assert_eq!(host.admit(&host.signed('a', 0)), Ok(()));
    let ledger = fs::metadata(host.dir.path().join(LEDGER)).unwrap();
    assert_eq!(ledger.permissions().mode() & 0o777, 0o600);
}

/// What can be wrong with a signature, each with an error of its own.
#[rstest]
#[case::unsigned(|_: &Host, _: &Path| {}, "is not there, and this host runs signed deployments only")]
#[case::unknown_key(
    |host: &Host, record: &Path| {
        host.keys.make(EVE);
        host.keys.sign(EVE, record);
    },
    "which is not in "
)]
#[case::expired_key(
    |host: &Host, record: &Path| {
        host.keys.make_expired(EVE);
        host.trust(&[ADA, EVE]);
        host.keys.sign_with(EVE, record, &["--faked-system-time", LONG_AGO]);
    },
    " has expired: extend it"
)]
#[case::expired_signature(
    |host: &Host, record: &Path| {
        host.keys.make_expired(EVE);
        host.keys.extend(EVE);
        host.trust(&[EVE]);
        let arguments = ["--faked-system-time", LONG_AGO, "--default-sig-expire", "1d"];
        host.keys.sign_with(EVE, record, &arguments);
    },
    "the signature of key "
)]
#[case::revoked_key(
    |host: &Host, record: &Path| {
        host.keys.sign(ADA, record);
        host.keys.revoke(ADA);
        host.trust(&[ADA]);
    },
    " was revoked: sign it again"
)]
#[case::altered(
    |host: &Host, record: &Path| {
        host.keys.sign(ADA, record);
        let text = fs::read_to_string(record).unwrap();
        fs::write(record, text.replace("main", "evil")).unwrap();
    },
    "one of the two was altered"
)]
#[case::of_another(
    |host: &Host, record: &Path| {
        let other = host.signed('b', 1);
        let signature = host.deploy.signature(&other.git_commit);
        fs::copy(signature, format!("{}.asc", record.display())).unwrap();
    },
    "one of the two was altered"
)]
#[case::of_text(
    |host: &Host, record: &Path| host.keys.sign_with(ADA, record, &["--textmode"]),
    "signs deployment.json as a text"
)]
#[case::weak(
    |host: &Host, record: &Path| host.keys.sign_with(ADA, record, &["--digest-algo", "SHA1"]),
    "too weak"
)]
#[case::several(
    |host: &Host, record: &Path| {
        host.keys.make(EVE);
        host.trust(&[ADA, EVE]);
        host.keys.sign_with(ADA, record, &["--local-user", EVE]);
    },
    "has several signatures"
)]
#[case::nonsense(
    |_: &Host, record: &Path| fs::write(format!("{}.asc", record.display()), "signed: Ada").unwrap(),
    "is not a detached OpenPGP signature"
)]
#[case::a_key(
    |host: &Host, record: &Path| {
        fs::copy(host.keyring(), format!("{}.asc", record.display())).unwrap();
    },
    "is not a detached OpenPGP signature"
)]
#[case::large(
    |_: &Host, record: &Path| {
        fs::write(format!("{}.asc", record.display()), vec![0; MAX_SIGNATURE_BYTES + 1]).unwrap();
    },
    "is larger than 64 KiB"
)]
fn all_else_is_refused(#[case] make: fn(&Host, &Path), #[case] reason: &str) {
    let host = Host::new();
    let deployment = host.unsigned('a', 0);
    make(&host, &host.deploy.record(&deployment.git_commit));
    host.refuses(&deployment, reason);
}

#[rstest]
#[case::absent(|host: &Host| fs::remove_file(host.keyring()).unwrap(), "does not exist; `gpg --export")]
#[case::empty(|host: &Host| fs::write(host.keyring(), "").unwrap(), "is empty; `gpg --export")]
#[case::armoured(
    |host: &Host| host.keys.export(&["--armor", ADA], &host.keyring()),
    "is armoured; `gpg --export"
)]
#[case::nonsense(|host: &Host| fs::write(host.keyring(), "Ada's key").unwrap(), "which is not in ")]
fn without_a_keyring_nothing_is_admitted(#[case] make: fn(&Host), #[case] reason: &str) {
    let host = Host::new();
    let deployment = host.signed('a', 0);
    make(&host);
    host.refuses(&deployment, reason);
}

/// Wherever a byte of the record is altered, and whatever becomes of the signature with it. Of the
/// signature alone only what OpenPGP binds is compared: not the armour's last line, say.
#[test]
fn a_byte_altered_anywhere_is_refused() {
    let host = Host::new();
    let deployment = host.signed('a', 0);
    let path = host.deploy.signature(&deployment.git_commit);
    let record = fs::read(host.deploy.record(&deployment.git_commit)).unwrap();
    let signature = fs::read(&path).unwrap();
    let is_good =
        |record: &[u8], signature: &[u8]| host.gate.authenticate(record, signature, &path).is_ok();
    assert!(is_good(&record, &signature));
    // The last line before the checksum has the second number that an Ed25519 signature is, and
    // padding.
    let checksum = signature.windows(2).position(|pair| pair == b"\n=").unwrap();
    let line = signature[..checksum].iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
    let alter = |bytes: &[u8], at: usize, mask: u8| {
        let mut bytes = bytes.to_vec();
        bytes[at] ^= mask;
        bytes
    };
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(100) };
    proptest!(config, |(
        at in 0..record.len(),
        elsewhere in 0..signature.len(),
        in_line in line..checksum - 4,
        mask in 1_u8..,
    )| {
        let altered = alter(&record, at, mask);
        prop_assert!(!is_good(&altered, &signature));
        prop_assert!(!is_good(&altered, &alter(&signature, elsewhere, mask)));
        prop_assert!(!is_good(&record, &alter(&signature, in_line, mask)));
    });
}

#[test]
fn the_record_of_another_deployment_does_not_stand_for_this_one() {
    let host = Host::new();
    let mut deployment = host.signed('a', 0);
    deployment.git_branch = Some("evil".to_owned());
    host.refuses(&deployment, "signs another deployment.json than manifest.json repeats");
}

#[test]
fn what_is_old_is_admitted_only_where_it_was_before() {
    let host = Host::new();
    let [first, second, third] = [('a', 0), ('b', 1), ('c', 2)].map(|(d, h)| host.signed(d, h));
    assert_eq!(host.admit(&first), Ok(()));
    assert_eq!(host.admit(&third), Ok(()));
    assert_eq!(host.admit(&first), Ok(()), "going back");
    let error = host.admit(&second).unwrap_err();
    assert!(error.contains("before ccccccc of "), "{error}");
    assert_eq!(host.admit(&third), Ok(()), "and forward again");
}

/// A deployment that changes public files only starts nothing: whoever starts has not heard of it
/// when it is gone back to.
#[test]
fn a_worker_may_run_what_it_ran_before_whichever_deployment_that_came_with() {
    let host = Host::new();
    let ran = host.signed('a', 0);
    assert_eq!(host.admit_worker(&ran, "index"), Ok(()));
    let unheard_of = host.signed_with('b', 1, "public/css/a.css");
    let newest = host.signed_with('c', 2, "private/views/index.html");
    assert_eq!(host.admit_worker(&newest, "index"), Ok(()));
    assert_eq!(host.admit_worker(&unheard_of, "index"), Ok(()));
    let never_ran = host.signed_with('d', 1, "bin/index");
    let error = host.admit_worker(&never_ran, "index").unwrap_err();
    assert!(error.contains("never ran here"), "{error}");
}

#[rstest]
#[case::by_name(ChosenWorker::Named("index".parse().unwrap()))]
#[case::by_route(ChosenWorker::At("/".parse().unwrap()))]
fn a_worker_that_the_host_has_chosen_may_be_old_and_nothing_else_of_its_deployment(
    #[case] what: ChosenWorker,
) {
    let mut host = Host::new();
    let old = host.signed_with('a', 0, "bin/index");
    assert_eq!(host.admit(&host.signed('b', 1)), Ok(()));
    let never_ran = |result: Result<(), String>| result.unwrap_err().contains("never ran here");
    assert!(never_ran(host.admit_worker(&old, "index")));
    host.gate = host.gate.clone().choosing(vec![Chosen { commit: commit('a'), what }]);
    assert_eq!(host.admit_worker(&old, "index"), Ok(()));
    let other = host.signed_with('c', 0, "bin/index");
    assert!(never_ran(host.admit_worker(&other, "index")), "of another deployment");
    assert!(never_ran(host.admit(&old)), "the deployment as a whole");
    host.gate = host.gate.clone().choosing(Vec::new());
    assert!(never_ran(host.admit_worker(&old, "index")), "it is not remembered as one that ran");

    // It must be signed by somebody who is trusted.
    host.keys.make(EVE);
    host.keys.sign(EVE, &host.deploy.record(&commit('a')));
    let error = host.gate.authentic(&host.deploy, &old).unwrap_err().to_string();
    assert!(error.contains("which is not in"), "{error}");
}

#[test]
fn what_was_admitted_survives_the_end_of_its_key_and_nothing_else_does() {
    let host = Host::new();
    host.keys.make_expired(EVE);
    let expired = fs::read({
        host.trust(&[EVE]);
        host.keyring()
    });
    host.keys.extend(EVE);
    host.trust(&[EVE]);
    let [known, later] = [('a', 0), ('b', 1)].map(|(digit, hours)| {
        let deployment = host.unsigned(digit, hours);
        host.keys.sign(EVE, &host.deploy.record(&deployment.git_commit));
        deployment
    });
    assert_eq!(host.admit(&known), Ok(()));
    fs::write(host.keyring(), expired.unwrap()).unwrap();
    assert_eq!(host.admit(&known), Ok(()));
    let error = host.admit(&later).unwrap_err();
    assert!(error.contains("has expired"), "{error}");
    host.keys.revoke(EVE);
    host.trust(&[EVE]);
    let error = host.admit(&known).unwrap_err();
    assert!(error.contains("was revoked"), "{error}");
}

#[test]
fn a_clock_that_is_ahead_does_not_make_all_that_follows_old() {
    let host = Host::new();
    let mut deployment = host.unsigned('a', 0);
    deployment.built_at = Timestamp::now() + SignedDuration::from_hours(2);
    host.put(&deployment);
    host.keys.sign(ADA, &host.deploy.record(&deployment.git_commit));
    host.refuses(&deployment, "which is still to come");
}

#[test]
fn a_ledger_that_cannot_be_read_admits_nothing() {
    let host = Host::new();
    let deployment = host.signed('a', 0);
    for text in ["", "{", "{\"schema\": 7, \"deployments\": []}"] {
        fs::write(host.dir.path().join(LEDGER), text).unwrap();
        let error = host.admit(&deployment).unwrap_err();
        assert!(error.contains("what ran here before is not known: /"), "{error}");
    }
}

#[test]
fn a_gpgv_that_is_absent_or_hangs_admits_nothing() {
    let mut host = Host::new();
    let deployment = host.signed('a', 0);
    let program = host.dir.path().join("gpgv");
    host.gate.gpgv = Gpgv { program: program.clone(), time: Duration::from_millis(50) };
    host.refuses(&deployment, "is not there: apt install gpgv");
    fs::write(&program, "#!/bin/sh\nexec sleep 600\n").unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let begun = Instant::now();
    host.refuses(&deployment, "did not end within 0.05 s");
    assert!(begun.elapsed() < Duration::from_secs(60));
}
