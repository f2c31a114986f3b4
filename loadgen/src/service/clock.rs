//! The service's clock: the wall clock, and the active time from which stalls are taken out.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::clock::RunClock;

/// Stalls that are remembered at most; later ones are refused.
const MOST_STALLS: usize = 1_000;

/// A time in which the service does nothing, in nanoseconds since its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stall {
    pub(crate) from_ns: u64,
    pub(crate) until_ns: u64,
}

/// Nanoseconds since the service's start, with its stalls.
#[derive(Debug)]
pub(crate) struct ServiceClock {
    run: RunClock,
    stalls: Mutex<Vec<Stall>>,
    planned: watch::Sender<usize>,
}

impl ServiceClock {
    pub(crate) fn new() -> Self {
        Self {
            run: RunClock::starting_in(Duration::ZERO),
            stalls: Mutex::default(),
            planned: watch::Sender::new(0),
        }
    }

    pub(crate) fn now_ns(&self) -> u64 {
        self.run.now_ns()
    }

    pub(crate) fn ns_of(&self, instant: Instant) -> u64 {
        self.run.ns_of(instant)
    }

    pub(crate) fn instant(&self, ns: u64) -> Instant {
        self.run.instant(ns)
    }

    /// Microseconds since 1970 of an instant.
    pub(crate) fn unix_us(&self, instant: Instant) -> i64 {
        self.run.unix_us(self.run.ns_of(instant))
    }

    /// Plans a stall, after those planned before; `false` when there are too many.
    pub(crate) fn plan_stall(&self, from_ns: u64, time: Duration) -> bool {
        let mut stalls = self.lock();
        if stalls.len() >= MOST_STALLS {
            return false;
        }
        let from_ns = from_ns.max(stalls.last().map_or(0, |last| last.until_ns));
        let time_ns = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        stalls.push(Stall {
            from_ns,
            until_ns: from_ns.saturating_add(time_ns),
        });
        self.planned.send_replace(stalls.len());
        true
    }

    /// The stall of that number, if it is planned.
    pub(crate) fn stall(&self, number: usize) -> Option<Stall> {
        self.lock().get(number).copied()
    }

    /// Hears of new stalls.
    pub(crate) fn planned(&self) -> watch::Receiver<usize> {
        self.planned.subscribe()
    }

    /// The active time of a time.
    pub(crate) fn active_ns(&self, ns: u64) -> u64 {
        active_of(&self.lock(), ns)
    }

    /// The time of an active time.
    pub(crate) fn wall_ns(&self, active_ns: u64) -> u64 {
        wall_of(&self.lock(), active_ns)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Stall>> {
        // A vector of plain numbers is whole at every step.
        self.stalls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn active_of(stalls: &[Stall], ns: u64) -> u64 {
    let stalled: u64 = stalls
        .iter()
        .map(|stall| ns.min(stall.until_ns).saturating_sub(stall.from_ns))
        .sum();
    ns - stalled
}

fn wall_of(stalls: &[Stall], active_ns: u64) -> u64 {
    stalls
        .iter()
        .fold(active_ns, |ns, stall| match ns > stall.from_ns {
            true => ns.saturating_add(stall.until_ns - stall.from_ns),
            false => ns,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn active_time_leaves_stalls_out() {
        let stalls =
            [(100, 150), (300, 400)].map(|(from_ns, until_ns)| Stall { from_ns, until_ns });
        for (wall, active) in [
            (0, 0),
            (100, 100),
            (151, 101),
            (300, 250),
            (401, 251),
            (1_000, 850),
        ] {
            assert_eq!(active_of(&stalls, wall), active);
            assert_eq!(wall_of(&stalls, active), wall);
        }
        assert_eq!(active_of(&stalls, 120), 100);
    }

    #[test]
    fn stalls_follow_one_another_and_are_bounded() {
        let clock = ServiceClock::new();
        assert!(clock.plan_stall(100, Duration::from_nanos(50)));
        assert!(clock.plan_stall(120, Duration::from_nanos(50)));
        let second = Stall {
            from_ns: 150,
            until_ns: 200,
        };
        assert_eq!(clock.stall(1), Some(second));
        for _ in 2..MOST_STALLS {
            assert!(clock.plan_stall(0, Duration::ZERO));
        }
        assert!(!clock.plan_stall(0, Duration::ZERO));
    }
}
