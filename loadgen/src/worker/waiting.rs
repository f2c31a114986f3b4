//! Those who wait for a connection, in the order in which they came.

use std::collections::VecDeque;

/// Something that is to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Due {
    pub(crate) intended_ns: u64,
    /// Index into the scenario's journeys.
    pub(crate) journey: u32,
    /// The virtual user, in the worker's own count; none for an arrival.
    pub(crate) user: Option<u32>,
    /// Of the run's users: an arrival is a user of its own.
    pub(crate) number: u64,
}

/// A bounded queue. Users are bounded by themselves: only arrivals can find it full.
#[derive(Debug)]
pub(crate) struct Waiting {
    queue: VecDeque<Due>,
    arrivals: usize,
    most: usize,
}

impl Waiting {
    /// A queue for so many arrivals.
    pub(crate) fn new(most: usize) -> Self {
        Self {
            queue: VecDeque::new(),
            arrivals: 0,
            most,
        }
    }

    /// Takes someone in; says no to an arrival for which there is no room.
    pub(crate) fn push(&mut self, due: Due) -> bool {
        if due.user.is_none() {
            if self.arrivals >= self.most {
                return false;
            }
            self.arrivals += 1;
        }
        self.queue.push_back(due);
        true
    }

    /// Who has waited longest.
    pub(crate) fn pop(&mut self) -> Option<Due> {
        let due = self.queue.pop_front()?;
        self.arrivals -= usize::from(due.user.is_none());
        Some(due)
    }

    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_arrivals_are_bounded() {
        let due = |number: u64, user| Due {
            intended_ns: 0,
            journey: 0,
            user,
            number,
        };
        let mut waiting = Waiting::new(2);
        assert!(waiting.push(due(0, None)));
        assert!(waiting.push(due(1, Some(7))));
        assert!(waiting.push(due(2, None)));
        assert!(!waiting.push(due(3, None)));
        assert!(waiting.push(due(4, Some(8))));
        assert_eq!(waiting.pop().map(|due| due.number), Some(0));
        assert!(waiting.push(due(5, None)));
        let rest: Vec<u64> = std::iter::from_fn(|| waiting.pop().map(|due| due.number)).collect();
        assert_eq!(rest, [1, 2, 4, 5]);
        assert!(waiting.is_empty());
    }
}
