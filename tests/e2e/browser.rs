//! Development as people see it: what a real browser shows of a session while files are saved.

use serde_json::{Value, json};

use crate::saves::developer::Developer;
use crate::saves::project::{Project, WORKER};
use crate::support::scenario;

/// In a module of its own, by which the test runner knows what starts a bed.
mod user_bed {
    use super::*;

    #[test]
    fn a_page_is_loaded_again_when_what_it_is_made_of_is_served() {
        Site::serving().run("reload");
    }

    #[test]
    fn many_tabs_are_loaded_again_at_once() {
        Site::serving().run("tabs");
    }

    #[test]
    fn a_style_sheet_is_swapped_under_the_page() {
        Site::serving().run("styles");
    }

    #[test]
    fn what_the_compiler_says_is_shown_over_the_page() {
        Site::serving().run("overlay");
    }

    #[test]
    fn a_tab_that_was_away_misses_nothing() {
        Site::serving().run("outage");
    }

    #[test]
    fn a_restart_is_not_seen_as_an_error() {
        Site::serving().run("restart");
    }

    #[test]
    fn a_worker_that_was_never_built_says_why() {
        Site::broken().run("first_build");
    }
}

/// The worker's files, below the project.
const SOURCE: &str = "workers/index/src/main.rs";
const TEMPLATE: &str = "workers/index/private/page.html";
const STYLE: &str = "workers/index/public/css/site.css";

/// A project of one worker that shows a page, and its session.
struct Site {
    project: Project,
    developer: Developer,
    /// What compiles.
    source: String,
    changes: u32,
    styles: u32,
}

impl Site {
    /// The page is served.
    fn serving() -> Self {
        let mut site = Self::begin(WORKER);
        site.developer.serves("index");
        site
    }

    /// The worker was never built, as it does not compile.
    fn broken() -> Self {
        let mut site = Self::begin(&Mistake::FIRST.in_source(WORKER));
        site.developer.hears("build_failed", |_| true);
        site
    }

    fn begin(source: &str) -> Self {
        let project = Project::new(&["index"]);
        project.write(SOURCE, source);
        project.write(TEMPLATE, &page("at first"));
        project.write(STYLE, "h1 { color: rgb(0, 100, 0) }");
        let developer = Developer::begin(&project);
        Self { project, developer, source: WORKER.to_owned(), changes: 0, styles: 0 }
    }

    fn run(mut self, scenario: &str) {
        let url = format!("http://{}/page", self.developer.session.addr());
        scenario::run(scenario, &url, |word| self.perform(word));
    }

    /// Does what a scenario asks for.
    fn perform(&mut self, word: &str) -> Value {
        match word {
            "change" => json!({ "text": self.change() }),
            "style" => self.restyle(),
            "break" => self.make(&Mistake::FIRST),
            "break again" => self.make(&Mistake::SECOND),
            "mend" => {
                self.project.write(SOURCE, &self.source);
                json!({})
            }
            "stop" => self.systemctl("stop", &["tqserver.service"]),
            "start" => self.systemctl("start", &[]),
            "restart" => {
                self.developer.session.systemctl(&["restart", "tqserver.service"]);
                json!({})
            }
            other => panic!("nobody can do this: {other}"),
        }
    }

    /// Changes the worker's source and its template in turn; returns what the page then shows.
    fn change(&mut self) -> String {
        self.changes += 1;
        let text = format!("after change {}", self.changes);
        if self.changes % 2 == 1 {
            self.source = WORKER.replace("\"first\"", &format!("{text:?}"));
            self.project.write(SOURCE, &self.source);
        } else {
            self.project.write(TEMPLATE, &page(&text));
        }
        text
    }

    /// Changes the style sheet; returns what it then makes of the page.
    fn restyle(&mut self) -> Value {
        self.styles += 1;
        let value = format!("rgb(0, 100, {})", self.styles);
        self.project.write(STYLE, &format!("h1 {{ color: {value} }}"));
        json!({ "selector": "h1", "property": "color", "value": value })
    }

    /// Saves a mistake; returns what is to be seen of it.
    fn make(&self, mistake: &Mistake) -> Value {
        let source = mistake.in_source(&self.source);
        self.project.write(SOURCE, &source);
        let before = &source[..source.find(mistake.place).unwrap()];
        let line = before.lines().count();
        let column = before.lines().last().unwrap().len() + 1;
        let file = self.project.file(SOURCE);
        json!({
            "message": mistake.message,
            "file": format!("{SOURCE}:{line}:{column}"),
            "href": format!("vscode://file{}:{line}:{column}", file.display()),
        })
    }

    /// Stops or starts the sockets, and what else is named.
    fn systemctl(&self, verb: &str, units: &[&str]) -> Value {
        let sockets = ["tqserver.socket", "tqserver-control.socket"];
        self.developer.session.systemctl(&[&[verb], units, &sockets].concat());
        json!({})
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.developer.session.log());
        }
    }
}

/// What does not compile.
struct Mistake {
    /// A statement.
    code: &'static str,
    /// Where in it the compiler points.
    place: &'static str,
    /// What the compiler says.
    message: &'static str,
}

impl Mistake {
    /// Its message must not become a part of the page.
    const FIRST: Self = Self {
        code: "compile_error!(\"<img src=x onerror=alert(1)> one\");",
        place: "compile_error!",
        message: "<img src=x onerror=alert(1)> one",
    };
    /// Its message has a word that is wider than a narrow screen.
    const SECOND: Self = Self {
        code: "let never: u8 = lost_and_not_to_be_found_by_whoever_looks;",
        place: "lost_",
        message: "cannot find value `lost_and_not_to_be_found_by_whoever_looks` in this scope",
    };

    fn in_source(&self, source: &str) -> String {
        source.replace("fn main() {\n", &format!("fn main() {{\n    {}\n", self.code))
    }
}

/// The template: a page that says this and what the worker says, and may load only what is its own.
fn page(text: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>A site</title>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <link rel=\"stylesheet\" href=\"/static/index/css/site.css\">\n\
         <h1>{text}</h1>\n<p>{{made}}</p>\n</html>\n"
    )
}
