use jiff::ToSpan;

use super::*;
use crate::tls::testing::{Folder, params};

#[test]
fn what_is_published_is_watched_until_it_is_replaced() {
    let tls = PublishedTls::new(&["http/1.1"]).unwrap();
    assert!(tls.current().is_none());
    let folder = Folder::new();
    let mut params = params(&["a.example"]);
    params.not_after = rcgen::date_time_ymd(2100, 1, 1);
    let certificates = Certificates::load(&[folder.self_signed("a", &params)], None).unwrap();
    tls.publish(Arc::new(certificates)).unwrap();
    assert!(tls.current().is_some());
    let end: Timestamp = "2100-01-01T00:00:00Z".parse().unwrap();
    assert_eq!(tls.warnings(end - (24 * 15).hours()), [""; 0]);
    assert!(tls.warnings(end - 1.hour())[0].contains("expires in 1 h"));

    tls.publish(Arc::default()).unwrap();
    assert!(tls.current().is_none());
    assert_eq!(tls.warnings(end), [""; 0]);
}
