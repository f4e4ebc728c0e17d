//! What `tqctl new` writes is built and served as it is.

use crate::samples::MANIFEST;
use crate::session::Session;
use crate::source_tree::{Generation, SourceTree};
use crate::support::toolchains;

/// Builds workers and serves them, each given by its name, its route, and the last line it writes.
fn serve(tree: &SourceTree, workers: &[(&str, &str, &str)]) {
    tree.build(&workers.iter().map(|(name, ..)| *name).collect::<Vec<_>>());
    let session = tree.serve();
    for (name, route, last_line) in workers {
        let page = session.get(route);
        assert_eq!(page.status, 200, "{page:?}\n{}", session.log());
        assert!(page.body.contains(&format!("<h1>Hello from {name}</h1>")), "{page:?}");
        assert!(page.body.contains("served by generation 1.</p>"), "{page:?}");
        let link = page.body.replace("&#x2f;", "/");
        let home = format!("<a href=\"{}/\">", route.trim_end_matches('/'));
        assert!(link.contains(&home), "no {home} in {page:?}");
        let style = session.get(&format!("/static/{name}/style.css"));
        assert!(style.status == 200 && style.body.contains("system-ui"), "{style:?}");
        let missing = format!("{}/no/such", route.trim_end_matches('/'));
        assert_eq!(session.get(&missing).status, 404);
        end(&session, name, last_line);
    }
}

fn end(session: &Session, name: &str, last_line: &str) {
    let generation = Generation::of(session, name);
    assert!(generation.health().starts_with("HTTP/1.1 20"), "{}", generation.health());
    generation.stop();
    generation.await_last_line(last_line);
}

#[test]
fn a_new_worker_serves_as_it_is_written_where_nothing_else_is() {
    toolchains::install();
    let tree = SourceTree::with(&[]);
    tree.create("plain", "rust");
    // What this repository was locked to is at hand.
    tree.copy_file("Cargo.lock", "workers/plain/Cargo.lock");
    tree.create("shop_go", "go");
    tree.create("shop_node", "node");
    tree.create("shop_python", "python");
    serve(
        &tree,
        &[
            ("plain", "/plain", "stopped"),
            ("shop_go", "/shop/go", "stopped"),
            ("shop_node", "/shop/node", "stopped"),
            ("shop_python", "/shop/python", "stopped"),
        ],
    );
}

#[test]
fn a_new_worker_joins_a_cargo_workspace_or_keeps_out_of_it() {
    toolchains::install();
    let tree = SourceTree::with(&["shared"]);
    tree.write("Cargo.toml", MANIFEST);
    tree.copy_file("Cargo.lock", "Cargo.lock");
    tree.create("index", "rust");
    tree.create("shop_go", "go");
    serve(
        &tree,
        &[("index", "/", "finishing what is in flight"), ("shop_go", "/shop/go", "stopped")],
    );
}
