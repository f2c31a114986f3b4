//! A run in pieces, as the search of the breaking point wants it: what has ended since the piece
//! before, out of statistics that only grow.

use std::collections::BTreeMap;

use super::Snapshot;
use crate::knee::{Counts, Latencies, Window};
use crate::recorder::{Measurement, Statistics};
use crate::threshold::Threshold;

/// Pieces shorter than this are joined with the next one.
const SHORTEST_S: f64 = 0.2;

/// Makes windows of a run at a constant rate.
#[derive(Debug)]
pub struct Windows {
    rate: f64,
    endpoints: Vec<u32>,
    before: Option<Before>,
}

#[derive(Debug)]
struct Before {
    at_ns: u64,
    arrivals: u64,
    all: Measurement,
    endpoints: Vec<Measurement>,
}

impl Windows {
    /// Of a run with so many arrivals per second; endpoints with thresholds of their own are kept
    /// apart.
    pub fn new(rate: f64, thresholds: &[Threshold]) -> Self {
        let mut endpoints: Vec<u32> = thresholds.iter().filter_map(|one| one.endpoint).collect();
        endpoints.sort_unstable();
        endpoints.dedup();
        Self {
            rate,
            endpoints,
            before: None,
        }
    }

    /// What has come since the last call; `None` at the first one, and while there is too little.
    pub fn next(
        &mut self,
        statistics: &Statistics,
        generator: &Snapshot,
        at_ns: u64,
    ) -> Option<Window> {
        let now = Before {
            at_ns,
            arrivals: generator.arrivals,
            all: statistics.select(None, None),
            endpoints: self
                .endpoints
                .iter()
                .map(|at| statistics.select(Some(*at), None))
                .collect(),
        };
        let Some(before) = &self.before else {
            self.before = Some(now);
            return None;
        };
        let seconds = now.at_ns.saturating_sub(before.at_ns) as f64 / 1e9;
        if seconds < SHORTEST_S {
            return None;
        }
        // What was asked for is the schedule's, where the workers have got as far.
        let arrivals = now.arrivals.saturating_sub(before.arrivals);
        let asked = (self.rate * seconds).round() as u64;
        let intended = if arrivals > 0 { arrivals } else { asked };
        let total = ended(&now.all, &before.all).max(1);
        let pairs = now.endpoints.iter().zip(&before.endpoints);
        let endpoints: BTreeMap<u32, Counts> = self
            .endpoints
            .iter()
            .zip(pairs)
            .map(|(at, (now, before))| {
                // An endpoint's part of the arrivals is its part of what has ended.
                let part = ended(now, before) as f64 / total as f64;
                (
                    *at,
                    counts(now, before, (intended as f64 * part).round() as u64),
                )
            })
            .collect();
        let window = Window {
            seconds,
            all: counts(&now.all, &before.all, intended),
            endpoints,
        };
        self.before = Some(now);
        Some(window)
    }
}

fn ended(now: &Measurement, before: &Measurement) -> u64 {
    now.operations().saturating_sub(before.operations())
}

fn counts(now: &Measurement, before: &Measurement, intended: u64) -> Counts {
    let mut latencies = Latencies::default();
    for (ns, count) in now.response().since(before.response()).counts() {
        latencies.record_n(ns, count);
    }
    Counts {
        intended,
        answered: now.answered().saturating_sub(before.answered()),
        failed: now.failed().saturating_sub(before.failed()),
        dropped: now.dropped().saturating_sub(before.dropped()),
        latencies,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operation::{Failure, Operation};
    use crate::run::testing;

    fn operation(failure: Option<Failure>, took_ms: u64) -> Operation {
        let intended_ns = 5_000_000_000;
        Operation {
            endpoint: 0,
            status: 200,
            failure,
            intended_ns,
            sent_ns: intended_ns,
            first_byte_ns: intended_ns,
            done_ns: intended_ns + took_ms * 1_000_000,
            bytes: 1,
        }
    }

    #[test]
    fn each_operation_is_in_one_window() {
        let mut statistics = Statistics::new(&testing::scenario(&["a"], &[60]));
        let mut generator = Snapshot::default();
        let mut windows = Windows::new(10.0, &[]);
        assert!(
            windows.next(&statistics, &generator, 0).is_none(),
            "the beginning"
        );
        for took in [10, 20, 30] {
            statistics.record(&operation(None, took));
        }
        generator.arrivals = 4;
        assert!(
            windows.next(&statistics, &generator, 1_000_000).is_none(),
            "too short"
        );
        let first = windows
            .next(&statistics, &generator, 1_000_000_000)
            .expect("a window");
        assert_eq!(
            (first.all.intended, first.all.answered, first.all.failed),
            (4, 3, 0)
        );
        assert_eq!(first.all.latencies.count(), 3);
        statistics.record(&operation(Some(Failure::Timeout), 500));
        let second = windows
            .next(&statistics, &generator, 2_000_000_000)
            .expect("a window");
        assert_eq!(
            (second.all.intended, second.all.answered, second.all.failed),
            (10, 0, 1)
        );
        let slowest = second.all.latencies.quantile_ns(1.0).expect("one");
        assert!((slowest / 500e6 - 1.0).abs() < 0.01, "{slowest}");
    }
}
