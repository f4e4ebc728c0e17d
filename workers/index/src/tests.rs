use axum::body::Body;
use axum::http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use rstest::rstest;
use tokio::time::{Duration, Instant};
use tower::ServiceExt as _;
use tq_worker::Settings;

use super::*;

/// The worker as it stands in the source tree.
fn worker() -> Worker {
    let base = env!("CARGO_MANIFEST_DIR");
    Worker::new(Settings {
        shared: Some(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared").into()),
        commit: "a1b2c3d".into(),
        generation: 7,
        ..Settings::by_hand("index", base)
    })
}

async fn get_from(worker: &Worker, path: &str, prefix: &str) -> Response {
    let request = Request::get(path).header("x-forwarded-prefix", prefix);
    router(worker).oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
}

async fn text(response: Response) -> String {
    let body = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap().replace("&#x2f;", "/")
}

#[tokio::test]
async fn the_home_page_shows_who_serves_it() {
    let page = text(get_from(&worker(), "/", "").await).await;
    for expected in ["generation", ">7<", "a1b2c3d", "href=\"/static/index/css/styles.css\""] {
        assert!(page.contains(expected), "no {expected:?} in {page}");
    }
}

#[tokio::test]
async fn links_stay_below_the_prefix() {
    let page = text(get_from(&worker(), "/", "/app").await).await;
    assert!(page.contains("action=\"/app/hello\""), "{page}");
    assert!(page.contains("data-clock=\"/app/clock\""), "{page}");
}

#[rstest]
#[case::by_name("/hello?name=Ada", "Hello, Ada!")]
#[case::nobody("/hello", "Hello, stranger!")]
#[case::escaped("/hello?name=%3Cscript%3E", "Hello, &lt;script&gt;!")]
#[tokio::test]
async fn greets(#[case] path: &str, #[case] expected: &str) {
    let response = get_from(&worker(), path, "").await;
    assert_eq!(response.headers()["content-security-policy"], "default-src 'self'");
    let page = text(response).await;
    assert!(page.contains(expected), "{page}");
}

#[rstest]
#[case("/no/such", StatusCode::NOT_FOUND, "There is no page at /no/such.")]
#[case("/download?seconds=31", StatusCode::BAD_REQUEST, "from 1 to 30")]
#[case("/download?seconds=x", StatusCode::BAD_REQUEST, "from 1 to 30")]
#[tokio::test]
async fn errors_are_pages(#[case] path: &str, #[case] status: StatusCode, #[case] expected: &str) {
    let response = get_from(&worker(), path, "").await;
    assert_eq!(response.status(), status);
    let page = text(response).await;
    assert!(page.contains("<!doctype html>") && page.contains(expected), "{page}");
}

#[tokio::test(start_paused = true)]
async fn the_clock_ticks_every_200_ms_from_the_start() {
    let started = Instant::now();
    let mut body = get_from(&worker(), "/clock", "").await.into_body();
    for tick in 0..3 {
        let event = body.frame().await.unwrap().unwrap().into_data().unwrap();
        let expected = format!(r#"data: {{"generation":7,"commit":"a1b2c3d","tick":{tick}}}"#);
        assert!(std::str::from_utf8(&event).unwrap().contains(&expected), "{event:?}");
    }
    assert_eq!(started.elapsed().as_millis(), 400);
}

#[tokio::test(start_paused = true)]
async fn a_download_has_the_length_it_announced_and_takes_its_time() {
    let started = Instant::now();
    let response = get_from(&worker(), "/download?seconds=2", "").await;
    assert_eq!(response.headers()["content-length"], "81920");
    let file = text(response).await;
    assert_eq!((file.len(), file.lines().count()), (81920, 20));
    assert!(file.lines().all(|line| line.contains("sent by generation 7 ")));
    assert!(started.elapsed() >= Duration::from_millis(1900), "{:?}", started.elapsed());
}
