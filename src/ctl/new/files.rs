//! The files of a new worker, by language. They lie beside this one as they are written, but for
//! `__NAME__` and `__ROUTE__`.

use super::Language;
use super::cargo::Membership;
use crate::ids::{RoutePath, WorkerName};

/// A file: its path below the worker's folder, and its content.
pub(super) type File = (&'static str, String);

type Template = (&'static str, &'static str);

/// What builds leave is no source, and would count as uncommitted.
const IGNORED: Template = (".gitignore", "/bin/\n");

const STYLE: Template = ("public/style.css", include_str!("style.css"));

const TQ_WORKER: &[Template] = &[
    IGNORED,
    ("Cargo.toml", include_str!("rust/tq_worker/Cargo.toml.in")),
    ("config/worker.yaml", include_str!("rust/worker.yaml")),
    ("private/views/index.html", include_str!("rust/tq_worker/index.html")),
    STYLE,
    ("src/main.rs", include_str!("rust/tq_worker/main.rs")),
];

const PLAIN_RUST: &[Template] = &[
    IGNORED,
    ("Cargo.toml", include_str!("rust/plain/Cargo.toml.in")),
    ("config/worker.yaml", include_str!("rust/worker.yaml")),
    ("private/page.html", include_str!("rust/plain/page.html")),
    STYLE,
    ("src/main.rs", include_str!("rust/plain/main.rs")),
];

const GO: &[Template] = &[
    IGNORED,
    ("config/worker.yaml", include_str!("go/worker.yaml")),
    ("go.mod", include_str!("go/go.mod.in")),
    ("private/page.html", include_str!("go/page.html")),
    STYLE,
    ("src/main.go", include_str!("go/main.go")),
];

const NODE: &[Template] = &[
    IGNORED,
    ("config/worker.yaml", include_str!("node/worker.yaml")),
    ("private/page.html", include_str!("node/page.html")),
    STYLE,
    ("src/main.mjs", include_str!("node/main.mjs")),
];

const PYTHON: &[Template] = &[
    IGNORED,
    ("config/worker.yaml", include_str!("python/worker.yaml")),
    ("private/page.html", include_str!("python/page.html")),
    STYLE,
    ("src/main.py", include_str!("python/main.py")),
];

/// Makes a package a workspace of its own, so that cargo does not look for one above it.
const ALONE: &str = "\n# No part of a workspace above it.\n[workspace]\n";

/// The files of a worker. `library` is whether it may use tq-worker, `cargo` the workspace that its
/// folder lies in.
pub(super) fn of(
    language: Language,
    library: bool,
    name: &WorkerName,
    route: &RoutePath,
    cargo: Option<&Membership>,
) -> Vec<File> {
    let templates = match language {
        Language::Rust if library => TQ_WORKER,
        Language::Rust => PLAIN_RUST,
        Language::Go => GO,
        Language::Node => NODE,
        Language::Python => PYTHON,
    };
    let alone = language == Language::Rust && !cargo.is_some_and(|cargo| cargo.takes);
    let fill = |&(path, template): &Template| {
        let text = template.replace("__NAME__", name.as_str()).replace("__ROUTE__", route.as_str());
        let end = match path {
            "Cargo.toml" if alone => ALONE,
            ".gitignore" if alone => "/target/\n",
            _ => "",
        };
        (path, text + end)
    };
    templates.iter().map(fill).collect()
}
