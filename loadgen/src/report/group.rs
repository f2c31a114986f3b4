//! What was measured of operations that belong together: counts and the distributions of their times.
//! Which operations these are is left to [`super::build`].

use std::collections::BTreeMap;

use super::Row;
use super::times::Distribution;
use crate::threshold::{self, Threshold, ThresholdResult};

/// One row, judged: whether it was answered, and how long it took.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outcome {
    pub(super) is_answered: bool,
    pub(super) is_failed: bool,
    pub(super) is_dropped: bool,
    /// From *intended*; none for an arrival that was dropped.
    pub(super) response_ns: Option<u64>,
    /// From *sent*; none for what was never sent.
    pub(super) service_ns: Option<u64>,
    pub(super) bytes: u64,
}

/// Counts and distributions of a group.
#[derive(Debug, Clone, Default)]
pub(super) struct Group {
    operations: u64,
    answered: u64,
    in_time: u64,
    failed: u64,
    dropped: u64,
    censored: u64,
    bytes: u64,
    pub(super) response: Distribution,
    service: Distribution,
}

impl Group {
    /// Takes one operation; `is_in_time` where its answer came before the end of what the rate of
    /// this group is counted over.
    pub(super) fn record(&mut self, outcome: &Outcome, is_in_time: bool) {
        self.operations += 1;
        self.answered += u64::from(outcome.is_answered);
        self.in_time += u64::from(outcome.is_answered && is_in_time);
        self.failed += u64::from(outcome.is_failed);
        self.dropped += u64::from(outcome.is_dropped);
        self.bytes = self.bytes.saturating_add(outcome.bytes);
        let is_censored = !outcome.is_answered;
        match outcome.response_ns {
            Some(ns) => {
                self.censored += u64::from(is_censored);
                self.response.record(ns, is_censored);
            }
            None => self.response.record_absent(),
        }
        if let Some(ns) = outcome.service_ns {
            self.service.record(ns, is_censored);
        }
    }

    pub(super) fn operations(&self) -> u64 {
        self.operations
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.operations += other.operations;
        self.answered += other.answered;
        self.in_time += other.in_time;
        self.failed += other.failed;
        self.dropped += other.dropped;
        self.censored += other.censored;
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.response.merge(&other.response);
        self.service.merge(&other.service);
    }

    pub(super) fn row(&self, name: &str, seconds: Option<f64>) -> Row {
        Row {
            name: name.to_owned(),
            operations: self.operations,
            answered: self.answered,
            failed: self.failed,
            dropped: self.dropped,
            censored: self.censored,
            bytes: self.bytes,
            rate_per_s: seconds.map(|seconds| self.in_time as f64 / seconds),
            error_rate: (self.operations > 0).then(|| self.failed as f64 / self.operations as f64),
            latency: self.response.times(),
            service: self.service.times(),
        }
    }

    pub(super) fn judge(&self, threshold: &Threshold, seconds: Option<f64>) -> ThresholdResult {
        let mean_ns = match self.response.is_empty() {
            true => f64::NAN,
            false => self.response.mean_ns(),
        };
        let measured = threshold::Measured {
            mean_ns,
            quantile_ns: &|quantile| self.response.quantile_ns(quantile),
            max_ns: self.response.max_ns(),
            operations: self.operations,
            failed: self.failed,
            dropped: self.dropped,
            answered: self.in_time,
            unanswered: self.operations - self.answered,
            seconds: seconds.unwrap_or(f64::NAN),
        };
        threshold::evaluate(threshold, &measured)
    }
}

/// What can be added to its like.
pub(super) trait Merge {
    fn merge(&mut self, other: Self);
}

impl Merge for Group {
    fn merge(&mut self, other: Self) {
        Self::merge(self, &other);
    }
}

impl Merge for u64 {
    fn merge(&mut self, other: Self) {
        *self += other;
    }
}

/// Values by name, the first so many names in their alphabetical order; all others together. A name
/// that has gone to the others never comes back, since smaller ones only become more; so the order of
/// the rows does not matter.
#[derive(Debug, Clone)]
pub(super) struct ByName<T> {
    named: BTreeMap<String, T>,
    others: Option<T>,
    limit: usize,
}

impl<T: Merge + Default> ByName<T> {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            named: BTreeMap::new(),
            others: None,
            limit,
        }
    }

    /// The value that a name belongs to.
    pub(super) fn of(&mut self, name: &str) -> &mut T {
        if !self.named.contains_key(name) {
            let last = self.named.last_key_value().map(|(last, _)| last.as_str());
            if self.named.len() >= self.limit {
                if last.is_none_or(|last| last < name) {
                    return self.others.get_or_insert_default();
                }
                if let Some((_, value)) = self.named.pop_last() {
                    self.others.get_or_insert_default().merge(value);
                }
            }
            self.named.insert(name.to_owned(), T::default());
        }
        self.named
            .get_mut(name)
            .expect("it is there or was put there")
    }

    /// By name, then all others under `others`.
    pub(super) fn into_rows(self, others: &str) -> Vec<(String, T)> {
        let rest = self.others.map(|value| (others.to_owned(), value));
        self.named.into_iter().chain(rest).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_beyond_the_limit_are_counted_together_in_any_order() {
        let names = ["d", "b", "a", "c", "b", "d", "a", "e"];
        let count = |names: &mut dyn Iterator<Item = &&str>| {
            let mut counts = ByName::<u64>::new(2);
            names.for_each(|name| *counts.of(name) += 1);
            counts.into_rows("others")
        };
        let rows = count(&mut names.iter());
        let expected = [("a", 2), ("b", 2), ("others", 4)];
        assert_eq!(rows, expected.map(|(name, count)| (name.to_owned(), count)));
        assert_eq!(count(&mut names.iter().rev()), rows);
    }
}
