//! How often a key is accessed, from the logarithmic counter that an LFU policy keeps. Pure.
//!
//! The counter begins at 5. An access raises it with probability 1 ÷ ((counter − 5) × factor + 1), and
//! every `decay` minutes lower it by one (Redis' `evict.c`). So two readings tell how many accesses
//! there were between them on average; one reading tells how many keep it where it is.

/// What new keys begin with.
const INITIAL: u8 = 5;
/// The counter's end, where it tells only a lower bound.
const SATURATED: u8 = 255;

/// The settings that the counter follows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Lfu {
    /// `lfu-log-factor`.
    pub(super) factor: f64,
    /// `lfu-decay-time`, in minutes; 0 is never.
    pub(super) decay_minutes: f64,
}

impl Default for Lfu {
    /// What Redis has where nothing is set.
    fn default() -> Self {
        Self {
            factor: 10.0,
            decay_minutes: 1.0,
        }
    }
}

/// One reading of a key's counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reading {
    pub(super) counter: u8,
    pub(super) ts_us: i64,
}

impl Lfu {
    /// Accesses per second, given the reading before if there is one. A counter at its end gives what
    /// keeps it there, which is a lower bound.
    pub(super) fn rate_per_s(&self, before: Option<Reading>, now: Reading) -> f64 {
        let kept = if self.decay_minutes > 0.0 && now.counter > INITIAL {
            self.step(now.counter) / (self.decay_minutes * 60.0)
        } else {
            0.0
        };
        let Some(before) = before.filter(|before| before.ts_us < now.ts_us) else {
            return kept;
        };
        let seconds = (now.ts_us - before.ts_us) as f64 / 1e6;
        let grown = self.accesses(now.counter) - self.accesses(before.counter);
        (kept + grown / seconds).max(0.0)
    }

    /// The accesses that raise the counter by one, on average.
    fn step(&self, counter: u8) -> f64 {
        f64::from(counter.saturating_sub(INITIAL)) * self.factor + 1.0
    }

    /// The accesses that it takes to come from a new key's counter to this one, on average.
    fn accesses(&self, counter: u8) -> f64 {
        let above = f64::from(counter.saturating_sub(INITIAL));
        self.factor * above * (above - 1.0).max(0.0) / 2.0 + above
    }
}

/// All accesses, and what the counters tell of them.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Traffic {
    /// Accesses to all keys.
    pub(super) per_s: f64,
    /// Accesses to the keys whose counter is not at its end.
    pub(super) told_per_s: f64,
    /// Keys whose counter is at its end.
    pub(super) saturated: f64,
}

impl Traffic {
    /// Adds a key that stands for `weight` keys.
    pub(super) fn add(&mut self, counter: u8, rate_per_s: f64, weight: f64) {
        if counter == SATURATED {
            self.saturated += weight;
        } else {
            self.told_per_s += rate_per_s * weight;
        }
    }

    /// The part of all accesses that a key takes. Keys whose counter is at its end share what the
    /// others leave, because their counter does not tell more.
    pub(super) fn share(&self, counter: u8, rate_per_s: f64) -> f64 {
        if self.per_s <= 0.0 {
            return 0.0;
        }
        let mut rate = rate_per_s;
        if counter == SATURATED {
            let left = (self.per_s - self.told_per_s).max(0.0);
            rate = rate.max(left / self.saturated.max(1.0));
        }
        (rate / self.per_s).clamp(0.0, 1.0)
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng as _, SeedableRng as _};

    use super::*;

    fn reading(counter: u8, second: i64) -> Reading {
        Reading {
            counter,
            ts_us: second * 1_000_000,
        }
    }

    /// The counter as `evict.c` has it, accessed evenly; times are whole minutes. How many accesses it
    /// takes to raise the counter is drawn at once, since each of them raises it with the same
    /// probability.
    fn simulate(lfu: Lfu, per_s: u32, from_s: i64, to_s: i64, counter: u8, seed: u64) -> u8 {
        let mut random = rand::rngs::StdRng::seed_from_u64(seed);
        let mut counter = counter;
        for _minute in 0..(to_s - from_s) / 60 {
            let mut left = f64::from(per_s * 60);
            while counter < SATURATED {
                let p = 1.0 / lfu.step(counter);
                let drawn: f64 = 1.0 - random.random::<f64>();
                left -= (drawn.ln() / (1.0 - p).ln()).ceil().max(1.0);
                if left < 0.0 {
                    break;
                }
                counter += 1;
            }
            counter = counter.saturating_sub(1);
        }
        counter
    }

    #[test]
    fn the_rate_is_found_again_while_the_counter_grows_and_when_it_is_steady() {
        let lfu = Lfu::default();
        for (per_s, begin_s) in [(2, 0), (20, 0), (20, 36_000), (35, 36_000)] {
            let mut estimates = Vec::new();
            for seed in 0..30 {
                let first = simulate(lfu, per_s, 0, begin_s + 600, INITIAL, seed);
                let second = simulate(
                    lfu,
                    per_s,
                    begin_s + 600,
                    begin_s + 1_200,
                    first,
                    seed + 1_000,
                );
                let before = reading(first, begin_s + 600);
                let now = reading(second, begin_s + 1_200);
                estimates.push(lfu.rate_per_s(Some(before), now));
            }
            let mean = estimates.iter().sum::<f64>() / estimates.len() as f64;
            let expected = f64::from(per_s);
            assert!(
                (mean / expected - 1.0).abs() < 0.25,
                "{per_s}/s after {begin_s} s: {mean}"
            );
        }
    }

    #[test]
    fn keys_at_the_end_of_the_counter_share_the_rest() {
        let mut traffic = Traffic {
            per_s: 1_100.0,
            ..Traffic::default()
        };
        traffic.add(255, 42.0, 1.0);
        traffic.add(100, 10.0, 10.0);
        assert!((traffic.share(255, 42.0) - 1_000.0 / 1_100.0).abs() < 1e-9);
        assert!((traffic.share(100, 10.0) - 10.0 / 1_100.0).abs() < 1e-9);
        assert_eq!(traffic.share(100, 9_999.0), 1.0, "no more than all");
        assert_eq!(Traffic::default().share(255, 42.0), 0.0);
    }

    #[test]
    fn a_key_that_is_accessed_no_more_comes_to_nothing() {
        let lfu = Lfu::default();
        let rate = lfu.rate_per_s(Some(reading(50, 0)), reading(40, 600));
        assert!(rate < 1.0, "{rate}");
        let never = Lfu {
            decay_minutes: 0.0,
            ..lfu
        };
        assert_eq!(never.rate_per_s(None, reading(50, 0)), 0.0);
    }
}
