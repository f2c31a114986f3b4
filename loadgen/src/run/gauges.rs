//! What workers show of themselves, summed over threads and processes.

use std::sync::atomic::Ordering;

use serde::{Deserialize, Serialize};

use crate::recorder::RecordingCounts;
use crate::worker::Gauges;

/// Buckets of lateness, as in [`Gauges::lateness_us`].
pub const LATENESS_BUCKETS: usize = 24;

/// The state of a part of a run at one time.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Active users, or operations under way.
    pub active: i64,
    /// Open connections.
    pub connections: i64,
    /// Arrivals that wait for a connection.
    pub waiting: i64,
    /// Arrivals so far.
    pub arrivals: u64,
    /// Arrivals started late by the generator's own fault.
    pub late: u64,
    /// The longest such lateness, in nanoseconds.
    pub lateness_max_ns: u64,
    /// Lateness by powers of two of microseconds.
    pub lateness_us: [u64; LATENESS_BUCKETS],
    /// Requests that were sent once more within their operation.
    pub retries: u64,
    /// CPU time of each worker thread so far, in nanoseconds, in the order of their numbers.
    pub cpu_ns: Vec<u64>,
    /// CPU time of the threads that record, in nanoseconds.
    pub recording_cpu_ns: u64,
    /// Operations handed over.
    pub offered: u64,
    /// Operations that are surely lost.
    pub lost: u64,
    /// How full the fullest backlog is, from 0 to 1.
    pub backlog: f64,
}

impl Snapshot {
    /// What the threads of one process show now.
    pub(super) fn of<'g>(
        gauges: impl IntoIterator<Item = &'g Gauges>,
        recording: &RecordingCounts,
    ) -> Self {
        let mut sum = Self {
            recording_cpu_ns: recording.cpu_ns,
            offered: recording.offered,
            lost: recording.lost,
            backlog: recording.backlog,
            ..Self::default()
        };
        for one in gauges {
            sum.active += one.active.load(Ordering::Relaxed);
            sum.connections += one.connections.load(Ordering::Relaxed);
            sum.waiting += one.waiting.load(Ordering::Relaxed);
            sum.arrivals += one.arrivals.load(Ordering::Relaxed);
            sum.late += one.late.load(Ordering::Relaxed);
            let longest_ns = one.lateness_max_ns.load(Ordering::Relaxed);
            sum.lateness_max_ns = sum.lateness_max_ns.max(longest_ns);
            for (mine, theirs) in sum.lateness_us.iter_mut().zip(&one.lateness_us) {
                *mine += theirs.load(Ordering::Relaxed);
            }
            sum.retries += one.retries.load(Ordering::Relaxed);
            sum.cpu_ns.push(one.cpu_ns.load(Ordering::Relaxed));
        }
        sum
    }

    /// Adds another process's part.
    pub(super) fn merge(&mut self, other: &Self) {
        self.active += other.active;
        self.connections += other.connections;
        self.waiting += other.waiting;
        self.arrivals += other.arrivals;
        self.late += other.late;
        self.lateness_max_ns = self.lateness_max_ns.max(other.lateness_max_ns);
        for (mine, theirs) in self.lateness_us.iter_mut().zip(other.lateness_us) {
            *mine += theirs;
        }
        self.retries += other.retries;
        self.cpu_ns.extend(&other.cpu_ns);
        self.recording_cpu_ns += other.recording_cpu_ns;
        self.offered += other.offered;
        self.lost += other.lost;
        self.backlog = self.backlog.max(other.backlog);
    }

    /// Bounds in µs of the bucket in which a share of the lateness lies; none without any. The last
    /// bucket has no upper bound.
    pub fn lateness_quantile_us(&self, quantile: f64) -> Option<(u64, Option<u64>)> {
        let total: u64 = self.lateness_us.iter().sum();
        let rank = ((total as f64 * quantile).ceil() as u64).clamp(1, total.max(1));
        let mut seen = 0;
        let at = self.lateness_us.iter().position(|count| {
            seen += count;
            seen >= rank
        })?;
        let from = at.checked_sub(1).map_or(0, |at| 1 << at);
        let until = (at + 1 < LATENESS_BUCKETS).then_some(1 << at);
        Some((from, until))
    }

    /// At most this late was a share of the arrivals, in µs: the upper end of the bucket, and never
    /// more than the longest.
    pub fn lateness_at_most_us(&self, quantile: f64) -> Option<u64> {
        let (_, until) = self.lateness_quantile_us(quantile)?;
        let longest = self.lateness_max_ns.div_ceil(1_000);
        Some(until.map_or(longest, |until| until.min(longest)))
    }

    /// CPU time of all threads, in seconds.
    pub fn cpu_s(&self) -> f64 {
        (self.cpu_ns.iter().sum::<u64>() + self.recording_cpu_ns) as f64 / 1e9
    }

    /// The largest share of a core that a worker thread used since an earlier snapshot.
    pub(super) fn busiest_since(&self, earlier: &Self, seconds: f64) -> f64 {
        // A process that joined or was lost meanwhile has shifted the numbers.
        if self.cpu_ns.len() != earlier.cpu_ns.len() || seconds <= 0.0 {
            return 0.0;
        }
        let used = self.cpu_ns.iter().zip(&earlier.cpu_ns);
        used.map(|(now, then)| now.saturating_sub(*then) as f64 / 1e9 / seconds)
            .fold(0.0, f64::max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lateness_is_read_from_its_buckets() {
        let mut snapshot = Snapshot::default();
        assert_eq!(snapshot.lateness_quantile_us(0.99), None);
        snapshot.lateness_us[0] = 98;
        snapshot.lateness_us[11] = 2;
        snapshot.lateness_max_ns = 1_500_000;
        assert_eq!(snapshot.lateness_quantile_us(0.5), Some((0, Some(1))));
        assert_eq!(
            snapshot.lateness_quantile_us(0.99),
            Some((1_024, Some(2_048)))
        );
        assert_eq!(snapshot.lateness_at_most_us(0.99), Some(1_500));
        snapshot.lateness_us[23] = 1_000;
        assert_eq!(snapshot.lateness_quantile_us(0.99), Some((1 << 22, None)));
    }

    #[test]
    fn processes_add_up_and_extremes_stay() {
        let one = Snapshot {
            connections: 3,
            retries: 2,
            cpu_ns: vec![1_000_000_000],
            backlog: 0.5,
            lateness_max_ns: 7,
            ..Snapshot::default()
        };
        let mut sum = one.clone();
        sum.merge(&Snapshot {
            connections: 4,
            retries: 3,
            cpu_ns: vec![3_000_000_000, 0],
            backlog: 0.25,
            lateness_max_ns: 9,
            ..Snapshot::default()
        });
        assert_eq!((sum.connections, sum.lateness_max_ns), (7, 9));
        assert_eq!((sum.backlog, sum.retries), (0.5, 5));
        assert_eq!(sum.cpu_s(), 4.0);
        let mut later = sum.clone();
        later.cpu_ns[1] += 1_900_000_000;
        assert_eq!(later.busiest_since(&sum, 2.0), 0.95);
        assert_eq!(later.busiest_since(&one, 2.0), 0.0);
    }
}
