//! What a developer sees: the scenarios of tests/browser, behind a whole session.

#[path = "../../browser/scenario.rs"]
mod scenario;

use serde_json::{Value, json};

use super::developer::Developer;
use super::project::{Project, WORKER};

const SOURCE: &str = "workers/index/src/main.rs";

mod user_bed {
    use super::*;

    #[test]
    fn a_page_is_loaded_again_when_its_successor_serves() {
        run("reload", Site::serving());
    }

    #[test]
    fn a_style_sheet_is_swapped_under_the_page() {
        run("styles", Site::serving());
    }

    #[test]
    fn what_the_compiler_says_is_shown_over_the_page_and_goes() {
        run("overlay", Site::serving());
    }

    #[test]
    fn a_worker_that_was_never_built_says_why() {
        let project = Project::new(&["index"]);
        project.write(SOURCE, &broken("nothing"));
        let mut site = Site::of(project);
        site.developer.hears("build_failed", |_| true);
        run("first_build", site);
    }
}

/// A project whose worker's page has a policy that lets it have nothing but what is its own.
struct Site {
    project: Project,
    developer: Developer,
    changes: u32,
    styles: u32,
}

impl Site {
    fn of(project: Project) -> Self {
        project.write("workers/index/public/site.css", "h1 { color: rgb(0, 100, 0) }");
        let developer = Developer::begin(&project);
        Self { project, developer, changes: 0, styles: 0 }
    }

    fn serving() -> Self {
        let project = Project::new(&["index"]);
        project.write(SOURCE, &page("change 0"));
        let mut site = Self::of(project);
        site.developer.serves("index");
        site
    }

    /// Does what a scenario asks for.
    fn perform(&mut self, word: &str) -> Value {
        match word {
            "change" => {
                self.changes += 1;
                let text = format!("change {}", self.changes);
                self.project.write(SOURCE, &page(&text));
                self.developer.serves("index");
                json!({ "text": text })
            }
            "style" => {
                self.styles += 1;
                let value = format!("rgb(0, 100, {})", self.styles);
                let sheet = format!("h1 {{ color: {value} }}");
                self.project.write("workers/index/public/site.css", &sheet);
                json!({ "selector": "h1", "property": "color", "value": value })
            }
            "break" => self.fail("one"),
            "break again" => self.fail("another"),
            "mend" => {
                self.project.write(SOURCE, &page(&format!("change {}", self.changes)));
                self.developer.hears("built", |built| built["changed"] == false);
                json!({})
            }
            other => panic!("nobody can do this: {other}"),
        }
    }

    fn fail(&mut self, name: &str) -> Value {
        self.project.write(SOURCE, &broken(name));
        let message = format!("cannot find value `{name}` in this scope");
        let said = |event: &Value| event["log"].as_str().is_some_and(|log| log.contains(&message));
        let failed = self.developer.hears("build_failed", said);
        let file = self.project.file(SOURCE).display().to_string();
        json!({
            "message": message,
            "file": failed["place"],
            "href": format!("vscode://file{file}:1:13"),
        })
    }
}

fn run(name: &str, mut site: Site) {
    let url = format!("http://{}", site.developer.session.addr());
    scenario::run(name, &url, |word| site.perform(word));
}

/// The source of a worker whose page shows a text.
fn page(text: &str) -> String {
    let html = format!(
        "<!doctype html><html lang=en><title>A site</title>\
         <link rel=stylesheet href=/static/index/site.css><h1>{text}</h1>"
    );
    let kind = "\"text/html\\r\\nContent-Security-Policy: default-src 'self'\"";
    WORKER.replace("\"first\"", &format!("{html:?}")).replace("\"text/plain\"", kind)
}

/// A source that does not compile, for want of what is called `name`.
fn broken(name: &str) -> String {
    format!("fn main() {{ {name} }}")
}
