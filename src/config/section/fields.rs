//! Getters of single values and lists.

use std::borrow::Cow;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

use serde_yaml::Value;

use super::{Located, Section, quoted};
use crate::config::diagnostic::Position;
use crate::config::scope::Known;

/// A value as it is in the file, or as its variables make it.
struct Found<'d> {
    value: Cow<'d, Value>,
    /// Whether it came from a variable: then it is text, whatever it is to be.
    expanded: bool,
    at: Position,
}

impl<'d> Section<'_, 'd> {
    /// A text; `None` where it is absent or empty.
    pub(in crate::config) fn text(&mut self, key: &'static str) -> Option<Located<String>> {
        self.text_of(key, Known::Now)
    }

    /// The same, with the variables left in it that differ by worker.
    pub(in crate::config) fn text_of(
        &mut self,
        key: &'static str,
        known: Known,
    ) -> Option<Located<String>> {
        let found = self.found(key, known)?;
        match &*found.value {
            Value::String(text) => Some(Located { value: text.clone(), at: found.at }),
            other => {
                self.mismatch(key, found.at, "text", other);
                None
            }
        }
    }

    /// A text that `parse` accepts.
    pub(in crate::config) fn parsed<T, E: Display>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<Located<T>> {
        let Located { value: text, at } = self.text(key)?;
        self.accept(key, at, parse(&text))
    }

    /// The same where a bare number is as good as a text.
    pub(in crate::config) fn parsed_scalar<T, E: Display>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<Located<T>> {
        match self.entries.and_then(|entries| entries.get(key)) {
            Some(Value::Number(number)) => {
                self.ask(key);
                let at = self.position(key);
                self.accept(key, at, parse(&number.to_string()))
            }
            _ => self.parsed(key, parse),
        }
    }

    fn accept<T, E: Display>(
        &mut self,
        key: &'static str,
        at: Position,
        parsed: Result<T, E>,
    ) -> Option<Located<T>> {
        match parsed {
            Ok(value) => Some(Located { value, at }),
            Err(error) => {
                let quoted = quoted(&self.path_of(key));
                self.error(at, format!("{quoted}: {error}"));
                None
            }
        }
    }

    /// A key that can only say one thing, and why.
    pub(in crate::config) fn only(
        &mut self,
        key: &'static str,
        known: Known,
        allowed: &str,
        reason: &str,
    ) {
        if let Some(Located { value, at }) = self.text_of(key, known)
            && value != allowed
        {
            let quoted = quoted(&self.path_of(key));
            let message = format!("{quoted} can only be `{allowed}`, not `{value}`: {reason}");
            self.error(at, message);
        }
    }

    /// A switch that can only be in one position, and why.
    pub(in crate::config) fn only_flag(&mut self, key: &'static str, allowed: bool, reason: &str) {
        if let Some(Located { value, at }) = self.flag(key)
            && value != allowed
        {
            let quoted = quoted(&self.path_of(key));
            self.error(at, format!("{quoted} can only be `{allowed}`: {reason}"));
        }
    }

    /// `true` or `false`.
    pub(in crate::config) fn flag(&mut self, key: &'static str) -> Option<Located<bool>> {
        let found = self.found(key, Known::Now)?;
        let value = match &*found.value {
            Value::Bool(value) => Some(*value),
            Value::String(text) if found.expanded => text.trim().parse().ok(),
            _ => None,
        };
        if value.is_none() {
            self.mismatch(key, found.at, "true or false", &found.value);
        }
        value.map(|value| Located { value, at: found.at })
    }

    /// A whole number in `range`.
    pub(in crate::config) fn number<T>(
        &mut self,
        key: &'static str,
        range: RangeInclusive<T>,
    ) -> Option<T>
    where
        T: Copy + PartialOrd + Display + TryFrom<u64>,
    {
        self.located_number(key, range).map(|found| found.value)
    }

    /// A whole number in `range`, and where it stands.
    pub(in crate::config) fn located_number<T>(
        &mut self,
        key: &'static str,
        range: RangeInclusive<T>,
    ) -> Option<Located<T>>
    where
        T: Copy + PartialOrd + Display + TryFrom<u64>,
    {
        let found = self.found(key, Known::Now)?;
        let number = match &*found.value {
            Value::Number(number) => number.as_u64(),
            Value::String(text) if found.expanded => text.trim().parse().ok(),
            _ => None,
        };
        let value = number.and_then(|n| T::try_from(n).ok()).filter(|n| range.contains(n));
        if value.is_none() {
            let wanted = format!("a whole number from {} to {}", range.start(), range.end());
            self.mismatch(key, found.at, &wanted, &found.value);
        }
        value.map(|value| Located { value, at: found.at })
    }

    /// Whole seconds.
    pub(in crate::config) fn seconds(
        &mut self,
        key: &'static str,
        range: RangeInclusive<u64>,
    ) -> Option<Duration> {
        self.number(key, range).map(Duration::from_secs)
    }

    /// Whole milliseconds.
    pub(in crate::config) fn millis(
        &mut self,
        key: &'static str,
        range: RangeInclusive<u64>,
    ) -> Option<Duration> {
        self.number(key, range).map(Duration::from_millis)
    }

    /// A list of what `parse` accepts; every item that it does not accept is reported.
    pub(in crate::config) fn list<T, E: Display>(
        &mut self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Option<Vec<T>> {
        let found = self.found(key, Known::Now)?;
        let Some(Value::Sequence(items)) = self.entries.and_then(|entries| entries.get(key)) else {
            self.mismatch(key, found.at, "a list", &found.value);
            return None;
        };
        let mut parsed = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let path = [self.path_of(key), vec![index.to_string()]].concat();
            let Some((text, at)) = self.text_at(&path, item, "") else { continue };
            let Some(text) = self.scope.expand(text, at, Known::Now) else { continue };
            match parse(&text) {
                Ok(item) => parsed.push(item),
                Err(error) => self.error(at, error),
            }
        }
        Some(parsed)
    }

    fn found(&mut self, key: &'static str, known: Known) -> Option<Found<'d>> {
        self.ask(key);
        let value = self.entries?.get(key)?;
        let at = self.scope.document.positions.value(&self.path_of(key));
        match value {
            Value::Null => None,
            Value::String(text) => {
                let expanded = self.scope.expand(text, at, known)?;
                let changed = expanded != *text;
                let value = Cow::Owned(Value::String(expanded.clone()));
                (!expanded.is_empty()).then_some(Found { value, expanded: changed, at })
            }
            other => Some(Found { value: Cow::Borrowed(other), expanded: false, at }),
        }
    }
}
