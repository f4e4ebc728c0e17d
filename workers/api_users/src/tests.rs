use axum::body::{Body, Bytes};
use axum::http::{Method, Request, StatusCode};
use axum::response::Response;
use futures_util::stream;
use http_body_util::BodyExt as _;
use rstest::rstest;
use serde_json::{Value, json};
use tower::ServiceExt as _;
use tq_worker::Settings;

use super::*;

/// The worker as it stands in the source tree, mounted where its name says.
fn app() -> Router {
    let route = "/api/users".into();
    let by_hand = Settings::by_hand("api_users", env!("CARGO_MANIFEST_DIR"));
    router(Api::open(&Worker::new(Settings { route, ..by_hand })).unwrap())
}

async fn send(app: &Router, method: Method, path: &str, body: impl Into<Body>) -> Response {
    let request = Request::builder().method(method).uri(path).body(body.into()).unwrap();
    app.clone().oneshot(request).await.unwrap()
}

async fn json(response: Response) -> (StatusCode, Value) {
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&body).unwrap_or_else(|error| panic!("{error}: {body:?}")))
}

#[rstest]
#[case::all("/", 4, &["Ada Lovelace", "Grace Hopper", "Alan Turing", "Lynn Conway"])]
#[case::some("/?q=LYNN", 1, &["Lynn Conway"])]
#[case::cut("/?q=example.org&limit=2", 4, &["Ada Lovelace", "Grace Hopper"])]
#[case::none("/?q=nobody", 0, &[])]
#[tokio::test]
async fn lists(#[case] path: &str, #[case] total: usize, #[case] expected: &[&str]) {
    let (status, found) = json(send(&app(), Method::GET, path, "").await).await;
    assert_eq!((status, &found["total"]), (StatusCode::OK, &json!(total)));
    let names: Vec<_> = found["users"].as_array().unwrap().iter().map(|u| &u["name"]).collect();
    assert_eq!(names, expected);
}

#[tokio::test]
async fn a_user_comes_and_goes() {
    let app = app();
    let body = r#"{"name":" Emmy Noether ","email":"emmy@example.org","age":53}"#;
    let created = send(&app, Method::POST, "/", body).await;
    assert_eq!(created.headers()["location"], "/api/users/5");
    let user = json!({"id": 5, "name": "Emmy Noether", "email": "emmy@example.org", "age": 53});
    assert_eq!(json(created).await, (StatusCode::CREATED, user.clone()));
    assert_eq!(json(send(&app, Method::GET, "/5", "").await).await, (StatusCode::OK, user));
    assert_eq!(send(&app, Method::DELETE, "/5", "").await.status(), StatusCode::NO_CONTENT);
    assert_eq!(send(&app, Method::GET, "/5", "").await.status(), StatusCode::NOT_FOUND);
}

#[rstest]
#[case::nothing("{}", &["name", "email", "age"])]
#[case::blank_name(r#"{"name":"  ","email":"a@b.c","age":30}"#, &["name"])]
#[case::no_address(r#"{"name":"A","email":"a@b","age":30}"#, &["email"])]
#[case::two_addresses(r#"{"name":"A","email":"a@b.c@d.e","age":30}"#, &["email"])]
#[case::spaced_address(r#"{"name":"A","email":"a b@c.d","age":30}"#, &["email"])]
#[case::too_young(r#"{"name":"A","email":"a@b.c","age":12}"#, &["age"])]
#[case::unborn(r#"{"name":"A","email":"a@b.c","age":-1}"#, &["age"])]
#[tokio::test]
async fn fields_that_break_the_rules_are_named(
    #[case] body: &'static str,
    #[case] fields: &[&str],
) {
    let (status, answer) = json(send(&app(), Method::POST, "/", body).await).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    let named: Vec<_> = answer["errors"].as_array().unwrap().iter().map(|e| &e["field"]).collect();
    assert_eq!(named, fields, "{answer}");
}

#[rstest]
#[case::no_such_user(Method::GET, "/99", "", 404)]
#[case::no_number(Method::GET, "/ada", "", 404)]
#[case::no_such_path(Method::GET, "/1/2", "", 404)]
#[case::no_such_method(Method::PUT, "/1", "", 405)]
#[case::bad_query(Method::GET, "/?limit=x", "", 400)]
#[tokio::test]
async fn errors_are_json(
    #[case] method: Method,
    #[case] path: &str,
    #[case] body: &'static str,
    #[case] expected: u16,
) {
    let response = send(&app(), method, path, body).await;
    assert_eq!(response.headers().contains_key("allow"), expected == 405);
    let (status, answer) = json(response).await;
    assert_eq!(status.as_u16(), expected);
    assert!(answer["errors"][0]["message"].is_string(), "{answer}");
}

#[tokio::test]
async fn a_body_that_is_too_long_is_refused() {
    let body = format!(r#"{{"name":"{}"}}"#, "a".repeat(MAX_BODY_BYTES));
    let (status, _) = json(send(&app(), Method::POST, "/", body).await).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[rstest]
#[case::in_a_document("/", "{\n  \"name\": oops}", 2, 11)]
#[case::in_a_line("/import", "{\"n\":1}\n\n{\"n\":oops}\n", 3, 6)]
#[tokio::test]
async fn bad_json_has_a_place(
    #[case] path: &str,
    #[case] body: &'static str,
    #[case] line: u64,
    #[case] column: u64,
) {
    let (status, answer) = json(send(&app(), Method::POST, path, body).await).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let error = json!({"message": "expected value", "line": line, "column": column});
    assert_eq!(answer, json!({"errors": [error]}));
}

/// Sends a body in pieces of `size` bytes.
async fn import(body: String, size: usize) -> (StatusCode, Value) {
    let bytes = Bytes::from(body);
    let pieces: Vec<_> =
        bytes.chunks(size).map(Bytes::copy_from_slice).map(Ok::<_, String>).collect();
    json(send(&app(), Method::POST, "/import", Body::from_stream(stream::iter(pieces))).await).await
}

#[rstest]
#[case::byte_by_byte(1)]
#[case::across_lines(7)]
#[case::at_once(usize::MAX)]
#[tokio::test]
async fn imports_whatever_pieces_a_body_arrives_in(#[case] size: usize) {
    let lines: String = (1..=1000).map(|n| format!("{{\"n\":{n}}}\n")).collect();
    let expected = (StatusCode::OK, json!({"count": 1000, "sum": 500_500}));
    assert_eq!(import(lines.trim_end().to_owned(), size).await, expected, "no newline at the end");
    assert_eq!(import(lines, size).await, expected);
}

#[tokio::test]
async fn an_endless_line_is_refused_before_it_has_arrived() {
    let endless = stream::repeat_with(|| Ok::<_, String>(Bytes::from_static(&[b' '; 4096])));
    let response = send(&app(), Method::POST, "/import", Body::from_stream(endless)).await;
    assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn a_body_that_breaks_off_is_no_success() {
    let pieces = [Ok(Bytes::from("{\"n\":1}\n")), Err("reset")];
    let body = Body::from_stream(stream::iter(pieces));
    let (status, _) = json(send(&app(), Method::POST, "/import", body).await).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
}
