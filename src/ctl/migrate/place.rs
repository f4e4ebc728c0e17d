//! Where a page's file belongs in a worker's folder.

use std::path::{Path, PathBuf};

/// What compilers and package tools look for beside `src/`.
const BESIDE_SRC: [&str; 9] = [
    "Cargo.toml",
    "Cargo.lock",
    "build.rs",
    "go.mod",
    "go.sum",
    "go.work",
    "Makefile",
    "README.md",
    "LICENSE",
];
const CODE: [&str; 11] = ["go", "rs", "c", "cc", "cpp", "cxx", "h", "hh", "s", "syso", "proto"];
const VIEWS: [&str; 6] = ["html", "htm", "tmpl", "gohtml", "tpl", "gotmpl"];
/// What only browsers use. Anything else stays private: a file that is missing is noticed, one that is
/// published may not be.
const STATIC: [&str; 23] = [
    "css",
    "js",
    "mjs",
    "map",
    "png",
    "jpg",
    "jpeg",
    "gif",
    "svg",
    "ico",
    "webp",
    "avif",
    "woff",
    "woff2",
    "ttf",
    "otf",
    "eot",
    "mp3",
    "mp4",
    "webm",
    "wasm",
    "webmanifest",
    "pdf",
];

/// The path below the worker's folder for a file at `path` below the page's.
pub(super) fn of(path: &Path) -> PathBuf {
    let parts: Vec<&str> = path.iter().filter_map(|part| part.to_str()).collect();
    let below = |folder: &str, rest: &[&str]| {
        std::iter::once(folder).chain(rest.iter().copied()).collect::<PathBuf>()
    };
    if parts.iter().any(|part| part.starts_with('.')) {
        return path.to_owned();
    }
    match parts.as_slice() {
        [name] if BESIDE_SRC.contains(name) => return path.to_owned(),
        ["config", "worker.yaml"] | ["src" | "public" | "private" | "tests" | "benches", _, ..] => {
            return path.to_owned();
        }
        ["config", rest @ ..] if !rest.is_empty() => return below("private/config", rest),
        ["static" | "assets", rest @ ..] if !rest.is_empty() => return below("public", rest),
        ["views", rest @ ..] if !rest.is_empty() => return below("private/views", rest),
        ["templates", rest @ ..] if !rest.is_empty() => return below("private/templates", rest),
        ["testdata", _, ..] => return below("src", &parts),
        _ => {}
    }
    let extension = path.extension().and_then(|found| found.to_str()).unwrap_or_default();
    let extension = extension.to_ascii_lowercase();
    let is = |kind: &[&str]| kind.contains(&extension.as_str());
    let folder = if is(&CODE) {
        "src"
    } else if is(&VIEWS) {
        "private/views"
    } else if is(&STATIC) {
        "public"
    } else {
        "private"
    };
    below(folder, &parts)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("main.go", "src/main.go")]
    #[case("store/db.go", "src/store/db.go")]
    #[case("store/testdata/a.json", "private/store/testdata/a.json")]
    #[case("testdata/a.json", "src/testdata/a.json")]
    #[case("src/main.rs", "src/main.rs")]
    #[case("Cargo.toml", "Cargo.toml")]
    #[case("go.mod", "go.mod")]
    #[case("index.html", "private/views/index.html")]
    #[case("views/index.html", "private/views/index.html")]
    #[case("admin/list.tmpl", "private/views/admin/list.tmpl")]
    #[case("templates/base.html", "private/templates/base.html")]
    #[case("css/app.css", "public/css/app.css")]
    #[case("static/css/app.css", "public/css/app.css")]
    #[case("static/page.html", "public/page.html")]
    #[case("logo.PNG", "public/logo.PNG")]
    #[case("validation.yaml", "private/validation.yaml")]
    #[case("config/validation.yaml", "private/config/validation.yaml")]
    #[case("config/worker.yaml", "config/worker.yaml")]
    #[case("secrets", "private/secrets")]
    #[case(".env", ".env")]
    #[case("css/.cache/a.css", "css/.cache/a.css")]
    fn every_file_has_its_place(#[case] from: &str, #[case] to: &str) {
        assert_eq!(of(Path::new(from)), Path::new(to));
    }
}
