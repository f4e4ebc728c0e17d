//! Public files by way of the table.

use std::fs::File;
use std::sync::Arc;

use tqserver::proxy::table::{PublicTree, WeightedTargets};

use crate::bed::{Bed, route};

#[tokio::test]
async fn a_workers_public_files_are_served_without_the_worker() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a b.css"), "body {}").unwrap();
    let root = Arc::new(File::open(folder.path()).unwrap());
    let mut app = route("/", WeightedTargets::default());
    app.public = vec![PublicTree { root, path: folder.path().into(), digest: None }];
    let bed = Bed::new();
    bed.publish([app]);
    let mut client = bed.client().await;
    for path in ["/static/app/a%20b.css", "/%73tatic/%61pp/a%20b.css"] {
        client.get(path).await;
        let answer = client.message().await;
        assert_eq!((answer.status(), answer.text()), (200, "body {}"), "{path}");
        assert_eq!(answer.header("content-type").as_deref(), Some("text/css; charset=utf-8"));
    }
    client.get("/static/app/missing.css").await;
    let answer = client.message().await;
    assert_eq!(answer.status(), 404);
    assert!(answer.text().contains("Request "), "the page is the proxy's own");
    client
        .send("POST /static/app/a%20b.css HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
        .await;
    assert_eq!(client.message().await.header("allow").as_deref(), Some("GET, HEAD"));
    bed.until("the counts", |c| c.responses == [0, 2, 0, 2, 0]).await;
}
