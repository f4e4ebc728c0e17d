use std::fs;
use std::os::unix::fs::symlink;
use std::sync::LazyLock;

use jiff::Timestamp;
use proptest::prelude::*;
use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::canary::CanaryPlan;
use crate::ids::WorkerName;
use crate::store::deployment::{Deployment, WorkerFiles, WorkerPart};
use crate::store::digest::md5;
use crate::store::layout::DeployDir;
use crate::store::manifest::{DeployedDeployment, Manifest, PreviousDeployment, PreviousStatus};
use crate::store::testing::{at, commit, deployed_by, fill, record};

fn sample() -> Manifest {
    let temp = tempfile::tempdir().unwrap();
    fill(temp.path());
    let current = commit('a');
    Manifest {
        schema: SCHEMA,
        version: at(1_700_000_100),
        deployment_id: "deploy-1700000100".to_owned(),
        deployment_path: format!("deploy/{current}"),
        deployment: DeployedDeployment {
            deployment: record(temp.path(), &current),
            deployed_at: at(1_700_000_100),
        },
        current_deployment: current,
        deployed_by: Some(deployed_by()),
        canary: Some(CanaryPlan { steps: vec![5], step_seconds: None, testers: None }),
        previous_deployments: vec![PreviousDeployment {
            deployed_by: Some(deployed_by()),
            git_commit: commit('b'),
            git_commit_short: "bbbbbbb".to_owned(),
            git_tag: Some("v1.2.3".to_owned()),
            deployed_at: at(1_600_000_000),
            status: PreviousStatus::RollbackAvailable,
        }],
    }
}

fn sample_json() -> Value {
    serde_json::from_slice(&sample().to_json()).unwrap()
}

fn refusal(value: &Value) -> String {
    Manifest::parse(&serde_json::to_vec_pretty(value).unwrap()).unwrap_err().to_string()
}

#[test]
fn what_is_written_reads_back() {
    let manifest = sample();
    assert_eq!(Manifest::parse(&manifest.to_json()).unwrap(), manifest);
    let deployment = &manifest.deployment.deployment;
    assert_eq!(Deployment::parse(&deployment.to_json()).unwrap(), *deployment);
}

#[test]
fn an_error_is_short_and_drives_no_terminal() {
    for key in ["\u{7f}".to_owned(), "\u{9b}2J\n".repeat(100_000)] {
        for document in [json!({ "schema": SCHEMA, &key: 1 }), json!({ "schema": { &key: 1 } })] {
            let error = refusal(&document);
            assert!(!error.contains(char::is_control) && error.len() < 2000, "{error:?}");
        }
    }
}

#[test]
fn keys_of_the_deployment_and_of_its_activation_share_one_object() {
    let value = sample_json();
    let deployment = value["deployment"].as_object().unwrap();
    assert_eq!(deployment["deployed_at"], "2023-11-14T22:15:00Z");
    assert_eq!(deployment["git_branch"], "main");
}

/// Each with a position in the file: `{` is 1:1.
#[rstest]
#[case::empty("", "1:0: ends too early")]
#[case::blank("  \n ", "2:1: ends too early")]
#[case::half("{\"schema\": 1,\n  \"vers", "2:7: ends too early")]
#[case::not_json("schema: 1", "1:1: expected value")]
#[case::trailing("{\"schema\": 1} x", "1:15: trailing characters")]
#[case::not_utf8(b"{\"schema\": 1, \"version\": \"\xff\"}".as_slice(), "1:27: invalid unicode")]
#[case::nothing_else("{\"schema\": 1}", "1:13: missing field `version`")]
#[case::schema_twice("{\"schema\": 1,\n \"schema\": 2}", "2:9: duplicate field `schema`")]
fn damaged_documents(#[case] bytes: impl AsRef<[u8]>, #[case] message: &str) {
    let error = Manifest::parse(bytes.as_ref()).unwrap_err().to_string();
    assert!(error.starts_with(message), "{error}");
}

#[rstest]
#[case(json!({}), "has no \"schema\"")]
#[case(json!({"schema": null}), "has no \"schema\"")]
#[case(json!({"schema": 2, "unheard_of": []}), "upgrade tqserver here first")]
#[case(json!({"schema": 0}), "build it again")]
#[case(json!({"schema": "1"}), "has schema \"1\"")]
#[case(json!({"schema": 1.0}), "has schema 1.0")]
fn the_schema_is_looked_at_before_all_else(#[case] value: Value, #[case] message: &str) {
    assert!(refusal(&value).contains(message), "{}", refusal(&value));
}

/// `path` is a JSON pointer (RFC 6901) to what is replaced.
#[rstest]
#[case("/version", json!(17), "invalid type: integer `17`")]
#[case("/deployment/git_commit", json!("HEAD"), "\"HEAD\" is not a commit")]
#[case("/deployment/deployed_at", json!("yesterday"), "failed to parse four digit integer as year")]
#[case("/deployment/workers/api", json!([]), "invalid length 0")]
#[case("/deployment/workers/api/size_bytes", json!(-1), "invalid value: integer `-1`")]
#[case("/deployment/workers/api/route", json!("/a/../b"), "is not a route")]
#[case("/deployment/workers/api/binary_md5", json!("ABC"), "is not a MD5 sum")]
#[case("/previous_deployments/0/status", json!("gone"), "unknown variant `gone`")]
fn wrong_types_are_named_with_their_line(
    #[case] path: &str,
    #[case] replacement: Value,
    #[case] message: &str,
) {
    let mut value = sample_json();
    let marker = "the line that is replaced";
    *value.pointer_mut(path).unwrap() = json!(marker);
    let text = serde_json::to_string_pretty(&value).unwrap();
    let line = 1 + text.lines().position(|line| line.contains(marker)).unwrap();
    let text = text.replace(&format!("\"{marker}\""), &replacement.to_string());

    let error = Manifest::parse(text.as_bytes()).unwrap_err();
    let DocumentError::Syntax { line: found, .. } = error else { panic!("{error}") };
    assert_eq!(found, line, "{error}");
    assert!(error.to_string().contains(message), "{error}");
}

#[rstest]
#[case("/deployment")]
#[case("/deployment/server")]
#[case("/deployment/workers/api/files")]
#[case("/previous_deployments/0")]
#[case("")]
fn unknown_keys_are_refused_everywhere(#[case] path: &str) {
    let mut value = sample_json();
    value.pointer_mut(path).unwrap()["unheard_of"] = json!(true);
    assert!(refusal(&value).contains("unknown field `unheard_of`"), "{}", refusal(&value));
}

#[test]
fn the_activation_time_is_wanted_once() {
    let mut value = sample_json();
    value["deployment"].as_object_mut().unwrap().remove("deployed_at");
    assert!(refusal(&value).contains("missing field `deployed_at`"));

    let text = String::from_utf8(sample().to_json()).unwrap();
    let line = "\"deployed_at\": \"2023-11-14T22:15:00Z\"";
    let twice = text.replacen(line, &format!("{line}, {line}"), 1);
    let error = Manifest::parse(twice.as_bytes()).unwrap_err().to_string();
    assert!(error.contains("duplicate field `deployed_at`"), "{error}");
}

#[test]
fn a_record_has_no_activation_time() {
    let mut value = sample_json()["deployment"].take();
    let bytes = serde_json::to_vec(&value).unwrap();
    assert!(Deployment::parse(&bytes).unwrap_err().to_string().contains("`deployed_at`"));
    value.as_object_mut().unwrap().remove("deployed_at");
    Deployment::parse(&serde_json::to_vec(&value).unwrap()).unwrap();
}

#[rstest]
#[case("/current_deployment", json!("b".repeat(40)), "deployment.git_commit is aaaaaaa")]
#[case("/deployment_path", json!(format!("deploy/{}", "b".repeat(40))), "deployment_path is")]
#[case("/deployment_path", json!(format!("../{}", "a".repeat(40))), "deployment_path is")]
#[case("/deployment_path", json!(format!("/srv/{}", "a".repeat(40))), "deployment_path is")]
#[case("/deployment_id", json!("deploy-"), "must be deploy-<unix seconds>")]
#[case("/canary/steps", json!([50, 5]), "canary: each step")]
#[case("/deployment/git_commit_short", json!("bbbbbbb"), "git_commit_short is \"bbbbbbb\"")]
#[case("/deployment/git_branch", json!("\u{1b}[2Jmain"), "git_branch is")]
#[case("/previous_deployments/0/git_tag", json!("v1\n"), "git_tag is")]
#[case("/deployment/workers/api/route", json!("/"), "workers api and index both have the route /")]
#[case("/deployment/workers/api/path", json!("workers/index"), "must be \"workers/api\"")]
#[case("/deployment/workers/api/path", json!("../api"), "must be \"workers/api\"")]
#[case("/deployment/server/path", json!("/usr"), "must be \"server\"")]
#[case("/deployment/workers/api/binary", json!("/usr/bin/node"), "names the file \"/usr/bin/node\"")]
#[case("/deployment/workers/api/binary", json!("bin/../../x"), "names the file")]
#[case("/deployment/workers/api/binary", json!("bin//x"), "names the file")]
#[case("/deployment/workers/api/binary", json!("bin\\x"), "names the file")]
#[case("/deployment/workers/api/binary", json!("bin/x\0"), "names the file")]
#[case("/deployment/workers/api/binary", json!(""), "names the file")]
#[case("/deployment/workers/api/binary", json!("bin/x"), "has no file \"bin/x\"")]
#[case("/deployment/workers/api/files/public", json!(["../secret"]), "names the file \"../secret\"")]
#[case("/deployment/workers/api/sha256", json!({"/etc/passwd": "0".repeat(64)}), "names the file")]
fn contradictions_are_refused(
    #[case] path: &str,
    #[case] replacement: Value,
    #[case] message: &str,
) {
    let mut value = sample_json();
    *value.pointer_mut(path).unwrap() = replacement;
    assert!(refusal(&value).contains(message), "{}", refusal(&value));
}

#[test]
fn all_contradictions_are_named_at_once_up_to_a_limit() {
    let mut value = sample_json();
    value["deployment_id"] = json!("x");
    value["deployment_path"] = json!("x");
    let two = refusal(&value);
    assert!(two.starts_with("2 problems\n  "), "{two}");
    assert_eq!(two.lines().count(), 3);

    value["deployment"]["workers"]["api"]["files"]["src"] =
        (0..100).map(|n| format!("../{n}")).collect();
    let many = refusal(&value);
    assert_eq!(many.lines().count(), 22, "{many}");
    assert!(many.ends_with("\n  and 82 more"), "{many}");
}

#[test]
fn deep_nesting_is_an_error() {
    for open in ["[", "{\"a\":"] {
        for at in ["{\"schema\": 1, \"deployment\": ", "{\"schema\": ", "{\"x\": ", ""] {
            let text = format!("{at}{}", open.repeat(100_000));
            Manifest::parse(text.as_bytes()).unwrap_err();
        }
    }
}

#[test]
fn a_huge_file_is_refused() {
    let temp = tempfile::tempdir().unwrap();
    let deploy = DeployDir::new(temp.path());
    fs::File::create(deploy.manifest()).unwrap().set_len(100 << 20).unwrap();
    let error = Manifest::read(&deploy).unwrap_err();
    assert!(error.to_string().ends_with("manifest.json: is larger than 4 MiB"), "{error}");
    assert!(matches!(Manifest::parse(&vec![b' '; (4 << 20) + 1]), Err(DocumentError::TooLarge)));
}

#[test]
fn errors_of_files_begin_with_file_line_and_column() {
    let temp = tempfile::tempdir().unwrap();
    let deploy = DeployDir::new(temp.path());
    fs::write(deploy.manifest(), "{\n  oops").unwrap();
    let error = Manifest::read(&deploy).unwrap_err().to_string();
    let expected = format!("{}:2:3: key must be a string", deploy.manifest().display());
    assert_eq!(error, expected);
    fs::write(deploy.manifest(), "{}").unwrap();
    let error = Manifest::read(&deploy).unwrap_err().to_string();
    assert!(error.contains("manifest.json: has no \"schema\""), "{error}");
}

#[test]
fn what_is_no_file_is_not_read() {
    let temp = tempfile::tempdir().unwrap();
    let deploy = DeployDir::new(temp.path().join("deploy"));
    assert!(matches!(Manifest::read(&deploy), Err(ReadError::Absent(_))));
    fs::create_dir(deploy.path()).unwrap();
    assert!(matches!(Manifest::read(&deploy), Err(ReadError::Absent(_))));

    let elsewhere = temp.path().join("elsewhere.json");
    fs::write(&elsewhere, sample().to_json()).unwrap();
    symlink(&elsewhere, deploy.manifest()).unwrap();
    assert!(matches!(Manifest::read(&deploy), Err(ReadError::NotAFile(_))));
    fs::remove_file(deploy.manifest()).unwrap();
    fs::create_dir(deploy.manifest()).unwrap();
    assert!(matches!(Manifest::read(&deploy), Err(ReadError::NotAFile(_))));
    fs::remove_dir(deploy.manifest()).unwrap();
    nix::unistd::mkfifo(&deploy.manifest(), nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert!(matches!(Manifest::read(&deploy), Err(ReadError::NotAFile(_))));
}

#[test]
fn a_record_is_read_from_its_own_folder_only() {
    let temp = tempfile::tempdir().unwrap();
    let deploy = DeployDir::new(temp.path());
    let record = crate::store::testing::deploy(&deploy, &commit('a'));
    assert_eq!(Deployment::read(&deploy, &commit('a')).unwrap(), record);
    assert!(matches!(Deployment::read(&deploy, &commit('b')), Err(ReadError::Absent(_))));

    symlink(deploy.commit_dir(&commit('a')), deploy.commit_dir(&commit('b'))).unwrap();
    assert!(matches!(Deployment::read(&deploy, &commit('b')), Err(ReadError::Io { .. })));
    fs::rename(deploy.commit_dir(&commit('a')), deploy.commit_dir(&commit('c'))).unwrap();
    let error = Deployment::read(&deploy, &commit('c')).unwrap_err();
    assert!(matches!(error, ReadError::OtherCommit { found, .. } if found == commit('a')));
}

/// A reader sees one version, and the MD5 is of the version it saw.
#[test]
fn a_manifest_swapped_while_being_read_is_one_of_the_two() {
    let temp = tempfile::tempdir().unwrap();
    let deploy = DeployDir::new(temp.path());
    let (one, mut other) = (sample(), sample());
    other.deployment_id = "deploy-2".to_owned();
    other.previous_deployments = vec![one.previous_deployments[0].clone(); 500];
    let path = deploy.manifest();
    crate::store::atomic::write(&path, &one.to_json(), 0o644).unwrap();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let swapper = scope.spawn(|| {
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                for manifest in [&other, &one] {
                    crate::store::atomic::write(&path, &manifest.to_json(), 0o644).unwrap();
                }
            }
        });
        for _ in 0..50 {
            let (read, sum) = Manifest::read(&deploy).unwrap();
            assert!(read == one || read == other);
            assert_eq!(sum, md5(&read.to_json()));
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        swapper.join().unwrap();
    });
}

prop_compose! {
    fn any_worker(name: WorkerName)(
        own in any::<bool>(),
        md5s in any::<[[u8; 16]; 5]>(),
        size_bytes in any::<u64>(),
        route in "(/[a-zA-Z0-9_~-]{1,9}){1,3}",
        built_from in "[0-9a-f]{40}",
        lists in prop::array::uniform3(prop::collection::vec("[^/\\\\\\x00-\\x1f\\x7f-\\x9f.]{1,8}", 0..4)),
        sums in prop::collection::btree_map("public/[a-z]{1,8}", any::<[u8; 32]>(), 0..4),
    ) -> WorkerPart {
        let binary = if own { format!("bin/{name}") } else { "bin/run.py".to_owned() };
        let mut sha256: std::collections::BTreeMap<_, _> =
            sums.into_iter().map(|(path, sum)| (path, crate::ids::Sha256::new(sum))).collect();
        sha256.insert(binary.clone(), crate::ids::Sha256::new([7; 32]));
        let [src, public, private] = lists;
        let [binary_md5, inputs_md5, public_md5, private_md5, tree_md5] =
            md5s.map(crate::ids::Md5::new);
        WorkerPart {
            path: format!("workers/{name}"),
            binary, binary_md5, size_bytes,
            // Routes of different workers differ.
            route: format!("/{name}{route}").parse().unwrap(),
            built_from: built_from.parse().unwrap(),
            inputs_md5, public_md5, private_md5, tree_md5,
            files: WorkerFiles { src, public, private },
            sha256,
        }
    }
}

fn any_time() -> impl Strategy<Value = Timestamp> {
    (Timestamp::MIN.as_second()..Timestamp::MAX.as_second(), 0..1_000_000_000)
        .prop_map(|(second, nano)| Timestamp::new(second, nano).unwrap())
}

prop_compose! {
    fn any_manifest()(
        names in prop::collection::btree_set("[a-z][a-z0-9_]{0,26}", 0..4)
    )(
        workers in names.into_iter()
            .filter_map(|name| name.parse::<WorkerName>().ok())
            .map(|name| (Just(name.clone()), any_worker(name)))
            .collect::<Vec<_>>(),
        hex in "[0-9a-f]{40}",
        git_branch in prop::option::of("[^\\x00-\\x1f\\x7f-\\x9f]{0,12}"),
        times in (any_time(), any_time(), any_time()),
        seconds in any::<u32>(),
    ) -> Manifest {
        let git_commit: crate::ids::CommitId = hex.parse().unwrap();
        Manifest {
            schema: SCHEMA,
            version: times.0,
            deployment_id: format!("deploy-{seconds}"),
            current_deployment: git_commit.clone(),
            deployment_path: format!("deploy/{git_commit}"),
            deployment: DeployedDeployment {
                deployment: Deployment {
                    schema: SCHEMA,
                    git_commit_short: git_commit.short().to_owned(),
                    git_commit,
                    git_branch,
                    git_tag: None,
                    built_at: times.1,
                    server: None,
                    workers: workers.into_iter().collect(),
                },
                deployed_at: times.2,
            },
            deployed_by: None,
            canary: None,
            previous_deployments: Vec::new(),
        }
    }
}

proptest! {
    #[test]
    fn parsing_what_is_printed_is_the_same(manifest in any_manifest()) {
        prop_assert_eq!(Manifest::parse(&manifest.to_json()).unwrap(), manifest);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
        let _ = Manifest::parse(&bytes);
        let _ = Deployment::parse(&bytes);
    }

    /// Cut off, or with some bytes overwritten: refused, or still a manifest that prints the same.
    #[test]
    fn damage_never_panics(
        cut in prop::option::of(any::<prop::sample::Index>()),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        static SAMPLE: LazyLock<Vec<u8>> = LazyLock::new(|| sample().to_json());
        let mut bytes = SAMPLE.clone();
        for (index, byte) in damage {
            let index = index.index(bytes.len());
            bytes[index] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        if let Ok(manifest) = Manifest::parse(&bytes) {
            prop_assert_eq!(Manifest::parse(&manifest.to_json()).unwrap(), manifest);
        }
    }
}
