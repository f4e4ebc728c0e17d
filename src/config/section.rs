//! One mapping of a file, read key by key. Every getter names the key it wants, checks type and
//! range, and reports what does not fit; what no getter asked for is an unknown key.

mod fields;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

use serde_yaml::{Mapping, Value};

use super::diagnostic::Position;
use super::scope::{Known, Scope};

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Located<T> {
    pub(super) value: T,
    pub(super) at: Position,
}

/// A mapping that is being read. An absent one reads as empty, so that defaults apply below it.
pub(super) struct Section<'s, 'd> {
    scope: &'s mut Scope<'d>,
    entries: Option<&'d Mapping>,
    path: Vec<String>,
    /// The path with a placeholder for names that users choose: `workers.paths.<route>`.
    schema: Vec<String>,
    known: Vec<&'static str>,
}

/// Reads a whole document.
pub(super) fn read_root<'d, T>(
    scope: &mut Scope<'d>,
    read: impl FnOnce(&mut Section<'_, 'd>) -> T,
) -> T {
    let root = &scope.document.root;
    Section::read(scope, root, Vec::new(), Vec::new(), read)
}

impl<'d> Section<'_, 'd> {
    fn read<T>(
        scope: &mut Scope<'d>,
        value: &'d Value,
        path: Vec<String>,
        schema: Vec<String>,
        read: impl FnOnce(&mut Section<'_, 'd>) -> T,
    ) -> T {
        let entries = match value {
            Value::Mapping(entries) => Some(entries),
            Value::Null => None,
            other => {
                let what = if path.is_empty() { "the file".into() } else { quoted(&path) };
                let at = scope.document.positions.value(&path);
                let message = format!("{what} must be a mapping, not {}", describe(other));
                scope.report(at, message, None);
                None
            }
        };
        let mut section = Section { scope, entries, path, schema, known: Vec::new() };
        let result = read(&mut section);
        section.refuse_unknown();
        result
    }

    fn refuse_unknown(&mut self) {
        for (key, _) in self.entries.into_iter().flatten() {
            let key = key_text(key);
            if !self.known.contains(&key.as_str()) {
                self.scope.unknown(self.path_of(&key), &self.known);
            }
        }
    }

    /// The section at `key`.
    pub(super) fn section<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&mut Section<'_, 'd>) -> T,
    ) -> T {
        let schema = self.ask(key);
        let value = self.entries.and_then(|entries| entries.get(key)).unwrap_or(&Value::Null);
        let path = self.path_of(key);
        Section::read(self.scope, value, path, schema, read)
    }

    /// The sections at `key`, whose names are the user's own; `placeholder` stands for them in
    /// documentation.
    pub(super) fn sections<K: FromStr + Ord, T>(
        &mut self,
        key: &'static str,
        placeholder: &str,
        mut read: impl FnMut(&mut Section<'_, 'd>) -> T,
    ) -> BTreeMap<K, T>
    where
        K::Err: Display,
    {
        let mut schema = self.ask(key);
        schema.push(placeholder.to_owned());
        let mut found = BTreeMap::new();
        for (name, value) in self.mapping(key) {
            let path = [self.path_of(key), vec![name.clone()]].concat();
            match name.parse() {
                Ok(name) => {
                    let section = Section::read(self.scope, value, path, schema.clone(), &mut read);
                    found.insert(name, section);
                }
                Err(error) => {
                    let at = self.scope.document.positions.key(&path);
                    self.error(at, error);
                }
            }
        }
        found
    }

    /// The sections of the list at `key`; `<n>` stands for their places in documentation.
    pub(super) fn items<T>(
        &mut self,
        key: &'static str,
        mut read: impl FnMut(&mut Section<'_, 'd>) -> T,
    ) -> Vec<T> {
        let mut schema = self.ask(key);
        schema.push("<n>".to_owned());
        let items = match self.entries.and_then(|entries| entries.get(key)) {
            None | Some(Value::Null) => return Vec::new(),
            Some(Value::Sequence(items)) => items,
            Some(other) => {
                self.mismatch(key, self.position(key), "a list", other);
                return Vec::new();
            }
        };
        let mut found = Vec::with_capacity(items.len());
        for (index, value) in items.iter().enumerate() {
            let path = [self.path_of(key), vec![index.to_string()]].concat();
            if !value.is_mapping() {
                let at = self.scope.document.positions.value(&path);
                let message =
                    format!("{} must be a mapping, not {}", quoted(&path), describe(value));
                self.error(at, message);
                continue;
            }
            found.push(Section::read(self.scope, value, path, schema.clone(), &mut read));
        }
        found
    }

    /// Names and texts at `key`, where variables that differ by worker stay. A value that
    /// becomes empty by its variables is left out; one that is written empty is kept.
    pub(super) fn texts(
        &mut self,
        key: &'static str,
        check: impl Fn(&str, &str) -> Result<(), String>,
    ) -> BTreeMap<String, String> {
        self.ask(key);
        let mut found = BTreeMap::new();
        for (name, value) in self.mapping(key) {
            let path = [self.path_of(key), vec![name.clone()]].concat();
            let Some((text, at)) = self.text_at(&path, value, "; quote it") else { continue };
            if let Err(reason) = check(&name, text) {
                let at = self.scope.document.positions.key(&path);
                self.error(at, reason);
            } else if let Some(bound) = self.scope.expand(text, at, Known::PerWorker)
                && (text.is_empty() || !bound.is_empty())
            {
                found.insert(name, bound);
            }
        }
        found
    }

    /// Names and texts at `key`, each of which is parsed. One whose text is empty is left out.
    pub(super) fn named<K: FromStr + Ord, T, E: Display>(
        &mut self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> BTreeMap<K, T>
    where
        K::Err: Display,
    {
        self.located(key, parse).into_iter().map(|(name, found)| (name, found.value)).collect()
    }

    /// The same, and where each text stands.
    pub(super) fn located<K: FromStr + Ord, T, E: Display>(
        &mut self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> BTreeMap<K, Located<T>>
    where
        K::Err: Display,
    {
        self.ask(key);
        let mut found = BTreeMap::new();
        for (name, value) in self.mapping(key) {
            let path = [self.path_of(key), vec![name.clone()]].concat();
            let Some((text, at)) = self.text_at(&path, value, "") else { continue };
            let Some(text) = self.scope.expand(text, at, Known::Now) else { continue };
            match (name.parse(), parse(&text)) {
                (Err(error), _) => {
                    let at = self.scope.document.positions.key(&path);
                    self.error(at, error);
                }
                (Ok(_), _) if text.is_empty() => {}
                (Ok(_), Err(error)) => self.error(at, error),
                (Ok(name), Ok(value)) => drop(found.insert(name, Located { value, at })),
            }
        }
        found
    }

    /// The text at `path` and its place; of anything else is complained, with `hint` behind it.
    fn text_at(
        &mut self,
        path: &[String],
        value: &'d Value,
        hint: &str,
    ) -> Option<(&'d str, Position)> {
        let at = self.scope.document.positions.value(path);
        if let Value::String(text) = value {
            return Some((text, at));
        }
        self.error(at, format!("{} must be text, not {}{hint}", quoted(path), describe(value)));
        None
    }

    fn mapping(&mut self, key: &'static str) -> Vec<(String, &'d Value)> {
        match self.entries.and_then(|entries| entries.get(key)) {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Mapping(entries)) => {
                entries.iter().map(|(name, value)| (key_text(name), value)).collect()
            }
            Some(other) => {
                let at = self.scope.document.positions.value(&self.path_of(key));
                self.mismatch(key, at, "a mapping", other);
                Vec::new()
            }
        }
    }

    /// Whether the value at `key` is a list.
    pub(super) fn is_list(&self, key: &str) -> bool {
        matches!(self.entries.and_then(|entries| entries.get(key)), Some(Value::Sequence(_)))
    }

    /// Where the value at `key` begins.
    pub(super) fn position(&self, key: &str) -> Position {
        self.scope.document.positions.value(&self.path_of(key))
    }

    /// Where the section itself begins.
    pub(super) fn place(&self) -> Position {
        self.scope.document.positions.value(&self.path)
    }

    /// Notes a finding.
    pub(super) fn error(&mut self, at: Position, message: impl Display) {
        self.scope.report(at, message, None);
    }

    /// See [`Scope::findings`].
    pub(super) fn findings(&self) -> usize {
        self.scope.findings()
    }

    /// Marks a key as known, and returns its path for documentation.
    fn ask(&mut self, key: &'static str) -> Vec<String> {
        self.known.push(key);
        let schema = [self.schema.clone(), vec![key.to_owned()]].concat();
        self.scope.keys.insert(schema.join("."));
        schema
    }

    fn path_of(&self, key: &str) -> Vec<String> {
        [self.path.clone(), vec![key.to_owned()]].concat()
    }

    fn mismatch(&mut self, key: &str, at: Position, wanted: &str, value: &Value) {
        let message =
            format!("{} must be {wanted}, not {}", quoted(&self.path_of(key)), describe(value));
        self.error(at, message);
    }
}

fn quoted(path: &[String]) -> String {
    format!("`{}`", path.join("."))
}

/// A key as text. One that is a number or such cannot be known, and is shown as it is.
fn key_text(key: &Value) -> String {
    match key {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Bool(value) => value.to_string(),
        Value::Null | Value::Sequence(_) | Value::Mapping(_) | Value::Tagged(_) => "?".into(),
    }
}

fn describe(value: &Value) -> Cow<'static, str> {
    match value {
        Value::Null => "empty".into(),
        Value::Bool(value) => value.to_string().into(),
        Value::Number(number) => number.to_string().into(),
        Value::String(text) => {
            let shown: String = text.chars().take(40).collect();
            format!("the text {shown:?}").into()
        }
        Value::Sequence(_) => "a list".into(),
        Value::Mapping(_) => "a mapping".into(),
        Value::Tagged(tagged) => format!("a value tagged {}", tagged.tag).into(),
    }
}
