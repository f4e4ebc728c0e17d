//! The arrows between modules: a module may use only what ARCHITECTURE.md lets it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A module, and the modules of the crate that it may name.
const ARROWS: &[(&str, &[&str])] = &[
    ("ids", &[]),
    ("version", &[]),
    ("canary", &[]),
    ("figures", &[]),
    ("config", &["ids"]),
    ("store", &["ids", "canary"]),
    ("sd", &["ids"]),
    ("tls", &["ids", "config"]),
    ("watch", &[]),
    ("control_group", &[]),
    ("http1", &[]),
    ("access_log", &["ids", "config"]),
    ("proxy", &["ids", "canary", "config", "http1", "tls", "access_log", "control_group"]),
    // tq-launcher is a program of its own below it, with a log and a version.
    ("launcher", &["ids", "config", "store", "sd", "version", "control_group"]),
    (
        "rollout",
        &["ids", "canary", "config", "store", "tls", "proxy", "launcher", "sd", "control_group"],
    ),
    ("check", &["ids", "config", "store", "launcher", "rollout"]),
    ("build", &["ids", "config", "store", "version"]),
    ("admin", &["ids", "config", "figures"]),
    ("dev", &["ids", "config", "build", "watch", "proxy", "rollout", "admin"]),
    ("ctl", &["ids", "canary", "config", "store", "build", "check", "admin", "version", "figures"]),
    (
        "daemon",
        &[
            "ids",
            "config",
            "store",
            "sd",
            "watch",
            "tls",
            "access_log",
            "proxy",
            "launcher",
            "rollout",
            "admin",
            "dev",
            "version",
        ],
    ),
];

fn rust_files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            found.push(path);
        }
    }
}

/// The top-level modules that a file's lines name by `crate::…`.
fn named_modules(text: &str) -> BTreeSet<String> {
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    let words = code.flat_map(|line| line.split("crate::").skip(1));
    words
        .map(|rest| rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect())
        .filter(|module: &String| !module.is_empty())
        .collect()
}

#[test]
fn modules_use_only_what_lies_below_them() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    rust_files(&src, &mut files);
    let mut wrong = Vec::new();
    for file in files {
        let below = file.strip_prefix(&src).unwrap();
        let first = below.components().next().unwrap().as_os_str().to_str().unwrap();
        let module = first.trim_end_matches(".rs");
        if ["lib", "bin"].contains(&module) {
            continue;
        }
        let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == module) else {
            wrong.push(format!("src/{first} is in no layer: add it to ARROWS"));
            continue;
        };
        for named in named_modules(&fs::read_to_string(&file).unwrap()) {
            if named != module && !allowed.contains(&named.as_str()) {
                wrong.push(format!("src/{} uses {named}: {module} must not", below.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// Time is passed in to the decisions of the rollout, else they could not be replayed.
#[test]
fn the_controller_has_no_clock() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/rollout");
    let mut files = vec![src.join("plan.rs"), src.join("ports.rs"), src.join("event.rs")];
    rust_files(&src.join("controller"), &mut files);
    for file in files.iter().filter(|file| !file.ends_with("tests.rs")) {
        let text = fs::read_to_string(file).unwrap();
        assert!(!text.contains("::now()"), "{} reads a clock", file.display());
    }
}
