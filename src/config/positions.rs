//! Where in a YAML text each entry stands.
//!
//! The deserializer knows values but not their places, so the events of a second parser are
//! walked for the places alone. The walk keeps its own stack and stops at a depth, so hostile
//! nesting ends here, early, before anything recurses over it.

use std::collections::HashMap;

use saphyr_parser::{Event, Marker, Parser};

use super::diagnostic::Position;

/// The deepest nesting accepted. The deepest real file has five levels.
const MAX_DEPTH: usize = 32;

/// The places of all entries of one document.
#[derive(Debug)]
pub(super) struct Positions {
    /// Entry 0 is the document.
    places: Vec<Place>,
    /// From an entry and the key or index below it to the entry there.
    children: HashMap<(usize, String), usize>,
    /// The first `*alias`, to which a refusal of their expansion points.
    pub(super) first_alias: Option<Position>,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    key: Position,
    value: Position,
}

/// What the walk found wrong.
pub(super) type Fault = (Position, String);

impl Positions {
    /// Walks `text`. All duplicate keys are reported; of other faults the first ends the walk.
    pub(super) fn of(text: &str) -> Result<Self, Vec<Fault>> {
        let start = Position { line: 1, column: 1 };
        let mut walk = Walk {
            found: Self {
                places: vec![Place { key: start, value: start }],
                children: HashMap::new(),
                first_alias: None,
            },
            open: Vec::new(),
            documents: 0,
            faults: Vec::new(),
        };
        for event in Parser::new_from_str(text) {
            let step = match event {
                Ok((event, span)) => walk.step(&event, position(&span.start)),
                Err(error) => {
                    Err((position(error.marker()), format!("bad YAML: {}", error.info())))
                }
            };
            if let Err(fault) = step {
                walk.faults.push(fault);
                break;
            }
        }
        if walk.faults.is_empty() { Ok(walk.found) } else { Err(walk.faults) }
    }

    /// Where the key at `path` stands; of entries that came through an alias, where the alias does.
    pub(super) fn key(&self, path: &[String]) -> Position {
        self.nearest(path).key
    }

    /// Where the value at `path` begins.
    pub(super) fn value(&self, path: &[String]) -> Position {
        self.nearest(path).value
    }

    fn nearest(&self, path: &[String]) -> Place {
        let mut entry = 0;
        for step in path {
            match self.children.get(&(entry, step.clone())) {
                Some(&child) => entry = child,
                None => break,
            }
        }
        self.places[entry]
    }
}

fn position(marker: &Marker) -> Position {
    Position { line: marker.line().max(1), column: marker.col() + 1 }
}

/// A collection whose end was not seen yet.
enum Open {
    Mapping { entry: usize, key: Option<(String, Position)> },
    Sequence { entry: usize, next: usize },
}

struct Walk {
    found: Positions,
    open: Vec<Open>,
    documents: usize,
    faults: Vec<Fault>,
}

impl Walk {
    fn step(&mut self, event: &Event<'_>, at: Position) -> Result<(), Fault> {
        match event {
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents > 1 {
                    return Err((at, "a second YAML document begins here".into()));
                }
            }
            Event::Scalar(text, ..) => self.leaf(Some(text), at)?,
            Event::Alias(_) => {
                self.found.first_alias.get_or_insert(at);
                self.leaf(None, at)?;
            }
            Event::MappingStart(..) => {
                let entry = self.enter(at)?;
                self.open.push(Open::Mapping { entry, key: None });
            }
            Event::SequenceStart(..) => {
                let entry = self.enter(at)?;
                self.open.push(Open::Sequence { entry, next: 0 });
            }
            Event::MappingEnd | Event::SequenceEnd => {
                self.open.pop();
            }
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
        }
        Ok(())
    }

    /// A scalar or alias: a key where one is due, else a value.
    fn leaf(&mut self, text: Option<&str>, at: Position) -> Result<(), Fault> {
        if let Some(Open::Mapping { key: key @ None, .. }) = self.open.last_mut() {
            let text = text.ok_or_else(|| (at, "a key cannot be an alias".to_owned()))?;
            *key = Some((text.to_owned(), at));
        } else {
            self.value(at);
        }
        Ok(())
    }

    /// A collection begins.
    fn enter(&mut self, at: Position) -> Result<usize, Fault> {
        if self.open.len() >= MAX_DEPTH {
            return Err((at, format!("nested deeper than {MAX_DEPTH} levels")));
        }
        if let Some(Open::Mapping { key: None, .. }) = self.open.last() {
            return Err((at, "a key must be a word, not a list or a mapping".into()));
        }
        Ok(self.value(at))
    }

    /// Records a value of the innermost collection.
    fn value(&mut self, at: Position) -> usize {
        let (parent, step, key) = match self.open.last_mut() {
            None => {
                self.found.places[0].value = at;
                return 0;
            }
            Some(Open::Sequence { entry, next }) => {
                *next += 1;
                (*entry, (*next - 1).to_string(), at)
            }
            Some(Open::Mapping { entry, key }) => {
                let (text, key_at) = key.take().unwrap_or_else(|| (String::new(), at));
                (*entry, text, key_at)
            }
        };
        let id = self.found.places.len();
        self.found.places.push(Place { key, value: at });
        if let Some(first) = self.found.children.insert((parent, step.clone()), id) {
            let line = self.found.places[first].key.line;
            self.faults
                .push((key, format!("`{step}` is here for the second time; first in line {line}")));
        }
        id
    }
}
