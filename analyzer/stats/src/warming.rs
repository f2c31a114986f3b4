//! What it would bring to load the most popular keys into an empty cache before traffic comes.
//!
//! Predicted on later traffic than the keys were chosen from. On the same traffic the prediction is
//! too rosy, because keys that were popular by luck are counted as if they stayed so; how much too
//! rosy is part of the answer.

use crate::hot::Popularity;
use crate::reuse::{Interval, Stack, mix};
use crate::student::student_quantile;

/// Fewer windows than this give no spread to speak of.
pub const FEWEST_WINDOWS: usize = 4;
/// A window holds at least so many references.
pub const FEWEST_PER_WINDOW: usize = 100;

/// How warming is tried out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Plan {
    /// Keys to warm.
    pub keys: usize,
    /// What the cache holds, in objects.
    pub capacity: usize,
    /// Parts that the trace is cut into. Keys are chosen in one and tried in the next.
    pub windows: usize,
    /// Confidence of the interval.
    pub confidence: f64,
}

/// What warming would bring.
#[derive(Debug, Clone, PartialEq)]
pub enum Warming {
    /// Nothing was traced.
    NoTrace,
    /// The trace is too short to keep a part of it from the choice of keys.
    TooShort {
        /// References that there are.
        references: usize,
    },
    /// The benefit.
    Gain(Gain),
}

/// The benefit of warming over the next window, which begins with an empty cache.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Gain {
    /// Share of hits without warming.
    pub cold: f64,
    /// Share of hits with it.
    pub warm: f64,
    /// What is added to the share of hits, with the interval of the *next* window's value.
    pub added: Interval,
    /// What would be added if the keys were chosen by the very traffic that they are tried on: no
    /// prediction, but the measure of how rosy one on the training traffic is.
    pub added_in_hindsight: f64,
    /// Misses avoided in a window per key that was loaded: the payback. Below 1 the loads cost the
    /// backend more than they spare it within a window.
    pub hits_per_key: f64,
    /// References of a window.
    pub window: usize,
    /// Times that it was tried.
    pub trials: usize,
}

/// Cuts the trace into windows of equal length, in time order; for each but the last chooses its
/// most popular keys, and replays the next one on an LRU cache, empty or warmed with them.
///
/// This is evaluation with a rolling origin (Tashman, "Out-of-sample tests of forecasting accuracy",
/// Int. J. Forecasting 16, 2000) with training windows of constant length. The interval is that of
/// a further observation of a normal sample (Hahn and Meeker, "Statistical intervals", 1991, 4.7).
pub fn warming(trace: &[u64], plan: Plan) -> Warming {
    if trace.is_empty() {
        return Warming::NoTrace;
    }
    let window = trace.len() / plan.windows.max(1);
    if plan.windows < FEWEST_WINDOWS || window < FEWEST_PER_WINDOW {
        return Warming::TooShort {
            references: trace.len(),
        };
    }
    let windows: Vec<&[u64]> = trace.chunks_exact(window).take(plan.windows).collect();
    let trials: Vec<Trial> = windows
        .windows(2)
        .map(|pair| Trial::of(pair[0], pair[1], plan))
        .collect();
    let mean = |of: fn(&Trial) -> f64| trials.iter().map(of).sum::<f64>() / trials.len() as f64;
    let added = mean(Trial::added);
    let n = trials.len() as f64;
    let squares: f64 = trials.iter().map(|t| (t.added() - added).powi(2)).sum();
    let deviation = (squares / (n - 1.0)).sqrt();
    let t = student_quantile(0.5 + 0.5 * plan.confidence, n - 1.0);
    let half = t * deviation * (1.0 + 1.0 / n).sqrt();
    let loaded = mean(|trial| trial.loaded).max(1.0);
    Warming::Gain(Gain {
        cold: mean(|trial| trial.cold),
        warm: mean(|trial| trial.warm),
        added: Interval {
            value: added,
            lo: (added - half).max(-1.0),
            hi: (added + half).min(1.0),
        },
        added_in_hindsight: mean(|trial| trial.hindsight - trial.cold),
        hits_per_key: added * window as f64 / loaded,
        window,
        trials: trials.len(),
    })
}

/// Shares of hits in one window.
struct Trial {
    cold: f64,
    warm: f64,
    hindsight: f64,
    loaded: f64,
}

impl Trial {
    fn of(training: &[u64], test: &[u64], plan: Plan) -> Self {
        // Keys beyond the capacity would only push out better ones.
        let keys = plan.keys.min(plan.capacity);
        let popularity = Popularity::of(training);
        let chosen = popularity.top(keys);
        let hindsight = Popularity::of(test);
        Self {
            cold: hits(&[], test, plan.capacity),
            warm: hits(chosen, test, plan.capacity),
            hindsight: hits(hindsight.top(keys), test, plan.capacity),
            loaded: chosen.len() as f64,
        }
    }

    fn added(&self) -> f64 {
        self.warm - self.cold
    }
}

/// The share of hits of an LRU cache that holds these keys before.
fn hits(loaded: &[(u64, u64)], test: &[u64], capacity: usize) -> f64 {
    let mut stack = Stack::default();
    // The most popular last, so that it is the last to be pushed out.
    for (key, _) in loaded.iter().rev() {
        stack.touch(mix(*key), 1, 0);
    }
    let hit = |key: &u64| {
        let touch = stack.touch(mix(*key), 1, 0);
        touch.is_some_and(|touch| touch.others < capacity as u64)
    };
    test.iter().map(hit).filter(|hit| *hit).count() as f64 / test.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reuse::traces::{scan, zipf};

    fn plan(keys: usize) -> Plan {
        Plan {
            keys,
            capacity: 20_000,
            windows: 6,
            confidence: 0.95,
        }
    }

    fn gain(trace: &[u64], plan: Plan) -> Gain {
        match warming(trace, plan) {
            Warming::Gain(gain) => gain,
            other => panic!("no gain: {other:?}"),
        }
    }

    #[test]
    fn the_next_window_lies_in_the_interval() {
        let (mut covered, mut rosy, cases) = (0, 0, 40);
        for seed in 0..cases {
            let trace = zipf(10_000, 0.9, 56_000, seed);
            let (past, next) = trace.split_at(48_000);
            let found = gain(past, plan(1_000));
            let training = Popularity::of(&past[40_000..]);
            let real = hits(training.top(1_000), next, 20_000) - hits(&[], next, 20_000);
            covered += u32::from(found.added.lo <= real && real <= found.added.hi);
            rosy += u32::from(found.added_in_hindsight > found.added.hi);
        }
        println!("covered {covered}, too rosy {rosy} of {cases}");
        // Three standard errors of 95 % in 40 cases are 0.10.
        assert!(covered >= 34, "{covered}");
        assert!(rosy >= 36, "{rosy}");
    }

    #[test]
    fn popular_keys_are_worth_more_than_others_and_the_first_the_most() {
        let trace = zipf(20_000, 0.9, 60_000, 3);
        let (few, many) = (gain(&trace, plan(500)), gain(&trace, plan(3_000)));
        assert!(few.cold < 0.6 && few.warm > few.cold, "{few:?}");
        assert!(many.added.value > few.added.value, "{few:?} {many:?}");
        assert!(few.hits_per_key > many.hits_per_key, "{few:?} {many:?}");
        // Keys that were seen, but by the order of their hashes and not by popularity.
        let (training, test) = (&trace[..10_000], &trace[10_000..20_000]);
        let mut seen: Vec<(u64, u64)> = Popularity::of(training).top(usize::MAX).to_vec();
        seen.sort_by_key(|(key, _)| mix(*key));
        let random = hits(&seen[..500], test, 20_000) - hits(&[], test, 20_000);
        assert!(few.added.value > 2.0 * random, "{few:?} {random}");
    }

    #[test]
    fn nothing_is_gained_where_nothing_returns() {
        let found = gain(&scan(0, 6_000), plan(500));
        assert_eq!(
            (found.cold, found.warm, found.hits_per_key),
            (0.0, 0.0, 0.0)
        );
        assert_eq!((found.added.lo, found.added.hi), (0.0, 0.0));
        assert!(found.added_in_hindsight > 0.4, "{found:?}");
    }

    #[test]
    fn warming_does_not_load_more_than_fits() {
        let small = Plan {
            capacity: 50,
            ..plan(5_000)
        };
        let trace = zipf(5_000, 0.9, 12_000, 5);
        let exact = Plan { keys: 50, ..small };
        assert_eq!(warming(&trace, small), warming(&trace, exact));
    }

    #[test]
    fn without_enough_traffic_there_is_no_answer() {
        assert_eq!(warming(&[], plan(10)), Warming::NoTrace);
        let short = Warming::TooShort { references: 500 };
        assert_eq!(warming(&scan(0, 500), plan(10)), short);
        let whole = Plan {
            windows: 1,
            ..plan(10)
        };
        assert_eq!(warming(&scan(0, 500), whole), short);
    }
}
