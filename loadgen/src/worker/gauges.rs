//! What a worker tells others about itself.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use rustix::time::{ClockId, clock_gettime};

use super::{Gauges, LATE};

/// What a worker last said. Others on its thread add to the same gauges, so that only differences
/// are added.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) active: i64,
    pub(crate) connections: i64,
    pub(crate) waiting: i64,
}

impl Said {
    pub(crate) fn say(&mut self, now: Said, gauges: &Gauges) {
        let add = |gauge: &AtomicI64, difference: i64| {
            if difference != 0 {
                gauge.fetch_add(difference, Ordering::Relaxed);
            }
        };
        add(&gauges.active, now.active - self.active);
        add(&gauges.connections, now.connections - self.connections);
        add(&gauges.waiting, now.waiting - self.waiting);
        *self = now;
        gauges.cpu_ns.store(thread_cpu_ns(), Ordering::Relaxed);
    }
}

/// Counts an arrival and its lateness. Only the worker writes, so that no atomic addition is needed.
pub(crate) fn arrived(gauges: &Gauges, lateness_ns: u64) {
    let add = |counter: &AtomicU64| {
        counter.store(counter.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    };
    add(&gauges.arrivals);
    add(&gauges.lateness_us[bucket(lateness_ns)]);
    if lateness_ns > LATE.as_nanos() as u64 {
        add(&gauges.late);
    }
    if lateness_ns > gauges.lateness_max_ns.load(Ordering::Relaxed) {
        gauges.lateness_max_ns.store(lateness_ns, Ordering::Relaxed);
    }
}

/// The first bucket is below 1 µs, the next below 2, 4, …; the last takes everything above.
fn bucket(lateness_ns: u64) -> usize {
    let microseconds = lateness_ns / 1_000;
    let power = (u64::BITS - microseconds.leading_zeros()) as usize;
    power.min(23)
}

fn thread_cpu_ns() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanoseconds = u64::try_from(time.tv_nsec).unwrap_or(0);
    seconds * 1_000_000_000 + nanoseconds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets() {
        for (ns, expected) in [
            (0, 0),
            (999, 0),
            (1_000, 1),
            (1_999, 1),
            (2_000, 2),
            (4_000, 3),
            ((1 << 22) * 1_000 - 1, 22),
            ((1 << 22) * 1_000, 23),
            (u64::MAX, 23),
        ] {
            assert_eq!(bucket(ns), expected, "{ns}");
        }
    }

    #[test]
    fn lateness_is_counted() {
        let gauges = Gauges::default();
        for ns in [10, 1_500, 2_000_000] {
            arrived(&gauges, ns);
        }
        assert_eq!(gauges.arrivals.load(Ordering::Relaxed), 3);
        assert_eq!(gauges.late.load(Ordering::Relaxed), 1);
        assert_eq!(gauges.lateness_max_ns.load(Ordering::Relaxed), 2_000_000);
    }

    #[test]
    fn differences_are_said() {
        let gauges = Gauges::default();
        gauges.connections.store(5, Ordering::Relaxed);
        let mut said = Said::default();
        let now = |connections| Said {
            connections,
            ..Said::default()
        };
        said.say(now(3), &gauges);
        said.say(now(1), &gauges);
        assert_eq!(gauges.connections.load(Ordering::Relaxed), 6);
    }
}
