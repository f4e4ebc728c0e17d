//! Finding a route among many: what a request costs must not follow from how many workers there are.

use std::cmp::Ordering;

use crate::ids::RoutePath;

/// Routes by path, for the longest that covers that of a request. The steps it takes grow with the
/// logarithm of their number.
#[derive(Debug, Default)]
pub(super) struct RouteIndex(Box<[Entry]>);

#[derive(Debug)]
struct Entry {
    path: RoutePath,
    /// Which route it is of.
    route: usize,
    /// Where in the index the longest other path is that covers this one.
    parent: Option<usize>,
}

impl RouteIndex {
    /// An index of the routes' paths, in the routes' order. Of two equal ones it knows the first.
    pub(super) fn new<'p>(paths: impl IntoIterator<Item = &'p RoutePath>) -> Self {
        let mut paths: Vec<_> = paths.into_iter().enumerate().collect();
        // Stable: the first of equal ones stays the first.
        paths.sort_by(|(_, a), (_, b)| order(a.prefix(), b.prefix()));
        paths.dedup_by(|(_, later), (_, kept)| later == kept);
        let mut entries: Vec<Entry> = Vec::with_capacity(paths.len());
        for (route, path) in paths {
            let mut parent = entries.len().checked_sub(1);
            while let Some(at) = parent.filter(|&at| !entries[at].path.covers(path.as_str())) {
                parent = entries[at].parent;
            }
            entries.push(Entry { path: path.clone(), route, parent });
        }
        Self(entries.into())
    }

    /// The number of the route whose path is the longest that covers `path` by whole segments.
    ///
    /// All paths that a route covers follow it in a row. So what covers `path` is the last one that is
    /// not behind it, or covers that one.
    pub(super) fn find(&self, path: &str) -> Option<usize> {
        let behind =
            self.0.partition_point(|it| order(it.path.prefix(), path) != Ordering::Greater);
        let mut entry = self.0.get(behind.checked_sub(1)?)?;
        while !entry.path.covers(path) {
            entry = &self.0[entry.parent?];
        }
        Some(entry.route)
    }
}

/// By bytes, of which a slash is the lowest, so that what lies below a path comes before `path-` and all
/// else that only begins with it.
fn order(a: &str, b: &str) -> Ordering {
    let rank = |byte: u8| byte.wrapping_sub(b'/');
    match a.bytes().zip(b.bytes()).find(|(a, b)| a != b) {
        Some((a, b)) => rank(a).cmp(&rank(b)),
        None => a.len().cmp(&b.len()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn path() -> impl Strategy<Value = String> {
        let segment = prop::sample::select(vec!["a", "b", "a-", "a.b", "ab", "~", "0"]);
        let segments = prop::collection::vec(segment, 0..4);
        segments.prop_map(|segments| format!("/{}", segments.join("/")))
    }

    proptest! {
        #[test]
        fn it_finds_what_looking_at_all_of_them_finds(
            routes in prop::collection::vec(path(), 0..20),
            asked in prop::collection::vec((path(), "[/a\\-.\u{0}~é]{0,3}"), 20),
        ) {
            let routes: Vec<RoutePath> = routes.iter().map(|it| it.parse().unwrap()).collect();
            let index = RouteIndex::new(&routes);
            for (path, more) in asked {
                let path = path + &more;
                let covering = routes.iter().enumerate().filter(|(_, it)| it.covers(&path));
                // The first of the longest.
                let longest = covering.min_by_key(|(_, it)| std::cmp::Reverse(it.as_str().len()));
                prop_assert_eq!(index.find(&path), longest.map(|(at, _)| at), "{}", path);
            }
        }
    }
}
