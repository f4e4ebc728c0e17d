//! `deployment.yaml`, key by key.
//!
//! Much of it names paths and steps that are the same in every deployment. Such a key can only
//! say what is so, and is refused otherwise, with the reason.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::scope::{BIN_DIR, Known};
use super::section::{Located, Section};
use super::server::{DAY, file_path, parse_mode};
use super::settings::{LiveReloadSettings, Mode, RetentionSettings, SoakSettings, WatchSettings};
use super::targets::{self, Target, TargetName};
use super::units::relative_glob;

/// What the file says.
pub(super) struct DeploymentFile {
    pub(super) mode: Option<Located<Mode>>,
    pub(super) dev: ModeBlock,
    pub(super) prod: ModeBlock,
    pub(super) prod_only: ProdBlock,
    pub(super) git: GitBlock,
    pub(super) targets: BTreeMap<TargetName, Target>,
}

/// What both modes' blocks have.
pub(super) struct ModeBlock {
    pub(super) watch: Option<WatchSettings>,
    pub(super) live_reload: Option<LiveReloadSettings>,
    pub(super) parallel_builds: usize,
    pub(super) ldflags: String,
    pub(super) cache_templates: bool,
    pub(super) watch_resources: bool,
}

/// What only production has.
pub(super) struct ProdBlock {
    pub(super) copy_assets: bool,
    pub(super) require_clean_working_dir: Option<Located<bool>>,
    pub(super) manifest_file: Option<Located<PathBuf>>,
    pub(super) check_interval: Option<Located<Duration>>,
    pub(super) sign_key: Option<String>,
    pub(super) signatures: SignatureBlock,
    pub(super) reload_on_change: bool,
    pub(super) reload_on_sighup: bool,
    pub(super) retention: RetentionSettings,
    pub(super) soak: SoakSettings,
}

/// Whether deployments must be signed, and by whom.
pub(super) struct SignatureBlock {
    pub(super) required: bool,
    pub(super) keyring: Option<PathBuf>,
}

/// The `git:` part.
pub(super) struct GitBlock {
    pub(super) require_clean_working_dir: Option<Located<bool>>,
    pub(super) include_commit_in_binary: bool,
    pub(super) ldflags: Vec<String>,
}

/// Reads the file. `workers_dir` is where server.yaml says workers are.
pub(super) fn read(file: &mut Section<'_, '_>, root: &Path, workers_dir: &str) -> DeploymentFile {
    let (mode, dev, (prod, prod_only, deploy_dir)) = file.section("deployment", |deployment| {
        (
            deployment.parsed("mode", parse_mode),
            deployment.section("dev", |dev| read_dev(dev, workers_dir)),
            deployment.section("prod", |prod| read_prod(prod, root)),
        )
    });
    let git = file.section("git", read_git);
    file.section("binaries", |binaries| read_binaries(binaries, workers_dir, &deploy_dir));
    let targets = targets::read(file, root);
    DeploymentFile { mode, dev, prod, prod_only, git, targets }
}

fn read_dev(dev: &mut Section<'_, '_>, workers_dir: &str) -> ModeBlock {
    let watch = dev.section("file_watcher", |watcher| {
        let enabled = watcher.flag("enabled").is_none_or(|found| found.value);
        let debounce = watcher.millis("debounce_ms", 1..=10_000);
        let patterns = watcher.list("watch_patterns", relative_glob);
        watcher.section("on_change", |steps| {
            let reason = "leaving a step out would serve what is not in the source";
            for step in ["compute_folder_md5", "rebuild_if_changed", "restart_worker"] {
                steps.only_flag(step, true, reason);
            }
        });
        enabled.then(|| WatchSettings {
            patterns: patterns.unwrap_or_else(default_patterns),
            debounce: debounce.unwrap_or(Duration::from_millis(100)),
        })
    });
    let (parallel_builds, ldflags) = dev.section("build", |build| {
        let reason = "a development build goes to workers/<name>/bin";
        read_build(build, BIN_DIR, reason)
    });
    let (cache_templates, watch_resources) = dev.section("resources", |resources| {
        read_resources(resources, workers_dir, "it is where `workers.discovery.workers_dir` is")
    });
    let live_reload = dev.section("live_reload", |live| {
        let enabled = live.flag("enabled").is_none_or(|found| found.value);
        let editor = live.parsed("editor", str::parse).map(|found| found.value);
        enabled.then(|| LiveReloadSettings { editor: editor.unwrap_or_default() })
    });
    ModeBlock {
        watch,
        live_reload,
        parallel_builds: parallel_builds.unwrap_or(4),
        ldflags,
        cache_templates: cache_templates.unwrap_or(false),
        watch_resources: watch_resources.unwrap_or(true),
    }
}

fn default_patterns() -> Vec<String> {
    [
        "workers/*/src/**/*",
        "workers/*/public/**/*",
        "workers/*/private/**/*",
        "workers/*/config/*.yaml",
        "workers/shared/**/*",
        "src/**/*.rs",
        "config/*.yaml",
    ]
    .map(str::to_owned)
    .to_vec()
}

/// Also returns the folder of deployments as it is written.
fn read_prod(prod: &mut Section<'_, '_>, root: &Path) -> (ModeBlock, ProdBlock, String) {
    prod.section("file_watcher", |watcher| {
        watcher.only_flag("enabled", false, "production acts on the manifest, not on sources");
    });
    let (manifest, check_interval, signatures) = prod.section("manifest", |manifest| {
        let signed = manifest.flag("require_signature").is_some_and(|found| found.value);
        let keyring = manifest.parsed("keyring", |text| file_path(root, text));
        let parse = |text: &str| file_path(root, text).map(|path| (text.to_owned(), path));
        let interval = manifest.located_number("check_interval_seconds", 1..=DAY);
        let signatures = SignatureBlock { required: signed, keyring: keyring.map(|it| it.value) };
        (manifest.parsed("file", parse), interval, signatures)
    });
    let folder = manifest.as_ref().and_then(|found| Path::new(&found.value.0).parent());
    let deploy_dir = folder.map_or("deploy".into(), |folder| folder.display().to_string());
    let in_commit = format!("{deploy_dir}/{{git_commit}}");
    let reason = "deployments are beside `deployment.prod.manifest.file`";

    let (copy_assets, require_clean) = prod.section("deployment", |deployment| {
        let reason = "every part of tqserver names a deployment by its full commit";
        deployment.only("folder_naming", Known::Now, "{git_commit}", reason);
        (deployment.flag("copy_assets"), deployment.flag("require_clean_working_dir"))
    });
    let (sign_key, (parallel_builds, ldflags)) = prod.section("build", |build| {
        (build.parsed("sign_key", sign_key), read_build(build, &deploy_dir, reason))
    });
    let (cache_templates, watch_resources) =
        prod.section("resources", |resources| read_resources(resources, &in_commit, reason));
    let (reload_on_change, reload_on_sighup) = read_triggers(prod);
    let retention = prod.section("retention", read_retention);
    let soak = prod.section("soak", read_soak);
    let common = ModeBlock {
        watch: None,
        live_reload: None,
        parallel_builds: parallel_builds.unwrap_or(8),
        ldflags,
        cache_templates: cache_templates.unwrap_or(true),
        watch_resources: watch_resources.unwrap_or(false),
    };
    let seconds =
        |found: Located<u64>| Located { value: Duration::from_secs(found.value), at: found.at };
    let only = ProdBlock {
        copy_assets: copy_assets.is_none_or(|found| found.value),
        require_clean_working_dir: require_clean,
        manifest_file: manifest.map(|found| Located { value: found.value.1, at: found.at }),
        check_interval: check_interval.map(seconds),
        sign_key: sign_key.map(|found| found.value),
        signatures,
        reload_on_change,
        reload_on_sighup,
        retention,
        soak,
    };
    (common, only, deploy_dir)
}

fn read_retention(retention: &mut Section<'_, '_>) -> RetentionSettings {
    let default = RetentionSettings::default();
    RetentionSettings {
        keep: retention.number("keep", 0..=10_000).unwrap_or(default.keep),
        days: retention.number("days", 0..=3650).unwrap_or(default.days),
    }
}

fn read_soak(soak: &mut Section<'_, '_>) -> SoakSettings {
    let default = SoakSettings::default();
    SoakSettings {
        errors_percent: soak.number("errors_percent", 0..=100).unwrap_or(default.errors_percent),
        p99_factor: soak.number("p99_factor", 0..=1000).unwrap_or(default.p99_factor),
        p99: soak.millis("p99_ms", 0..=600_000).unwrap_or(default.p99),
    }
}

/// What a reload is done for. The steps of one are always the same.
fn read_triggers(prod: &mut Section<'_, '_>) -> (bool, bool) {
    let steps = ["validate_manifest", "compare_md5s", "restart_changed_workers"];
    let mut expected = steps.iter();
    // Compared by place: each step needs the one before it.
    let at = prod.list("on_manifest_change", |text| Ok::<_, String>(text.to_owned()));
    if let Some(given) = at
        && !(given.len() == steps.len()
            && given.iter().all(|step| expected.next() == Some(&step.as_str())))
    {
        let message = format!(
            "`deployment.prod.on_manifest_change` can only be {steps:?}: each \
                               step needs the one before it"
        );
        let at = prod.position("on_manifest_change");
        prod.error(at, message);
    }
    let triggers = prod.list("reload_triggers", |text| match text {
        "manifest_change" | "sighup" => Ok(text.to_owned()),
        other => Err(format!("{other:?} is no trigger; there are manifest_change and sighup")),
    });
    let has = |name: &str| triggers.as_ref().is_none_or(|all| all.iter().any(|one| one == name));
    (has("manifest_change"), has("sighup"))
}

fn read_build(
    build: &mut Section<'_, '_>,
    output_dir: &str,
    reason: &str,
) -> (Option<usize>, String) {
    build.only("output_dir", Known::Now, output_dir, reason);
    build.only_flag("compute_md5", true, "what changed is found by its digest");
    let ldflags = build.text("ldflags").map(|found| found.value);
    (build.number("parallel_builds", 1..=64_u8).map(usize::from), ldflags.unwrap_or_default())
}

/// What names a key to gpg: its fingerprint or id, or a part of its owner's name.
///
/// # Errors
/// When it is empty, or has control characters.
pub fn sign_key(text: &str) -> Result<String, String> {
    if text.trim().is_empty() || text.chars().any(char::is_control) {
        return Err(format!("{text:?} names no key: give its fingerprint, or its e-mail address"));
    }
    Ok(text.to_owned())
}

fn read_resources(
    resources: &mut Section<'_, '_>,
    base_path: &str,
    reason: &str,
) -> (Option<bool>, Option<bool>) {
    resources.only("base_path", Known::Now, base_path, reason);
    (
        resources.flag("cache_templates").map(|found| found.value),
        resources.flag("watch_resource_changes").map(|found| found.value),
    )
}

fn read_git(git: &mut Section<'_, '_>) -> GitBlock {
    git.only_flag(
        "use_short_hash",
        false,
        "short hashes become ambiguous as the repository grows; folders carry the full commit",
    );
    GitBlock {
        require_clean_working_dir: git.flag("require_clean_working_dir"),
        include_commit_in_binary: git
            .flag("include_commit_in_binary")
            .is_none_or(|found| found.value),
        ldflags: git.list("ldflags", git_ldflag).unwrap_or_else(default_ldflags),
    }
}

fn default_ldflags() -> Vec<String> {
    ["Commit", "Branch", "Tag"]
        .map(|fact| format!("-X main.Git{fact}={{{{.{fact}}}}}"))
        .into_iter()
        .chain(["-X main.BuildTime={{.Time}}".to_owned()])
        .collect()
}

/// A linker flag whose placeholders are known.
fn git_ldflag(text: &str) -> Result<String, String> {
    for after in text.split("{{").skip(1) {
        let name = after.split("}}").next().unwrap_or_default();
        if ![".Commit", ".Branch", ".Tag", ".Time"].contains(&name.trim()) {
            return Err(format!(
                "{{{{{name}}}}} is unknown; there are {{{{.Commit}}}}, {{{{.Branch}}}}, \
                 {{{{.Tag}}}} and {{{{.Time}}}}"
            ));
        }
    }
    Ok(text.to_owned())
}

fn read_binaries(binaries: &mut Section<'_, '_>, workers_dir: &str, deploy_dir: &str) {
    let reason = "a worker's program is bin/<name> in its own folder, in both modes";
    binaries.only("format", Known::Now, "{worker_name}", reason);
    binaries.section("dev", |dev| {
        let path = format!("{workers_dir}/{{worker_name}}/bin/{{worker_name}}");
        dev.only("path", Known::Now, &path, reason);
    });
    binaries.section("prod", |prod| {
        let folder = format!("{deploy_dir}/{{git_commit}}/workers/{{worker_name}}");
        prod.only("folder", Known::Now, &folder, reason);
        prod.only("path", Known::Now, "bin/{worker_name}", reason);
    });
}
