//! What a thread has made and keeps for the next who needs one.

use std::cell::{Cell, RefCell};

/// At most `MAX` spare things, the last used first, as it is still in the cache.
#[derive(Debug)]
pub(crate) struct Spare<T, const MAX: usize> {
    things: RefCell<Vec<T>>,
    /// How many of them nobody has taken since the last [`trim`](Self::trim).
    unused: Cell<usize>,
}

impl<T, const MAX: usize> Default for Spare<T, MAX> {
    fn default() -> Self {
        Self { things: RefCell::default(), unused: Cell::default() }
    }
}

impl<T, const MAX: usize> Spare<T, MAX> {
    /// The last that was put here.
    pub(crate) fn take(&self) -> Option<T> {
        let mut things = self.things.borrow_mut();
        let thing = things.pop();
        self.unused.set(self.unused.get().min(things.len()));
        thing
    }

    /// Keeps `thing`, unless there are enough.
    pub(crate) fn put(&self, thing: T) {
        let mut things = self.things.borrow_mut();
        if things.len() < MAX {
            things.push(thing);
        }
    }

    /// Lets go of what was of no use since the last call.
    pub(crate) fn trim(&self) {
        let mut things = self.things.borrow_mut();
        // Those at the bottom have lain there longest.
        things.drain(..self.unused.get());
        self.unused.set(things.len());
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.things.borrow().len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_of_use_between_two_trims_stays() {
        let spare = Spare::<u8, 3>::default();
        (1..=4).for_each(|thing| spare.put(thing));
        assert_eq!(spare.len(), 3, "no more than three are kept");
        spare.trim();
        let taken = spare.take().unwrap();
        spare.put(taken);
        spare.trim();
        assert_eq!((spare.take(), spare.take()), (Some(3), None));
    }
}
