//! What a client gets of a public folder, and what it never gets.

use std::ffi::CString;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};
use http_body::Body;
use http_body_util::BodyExt;
use proptest::prelude::*;
use rstest::rstest;
use rustix::fs::{RenameFlags, renameat_with};
use tqserver::config::settings::StaticSettings;
use tqserver::ids::{Md5, RoutePath};
use tqserver::proxy::static_files::{StaticBody, serve};
use tqserver::proxy::table::PublicTree;

/// What lies outside of every public folder, and must never be seen.
const CANARY: &str = "outside of public";

/// More than is sent in one go.
const LARGE: usize = 300_000;

type Fields<'a> = &'a [(&'static str, &'a str)];

/// A worker's folder with `public/` in it, and secrets around that.
struct Site {
    base: tempfile::TempDir,
    trees: Vec<PublicTree>,
}

/// An answer, read to its end.
#[derive(Debug)]
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Site {
    /// A site whose files never change, as in a deployment.
    fn deployed() -> Self {
        Self::new(Some(Md5::new([7; 16])))
    }

    /// A site whose files are being worked on.
    fn developed() -> Self {
        Self::new(None)
    }

    fn new(digest: Option<Md5>) -> Self {
        let base = tempfile::tempdir().unwrap();
        let public = base.path().join("public");
        fs::create_dir_all(public.join("docs")).unwrap();
        fs::create_dir(base.path().join("private")).unwrap();
        fs::write(base.path().join("private/secret"), CANARY).unwrap();
        fs::write(base.path().join("secret"), CANARY).unwrap();
        fs::write(public.join(".env"), CANARY).unwrap();
        let trees = vec![tree(&public, digest)];
        Self { base, trees }
    }

    fn public(&self, name: &str) -> PathBuf {
        self.base.path().join("public").join(name)
    }

    /// Writes a public file, last changed at `mtime` seconds after 1970.
    fn write(&self, name: &str, content: impl AsRef<[u8]>, mtime: u64) {
        fs::write(self.public(name), content).unwrap();
        self.touch(name, SystemTime::UNIX_EPOCH + Duration::from_secs(mtime));
    }

    fn touch(&self, name: &str, mtime: SystemTime) {
        File::options().write(true).open(self.public(name)).unwrap().set_modified(mtime).unwrap();
    }

    async fn request(
        &self,
        method: Method,
        path: &str,
        fields: Fields<'_>,
    ) -> Response<StaticBody> {
        let headers: HeaderMap = fields
            .iter()
            .map(|(name, value)| {
                (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
            })
            .collect();
        let settings = StaticSettings {
            enabled: true,
            url_prefix: "/static".parse::<RoutePath>().unwrap(),
            cache_max_age: Duration::from_secs(3600),
            dev_root: "workers".into(),
        };
        serve(&method, &headers, path, &self.trees, &settings).await
    }

    async fn send(&self, method: Method, path: &str, fields: Fields<'_>) -> Answer {
        let (head, body) = self.request(method, path, fields).await.into_parts();
        let announced = body.size_hint().exact();
        let body = body.collect().await.unwrap().to_bytes().to_vec();
        assert_eq!(announced, Some(body.len() as u64), "{path}: the body is as long as it said");
        Answer { status: head.status, headers: head.headers, body }
    }

    async fn get(&self, path: &str, fields: Fields<'_>) -> Answer {
        self.send(Method::GET, path, fields).await
    }
}

fn tree(public: &Path, digest: Option<Md5>) -> PublicTree {
    PublicTree { root: Arc::new(File::open(public).unwrap()), path: public.into(), digest }
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at % 251) as u8).collect()
}

fn fifo(path: &Path) {
    let path = CString::new(path.as_os_str().as_bytes()).unwrap();
    nix::unistd::mkfifo(path.as_c_str(), nix::sys::stat::Mode::S_IRWXU).unwrap();
}

#[tokio::test]
async fn a_file_comes_with_all_that_caches_need() {
    let site = Site::deployed();
    site.write("app.css", "body{}", 784_111_777);
    let answer = site.get("/app.css", &[]).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.text(), "body{}");
    for (name, value) in [
        ("content-type", "text/css; charset=utf-8"),
        ("content-length", "6"),
        ("x-content-type-options", "nosniff"),
        ("accept-ranges", "bytes"),
        ("etag", "\"aa676972bbd2b68e94ef8e91e81d20be\""),
        ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ("cache-control", "public, max-age=3600"),
    ] {
        assert_eq!(answer.header(name), Some(value), "{name}");
    }
    assert_eq!(answer.header("vary"), None);
    assert_eq!(answer.header("content-encoding"), None);
}

#[tokio::test]
async fn large_and_empty_files_arrive_whole() {
    let site = Site::deployed();
    for len in [0, 1, 65_535, 65_536, 65_537, LARGE] {
        site.write("f", pattern(len), 1000);
        let answer = site.get("/f", &[]).await;
        assert_eq!(answer.header("content-length"), Some(&*len.to_string()));
        assert!(answer.body == pattern(len), "{len} bytes");
    }
}

#[tokio::test]
async fn files_that_must_come_from_the_disk_arrive_whole() {
    let site = Site::deployed();
    for len in [100, LARGE] {
        site.write("f", pattern(len), 1000);
        // The first request computes the tag, which brings the file into memory.
        site.get("/f", &[]).await;
        let file = File::open(site.public("f")).unwrap();
        file.sync_all().unwrap();
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
        assert!(site.get("/f", &[]).await.body == pattern(len), "{len} bytes");
    }
}

#[rstest]
#[case("/../secret", StatusCode::NOT_FOUND)]
#[case("/docs/../../secret", StatusCode::NOT_FOUND)]
#[case("/%2e%2e/secret", StatusCode::NOT_FOUND)]
#[case("/%2e%2e/private/secret", StatusCode::NOT_FOUND)]
#[case("/..%2fsecret", StatusCode::BAD_REQUEST)]
#[case("/..%5csecret", StatusCode::BAD_REQUEST)]
#[case("/docs%2f..%2f..%2fsecret", StatusCode::BAD_REQUEST)]
#[case("/app.css%00.png", StatusCode::BAD_REQUEST)]
#[case("/%ff", StatusCode::BAD_REQUEST)]
#[case("/%c0%ae%c0%ae/secret", StatusCode::BAD_REQUEST)]
#[case("//etc/passwd", StatusCode::NOT_FOUND)]
#[case("/private/secret", StatusCode::NOT_FOUND)]
#[case("/.env", StatusCode::NOT_FOUND)]
#[case("/docs", StatusCode::NOT_FOUND)]
#[case("/docs/", StatusCode::NOT_FOUND)]
#[case("/", StatusCode::NOT_FOUND)]
#[case("/app.css/", StatusCode::NOT_FOUND)]
#[case("/app.css/x", StatusCode::NOT_FOUND)]
#[case("/nothing", StatusCode::NOT_FOUND)]
// Links: to a file and a folder outside, to files inside, to nothing, to itself.
#[case("/out", StatusCode::NOT_FOUND)]
#[case("/out-folder/secret", StatusCode::NOT_FOUND)]
#[case("/absolute", StatusCode::NOT_FOUND)]
#[case("/inside", StatusCode::NOT_FOUND)]
#[case("/broken", StatusCode::NOT_FOUND)]
#[case("/loop", StatusCode::NOT_FOUND)]
#[case("/proc/secret", StatusCode::NOT_FOUND)]
#[case("/pipe", StatusCode::NOT_FOUND)]
#[case("/socket", StatusCode::NOT_FOUND)]
#[tokio::test]
async fn never_outside_of_public(#[case] path: &str, #[case] status: StatusCode) {
    let site = Site::deployed();
    site.write("app.css", "body{}", 1000);
    symlink("../secret", site.public("out")).unwrap();
    symlink("..", site.public("out-folder")).unwrap();
    symlink(site.base.path().join("secret"), site.public("absolute")).unwrap();
    symlink("app.css", site.public("inside")).unwrap();
    symlink("nowhere", site.public("broken")).unwrap();
    symlink("loop", site.public("loop")).unwrap();
    symlink(format!("/proc/self/root{}", site.base.path().display()), site.public("proc")).unwrap();
    fifo(&site.public("pipe"));
    let _socket = std::os::unix::net::UnixListener::bind(site.public("socket")).unwrap();

    for method in [Method::GET, Method::HEAD] {
        let answer = site.send(method, path, &[]).await;
        assert_eq!(answer.status, status);
        assert_eq!(answer.text(), "");
        assert_eq!(answer.header("cache-control"), Some("no-store"));
    }
}

#[tokio::test]
async fn a_name_too_long_is_not_found() {
    let site = Site::deployed();
    for path in [format!("/{}", "a".repeat(300)), format!("/{}", "a/".repeat(5000))] {
        assert_eq!(site.get(&path, &[]).await.status, StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn an_unreadable_file_is_not_found() {
    let site = Site::deployed();
    site.write("f", "content", 1000);
    fs::set_permissions(site.public("f"), fs::Permissions::from_mode(0o000)).unwrap();
    let expected = match File::open(site.public("f")) {
        // Modes do not stop the superuser.
        Ok(_) => StatusCode::OK,
        Err(_) => StatusCode::NOT_FOUND,
    };
    assert_eq!(site.get("/f", &[]).await.status, expected);
}

#[tokio::test]
async fn a_link_swapped_in_during_requests_shows_nothing() {
    let site = Site::developed();
    site.write("file", "inside", 1000);
    symlink("../secret", site.public("link")).unwrap();
    let (folder, done) = (File::open(site.public("")).unwrap(), Arc::new(AtomicBool::new(false)));
    let stop = Arc::clone(&done);
    let swapper = std::thread::spawn(move || {
        while !stop.load(Ordering::Relaxed) {
            renameat_with(&folder, "file", &folder, "link", RenameFlags::EXCHANGE).unwrap();
        }
    });
    let (mut served, mut refused) = (0, 0);
    for _ in 0..1_000_000 {
        let answer = site.get("/file", &[]).await;
        match answer.status {
            StatusCode::OK => {
                assert_eq!(answer.text(), "inside");
                served += 1;
            }
            StatusCode::NOT_FOUND => refused += 1,
            other => panic!("{other}"),
        }
        if served >= 1000 && refused >= 1000 {
            break;
        }
    }
    done.store(true, Ordering::Relaxed);
    swapper.join().unwrap();
    assert!(served >= 1000 && refused >= 1000, "{served} served, {refused} refused");
}

#[tokio::test]
async fn a_truncated_file_ends_in_an_error() {
    let site = Site::developed();
    site.write("f", pattern(LARGE), 1000);
    let response = site.request(Method::GET, "/f", &[]).await;
    assert_eq!(response.headers()[header::CONTENT_LENGTH], LARGE.to_string());
    let mut body = response.into_body();
    let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert!(!first.is_empty() && first.len() < LARGE);

    File::options().write(true).open(site.public("f")).unwrap().set_len(1).unwrap();
    let error = body.frame().await.unwrap().unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof);
    assert!(body.frame().await.is_none(), "nothing is made up to fill the length");
}

#[tokio::test]
async fn a_growing_file_ends_where_it_said() {
    let site = Site::developed();
    site.write("f", pattern(LARGE), 1000);
    let response = site.request(Method::GET, "/f", &[]).await;
    File::options().append(true).open(site.public("f")).unwrap().write_all(b"more").unwrap();
    assert!(response.into_body().collect().await.unwrap().to_bytes() == pattern(LARGE));
}

#[tokio::test]
async fn a_deleted_file_is_sent_to_its_end() {
    let site = Site::deployed();
    site.write("f", pattern(LARGE), 1000);
    let response = site.request(Method::GET, "/f", &[]).await;
    fs::remove_file(site.public("f")).unwrap();
    assert!(response.into_body().collect().await.unwrap().to_bytes() == pattern(LARGE));
}

#[rstest]
#[case("bytes=0-9", 0, 10)]
#[case("bytes=299999-", LARGE - 1, 1)]
#[case("bytes=-10", LARGE - 10, 10)]
#[case("bytes=100000-299999", 100_000, 200_000)]
#[case("bytes=0-999999999", 0, LARGE)]
#[tokio::test]
async fn parts(#[case] range: &str, #[case] start: usize, #[case] len: usize) {
    let site = Site::deployed();
    site.write("f", pattern(LARGE), 1000);
    let answer = site.get("/f", &[("range", range)]).await;
    assert_eq!(answer.status, StatusCode::PARTIAL_CONTENT);
    let expected = format!("bytes {start}-{}/{LARGE}", start + len - 1);
    assert_eq!(answer.header("content-range"), Some(&*expected));
    assert_eq!(answer.header("content-length"), Some(&*len.to_string()));
    assert!(answer.body == pattern(LARGE)[start..start + len]);
}

#[tokio::test]
async fn parts_that_do_not_exist() {
    let site = Site::deployed();
    site.write("f", "0123456789", 1000);
    let answer = site.get("/f", &[("range", "bytes=10-")]).await;
    assert_eq!(answer.status, StatusCode::RANGE_NOT_SATISFIABLE);
    assert_eq!(answer.header("content-range"), Some("bytes */10"));
    assert_eq!(answer.text(), "");
}

#[tokio::test]
async fn a_part_of_another_state_is_not_mixed_in() {
    let site = Site::deployed();
    site.write("f", "0123456789", 1000);
    let etag = site.get("/f", &[]).await.header("etag").unwrap().to_owned();
    let same = site.get("/f", &[("range", "bytes=5-"), ("if-range", &etag)]).await;
    assert_eq!((same.status, same.text()), (StatusCode::PARTIAL_CONTENT, "56789"));

    site.write("f", "abcdefghij", 2000);
    let other = site.get("/f", &[("range", "bytes=5-"), ("if-range", &etag)]).await;
    assert_eq!((other.status, other.text()), (StatusCode::OK, "abcdefghij"));
}

#[tokio::test]
async fn several_parts_get_the_whole() {
    let site = Site::deployed();
    site.write("f", "0123456789", 1000);
    let answer = site.get("/f", &[("range", "bytes=0-1,4-5")]).await;
    assert_eq!((answer.status, answer.text()), (StatusCode::OK, "0123456789"));
}

#[tokio::test]
async fn who_has_it_is_told_so() {
    let site = Site::deployed();
    site.write("f.css", "content", 784_111_777);
    let full = site.get("/f.css", &[]).await;
    let etag = full.header("etag").unwrap();
    let fields: [Fields<'_>; 3] = [
        &[("if-none-match", etag)],
        &[("if-modified-since", "Sun, 06 Nov 1994 08:49:37 GMT")],
        &[("if-none-match", etag), ("range", "bytes=0-1")],
    ];
    for fields in fields {
        for method in [Method::GET, Method::HEAD] {
            let answer = site.send(method, "/f.css", fields).await;
            assert_eq!((answer.status, answer.text()), (StatusCode::NOT_MODIFIED, ""));
            for name in ["etag", "cache-control"] {
                assert_eq!(answer.header(name), full.header(name), "{name}");
            }
            assert_eq!(answer.header("content-length"), None);
            assert_eq!(answer.header("content-type"), None);
        }
    }
}

#[tokio::test]
async fn failed_preconditions_bring_nothing() {
    let site = Site::deployed();
    site.write("f", "content", 784_111_777);
    let fields: [Fields<'_>; 2] =
        [&[("if-match", "\"other\"")], &[("if-unmodified-since", "Sun, 06 Nov 1994 08:49:36 GMT")]];
    for fields in fields {
        let answer = site.get("/f", fields).await;
        assert_eq!((answer.status, answer.text()), (StatusCode::PRECONDITION_FAILED, ""));
    }
}

#[tokio::test]
async fn an_edit_within_the_same_second_changes_the_tag() {
    let site = Site::developed();
    let now = SystemTime::now();
    site.write("f", "aaaa", 0);
    site.touch("f", now);
    let first = site.get("/f", &[]).await;
    let etag = first.header("etag").unwrap();
    site.write("f", "bbbb", 0);
    site.touch("f", now);
    let second = site.get("/f", &[("if-none-match", etag)]).await;
    assert_eq!((second.status, second.text()), (StatusCode::OK, "bbbb"));
}

#[rstest]
#[case("gzip, deflate, br, zstd", Some("br"), "BR")]
#[case("zstd, gzip", Some("zstd"), "ZSTD")]
#[case("gzip", Some("gzip"), "GZIP")]
#[case("gzip;q=0.5, br;q=0.1", Some("gzip"), "GZIP")]
#[case("identity", None, "plain")]
#[case("br;q=0", None, "plain")]
#[case("identity;q=0, gzip", Some("gzip"), "GZIP")]
#[tokio::test]
async fn variants(#[case] accept: &str, #[case] coding: Option<&str>, #[case] body: &str) {
    let site = Site::deployed();
    for (name, content) in
        [("a.css", "plain"), ("a.css.br", "BR"), ("a.css.zst", "ZSTD"), ("a.css.gz", "GZIP")]
    {
        site.write(name, content, 1000);
    }
    let answer = site.get("/a.css", &[("accept-encoding", accept)]).await;
    assert_eq!(answer.text(), body);
    assert_eq!(answer.header("content-encoding"), coding);
    assert_eq!(answer.header("content-type"), Some("text/css; charset=utf-8"));
    assert_eq!(answer.header("vary"), Some("Accept-Encoding"));

    let part = site.get("/a.css", &[("accept-encoding", accept), ("range", "bytes=1-1")]).await;
    assert_eq!((part.status, part.text()), (StatusCode::PARTIAL_CONTENT, &body[1..2]));
    assert_eq!(part.header("content-encoding"), coding);

    let plain = site.get("/a.css", &[]).await;
    assert_eq!(answer.header("etag") == plain.header("etag"), coding.is_none());
}

#[tokio::test]
async fn equal_bytes_in_two_codings_have_two_tags() {
    let site = Site::deployed();
    site.write("a", "same", 1000);
    site.write("a.gz", "same", 1000);
    let plain = site.get("/a", &[]).await;
    let gzip = site.get("/a", &[("accept-encoding", "gzip")]).await;
    assert_ne!(plain.header("etag"), gzip.header("etag"));
    let revalidated =
        [("accept-encoding", "gzip"), ("if-none-match", gzip.header("etag").unwrap())];
    let answer = site.get("/a", &revalidated).await;
    assert_eq!(answer.status, StatusCode::NOT_MODIFIED);
    assert_eq!(answer.header("vary"), Some("Accept-Encoding"));
}

#[tokio::test]
async fn a_stale_variant_is_ignored_in_development() {
    let (developed, deployed) = (Site::developed(), Site::deployed());
    for site in [&developed, &deployed] {
        site.write("a.css", "new", 2000);
        site.write("a.css.gz", "GZIP", 1000);
    }
    let accept: Fields<'_> = &[("accept-encoding", "gzip")];
    let answer = developed.get("/a.css", accept).await;
    assert_eq!((answer.text(), answer.header("vary")), ("new", None));
    assert_eq!(deployed.get("/a.css", accept).await.text(), "GZIP");
    developed.write("a.css.gz", "GZIP", 2000);
    assert_eq!(developed.get("/a.css", accept).await.text(), "GZIP");
}

#[tokio::test]
async fn a_variant_that_is_a_link_is_none() {
    let site = Site::deployed();
    site.write("a.css", "plain", 1000);
    symlink("../secret", site.public("a.css.gz")).unwrap();
    fifo(&site.public("a.css.br"));
    let answer = site.get("/a.css", &[("accept-encoding", "gzip, br")]).await;
    assert_eq!((answer.text(), answer.header("vary")), ("plain", None));
}

#[tokio::test]
async fn an_archive_is_served_as_it_is() {
    let site = Site::deployed();
    site.write("a.tar.gz", "GZIP", 1000);
    site.write("a.tar.gz.gz", "twice", 1000);
    let answer = site.get("/a.tar.gz", &[("accept-encoding", "gzip")]).await;
    assert_eq!((answer.text(), answer.header("content-encoding")), ("GZIP", None));
    assert_eq!(answer.header("content-type"), Some("application/gzip"));
}

#[rstest]
#[case("/a.css", &[])]
#[case("/a.css", &[("accept-encoding", "gzip")])]
#[case("/a.css", &[("if-none-match", "*")])]
#[case("/a.css", &[("if-match", "\"x\"")])]
#[case("/large", &[])]
#[case("/empty", &[])]
#[case("/missing", &[])]
#[case("/%", &[])]
#[tokio::test]
async fn head_says_what_get_says(#[case] path: &str, #[case] fields: Fields<'_>) {
    let site = Site::deployed();
    site.write("a.css", "plain", 1000);
    site.write("a.css.gz", "GZIP", 1000);
    site.write("large", pattern(LARGE), 1000);
    site.write("empty", "", 1000);
    let get = site.get(path, fields).await;
    let head = site.send(Method::HEAD, path, fields).await;
    assert_eq!((head.status, &head.headers), (get.status, &get.headers));
    assert_eq!(head.body, b"");
}

#[tokio::test]
async fn head_has_no_ranges() {
    let site = Site::deployed();
    site.write("f", "0123456789", 1000);
    let answer = site.send(Method::HEAD, "/f", &[("range", "bytes=0-1")]).await;
    assert_eq!((answer.status, answer.header("content-length")), (StatusCode::OK, Some("10")));
}

#[tokio::test]
async fn other_methods_are_not_allowed() {
    let site = Site::deployed();
    site.write("f", "content", 1000);
    for method in [Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS, Method::TRACE] {
        let answer = site.send(method, "/f", &[]).await;
        assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(answer.header("allow"), Some("GET, HEAD"));
    }
}

#[rstest]
#[case("app.css", "public, max-age=3600", "no-cache")]
#[case("app.3f9a2b1c.css", "public, max-age=31536000, immutable", "no-cache")]
#[tokio::test]
async fn caching(#[case] name: &str, #[case] deployed: &str, #[case] developed: &str) {
    for (site, expected) in [(Site::deployed(), deployed), (Site::developed(), developed)] {
        site.write(name, "content", 1000);
        let answer = site.get(&format!("/{name}"), &[]).await;
        assert_eq!(answer.header("cache-control"), Some(expected));
    }
}

#[tokio::test]
async fn a_folder_is_its_index() {
    let site = Site::deployed();
    site.write("docs/index.html", "<p>docs", 1000);
    let answer = site.get("/docs/", &[]).await;
    assert_eq!((answer.status, answer.text()), (StatusCode::OK, "<p>docs"));
    assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(site.get("/docs", &[]).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn only_a_miss_goes_on_to_the_shared_tree() {
    let (mut site, shared) = (Site::developed(), Site::developed());
    site.trees.extend(shared.trees.iter().cloned());
    for name in ["both", "theirs", "linked", "docs/both"] {
        shared.write(name, "shared", 1000);
    }
    site.write("both", "own", 1000);
    symlink("../secret", site.public("linked")).unwrap();
    assert_eq!(site.get("/both", &[]).await.text(), "own");
    assert_eq!(site.get("/theirs", &[]).await.text(), "shared");
    assert_eq!(site.get("/docs/both", &[]).await.text(), "shared");
    assert_eq!(site.get("/linked", &[]).await.status, StatusCode::NOT_FOUND);
    assert_eq!(site.get("/neither", &[]).await.status, StatusCode::NOT_FOUND);
    site.trees.clear();
    assert_eq!(site.get("/both", &[]).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn many_at_once_get_the_same_tag() {
    let site = Site::deployed();
    site.write("f", pattern(LARGE), 1000);
    let requests = (0..64).map(|_| site.get("/f", &[("range", "bytes=0-0")]));
    let answers = futures_util::future::join_all(requests).await;
    let tags: std::collections::HashSet<_> =
        answers.iter().map(|answer| answer.header("etag").unwrap()).collect();
    assert_eq!(tags.len(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn no_path_leads_outside(
        path in "/((\\.\\.|%2e%2e|\\.%2E|docs|secret|private|link|\\.|\\.env|proc|%00|\\PC)?(/|%2f|%5c|\\\\|//)?){0,8}",
    ) {
        thread_local! {
            static SITE: Site = {
                let site = Site::deployed();
                symlink("..", site.public("link")).unwrap();
                symlink("/proc/self/cwd", site.public("proc")).unwrap();
                site.write("docs/index.html", "inside", 1000);
                site
            };
        }
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let answer = SITE.with(|site| runtime.block_on(site.get(&path, &[])));
        prop_assert!(answer.body.is_empty() || answer.text() == "inside");
        prop_assert!(matches!(answer.status.as_u16(), 200 | 400 | 404), "{}", answer.status);
    }
}
