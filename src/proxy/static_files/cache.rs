//! Answers with files that cannot change, kept by each thread: to give one again needs no look at
//! the file system.
//!
//! Only files of trees with a digest are kept, those of deployments; in development none is. What is
//! kept belongs to one table, and goes with it, so that no answer and no open file outlives a
//! deployment.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::File;
use std::rc::Rc;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use super::body::Representation;
use super::conditional::names_tag;
use super::etag::Comparison;
use crate::config::settings::{Coding, StaticSettings};
use crate::http1::{Field, RequestHead};
use crate::ids::RoutePath;
use crate::proxy::accept_encoding::AcceptEncoding;
use crate::proxy::respond::push_head;
use crate::proxy::table::RouteTable;

/// Half of what a thread keeps, which is forgotten at once: 16 MiB of memory and 256 open files in
/// all.
const HALF: Weight = Weight { entries: 1024, bytes: 8 << 20, files: 128 };

/// What an entry takes besides its texts and its content, about.
const ENTRY_BYTES: usize = 512;

/// One thread's answers.
#[derive(Debug, Default)]
pub(crate) struct Cache(RefCell<Recent>);

/// An answer with a file, but for what changes with every request: `Date` and `Connection`.
#[derive(Debug)]
pub(crate) struct Kept {
    /// The head of a 200, without its last line.
    pub(crate) head: Box<[u8]>,
    /// That of a 304.
    pub(crate) not_modified: Box<[u8]>,
    /// The entity tag, quotes included.
    pub(crate) etag: Box<str>,
    /// The codings in which there are variants, in our order of preference.
    pub(super) codings: Vec<Coding>,
    /// Which of them this is.
    pub(super) coding: Option<Coding>,
    pub(crate) content: KeptContent,
}

/// Where the content of an answer is.
#[derive(Debug, Clone)]
pub(crate) enum KeptContent {
    /// In memory.
    Bytes(Bytes),
    /// In a file, which is open and has so many bytes.
    File(Arc<File>, u64),
}

/// An answer that was found.
#[derive(Debug)]
pub(crate) struct Hit {
    pub(crate) kept: Rc<Kept>,
    /// Whether the client has it: 304.
    pub(crate) is_known: bool,
}

/// What all answers of a cache have in common.
#[derive(Debug)]
struct Basis {
    /// Without the table's content, but its address is not given to another.
    table: Weak<RouteTable>,
    url_prefix: RoutePath,
    max_age: Duration,
}

/// A file's answers by the place of their coding in [`Coding::ALL`], that without one last.
#[derive(Debug, Default)]
struct Variants([Option<Rc<Kept>>; Coding::ALL.len() + 1]);

/// Forgets what was not asked for lately: when the young half is full, it becomes the old half, and
/// the old half goes.
#[derive(Debug, Default)]
struct Recent {
    basis: Option<Basis>,
    young: Half,
    old: Half,
}

#[derive(Debug, Default)]
struct Half {
    /// By decoded path.
    entries: HashMap<Box<str>, Variants>,
    weight: Weight,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Weight {
    entries: usize,
    bytes: usize,
    files: usize,
}

impl Cache {
    /// The answer to a request for `path`, decoded, if it is kept. Methods other than GET and HEAD,
    /// ranges, and conditions other than `If-None-Match` are not for the cache to decide. Does not
    /// allocate, unless what was found has become rare.
    pub(crate) fn find(
        &self,
        table: &Arc<RouteTable>,
        settings: &StaticSettings,
        path: &str,
        head: &RequestHead<'_, '_>,
    ) -> Option<Hit> {
        if !matches!(head.method, "GET" | "HEAD") || head.fields.iter().any(is_beyond) {
            return None;
        }
        let mut tags = values(head, "if-none-match").peekable();
        let has_tags = tags.peek().is_some();
        // Beside tags the date counts for nothing (RFC 9110 section 13.1.3).
        if !has_tags && values(head, "if-modified-since").next().is_some() {
            return None;
        }
        let mut recent = self.0.borrow_mut();
        if !recent.basis.as_ref()?.is(table, settings) {
            return None;
        }
        let kept = recent.variants(path)?.choose(head)?;
        let is_known = has_tags && names_tag(tags, Some(&kept.etag), Comparison::Weak);
        Some(Hit { kept, is_known })
    }

    /// Keeps an answer by `table`, which must be the published one, for `path`, decoded.
    pub(crate) fn keep(
        &self,
        table: &Arc<RouteTable>,
        settings: &StaticSettings,
        path: &str,
        kept: Kept,
    ) {
        let mut recent = self.0.borrow_mut();
        if !recent.basis.as_ref().is_some_and(|basis| basis.is(table, settings)) {
            *recent = Recent { basis: Some(Basis::new(table, settings)), ..Recent::default() };
        }
        let mut variants = recent.take(path).unwrap_or_default();
        let place = kept.coding.map_or(Coding::ALL.len(), |coding| coding as usize);
        variants.0[place] = Some(Rc::new(kept));
        recent.put(path.into(), variants);
    }

    /// Forgets what belongs to another table than `table`.
    pub(crate) fn sweep(&self, table: &Arc<RouteTable>) {
        let mut recent = self.0.borrow_mut();
        if recent.basis.as_ref().is_some_and(|basis| !basis.is_of(table)) {
            *recent = Recent::default();
        }
    }
}

impl Hit {
    /// The status of the answer.
    pub(crate) fn status(&self) -> StatusCode {
        if self.is_known { StatusCode::NOT_MODIFIED } else { StatusCode::OK }
    }
}

impl Kept {
    /// The answer that brings `representation` with the given `fields`; its content is `bytes`, or
    /// is left in the file.
    pub(crate) fn new(
        fields: &HeaderMap,
        representation: Representation,
        bytes: Option<Bytes>,
    ) -> Self {
        let Representation { file, len, etag, codings, coding, not_modified } = representation;
        let head = |status, fields: &HeaderMap| {
            let mut out = Vec::new();
            push_head(&mut out, status, fields);
            out.into_boxed_slice()
        };
        Self {
            head: head(StatusCode::OK, fields),
            not_modified: head(StatusCode::NOT_MODIFIED, &not_modified),
            etag: etag.into(),
            codings,
            coding,
            content: bytes.map_or(KeptContent::File(file, len), KeptContent::Bytes),
        }
    }

    fn weight(&self) -> Weight {
        let texts = self.head.len() + self.not_modified.len() + self.etag.len();
        let (content, files) = match &self.content {
            KeptContent::Bytes(bytes) => (bytes.len(), 0),
            KeptContent::File(..) => (0, 1),
        };
        Weight { entries: 0, bytes: texts + content, files }
    }
}

impl Basis {
    fn new(table: &Arc<RouteTable>, settings: &StaticSettings) -> Self {
        Self {
            table: Arc::downgrade(table),
            url_prefix: settings.url_prefix.clone(),
            max_age: settings.cache_max_age,
        }
    }

    fn is(&self, table: &Arc<RouteTable>, settings: &StaticSettings) -> bool {
        self.is_of(table)
            && self.url_prefix == settings.url_prefix
            && self.max_age == settings.cache_max_age
    }

    fn is_of(&self, table: &Arc<RouteTable>) -> bool {
        self.table.as_ptr() == Arc::as_ptr(table)
    }
}

impl Variants {
    fn choose(&self, head: &RequestHead<'_, '_>) -> Option<Rc<Kept>> {
        let codings = &self.0.iter().flatten().next()?.codings;
        let chosen = if codings.is_empty() {
            None
        } else {
            AcceptEncoding::parse(values(head, "accept-encoding")).choose(codings.iter().copied())
        };
        self.0[chosen.map_or(Coding::ALL.len(), |coding| coding as usize)].clone()
    }

    fn weight(&self, path: &str) -> Weight {
        let entry = Weight { entries: 1, bytes: ENTRY_BYTES + path.len(), files: 0 };
        self.0.iter().flatten().fold(entry, |sum, kept| sum.plus(kept.weight()))
    }
}

impl Recent {
    /// What is kept for `path`, young now.
    fn variants(&mut self, path: &str) -> Option<&Variants> {
        if !self.young.entries.contains_key(path) {
            let found = self.old.take(path)?;
            self.put(path.into(), found);
        }
        self.young.entries.get(path)
    }

    fn take(&mut self, path: &str) -> Option<Variants> {
        self.young.take(path).or_else(|| self.old.take(path))
    }

    fn put(&mut self, path: Box<str>, variants: Variants) {
        let weight = self.young.weight.plus(variants.weight(&path));
        if !weight.fits(HALF) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.put(path, variants);
    }
}

impl Half {
    fn take(&mut self, path: &str) -> Option<Variants> {
        let variants = self.entries.remove(path)?;
        self.weight = self.weight.minus(variants.weight(path));
        Some(variants)
    }

    fn put(&mut self, path: Box<str>, variants: Variants) {
        self.weight = self.weight.plus(variants.weight(&path));
        self.entries.insert(path, variants);
    }
}

impl Weight {
    fn plus(self, other: Self) -> Self {
        Self {
            entries: self.entries + other.entries,
            bytes: self.bytes + other.bytes,
            files: self.files + other.files,
        }
    }

    fn minus(self, other: Self) -> Self {
        Self {
            entries: self.entries - other.entries,
            bytes: self.bytes - other.bytes,
            files: self.files - other.files,
        }
    }

    fn fits(self, limit: Self) -> bool {
        self.entries <= limit.entries && self.bytes <= limit.bytes && self.files <= limit.files
    }
}

/// Whether a request with this field is for the complete way to decide.
fn is_beyond(field: &Field<'_>) -> bool {
    const BEYOND: [&str; 4] = ["range", "if-match", "if-range", "if-unmodified-since"];
    BEYOND.iter().any(|name| field.name.eq_ignore_ascii_case(name))
}

/// The values of all fields called `name`.
fn values<'h>(head: &'h RequestHead<'_, '_>, name: &'h str) -> impl Iterator<Item = &'h [u8]> {
    let named = head.fields.iter().filter(move |field| field.name.eq_ignore_ascii_case(name));
    named.map(|field| field.value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(len: usize, file: Option<&Arc<File>>) -> Variants {
        let content = match file {
            Some(file) => KeptContent::File(Arc::clone(file), len as u64),
            None => KeptContent::Bytes(vec![0; len].into()),
        };
        let (head, etag) = (Box::default(), Box::default());
        let not_modified = Box::default();
        let codings = Vec::new();
        let mut variants = Variants::default();
        variants.0[Coding::ALL.len()] =
            Some(Rc::new(Kept { head, not_modified, etag, codings, coding: None, content }));
        variants
    }

    /// What is kept, counted anew.
    fn weigh(half: &Half) -> Weight {
        let weights = half.entries.iter().map(|(path, variants)| variants.weight(path));
        weights.fold(Weight::default(), Weight::plus)
    }

    #[test]
    fn what_is_kept_is_bounded_and_what_is_used_stays() {
        let file = Arc::new(tempfile::tempfile().unwrap());
        for (len, file) in [(0, None), (16 << 10, None), (1 << 20, Some(&file))] {
            let mut recent = Recent::default();
            recent.put("used".into(), kept(1, None));
            for number in 0..5000 {
                recent.put(number.to_string().into(), kept(len, file));
                if number % 100 == 0 {
                    assert!(recent.variants("used").is_some(), "{number} of {len}");
                }
                for half in [&recent.young, &recent.old] {
                    assert_eq!(half.weight, weigh(half));
                    assert!(half.weight.fits(HALF));
                }
            }
            assert!(recent.variants("0").is_none());
        }
        assert_eq!(Arc::strong_count(&file), 1, "what is forgotten is closed");
    }

    #[test]
    fn another_answer_for_the_same_path_takes_the_place_of_the_first() {
        let (cache, table) = (Cache::default(), Arc::new(RouteTable::default()));
        let settings = StaticSettings {
            enabled: true,
            url_prefix: "/static".parse().unwrap(),
            cache_max_age: Duration::from_secs(1),
            dev_root: Default::default(),
        };
        let answer = |len| {
            let variants = kept(len, None);
            Rc::into_inner(variants.0.into_iter().flatten().next().unwrap()).unwrap()
        };
        for len in [1, 2, 3] {
            cache.keep(&table, &settings, "/static/app/f", answer(len));
            let recent = cache.0.borrow();
            assert_eq!(
                (recent.young.entries.len(), recent.young.weight),
                (1, weigh(&recent.young))
            );
        }
        cache.sweep(&table);
        assert_eq!(cache.0.borrow().young.entries.len(), 1);
        let later = StaticSettings { cache_max_age: Duration::from_secs(2), ..settings };
        cache.keep(&table, &later, "/static/app/g", answer(1));
        assert_eq!(cache.0.borrow().young.entries.len(), 1, "other settings, other answers");
        cache.sweep(&Arc::new(RouteTable::default()));
        assert!(cache.0.borrow().basis.is_none() && cache.0.borrow().young.entries.is_empty());
    }
}
