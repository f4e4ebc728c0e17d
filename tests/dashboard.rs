//! The dashboard, as browsers and others meet it.

#[allow(dead_code, reason = "the control socket is not asked here")]
mod fake_control;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fake_control::Fake;
use fake_control::dashboard::{Dashboard, TOKEN, pages};
use rstest::rstest;
use tqserver::config::settings::{DashboardSettings, Secret};

impl Dashboard {
    /// Sends a request with these fields; its `Host` is `localhost` unless they have one.
    fn send(&self, method: &str, path: &str, fields: &str, body: &str) -> Answer {
        let mut stream = TcpStream::connect(self.addr).unwrap();
        // Far beyond what an answer takes: a test that fails should say so, and not hang.
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let host = if fields.contains("Host: ") { "" } else { "Host: localhost\r\n" };
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\n{host}{fields}Content-Length: {length}\r\n\r\n{body}"
        )
        .unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").expect("a complete head");
        let code = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { code, head: head.to_owned(), body: body.to_owned() }
    }

    fn get(&self, path: &str, cookie: &str) -> Answer {
        self.send("GET", path, &format!("Cookie: {cookie}\r\n"), "")
    }

    /// Says the token, and returns the cookie.
    fn log_in(&self) -> String {
        let answer = self.send("POST", "/login", "", &format!("token={TOKEN}"));
        assert_eq!((answer.code, answer.field("location")), (303, Some("/dashboard")));
        let cookie = answer.field("set-cookie").unwrap();
        assert!(cookie.contains("; HttpOnly; SameSite=Strict"), "{cookie}");
        cookie.split(';').next().unwrap().to_owned()
    }
}

struct Answer {
    code: u16,
    head: String,
    body: String,
}

impl Answer {
    fn field(&self, name: &str) -> Option<&str> {
        let fields = self.head.lines().filter_map(|line| line.split_once(": "));
        fields.filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value).next()
    }
}

#[test]
fn whoever_has_the_token_sees_everything() {
    let fake = Fake::new();
    *fake.status.lock().unwrap() = fake_control::degraded();
    let dashboard = Dashboard::start(&fake);
    let first = dashboard.get("/", "");
    assert_eq!(first.code, 200);
    assert!(first.body.contains("<form method=\"post\" action=\"/login\">"), "{}", first.body);

    let cookie = dashboard.log_in();
    assert_eq!(dashboard.get("/", &cookie).field("location"), Some("/dashboard"));
    let page = dashboard.get("/dashboard", &cookie);
    assert_eq!(page.code, 200, "{}", page.body);
    for shown in ["degraded", "index", "api_users", "out of memory", "9f8e7d6", "draining", "g17"] {
        assert!(page.body.contains(shown), "{shown}: {}", page.body);
    }
    let style = dashboard.get("/dashboard.css", "");
    assert_eq!((style.code, style.field("content-type")), (200, Some("text/css; charset=utf-8")));

    let left = dashboard.send("POST", "/logout", &format!("Cookie: {cookie}\r\n"), "");
    assert!(left.field("set-cookie").unwrap().contains("Max-Age=0"), "{}", left.head);
}

#[test]
fn nobody_else_sees_anything() {
    let dashboard = Dashboard::start(&Fake::new());
    for cookie in ["", "tq_dashboard=", "tq_dashboard=1.00", "other=1"] {
        let answer = dashboard.get("/dashboard", cookie);
        assert_eq!(
            (answer.code, answer.field("location"), answer.body.as_str()),
            (303, Some("/"), "")
        );
    }
    let begun = Instant::now();
    let answer = dashboard.send("POST", "/login", "", "token=0123456789abcdee");
    assert_eq!((answer.code, answer.field("set-cookie")), (403, None));
    assert!(answer.body.contains("That is not the token."), "{}", answer.body);
    assert!(begun.elapsed() >= Duration::from_secs(1), "tokens are not tried in bulk");

    let cookie = dashboard.log_in();
    let other = Some(Secret::new("another token that is long"));
    dashboard.settings.store(Arc::new(DashboardSettings { token: other, pages: pages() }));
    assert_eq!(dashboard.get("/dashboard", &cookie).code, 303, "another token ends all sessions");
    dashboard.settings.store(Arc::new(DashboardSettings { token: None, pages: pages() }));
    let answer = dashboard.get("/", "");
    assert_eq!(answer.code, 503);
    assert!(answer.body.contains("server.dashboard.token"), "{}", answer.body);
}

#[rstest]
#[case::another_name("GET", "/", "Host: dashboard.example\r\n", 421)]
#[case::another_origin("POST", "/login", "Origin: http://evil.example\r\n", 403)]
#[case::another_port("POST", "/login", "Origin: http://localhost:1\r\n", 403)]
#[case::no_origin_of_its_own("POST", "/logout", "Origin: null\r\n", 403)]
#[case::no_page("GET", "/../etc/passwd", "", 404)]
#[case::no_file_of_the_folder("GET", "/dashboard.html", "", 404)]
#[case::method("DELETE", "/dashboard", "", 405)]
#[case::a_large_body("POST", "/login", "", 403)]
fn what_is_not_meant_is_refused(
    #[case] method: &str,
    #[case] path: &str,
    #[case] fields: &str,
    #[case] code: u16,
) {
    let dashboard = Dashboard::start(&Fake::new());
    let body = match (method, fields) {
        ("POST", "") => format!("x={}&token={TOKEN}", "x".repeat(4096)),
        ("POST", _) => format!("token={TOKEN}"),
        _ => String::new(),
    };
    let answer = dashboard.send(method, path, fields, &body);
    assert_eq!((answer.code, answer.field("set-cookie")), (code, None), "{}", answer.body);
    let policy = answer.field("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'; style-src 'self'; form-action 'self'"));
    assert_eq!(answer.field("x-content-type-options"), Some("nosniff"));
    assert_eq!(answer.field("cache-control"), Some("no-store"));
}

#[test]
fn an_origin_of_its_own_is_believed() {
    let dashboard = Dashboard::start(&Fake::new());
    let fields = format!("Host: {0}\r\nOrigin: http://{0}\r\n", dashboard.addr);
    let answer = dashboard.send("POST", "/login", &fields, &format!("token={TOKEN}"));
    assert_eq!(answer.code, 303);
}

#[test]
fn what_workers_say_is_text() {
    let fake = Fake::new();
    let hostile = "<script>alert(1)</script>\"'&";
    fake.status.lock().unwrap().workers[0].last_failure = Some(hostile.to_owned());
    fake.status.lock().unwrap().warnings = vec![hostile.to_owned()];
    let dashboard = Dashboard::start(&fake);
    let page = dashboard.get("/dashboard", &dashboard.log_in());
    assert_eq!(page.code, 200);
    assert!(!page.body.contains("<script"), "{}", page.body);
    assert_eq!(page.body.matches("&lt;script&gt;").count(), 2, "{}", page.body);
}

#[test]
fn the_pages_are_files_that_may_be_others() {
    let dashboard = Dashboard::start(&Fake::new());
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("index.html"), "<p>of our own</p>").unwrap();
    let token = Some(Secret::new(TOKEN));
    let own = DashboardSettings { token, pages: folder.path().to_owned() };
    dashboard.settings.store(Arc::new(own));
    assert_eq!(dashboard.get("/", "").body, "<p>of our own</p>");
    let answer = dashboard.get("/dashboard", &dashboard.log_in());
    assert_eq!(answer.code, 500, "there is none");
    assert!(answer.body.contains("journalctl -u tqserver"), "{}", answer.body);
}

#[test]
fn the_pages_are_small_and_need_nothing_from_elsewhere() {
    let mut length = 0;
    for file in fs::read_dir(pages()).unwrap() {
        let text = fs::read_to_string(file.unwrap().path()).unwrap();
        length += text.len();
        for elsewhere in ["http://", "https://", "src=\"//", "@import", "style=\"", "<script"] {
            assert!(!text.contains(elsewhere), "{elsewhere}");
        }
    }
    assert!(length < 100_000, "{length}");
}
