//! Which requests go to a generation that comes to serve by degrees.

use super::table::WeightedTargets;
use crate::canary::Testers;
use crate::http1::Field;

/// A generation beside the one that serves.
#[derive(Debug, Clone)]
pub struct Canary {
    /// Its instances.
    pub targets: WeightedTargets,
    /// Its share of the requests, in percent; below 100.
    pub share: u8,
    /// Whose requests it gets, whatever the share.
    pub testers: Option<Testers>,
}

impl Canary {
    /// Whether a request with these header fields goes to it, where `ticket` is any evenly spread number.
    pub(super) fn takes(&self, fields: &[Field<'_>], ticket: u64) -> bool {
        ticket % 100 < u64::from(self.share)
            || self.testers.as_ref().is_some_and(|testers| is_of(testers, fields))
    }
}

fn is_of(testers: &Testers, fields: &[Field<'_>]) -> bool {
    let named = |name: &str| {
        let name = name.to_owned();
        fields.iter().filter(move |field| field.name.eq_ignore_ascii_case(&name))
    };
    match testers {
        Testers::Header(mark) => {
            named(&mark.name).any(|field| field.value.trim_ascii() == mark.value.as_bytes())
        }
        // RFC 6265 section 4.2.1; HTTP/2 may cut the field between two cookies.
        Testers::Cookie(mark) => named("cookie")
            .flat_map(|field| field.value.split(|byte| *byte == b';'))
            .filter_map(|pair| pair.trim_ascii().strip_prefix(mark.name.as_bytes()))
            .any(|rest| rest.strip_prefix(b"=") == Some(mark.value.as_bytes())),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn canary(share: u8, testers: Option<&str>) -> Canary {
        let testers = testers.map(|text| text.parse().unwrap());
        Canary { targets: WeightedTargets::default(), share, testers }
    }

    #[test]
    fn it_takes_its_share() {
        let mut random = fastrand::Rng::with_seed(1);
        for share in [0, 5, 50, 99] {
            let canary = canary(share, None);
            let taken = (0..100_000).filter(|_| canary.takes(&[], random.u64(..))).count();
            assert!(taken.abs_diff(usize::from(share) * 1000) < 500, "{share} %: {taken}");
        }
    }

    #[rstest]
    #[case("header:X-Canary=1", &[("x-canary", "1")], true)]
    #[case("header:X-Canary=1", &[("X-Canary", " 1 ")], true)]
    #[case("header:X-Canary=1", &[("X-Canary", "11")], false)]
    #[case("header:X-Canary=1", &[("Cookie", "X-Canary=1")], false)]
    #[case("cookie:tester=yes", &[("Cookie", "a=b; tester=yes; c=d")], true)]
    #[case("cookie:tester=yes", &[("cookie", "a=b"), ("cookie", "tester=yes")], true)]
    #[case("cookie:tester=yes", &[("Cookie", "a=tester=yes; xtester=yes; tester=yess")], false)]
    #[case("cookie:tester=yes", &[("Cookie", "tester = yes")], false)]
    fn it_takes_what_testers_ask(
        #[case] testers: &str,
        #[case] fields: &[(&str, &str)],
        #[case] is_taken: bool,
    ) {
        let fields: Vec<_> =
            fields.iter().map(|(name, value)| Field { name, value: value.as_bytes() }).collect();
        assert_eq!(canary(0, Some(testers)).takes(&fields, 7), is_taken);
    }
}
