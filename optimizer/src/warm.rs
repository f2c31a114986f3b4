//! Warming a cache: which keys, in what order, how fast, for how long. Pure functions; loading is in
//! [`loader`], writing in [`perform`], what it will bring in [`estimate`], from the traffic that
//! [`observe`] sees.
//!
//! Keys are warmed in the order in which they are given: the most wanted first, because the first
//! thousand bring the most for each load. The limit that matters is the backend's time, not the
//! number of keys.

pub mod estimate;
pub mod loader;
pub mod observe;
pub mod perform;

use std::collections::VecDeque;
use std::time::Duration;

use crate::action::WarmKey;
use crate::config::WarmConfig;
use crate::recommendation::fnv;

/// How many of the latest loads the 95th percentile is taken of.
const LATEST_LOADS: usize = 100;
/// Loads before the percentile is believed.
const LOADS_MIN: usize = 20;
/// How much unused budget may be saved up, in seconds of it.
const BURST_S: f64 = 1.0;

/// A bucket of backend milliseconds. It may be overdrawn by one load, whose cost is known only
/// afterwards; the next waits until that is paid back.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Budget {
    rate_ms_per_s: f64,
    left_ms: f64,
    at_us: i64,
}

impl Budget {
    /// A bucket that is full at `now_us`.
    pub fn new(rate_ms_per_s: f64, now_us: i64) -> Self {
        Self {
            rate_ms_per_s,
            left_ms: rate_ms_per_s * BURST_S,
            at_us: now_us,
        }
    }

    /// Takes what a load has cost.
    pub fn spend(&mut self, cost_ms: f64, now_us: i64) {
        self.fill(now_us);
        self.left_ms -= cost_ms.max(0.0);
    }

    /// How long to wait before the next load.
    pub fn wait(&mut self, now_us: i64) -> Duration {
        self.fill(now_us);
        if self.left_ms >= 0.0 {
            return Duration::ZERO;
        }
        Duration::from_secs_f64(-self.left_ms / self.rate_ms_per_s)
    }

    fn fill(&mut self, now_us: i64) {
        let passed_s = now_us.saturating_sub(self.at_us).max(0) as f64 / 1e6;
        self.at_us = self.at_us.max(now_us);
        let full = self.rate_ms_per_s * BURST_S;
        self.left_ms = (self.left_ms + passed_s * self.rate_ms_per_s).min(full);
    }
}

/// How long the latest loads took.
#[derive(Debug, Clone, Default)]
pub struct Loads {
    latest_ms: VecDeque<f64>,
}

impl Loads {
    /// Remembers one.
    pub fn add(&mut self, ms: f64) {
        if self.latest_ms.len() == LATEST_LOADS {
            self.latest_ms.pop_front();
        }
        self.latest_ms.push_back(ms);
    }

    /// The 95th percentile, once there are enough.
    pub fn p95_ms(&self) -> Option<f64> {
        if self.latest_ms.len() < LOADS_MIN {
            return None;
        }
        let mut sorted: Vec<f64> = self.latest_ms.iter().copied().collect();
        sorted.sort_by(f64::total_cmp);
        let rank = (sorted.len() * 95).div_ceil(100);
        sorted.get(rank - 1).copied()
    }
}

/// Why warming stops before its end; `None` while it may go on.
pub fn stop(limits: &WarmConfig, loads: &Loads, evicted: u64) -> Option<String> {
    if evicted > limits.evictions_max {
        return Some(format!("{evicted} keys were evicted since it began"));
    }
    let p95 = loads.p95_ms().filter(|p95| *p95 > limits.p95_max_ms)?;
    Some(format!(
        "the slowest twentieth of loads takes {p95:.1} ms and more"
    ))
}

/// Whether loading a key pays: a load costs what one miss costs, so it pays when the key is asked for
/// before it expires.
pub fn pays(key: &WarmKey, ttl: Duration) -> bool {
    key.rate_per_s * ttl.as_secs_f64() > 1.0
}

/// A key's time to live, shortened by up to the configured share so that keys do not all expire at
/// once. The same seed and key give the same.
pub fn ttl_s(ttl: Duration, jitter_percent: f64, seed: &str, key: &str) -> u64 {
    let uniform = mix(fnv(&[seed, key])) as f64 / u64::MAX as f64;
    let seconds = ttl.as_secs_f64() * (1.0 - uniform * jitter_percent / 100.0);
    (seconds as u64).max(1)
}

/// A fingerprint of a value.
pub fn value_fingerprint(value: &[u8]) -> String {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in value {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    }
    format!("{hash:016x}-{}", value.len())
}

/// The finalizer of splitmix64 (Steele, Lea, Flood 2014): FNV alone changes little in its high bits
/// between similar keys.
const fn mix(mut hash: u64) -> u64 {
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_holds_over_time_whatever_a_load_costs() {
        let (rate, mut now_us) = (50.0, 0_i64);
        let mut budget = Budget::new(rate, now_us);
        let (mut spent, costs) = (0.0, [3.0, 80.0, 0.5, 200.0, 1.0]);
        for cost in costs.iter().cycle().take(500) {
            now_us += i64::try_from(budget.wait(now_us).as_micros()).expect("short") + 1;
            budget.spend(*cost, now_us);
            spent += cost;
        }
        let seconds = now_us as f64 / 1e6;
        // The last load may overdraw it.
        assert!(
            spent <= rate * (seconds + BURST_S) + 200.0,
            "{spent} in {seconds}"
        );
        assert!(spent >= 0.9 * rate * seconds, "{spent} in {seconds}");
    }

    #[test]
    fn a_clock_that_goes_back_gives_nothing() {
        let mut budget = Budget::new(10.0, 1_000_000);
        budget.spend(20.0, 1_000_000);
        assert_eq!(budget.wait(0), Duration::from_secs(1));
        assert_eq!(budget.wait(1_500_000), Duration::from_millis(500));
    }

    #[test]
    fn it_stops_for_a_slow_backend_and_for_evictions() {
        let limits = WarmConfig::default();
        let mut loads = Loads::default();
        for _ in 0..LATEST_LOADS {
            loads.add(1.0);
        }
        assert_eq!(stop(&limits, &loads, 0), None);
        assert!(stop(&limits, &loads, 1).is_some());
        for _ in 0..6 {
            loads.add(1000.0);
        }
        assert!(stop(&limits, &loads, 0).is_some_and(|why| why.contains("1000.0 ms")));
    }

    #[test]
    fn time_to_live_is_spread_within_its_share_and_the_same_for_the_same_seed() {
        let ttl = Duration::from_secs(1000);
        let all: Vec<u64> = (0..1000)
            .map(|n| ttl_s(ttl, 20.0, "seed", &format!("key:{n}")))
            .collect();
        assert!(all.iter().all(|s| (800..=1000).contains(s)));
        let mean = all.iter().sum::<u64>() as f64 / 1000.0;
        assert!((890.0..910.0).contains(&mean), "{mean}");
        assert_eq!(ttl_s(ttl, 20.0, "seed", "key:7"), all[7]);
        assert_ne!(ttl_s(ttl, 20.0, "other", "key:7"), all[7]);
    }

    #[test]
    fn a_key_that_expires_before_it_is_asked_for_does_not_pay() {
        let key = |rate_per_s| WarmKey {
            key: "k".to_owned(),
            rate_per_s,
        };
        assert!(pays(&key(0.02), Duration::from_secs(60)));
        assert!(!pays(&key(0.01), Duration::from_secs(60)));
    }
}
