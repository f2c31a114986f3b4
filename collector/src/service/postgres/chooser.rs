//! Which statements are reported: those that took most time and those that were called most since the
//! last reading, and those that recently were among them. Pure.

use std::collections::HashMap;

/// A statement that was among the first stays reported for so long.
const STAYS_US: i64 = 900_000_000;
/// One that is not read any more is remembered for so long, lest its whole past counts as new.
const REMEMBERED_US: i64 = 3_600_000_000;
/// At most so many times the number asked for are reported.
const MOST: usize = 4;

/// What distinguishes a statement: the object ids of database and role, and the fingerprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Key {
    pub(super) database: u32,
    pub(super) role: u32,
    pub(super) query: i64,
}

/// What a statement came to since it is known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Total {
    pub(super) key: Key,
    pub(super) calls: f64,
    pub(super) seconds: f64,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    calls: f64,
    seconds: f64,
    at_us: i64,
}

/// Chooses, reading after reading.
#[derive(Debug, Default)]
pub(super) struct Chooser {
    seen: HashMap<Key, Seen>,
    /// When a statement was last among the first.
    kept: HashMap<Key, i64>,
}

/// What is new since the last reading.
#[derive(Debug, Default)]
pub(super) struct Chosen {
    /// Which are reported, in a stable order.
    pub(super) keys: Vec<Key>,
    /// For every statement read what it came to since then.
    pub(super) growth: Vec<Total>,
}

impl Chooser {
    /// Takes a reading; `top` by time and as many by calls are chosen.
    pub(super) fn choose(&mut self, ts_us: i64, totals: &[Total], top: usize) -> Chosen {
        let growth: Vec<Total> = totals.iter().map(|total| self.growth(*total)).collect();
        for total in totals {
            let seen = Seen {
                calls: total.calls,
                seconds: total.seconds,
                at_us: ts_us,
            };
            self.seen.insert(total.key, seen);
        }
        self.seen.retain(|_, seen| ts_us - seen.at_us < REMEMBERED_US);
        for measure in [|total: &Total| total.seconds, |total: &Total| total.calls] {
            for key in first(&growth, top, measure) {
                self.kept.insert(key, ts_us);
            }
        }
        self.kept.retain(|_, since_us| ts_us - *since_us < STAYS_US);
        let mut kept: Vec<(i64, Key)> = self.kept.iter().map(|(key, us)| (-us, *key)).collect();
        kept.sort_unstable();
        for (_, key) in kept.split_off(kept.len().min(MOST * top)) {
            self.kept.remove(&key);
        }
        let mut keys: Vec<Key> = kept
            .into_iter()
            .map(|(_, key)| key)
            .filter(|key| self.seen.get(key).is_some_and(|seen| seen.at_us == ts_us))
            .collect();
        keys.sort_unstable();
        Chosen { keys, growth }
    }

    /// Counters that shrink have begun anew.
    fn growth(&self, total: Total) -> Total {
        match self.seen.get(&total.key) {
            Some(seen) if total.calls >= seen.calls => Total {
                calls: total.calls - seen.calls,
                seconds: (total.seconds - seen.seconds).max(0.0),
                ..total
            },
            _ => total,
        }
    }
}

/// The keys of the largest that are not zero; of equal ones the smaller key comes first.
fn first(growth: &[Total], top: usize, measure: impl Fn(&Total) -> f64) -> Vec<Key> {
    let mut ranked: Vec<(f64, Key)> = growth
        .iter()
        .map(|total| (measure(total), total.key))
        .filter(|(value, _)| *value > 0.0)
        .collect();
    let order = |a: &(f64, Key), b: &(f64, Key)| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1));
    if ranked.len() > top {
        ranked.select_nth_unstable_by(top, order);
        ranked.truncate(top);
    }
    ranked.into_iter().map(|(_, key)| key).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;

    fn total(query: i64, calls: f64, seconds: f64) -> Total {
        let key = Key {
            database: 1,
            role: 2,
            query,
        };
        Total {
            key,
            calls,
            seconds,
        }
    }

    fn queries(chosen: &Chosen) -> Vec<i64> {
        chosen.keys.iter().map(|key| key.query).collect()
    }

    #[test]
    fn the_slowest_and_the_most_frequent_are_chosen_and_stay_for_a_while() {
        let mut chooser = Chooser::default();
        let first = [total(1, 5.0, 9.0), total(2, 90.0, 1.0), total(3, 4.0, 0.5)];
        assert_eq!(queries(&chooser.choose(SECOND, &first, 1)), [1, 2]);
        // Only the third has grown: it comes in, and the others do not flap.
        let second = [total(1, 5.0, 9.0), total(2, 90.0, 1.0), total(3, 5.0, 2.5)];
        let chosen = chooser.choose(31 * SECOND, &second, 1);
        assert_eq!(queries(&chosen), [1, 2, 3]);
        assert_eq!(chosen.growth[2], total(3, 1.0, 2.0));
        let later = chooser.choose(2_000 * SECOND, &second, 1);
        assert_eq!(queries(&later), [0; 0], "nothing has grown for long");
    }

    #[test]
    fn a_reset_and_a_gap_are_not_growth() {
        let mut chooser = Chooser::default();
        chooser.choose(SECOND, &[total(1, 100.0, 50.0)], 5);
        let reset = chooser.choose(2 * SECOND, &[total(1, 3.0, 1.0)], 5);
        assert_eq!(reset.growth, [total(1, 3.0, 1.0)]);
        chooser.choose(3 * SECOND, &[], 5);
        let back = chooser.choose(4 * SECOND, &[total(1, 4.0, 1.5)], 5);
        assert_eq!(back.growth, [total(1, 1.0, 0.5)], "it had merely not been read");
    }

    #[test]
    fn the_number_is_bounded() {
        let mut chooser = Chooser::default();
        for pass in 0..50 {
            let totals: Vec<Total> = (0..10)
                .map(|at| total(pass * 10 + at, 1.0 + at as f64, 1.0))
                .collect();
            let chosen = chooser.choose(pass * SECOND, &totals, 3);
            assert!(chosen.keys.len() <= 6 && chooser.kept.len() <= 12);
        }
    }
}
