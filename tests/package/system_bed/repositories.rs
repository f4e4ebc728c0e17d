//! apt takes nothing that nobody has signed.

use std::fs;
use std::path::Path;
use std::process::Output;

use rstest::rstest;

use crate::deb;
use crate::machine::{Debian, Machine, said};
use crate::repository::Repository;

fn unsigned(repository: &Path) {
    fs::remove_file(repository.join("InRelease")).unwrap();
    fs::remove_file(repository.join("Release.gpg")).unwrap();
}

fn signed_by_another(repository: &Path) {
    let other = Repository::of(&[deb::build(deb::FIRST)]);
    for file in ["InRelease", "Release.gpg", "Release", "Packages", "Packages.gz"] {
        fs::copy(other.path().join(file), repository.join(file)).unwrap();
    }
}

fn with_another_index(repository: &Path) {
    for file in ["InRelease", "Release"] {
        let path = repository.join(file);
        let text = fs::read_to_string(&path).unwrap();
        fs::write(path, text.replace("Suite: stable", "Suite: secure")).unwrap();
    }
}

fn with_another_package(repository: &Path) {
    for entry in fs::read_dir(repository).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            let mut bytes = fs::read(&path).unwrap();
            *bytes.last_mut().unwrap() ^= 1;
            fs::write(path, bytes).unwrap();
        }
    }
}

#[rstest]
#[case::unsigned(unsigned, "is not signed")]
#[case::signed_by_another(signed_by_another, "NO_PUBKEY")]
#[case::with_another_index(with_another_index, "BADSIG")]
#[case::with_another_package(with_another_package, "Hash Sum mismatch")]
fn a_tampered_repository_is_refused(#[case] tamper: fn(&Path), #[case] reason: &str) {
    let repository = Repository::of(&[deb::build(deb::FIRST)]);
    tamper(&repository.path());
    let machine = Machine::boot(Debian::Bookworm, repository);
    let tried: [Output; 2] =
        [machine.try_apt(&["update"]), machine.try_apt(&["install", "tqserver"])];
    let all: String = tried.iter().map(said).collect();
    assert!(!tried[1].status.success(), "{all}");
    assert!(all.contains(reason), "{all}");
    assert!(!machine.inside("/usr/bin/tqserver").exists());
}
