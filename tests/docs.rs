//! What README and docs say is so: their commands run, their links lead somewhere, and the
//! folders they name are there.

#[path = "docs/console.rs"]
mod console;
// The package is shared with the tests of it, which use more of it.
#[allow(dead_code, unreachable_pub)]
#[path = "package/deb.rs"]
mod deb;
#[path = "docs/links.rs"]
mod links;
#[path = "docs/named_tests.rs"]
mod named_tests;
#[allow(dead_code, unreachable_pub)]
#[path = "package/repository.rs"]
mod repository;
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

/// The document that begins with a machine without tqserver.
const INSTALLATION: &str = "docs/installation.md";

/// The other documents with commands, in the order in which a reader would follow them. Each finds
/// the machine as the one before left it: one with tqserver from a checkout, and its configuration in
/// the project. docs/tls.md and docs/dashboard.md want the package's user and `/etc/tqserver`, and text put into a file by
/// hand, so that their commands are in blocks of another kind; package/system_bed does the same.
const DOCUMENTS: &[&str] = &[
    "README.md",
    "docs/deployments.md",
    "docs/operations.md",
    "docs/metrics.md",
    "docs/proxy.md",
    "docs/development.md",
    "docs/worker-contract.md",
    "docs/test-beds.md",
    "docs/performance.md",
];

/// Commands that are shown and cannot be run here, and why.
const NOT_RUN: &[(&str, &str)] = &[
    ("make run", "serves until Ctrl-C"),
    ("tqctl dev", "serves until Ctrl-C; tests/e2e/dev.rs has it"),
    ("make test", "is what runs this"),
    ("make test T=links", "is what runs this"),
    ("make bench", "takes minutes of an idle machine"),
    ("make bench BENCH=short", "takes minutes of an idle machine"),
    ("make bench B=rollouts", "takes minutes of an idle machine"),
    ("make bench B=proxy", "takes minutes of an idle machine"),
    ("make bench B=proxy ROWS=64b_64,post16k PEERS=nginx", "takes minutes of an idle machine"),
    ("make bench B=proxy ROWS=log", "takes minutes of an idle machine"),
    ("make bench B=flat", "takes minutes"),
    ("tests/bed/user bash", "is for people; every user bed begins like that"),
    ("tests/bed/system bash", "is for people; every system bed begins like that"),
    (
        "PORT=9000 TQ_WORKER_BASE=workers/index TQ_SHARED_BASE=workers/shared cargo run -p index",
        "compiles everything again without optimisation, and runs until Ctrl-C",
    ),
    (
        "rsync --recursive --times --perms --chmod=Dg+ws deploy/$(git rev-parse HEAD) \
         ada@server:/var/lib/tqserver/deploy/",
        "goes to another machine",
    ),
    (
        "rsync --times deploy/manifest.json ada@server:/var/lib/tqserver/deploy/",
        "goes to another machine",
    ),
    ("ssh ada@server systemctl reload tqserver", "goes to another machine"),
    ("tqctl deploy production --dry-run", "goes to other machines; tests/e2e/deploy has it"),
    ("tqctl deploy production", "goes to other machines; tests/e2e/deploy has it"),
    ("tqctl rollback production --list", "goes to other machines; tests/e2e/deploy has it"),
    ("tqctl rollback production", "goes to other machines; tests/e2e/deploy has it"),
    ("tqctl history production", "goes to other machines; tests/e2e/deploy has it"),
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
    let followed = DOCUMENTS.iter().chain([&INSTALLATION]).map(|&it| it.to_owned());
    let followed: BTreeSet<_> = followed.collect();
    assert_eq!(with_commands, followed);
}

#[test]
fn what_is_not_run_is_shown() {
    let documents = DOCUMENTS.iter().chain([&INSTALLATION]);
    let shown: Vec<_> = documents.flat_map(|it| console::commands(&read(it))).collect();
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
fn each_fault_names_a_test_that_is_there() {
    let text = read("docs/faults.md");
    let named = named_tests::named(&text);
    assert!(named.len() > 100, "the names are found: {}", named.len());
    let repository = Path::new(REPOSITORY);
    let missing: Vec<_> = named
        .iter()
        .filter(|(name, file)| !named_tests::is_there(repository, name, file))
        .collect();
    assert!(missing.is_empty(), "no tests: {missing:#?}");
    assert!(!named_tests::is_there(repository, "a_test_that_nobody_wrote", "tests/docs.rs"));
    assert!(!named_tests::is_there(repository, "read", "tests/docs.rs"), "it is no test");
    let untold = named_tests::untold(&text);
    assert!(untold.is_empty(), "{untold:#?}");
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
    use super::server::Server;
    use super::{DOCUMENTS, INSTALLATION, NOT_RUN, console, read};

    fn follow(server: &Server, document: &str) {
        let mut commands = console::commands(&read(document));
        commands.retain(|command| NOT_RUN.iter().all(|(text, _)| command.text != *text));
        server.follow(document, &commands);
    }

    #[test]
    fn commands_do_what_the_documents_say() {
        let server = Server::installed();
        for document in DOCUMENTS {
            follow(&server, document);
        }
    }

    #[test]
    fn the_package_is_installed_and_removed_as_its_document_says() {
        follow(&Server::bare(), INSTALLATION);
    }
}
