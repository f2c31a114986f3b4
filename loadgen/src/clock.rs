//! A run's own clock: nanoseconds since its beginning `t0`, which is one instant of the monotonic
//! clock and one time of the wall clock. Every time of an operation is on it.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Nanoseconds since a run's beginning.
#[derive(Debug, Clone, Copy)]
pub struct RunClock {
    origin: Instant,
    origin_us: i64,
}

impl RunClock {
    /// A run that begins `delay` from now, so that every worker is ready before its first arrival.
    pub fn starting_in(delay: Duration) -> Self {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let now_us = i64::try_from(now.as_micros()).unwrap_or(i64::MAX);
        let delay_us = i64::try_from(delay.as_micros()).unwrap_or(i64::MAX);
        Self {
            origin: Instant::now() + delay,
            origin_us: now_us.saturating_add(delay_us),
        }
    }

    /// A run whose beginning is known on both clocks.
    pub fn new(origin: Instant, origin_us: i64) -> Self {
        Self { origin, origin_us }
    }

    /// Nanoseconds since the run's beginning; 0 before it.
    pub fn now_ns(&self) -> u64 {
        self.ns_of(Instant::now())
    }

    /// The same for an instant that was taken before.
    pub fn ns_of(&self, instant: Instant) -> u64 {
        u64::try_from(instant.saturating_duration_since(self.origin).as_nanos()).unwrap_or(u64::MAX)
    }

    /// The instant of a time on this clock.
    pub fn instant(&self, ns: u64) -> Instant {
        self.origin + Duration::from_nanos(ns)
    }

    /// The beginning, in microseconds since 1970 UTC.
    pub fn origin_us(&self) -> i64 {
        self.origin_us
    }

    /// The wall-clock time of a time on this clock, in microseconds since 1970 UTC.
    pub fn unix_us(&self, ns: u64) -> i64 {
        self.origin_us
            .saturating_add(i64::try_from(ns / 1_000).unwrap_or(i64::MAX))
    }
}
