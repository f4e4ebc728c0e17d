//! What people see: scenarios in a real browser, with a data plane and a worker of the test's own.

#[path = "../fake_control/mod.rs"]
#[allow(dead_code, reason = "it says more than is looked at here")]
mod fake_control;
#[path = "../support/mod.rs"]
mod support;

mod site;

use serde_json::{Value, json};
use tqserver::proxy::Build;

use crate::fake_control::Fake;
use crate::fake_control::dashboard::{Dashboard, TOKEN};
use crate::site::Site;
use crate::support::scenario;

/// In a module of its own, by which the test runner knows what starts a browser.
mod browser {
    use super::*;

    #[test]
    fn a_page_that_is_replaced_is_loaded_again() {
        run("reload", Site::serving());
    }

    #[test]
    fn many_tabs_are_loaded_again_at_once() {
        run("tabs", Site::serving());
    }

    #[test]
    fn a_style_sheet_is_swapped_under_the_page() {
        run("styles", Site::serving());
    }

    #[test]
    fn a_failed_build_is_shown_over_the_page() {
        run("overlay", Site::serving());
    }

    #[test]
    fn a_tab_that_was_away_misses_nothing() {
        run("outage", Site::serving());
    }

    #[test]
    fn a_page_that_is_not_served_for_a_while_stays_until_it_is() {
        run("unserved", Site::serving());
    }

    #[test]
    fn the_dashboard_is_for_everybody_who_has_the_token() {
        let fake = Fake::new();
        *fake.status.lock().unwrap() = fake_control::degraded();
        let dashboard = Dashboard::start(&fake);
        let url = format!("http://localhost:{}/", dashboard.addr.port());
        scenario::run("dashboard", &url, |word| match word {
            "mend" => {
                *fake.status.lock().unwrap() = fake_control::serving();
                json!({})
            }
            "token" => json!({ "token": TOKEN }),
            other => panic!("nobody can do this: {other}"),
        });
    }

    #[test]
    fn a_worker_that_was_never_built_says_why() {
        let mut site = Site::new();
        site.build(Build::Failed(site::problems("first")));
        run("first_build", site);
    }
}

fn run(name: &str, mut site: Site) {
    scenario::run(name, &site.url(), |word| perform(&mut site, word));
}

/// Does what a scenario asks for.
fn perform(site: &mut Site, word: &str) -> Value {
    match word {
        "change" => json!({ "text": site.switch() }),
        "style" => site.restyle(),
        "break" => broken(site, "<img src=x onerror=alert(1)> one"),
        "break again" => broken(site, "another"),
        "mend" => {
            site.build(Build::Building);
            site.build(Build::Fine);
            json!({})
        }
        "vanish" => {
            site.vanish();
            json!({})
        }
        "template" => {
            site.change_template();
            json!({})
        }
        "stop" => {
            site.stop();
            json!({})
        }
        "start" => {
            site.start();
            json!({})
        }
        other => panic!("nobody can do this: {other}"),
    }
}

fn broken(site: &mut Site, message: &str) -> Value {
    let problems = site::problems(message);
    let place = problems.places[0].clone();
    site.build(Build::Building);
    site.build(Build::Failed(problems));
    json!({
        "message": message,
        "file": format!("{}:{}:{}", place.shown, place.line, place.column),
        "href": format!("vscode://file{}:{}:{}", place.file.display(), place.line, place.column),
    })
}
