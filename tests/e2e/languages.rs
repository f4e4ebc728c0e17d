//! The sample workers in Go, Node and Python: the contract needs no library.

use serde_json::Value;

use crate::source_tree::{Generation, SourceTree};
use crate::support::toolchains;

/// The samples, and their languages.
const CLOCKS: [(&str, &str); 3] =
    [("clock_go", "Go"), ("clock_node", "Node"), ("clock_python", "Python")];

/// The JSON object in a body, which may have come in chunks.
fn document(body: &str) -> Option<Value> {
    serde_json::from_str(body.get(body.find('{')?..=body.rfind('}')?)?).ok()
}

#[test]
fn the_samples_in_other_languages_serve_stream_and_end_by_themselves() {
    toolchains::install();
    let tree = SourceTree::with(&CLOCKS.map(|(name, _)| name));
    tree.build(&CLOCKS.map(|(name, _)| name));
    let session = tree.serve();
    for (name, language) in CLOCKS {
        let route = format!("/{}", name.replace('_', "/"));
        let page = session.get(&format!("{route}/"));
        assert_eq!(page.status, 200, "{page:?}");
        assert!(page.body.contains(&format!("<h1>A clock in {language}</h1>")), "{page:?}");
        assert!(page.body.contains(&format!("href=\"{route}/time\"")), "below its route: {page:?}");
        for file in ["clock.css", "clock.js"] {
            let path = format!("/static/{name}/{file}");
            assert!(page.body.contains(&path), "{page:?}");
            assert_eq!(session.get(&path).status, 200, "{path}");
        }
        let time = session.get(&format!("{route}/time"));
        let json = document(&time.body).unwrap_or_else(|| panic!("{time:?}"));
        assert_eq!((&json["worker"], &json["generation"]), (&name.into(), &"1".into()), "{json}");
        assert_eq!(session.get(&format!("{route}/no/such")).status, 404);
        assert_eq!(session.get(&format!("{route}/health?x")).body, "");

        let generation = Generation::of(&session, name);
        let stream = generation.stop_within("/ticks", "data: ");
        assert!(stream.to_lowercase().contains("content-type: text/event-stream"), "{stream}");
        let chunked = stream.to_lowercase().contains("transfer-encoding: chunked");
        assert!(!chunked || stream.ends_with("\r\n0\r\n\r\n"), "it was cut: {stream:?}");
        generation.await_last_line("stopped");
    }
}
