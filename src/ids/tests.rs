//! What parses, and what does not.

use super::*;
use proptest::prelude::*;
use rstest::rstest;

#[rstest]
#[case("index", true)]
#[case("api_users2", true)]
#[case("a23456789012345678901234567", true)]
#[case("a234567890123456789012345678", false)]
#[case("", false)]
#[case("Index", false)]
#[case("api-users", false)]
#[case("9lives", false)]
#[case("_x", false)]
#[case("../etc", false)]
#[case("shared", false)]
fn worker_names(#[case] text: &str, #[case] valid: bool) {
    assert_eq!(text.parse::<WorkerName>().is_ok(), valid, "{text}");
}

#[rstest]
#[case("tq-worker@index-9000.service", true)]
#[case("tq-worker@index-0.service", false)]
#[case("tq-worker@index-09000.service", false)]
#[case("tq-worker@index-+900.service", false)]
#[case("tq-worker@index-65536.service", false)]
#[case("tq-worker@index-9000", false)]
#[case("tq-worker@a-b-9000.service", false)]
fn unit_names(#[case] text: &str, #[case] valid: bool) {
    assert_eq!(text.parse::<UnitName>().is_ok(), valid, "{text}");
}

#[rstest]
#[case("index", "/")]
#[case("api_users", "/api/users")]
#[case("a__b_", "/a/b")]
fn routes_from_names(#[case] name: &str, #[case] route: &str) {
    assert_eq!(RoutePath::from_worker_name(&name.parse().unwrap()).as_str(), route);
}

#[rstest]
#[case("/api", "/api", true)]
#[case("/api", "/api/", true)]
#[case("/api", "/api/users", true)]
#[case("/api", "/apix", false)]
#[case("/", "/", true)]
#[case("/", "/anything", true)]
fn routes_cover_whole_segments(#[case] route: &str, #[case] path: &str, #[case] covers: bool) {
    assert_eq!(route.parse::<RoutePath>().unwrap().covers(path), covers);
}

#[rstest]
#[case("")]
#[case("api")]
#[case("/api/")]
#[case("//")]
#[case("/a/../b")]
#[case("/a b")]
#[case("/%2e")]
fn bad_routes(#[case] text: &str) {
    assert!(text.parse::<RoutePath>().is_err(), "{text}");
}

proptest! {
    #[test]
    fn what_parses_prints_the_same(text in "\\PC{0,60}") {
        if let Ok(name) = text.parse::<WorkerName>() { prop_assert_eq!(name.to_string(), text.clone()); }
        if let Ok(route) = text.parse::<RoutePath>() { prop_assert_eq!(route.to_string(), text.clone()); }
        if let Ok(unit) = text.parse::<UnitName>() { prop_assert_eq!(unit.to_string(), text); }
    }

    #[test]
    fn digests_round_trip(bytes: [u8; 32]) {
        let sum = Sha256::new(bytes);
        prop_assert_eq!(sum.to_string().parse::<Sha256>(), Ok(sum));
    }
}
