//! What happened when: one bucket for each second of the run, or for more where the run is long. The
//! final width depends on the latest time alone, not on the order of the rows.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

use super::TimelineRow;
use super::times::{LONGEST_NS, rank};

/// Most buckets; their width doubles until the run fits.
pub const MAX_TIMELINE_BUCKETS: u64 = 3_600;
/// Enough for a chart: quantiles within 1 %, in a fraction of the memory.
const SIGNIFICANT_DIGITS: u8 = 2;
/// Times of answers further away than this are of a broken clock.
const MAX_SECONDS: u64 = 10 * 366 * 24 * 3_600;

/// What one row says of time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    /// When it was intended, in microseconds since the run's beginning.
    pub(super) intended_us: u64,
    /// The response time, censored or not; none for an arrival that was dropped.
    pub(super) response_ns: Option<u64>,
    pub(super) is_answered: bool,
    pub(super) is_failed: bool,
    pub(super) is_dropped: bool,
}

/// The run by time.
#[derive(Debug, Clone)]
pub(super) struct Timeline {
    step_s: u64,
    buckets: BTreeMap<u64, Bucket>,
}

#[derive(Debug, Clone)]
struct Bucket {
    row: TimelineRow,
    times: Histogram<u32>,
}

impl Default for Bucket {
    fn default() -> Self {
        let times = Histogram::new(SIGNIFICANT_DIGITS);
        Self {
            row: TimelineRow::default(),
            times: times.expect("two digits are allowed"),
        }
    }
}

impl Bucket {
    fn merge(&mut self, other: &Self) {
        self.row.arrivals += other.row.arrivals;
        self.row.answered += other.row.answered;
        self.row.failed += other.row.failed;
        self.row.dropped += other.row.dropped;
        self.row.completed += other.row.completed;
        self.times
            .add(&other.times)
            .expect("a histogram that resizes itself takes every other");
    }
}

impl Default for Timeline {
    fn default() -> Self {
        Self {
            step_s: 1,
            buckets: BTreeMap::new(),
        }
    }
}

impl Timeline {
    pub(super) fn push(&mut self, moment: Moment) {
        let bucket = self.at(moment.intended_us / 1_000_000);
        bucket.row.arrivals += 1;
        bucket.row.answered += u64::from(moment.is_answered);
        bucket.row.failed += u64::from(moment.is_failed);
        bucket.row.dropped += u64::from(moment.is_dropped);
        let Some(response_ns) = moment.response_ns else {
            return;
        };
        bucket
            .times
            .record(response_ns.min(LONGEST_NS))
            .expect("a histogram that resizes itself takes every value");
        if moment.is_answered {
            let done_us = moment.intended_us.saturating_add(response_ns / 1_000);
            self.at(done_us / 1_000_000).row.completed += 1;
        }
    }

    pub(super) fn step_s(&self) -> u64 {
        self.step_s
    }

    /// Every bucket from the run's beginning, also those in which nothing happened, to the last in
    /// which something did, or to `until_s` where that is later.
    pub(super) fn rows(&mut self, until_s: u64) -> Vec<TimelineRow> {
        self.widen_for(until_s.saturating_sub(1).min(MAX_SECONDS));
        let last = self.buckets.last_key_value().map_or(0, |(at, _)| at + 1);
        let len = last.max(until_s.min(MAX_SECONDS).div_ceil(self.step_s));
        let step_s = self.step_s;
        (0..len)
            .map(|at| match self.buckets.get(&at) {
                Some(bucket) => bucket.finish(at * step_s),
                None => TimelineRow {
                    from_s: at * step_s,
                    ..TimelineRow::default()
                },
            })
            .collect()
    }

    fn at(&mut self, second: u64) -> &mut Bucket {
        let second = second.min(MAX_SECONDS);
        self.widen_for(second);
        self.buckets.entry(second / self.step_s).or_default()
    }

    fn widen_for(&mut self, second: u64) {
        while second / self.step_s >= MAX_TIMELINE_BUCKETS {
            self.step_s *= 2;
            for (at, bucket) in std::mem::take(&mut self.buckets) {
                self.buckets.entry(at / 2).or_default().merge(&bucket);
            }
        }
    }
}

impl Bucket {
    fn finish(&self, from_s: u64) -> TimelineRow {
        let quantile_ms = |quantile: f64| {
            let rank = rank(quantile, self.times.len());
            let mut seen = 0;
            self.times.iter_recorded().find_map(|step| {
                seen += step.count_since_last_iteration();
                let ns = self.times.median_equivalent(step.value_iterated_to());
                (seen >= rank).then_some(ns as f64 / 1e6)
            })
        };
        TimelineRow {
            from_s,
            p50_ms: quantile_ms(0.5),
            p95_ms: quantile_ms(0.95),
            p99_ms: quantile_ms(0.99),
            ..self.row
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(second: u64) -> Moment {
        Moment {
            intended_us: second * 1_000_000,
            response_ns: Some(1_500_000_000),
            is_answered: true,
            is_failed: false,
            is_dropped: false,
        }
    }

    #[test]
    fn answers_count_where_they_were_intended_and_where_they_came() {
        let mut timeline = Timeline::default();
        timeline.push(answered(2));
        let rows = timeline.rows(0);
        assert_eq!(
            rows.iter().map(|row| row.arrivals).collect::<Vec<_>>(),
            [0, 0, 1, 0]
        );
        assert_eq!(
            rows.iter().map(|row| row.completed).collect::<Vec<_>>(),
            [0, 0, 0, 1]
        );
        assert!((rows[2].p99_ms.expect("it has a time") - 1_500.0).abs() < 15.0);
        assert_eq!(rows[0].p50_ms, None);
    }

    #[test]
    fn long_runs_have_wider_buckets_whatever_the_order() {
        let seconds = [0, 1, 3_598, 10_000, 7_200, 2];
        let of = |seconds: &mut dyn Iterator<Item = &u64>| {
            let mut timeline = Timeline::default();
            seconds.for_each(|second| timeline.push(answered(*second)));
            (timeline.rows(0), timeline.step_s())
        };
        let (rows, step_s) = of(&mut seconds.iter());
        assert_eq!(of(&mut seconds.iter().rev()), (rows.clone(), step_s));
        assert_eq!((step_s, rows.len()), (4, 2_501));
        assert_eq!(rows.iter().map(|row| row.arrivals).sum::<u64>(), 6);
        assert_eq!(rows[0].arrivals, 3);
    }

    #[test]
    fn a_broken_clock_does_not_make_it_grow() {
        let mut timeline = Timeline::default();
        timeline.push(answered(u64::MAX / 1_000_000));
        assert!(timeline.rows(u64::MAX).len() as u64 <= MAX_TIMELINE_BUCKETS);
    }
}
