use std::path::Path;

use jiff::Timestamp;

use super::*;
use crate::config::{self, Sources};
use crate::ids::Md5;
use crate::store::deployment::{SCHEMA, WorkerFiles};

/// A deployment of workers at routes; its commit is `digit` 40 times.
fn deployment(digit: char, workers: &[(&str, &str)]) -> Deployment {
    let commit: CommitId = digit.to_string().repeat(40).parse().unwrap();
    let md5 = Md5::new([0; 16]);
    let part = |&(name, route): &(&str, &str)| {
        let part = WorkerPart {
            path: format!("workers/{name}"),
            binary: format!("bin/{name}"),
            binary_md5: md5,
            size_bytes: 0,
            route: route.parse().unwrap(),
            built_from: commit.clone(),
            inputs_md5: md5,
            public_md5: md5,
            private_md5: md5,
            tree_md5: md5,
            files: WorkerFiles::default(),
            sha256: BTreeMap::new(),
        };
        (name.parse().unwrap(), part)
    };
    Deployment {
        schema: SCHEMA,
        git_commit: commit.clone(),
        git_commit_short: commit.short().to_owned(),
        git_branch: None,
        git_tag: None,
        built_at: Timestamp::UNIX_EPOCH,
        server: None,
        workers: workers.iter().map(part).collect(),
    }
}

/// Where each worker comes from, as `<name> <digit><* where pinned>`, or the error.
fn chosen(pins: &[(&str, char)], current: &[(&str, &str)], older: &[(&str, &str)]) -> String {
    let lines = pins
        .iter()
        .map(|(target, digit)| format!("    {target}: {}\n", digit.to_string().repeat(40)));
    let text = format!("workers:\n  pins:\n{}", lines.collect::<String>());
    let sources = Sources::of_project(Path::new("/srv"));
    let settings = config::parse(&sources, text.as_bytes(), None).unwrap().settings;
    let pins = &settings.deployments.pins;
    let pinned: Vec<_> = pins
        .iter()
        .map(|(target, pin)| {
            let digit = pin.commit.as_str().chars().next().unwrap();
            Pinned { target, pin, deployment: deployment(digit, older) }
        })
        .collect();
    match choose(&deployment('c', current), &pinned) {
        Ok(chosen) => {
            let line = |(name, it): (&&WorkerName, &Chosen<'_>)| {
                format!("{name} {}{}", &it.commit.as_str()[..1], if it.pinned { "*" } else { "" })
            };
            chosen.iter().map(line).collect::<Vec<_>>().join(", ")
        }
        Err(error) => error.to_string(),
    }
}

const BOTH: &[(&str, &str)] = &[("api", "/api"), ("index", "/")];

#[test]
fn a_pinned_worker_comes_from_its_own_deployment() {
    assert_eq!(chosen(&[], BOTH, BOTH), "api c, index c");
    assert_eq!(chosen(&[("api", 'a')], BOTH, BOTH), "api a*, index c");
    assert_eq!(chosen(&[("\"/api\"", 'a')], BOTH, BOTH), "api a*, index c");
    assert_eq!(chosen(&[("\"/api\"", 'a'), ("api", 'a')], BOTH, BOTH), "api a*, index c");
    // One that the current deployment does not have any more.
    assert_eq!(chosen(&[("api", 'a')], &[("index", "/")], BOTH), "api a*, index c");
}

#[test]
fn a_route_may_have_been_another_worker() {
    let older = &[("users", "/api"), ("index", "/")];
    assert_eq!(chosen(&[("\"/api\"", 'a')], BOTH, older), "index c, users a*");
    let by_name = chosen(&[("users", 'a')], BOTH, older);
    assert!(
        by_name.contains("users is at /api there, where ccccccc has api: pin /api"),
        "{by_name}"
    );
    let moved = &[("index", "/api"), ("home", "/")];
    let lost = chosen(&[("\"/api\"", 'a')], BOTH, moved);
    assert!(lost.contains("/api is index there, which is at / in ccccccc"), "{lost}");
}

#[test]
fn what_cannot_be_is_told_with_its_place() {
    let no_worker = chosen(&[("shop", 'a')], BOTH, BOTH);
    let expected = "/srv/config/server.yaml:3:11: deployment aaaaaaa has no worker shop; it has api \
                    at /api, index at /";
    assert!(no_worker.starts_with(expected), "{no_worker}");
    let no_route = chosen(&[("/shop", 'a')], BOTH, BOTH);
    assert!(no_route.contains("has no worker at /shop"), "{no_route}");
    let twice = chosen(&[("/api", 'b'), ("api", 'a')], BOTH, BOTH);
    assert!(twice.contains("api is pinned to two deployments"), "{twice}");
}
