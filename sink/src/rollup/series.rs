//! Series and streams by number while rows are gathered, and their order once they are.

use std::collections::HashMap;
use std::hash::Hash;

/// A series, in the order in which tables are sorted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct SeriesKey {
    pub(super) metric: String,
    pub(super) host: String,
    pub(super) labels: String,
    pub(super) component: String,
}

/// Things by number, in the order in which they were first seen.
#[derive(Debug)]
pub(super) struct Numbered<T> {
    numbers: HashMap<T, u32>,
    things: Vec<T>,
}

impl<T> Default for Numbered<T> {
    fn default() -> Self {
        Self {
            numbers: HashMap::new(),
            things: Vec::new(),
        }
    }
}

impl<T: Clone + Eq + Hash + Ord> Numbered<T> {
    /// The number of a thing, new or known.
    pub(super) fn number(&mut self, thing: T) -> u32 {
        // There are no more things than rows, of which far fewer than 2^32 are held.
        let next = self.things.len() as u32;
        *self.numbers.entry(thing).or_insert_with_key(|thing| {
            self.things.push(thing.clone());
            next
        })
    }

    /// The things in their own order, and the place there of each number.
    pub(super) fn ranked(self) -> (Vec<T>, Vec<u32>) {
        let mut order: Vec<u32> = (0..self.things.len() as u32).collect();
        order.sort_unstable_by(|a, b| self.things[*a as usize].cmp(&self.things[*b as usize]));
        let mut ranks = vec![0; order.len()];
        for (rank, number) in order.iter().enumerate() {
            ranks[*number as usize] = rank as u32;
        }
        let mut things = self.things;
        things.sort_unstable();
        (things, ranks)
    }
}
