//! What warming will bring, from a sequence of accesses: what came before says which keys are wanted,
//! what comes after, which the choice has not seen, what having them would have changed. Judged on
//! the traffic that chose the keys, warming looks better than it is.

use std::collections::HashMap;

use crate::action::WarmKey;

/// Stretches that the newer part is cut into, each of which is tried.
const TRIALS: usize = 10;
/// Least accesses on each side.
const ACCESSES_MIN: usize = 100;
/// Student's t for 9 degrees of freedom, two-sided 95 %.
const T_95: f64 = 2.262;

/// One access to the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// When, in microseconds.
    pub ts_us: i64,
    /// Which key.
    pub key: String,
}

/// How the cache behaves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CacheModel {
    /// How long an entry lives that a miss has filled; `None` is for ever.
    pub fill_ttl_us: Option<i64>,
    /// How long a warmed entry lives.
    pub warm_ttl_us: i64,
    /// Whether the cache is empty when the newer part begins, as after a restart; otherwise it holds
    /// what the older part left.
    pub cold: bool,
}

/// What warming will bring.
#[derive(Debug, Clone, PartialEq)]
pub struct WarmEstimate {
    /// The keys, the most wanted first.
    pub keys: Vec<WarmKey>,
    /// The hit ratio of the newer part without warming.
    pub hit_ratio: f64,
    /// The hit ratio gained.
    pub gain: f64,
    /// The interval of what will be measured of it, 95 %, where as much traffic is measured before and
    /// after as the newer part had.
    pub interval: (f64, f64),
}

/// What warming the `count` most wanted keys would have brought to traffic that had not chosen them.
///
/// The part of the time from `train` on is cut into [`TRIALS`] stretches. For each of them the keys
/// are chosen from all that came before it, and the stretch is replayed on the cache as it was then,
/// with and without them (evaluation with a rolling origin: Tashman, "Out-of-sample tests of
/// forecasting accuracy", Int. J. Forecasting 16, 2000). The keys of the answer are those that the
/// whole has chosen. `None` if there is too little of either.
pub fn held_out(
    accesses: &[Access],
    train: f64,
    count: usize,
    model: &CacheModel,
) -> Option<WarmEstimate> {
    let (first, last) = (accesses.first()?.ts_us, accesses.last()?.ts_us);
    let begin_us = first + ((last - first) as f64 * train.clamp(0.0, 1.0)) as i64;
    let begin = accesses.partition_point(|access| access.ts_us < begin_us);
    let (older, newer) = accesses.split_at(begin);
    if older.len() < ACCESSES_MIN || newer.len() < ACCESSES_MIN || begin_us <= first {
        return None;
    }
    let mut plain: HashMap<&str, i64> = HashMap::new();
    if !model.cold {
        for access in older {
            look_up(&mut plain, access, model);
        }
    }
    let span = (last - begin_us).max(1) as f64;
    let end = |number: usize| {
        let end_us = begin_us + (span * number as f64 / TRIALS as f64) as i64;
        match number {
            TRIALS => accesses.len(),
            _ => accesses.partition_point(|access| access.ts_us < end_us),
        }
    };
    let mut trials = Vec::with_capacity(TRIALS);
    let mut from = begin;
    for number in 1..=TRIALS {
        let (before, after) = accesses.split_at(from);
        let tried = &after[..end(number).saturating_sub(from)];
        if model.cold {
            plain.clear();
        }
        trials.push(try_out(before, tried, count, model, &mut plain));
        from += tried.len();
    }
    let seconds = (last - first) as f64 / 1e6;
    let keys = most_wanted(accesses, count).into_iter();
    let keys = keys.map(|(key, count)| WarmKey {
        key: key.to_owned(),
        rate_per_s: count as f64 / seconds,
    });
    Some(summed(keys.collect(), &trials))
}

/// Accesses, and how many of them hit without warming and with it.
#[derive(Debug, Clone, Copy, Default)]
struct Trial {
    accesses: u64,
    plain: u64,
    warmed: u64,
}

/// Replays `tried` on the cache as it is, which goes on, and on one that is warmed with the most
/// wanted keys of `before`.
fn try_out<'a>(
    before: &'a [Access],
    tried: &'a [Access],
    count: usize,
    model: &CacheModel,
    plain: &mut HashMap<&'a str, i64>,
) -> Trial {
    let mut trial = Trial::default();
    let Some(origin_us) = tried.first().map(|access| access.ts_us) else {
        return trial;
    };
    let mut warmed = plain.clone();
    for (key, _) in most_wanted(before, count) {
        // SET NX: an entry that lives is left as it is.
        if warmed.get(key).is_none_or(|until| *until <= origin_us) {
            warmed.insert(key, origin_us.saturating_add(model.warm_ttl_us));
        }
    }
    for access in tried {
        trial.accesses += 1;
        trial.plain += u64::from(look_up(plain, access, model));
        trial.warmed += u64::from(look_up(&mut warmed, access, model));
    }
    trial
}

/// The keys that were asked for most, with how often.
fn most_wanted(accesses: &[Access], count: usize) -> Vec<(&str, u64)> {
    let mut counts: HashMap<&str, u64> = HashMap::new();
    for access in accesses {
        *counts.entry(&access.key).or_default() += 1;
    }
    let mut all: Vec<(&str, u64)> = counts.into_iter().collect();
    all.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
    all.truncate(count);
    all
}

/// Whether the key is there; a miss fills it.
fn look_up<'a>(cache: &mut HashMap<&'a str, i64>, access: &'a Access, model: &CacheModel) -> bool {
    let hit = cache
        .get(access.key.as_str())
        .is_some_and(|until| *until > access.ts_us);
    if !hit {
        let until = model
            .fill_ttl_us
            .map_or(i64::MAX, |ttl| access.ts_us.saturating_add(ttl));
        cache.insert(&access.key, until);
    }
    hit
}

fn summed(keys: Vec<WarmKey>, trials: &[Trial]) -> WarmEstimate {
    let ratio = |hits: u64, all: u64| hits as f64 / all.max(1) as f64;
    let sum = |of: fn(&Trial) -> u64| trials.iter().map(of).sum::<u64>();
    let total = sum(|trial| trial.accesses);
    let plain = ratio(sum(|trial| trial.plain), total);
    let gain = ratio(sum(|trial| trial.warmed), total) - plain;
    let ratios = |hits: fn(&Trial) -> u64| -> Vec<f64> {
        let seen = trials.iter().filter(|trial| trial.accesses > 0);
        seen.map(|trial| ratio(hits(trial), trial.accesses))
            .collect()
    };
    // Both sides here saw the same traffic; what is measured later does not, so that the noise of
    // either side counts: once for this estimate, and once for that measurement.
    let noise = variance(&ratios(|trial| trial.plain)) + variance(&ratios(|trial| trial.warmed));
    let error = (2.0 * noise).sqrt();
    WarmEstimate {
        keys,
        hit_ratio: plain,
        gain,
        interval: (
            (gain - T_95 * error).max(-1.0),
            (gain + T_95 * error).min(1.0),
        ),
    }
}

/// The variance of the mean, from the spread of the blocks.
fn variance(ratios: &[f64]) -> f64 {
    if ratios.len() < 2 {
        return f64::INFINITY;
    }
    let count = ratios.len() as f64;
    let mean = ratios.iter().sum::<f64>() / count;
    let squares: f64 = ratios.iter().map(|r| (r - mean).powi(2)).sum();
    squares / (count - 1.0) / count
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Traffic in which key `n` of 200 is asked for in proportion to `1 / (n + 1)`.
    fn zipf(count: usize) -> Vec<Access> {
        let weights: Vec<f64> = (0..200).map(|n| 1.0 / f64::from(n + 1)).collect();
        let total: f64 = weights.iter().sum();
        let mut state = 42_u64;
        let mut draw = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let mut left = (state >> 11) as f64 / (1_u64 << 53) as f64 * total;
            let found = weights.iter().position(|weight| {
                left -= weight;
                left < 0.0
            });
            found.unwrap_or(199)
        };
        (0..count)
            .map(|at| Access {
                ts_us: at as i64 * 1_000,
                key: format!("k{}", draw()),
            })
            .collect()
    }

    fn model(cold: bool) -> CacheModel {
        CacheModel {
            fill_ttl_us: Some(100_000),
            warm_ttl_us: 3_600_000_000,
            cold,
        }
    }

    #[test]
    fn wanted_keys_bring_more_than_few_and_the_interval_holds_the_gain() {
        let accesses = zipf(20_000);
        let gain = |count| held_out(&accesses, 0.5, count, &model(true)).expect("enough");
        let (few, many) = (gain(5), gain(50));
        assert_eq!(few.keys[0].key, "k0");
        assert!(many.gain > few.gain && few.gain > 0.0, "{few:?}");
        assert!(many.interval.0 <= many.gain && many.gain <= many.interval.1);
        assert!(
            many.interval.1 - many.interval.0 < 0.2,
            "{:?}",
            many.interval
        );
        assert!((many.hit_ratio + many.gain) <= 1.0);
    }

    #[test]
    fn warming_what_the_cache_keeps_for_ever_brings_nothing() {
        let forever = CacheModel {
            fill_ttl_us: None,
            ..model(false)
        };
        let estimate = held_out(&zipf(20_000), 0.5, 50, &forever).expect("enough");
        assert!(estimate.gain.abs() < 1e-9, "{estimate:?}");
    }

    #[test]
    fn too_little_traffic_gives_no_estimate() {
        assert_eq!(held_out(&zipf(150), 0.5, 5, &model(true)), None);
        assert_eq!(held_out(&[], 0.5, 5, &model(true)), None);
    }

    #[test]
    fn the_same_traffic_gives_the_same_estimate() {
        let accesses = zipf(5_000);
        let one = held_out(&accesses, 0.6, 20, &model(false));
        assert_eq!(one, held_out(&accesses, 0.6, 20, &model(false)));
    }
}
