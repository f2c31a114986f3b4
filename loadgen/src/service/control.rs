//! The knobs of behaviour, and their switches at run time.
//!
//! What one request meets is a pure function of the knobs, the seed and its number.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::clock::ServiceClock;
use super::distribution::{Distribution, Purpose, uniform};

/// How the service behaves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Knobs {
    /// Added to every request; holds no slot, unless a capacity is given and no service time.
    pub latency: Distribution,
    /// How long a lone request holds a slot.
    pub service_time: Distribution,
    /// The share of requests that are answered by 500, from 0 to 1.
    pub error_rate: f64,
    /// A planted slowdown: latency and service time are multiplied by this.
    pub slow_factor: f64,
    /// A planted slowdown: this is added to the latency.
    pub slow_add: Duration,
    /// The slowdown begins that long after the service's start.
    pub slow_after: Duration,
}

/// What a request's fate depends on beside the knobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Conditions {
    /// Whether the planted slowdown strikes its path.
    pub(crate) struck: bool,
    /// Whether the service serves so many at a time only.
    pub(crate) bounded: bool,
}

/// What one request meets.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Fate {
    pub(crate) fails: bool,
    /// How long it holds a slot when it is alone.
    pub(crate) service: Duration,
    pub(crate) latency: Duration,
}

impl Default for Knobs {
    fn default() -> Self {
        Self {
            latency: Distribution::ZERO,
            service_time: Distribution::ZERO,
            error_rate: 0.0,
            slow_factor: 1.0,
            slow_add: Duration::ZERO,
            slow_after: Duration::ZERO,
        }
    }
}

impl Knobs {
    /// Whether requests are answered at once, without a draw.
    pub(crate) fn are_neutral(&self) -> bool {
        self.latency.is_zero()
            && self.service_time.is_zero()
            && self.error_rate == 0.0
            && self.slow_add.is_zero()
    }

    /// What request `number` meets when it comes `elapsed` after the service's start. With a bounded
    /// capacity and no service time, it is the latency that holds the slot.
    pub(crate) fn fate(
        &self,
        seed: u64,
        number: u64,
        elapsed: Duration,
        extra: Duration,
        conditions: Conditions,
    ) -> Fate {
        let slow = conditions.struck && elapsed >= self.slow_after;
        let (factor, add) = match slow {
            true => (self.slow_factor, self.slow_add),
            false => (1.0, Duration::ZERO),
        };
        let latency = self.latency.draw(seed, number, Purpose::Latency) + extra;
        let latency = latency.mul_f64(factor) + add;
        let service = self.service_time.draw(seed, number, Purpose::Service);
        let fails = self.error_rate > 0.0
            && uniform(seed, number, Purpose::Error as u64) <= self.error_rate;
        match conditions.bounded && self.service_time.is_zero() {
            true => Fate {
                fails,
                service: latency,
                latency: Duration::ZERO,
            },
            false => Fate {
                fails,
                service: service.mul_f64(factor),
                latency,
            },
        }
    }
}

/// Switches a running service. Clones switch the same service.
#[derive(Debug, Clone)]
pub struct Control {
    state: Arc<State>,
    clock: Arc<ServiceClock>,
}

#[derive(Debug)]
struct State {
    version: AtomicU64,
    knobs: Mutex<Knobs>,
}

impl Control {
    pub(crate) fn new(knobs: Knobs, clock: Arc<ServiceClock>) -> Self {
        Self {
            state: Arc::new(State {
                version: AtomicU64::new(1),
                knobs: Mutex::new(knobs),
            }),
            clock,
        }
    }

    /// How the service behaves now.
    pub fn knobs(&self) -> Knobs {
        *self.lock()
    }

    /// Sets another latency.
    pub fn set_latency(&self, latency: Distribution) {
        self.change(|knobs| knobs.latency = latency);
    }

    /// Sets another service time.
    pub fn set_service_time(&self, service_time: Distribution) {
        self.change(|knobs| knobs.service_time = service_time);
    }

    /// Sets the share of requests that fail, from 0 to 1.
    pub fn set_error_rate(&self, error_rate: f64) {
        self.change(|knobs| knobs.error_rate = error_rate.clamp(0.0, 1.0));
    }

    /// Plants a slowdown from now on; `1.0` and zero take it away.
    pub fn set_slowdown(&self, factor: f64, add: Duration) {
        self.change(|knobs| {
            knobs.slow_factor = factor.clamp(0.0, 1e6);
            knobs.slow_add = add;
            knobs.slow_after = Duration::ZERO;
        });
    }

    /// Stalls the whole service from now on for a time; `false` when there were too many stalls.
    pub fn stall(&self, time: Duration) -> bool {
        self.clock.plan_stall(self.clock.now_ns(), time)
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut Knobs)) {
        let mut knobs = self.lock();
        change(&mut knobs);
        self.state.version.fetch_add(1, Ordering::Release);
    }

    /// Brings a thread's copy of the knobs up to date.
    pub(crate) fn refresh(&self, version: &mut u64, knobs: &mut Knobs) {
        let current = self.state.version.load(Ordering::Acquire);
        if current != *version {
            *version = current;
            *knobs = self.knobs();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Knobs> {
        // Plain values, set one by one.
        self.state
            .knobs
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn under(bounded: bool) -> Conditions {
        Conditions {
            struck: true,
            bounded,
        }
    }

    fn knobs() -> Knobs {
        Knobs {
            latency: Distribution::Constant { seconds: 0.010 },
            slow_factor: 2.0,
            slow_add: 5 * MS,
            slow_after: 1_000 * MS,
            ..Knobs::default()
        }
    }

    #[test]
    fn the_slowdown_begins_at_its_time() {
        let latency = |elapsed| {
            knobs()
                .fate(1, 1, elapsed, Duration::ZERO, under(false))
                .latency
        };
        assert_eq!(latency(999 * MS), 10 * MS);
        assert_eq!(latency(1_000 * MS), 25 * MS);
    }

    #[test]
    fn the_slowdown_spares_other_paths() {
        let spared = Conditions {
            struck: false,
            bounded: false,
        };
        let fate = knobs().fate(1, 1, 1_000 * MS, Duration::ZERO, spared);
        assert_eq!(fate.latency, 10 * MS);
    }

    #[test]
    fn with_a_capacity_alone_the_latency_holds_the_slot() {
        let fate = knobs().fate(1, 1, Duration::ZERO, MS, under(true));
        assert_eq!((fate.service, fate.latency), (11 * MS, Duration::ZERO));
        let both = Knobs {
            service_time: Distribution::Constant { seconds: 0.002 },
            ..knobs()
        };
        let fate = both.fate(1, 1, Duration::ZERO, Duration::ZERO, under(true));
        assert_eq!((fate.service, fate.latency), (2 * MS, 10 * MS));
    }

    #[test]
    fn failures_have_their_rate_and_repeat_with_their_seed() {
        let knobs = Knobs {
            error_rate: 0.01,
            ..Knobs::default()
        };
        let fails = |seed, number| {
            knobs
                .fate(seed, number, MS, Duration::ZERO, under(false))
                .fails
        };
        let failed = (0..100_000).filter(|number| fails(7, *number)).count();
        assert!((900..1_100).contains(&failed), "{failed}");
        assert!((0..1_000).all(|number| fails(7, number) == fails(7, number)));
        assert!((0..1_000).any(|number| fails(7, number) != fails(8, number)));
    }

    #[test]
    fn a_change_reaches_the_copies() {
        let control = Control::new(Knobs::default(), Arc::new(ServiceClock::new()));
        let (mut version, mut copy) = (0, Knobs::default());
        control.refresh(&mut version, &mut copy);
        assert!(copy.are_neutral());
        control.set_slowdown(1.0, 5 * MS);
        control.refresh(&mut version, &mut copy);
        assert_eq!(copy.slow_add, 5 * MS);
        assert!(!copy.are_neutral());
    }
}
