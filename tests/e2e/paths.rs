//! Paths that try to lead out of what is public, sent as they are.

use std::fs;
use std::os::unix::fs::symlink;

use rstest::rstest;

use crate::project::{Project, worker};
use crate::rollout::empty;
use crate::session::Session;

/// What no path may show.
const SECRET: &str = "the secret of index";

/// `index` with a public file and a secret, and links out of public, which only a source tree can
/// have: tqserver refuses deployments with them.
fn tree() -> (Project, Session) {
    let project = Project::new("", "");
    let base = project.path().join("workers/index");
    worker("index", "well").public("app.css", "a{}").write(&base);
    fs::write(base.join("private/secret"), SECRET).unwrap();
    fs::create_dir_all(base.join("src")).unwrap();
    fs::write(base.join("src/main.rs"), "").unwrap();
    symlink("../private", base.join("public/folder")).unwrap();
    symlink("../private/secret", base.join("public/file")).unwrap();
    symlink(base.join("private/secret"), base.join("public/absolute")).unwrap();
    let session = Session::user(project.path(), |ports| {
        let text = format!("server:\n  deployment_mode: dev\nworkers:\n{ports}");
        fs::write(project.path().join("config/server.yaml"), text).unwrap();
    });
    (project, session)
}

#[test]
fn out_of_public() {
    let (_project, session) = tree();
    assert_eq!(session.get("/static/index/app.css").body, "a{}", "{}", session.log());
    for path in [
        "/static/index/../../private/secret",
        "/static/index/../private/secret",
        "/static/../workers/index/private/secret",
        "/static/index/%2e%2e/private/secret",
        "/static/index/%2E./private/secret",
        "/static/index/..%2fprivate%2fsecret",
        "/static/index/..%5cprivate%5csecret",
        "/static/index/..\\private\\secret",
        "/static/index/%252e%252e/private/secret",
        "/static/index/app.css/../../private/secret",
        "/static/index//../private/secret",
        "/static/index/;/../private/secret",
        "/static/index/app.css%00",
        "/static/index/%c0%ae%c0%ae/private/secret",
        "/static/index/%ff",
        "/static/index/private/secret",
        "/static/index/folder/secret",
        "/static/index/folder/",
        "/static/index/file",
        "/static/index/absolute",
        "/static/index/",
        "/static/index",
        "/static/",
        "/static/%69ndex/../private/secret",
        "/static/shared/private/secret",
        "/static/nobody/app.css",
        "/static",
    ] {
        let answer = session.get(path);
        assert!([400, 404].contains(&answer.status), "{path}: {answer:?}");
        assert!(!answer.body.contains(SECRET), "{path}");
    }
}

/// Another worker's route is not reached by a path that only looks like it, nor one's own left.
#[rstest]
#[case("/api/../", 400)]
#[case("/api/%2e%2e/", 400)]
#[case("/api%2f..%2f", 400)]
#[case("/api/%00", 400)]
fn out_of_a_route(#[case] path: &str, #[case] status: u16) {
    let (project, session) = empty();
    project.deploy('1', &[worker("index", "well"), worker("api", "well")]);
    assert_eq!(session.get("/apix").body, "index well g1 /apix\n");
    assert_eq!(session.get(path).status, status);
}
