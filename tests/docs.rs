//! What README and docs say is so: their commands run, their links lead somewhere, and the
//! folders they name are there.

#[path = "docs/console.rs"]
mod console;
#[path = "docs/links.rs"]
mod links;
// The sample project is shared with the end-to-end tests, which use more of it.
#[allow(dead_code, unreachable_pub)]
#[path = "e2e/samples.rs"]
mod samples;
#[path = "docs/server.rs"]
mod server;
#[path = "support/mod.rs"]
mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const REPOSITORY: &str = env!("CARGO_MANIFEST_DIR");

/// The documents with commands, in the order in which a reader would follow them. Each finds the
/// machine as the one before left it.
const DOCUMENTS: &[&str] = &[
    "docs/installation.md",
    "README.md",
    "docs/deployments.md",
    "docs/operations.md",
    "docs/proxy.md",
    "docs/development.md",
    "docs/worker-contract.md",
    "docs/test-beds.md",
];

/// Commands that are shown and cannot be run here, and why.
const NOT_RUN: &[(&str, &str)] = &[
    ("make run", "serves until Ctrl-C"),
    ("make test", "is what runs this"),
    ("make test T=links", "is what runs this"),
    ("cargo build --release --bins", "takes minutes; the test's own build stands in for it"),
    ("tqctl build --dev", "compiles everything again without optimisation; tests/build.rs has it"),
    ("tests/bed/user bash", "is for people; every user bed begins like that"),
    ("tests/bed/system bash", "is for people; every system bed begins like that"),
    (
        "PORT=9000 TQ_WORKER_BASE=workers/index TQ_SHARED_BASE=workers/shared cargo run -p index",
        "compiles everything again without optimisation, and runs until Ctrl-C",
    ),
    ("curl localhost:9000/hello?name=Ada", "asks the worker of the command before"),
];

fn read(document: &str) -> String {
    let path = Path::new(REPOSITORY).join(document);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every markdown file of the project, by its path below the repository.
fn documents() -> Vec<String> {
    let folders = ["", "docs", "deploy"].map(|folder| Path::new(REPOSITORY).join(folder));
    let entries = folders.iter().flat_map(|folder| fs::read_dir(folder).unwrap());
    let paths = entries.map(|entry| entry.unwrap().path());
    let markdown = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "md");
    let name = |path: PathBuf| path.strip_prefix(REPOSITORY).unwrap().to_str().unwrap().to_owned();
    paths.filter(markdown).map(name).collect()
}

#[test]
fn every_document_with_commands_is_followed() {
    let with_commands: BTreeSet<_> =
        documents().into_iter().filter(|it| !console::commands(&read(it)).is_empty()).collect();
    let followed: BTreeSet<_> = DOCUMENTS.iter().map(|&it| it.to_owned()).collect();
    assert_eq!(with_commands, followed);
}

#[test]
fn what_is_not_run_is_shown() {
    let shown: Vec<_> = DOCUMENTS.iter().flat_map(|it| console::commands(&read(it))).collect();
    for (command, _) in NOT_RUN {
        assert!(shown.iter().any(|it| it.text == *command), "nobody shows: {command}");
    }
}

#[test]
fn links_lead_somewhere() {
    let broken: Vec<_> = documents()
        .iter()
        .flat_map(|document| links::broken(Path::new(REPOSITORY), document, &read(document)))
        .collect();
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn the_folders_of_the_architecture_are_there() {
    let text = read("ARCHITECTURE.md");
    let listing = links::listing(&text);
    assert!(listing.len() > 15, "the listing is found: {listing:?}");
    let missing: Vec<_> =
        listing.iter().filter(|path| !Path::new(REPOSITORY).join(path).exists()).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

mod system_bed {
    use super::{DOCUMENTS, NOT_RUN, console, read, server};

    #[test]
    fn commands_do_what_the_documents_say() {
        let server = server::Server::start();
        for document in DOCUMENTS {
            let mut commands = console::commands(&read(document));
            commands.retain(|command| NOT_RUN.iter().all(|(text, _)| command.text != *text));
            server.follow(document, &commands);
        }
    }
}
