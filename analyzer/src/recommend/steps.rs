//! Samples or rollups gathered into the steps of each series, and what the steps say: pure sums over
//! rows, whatever order these come in.
//!
//! Reading rows and making tables is left to [`super::window`].

use std::collections::HashMap;
use std::sync::Arc;

/// Steps of a series that room is made for at once at most; for more it is made as they come.
const STEPS_AT_ONCE: usize = 64;

/// Some samples of a series: one, or those of a rollup.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Samples {
    pub(super) n: i64,
    pub(super) total: f64,
    pub(super) first: f64,
    pub(super) last: f64,
    pub(super) min: f64,
    pub(super) max: f64,
    pub(super) first_us: i64,
    pub(super) last_us: i64,
}

/// The samples of one step, which is counted in lengths of a step since 1970.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Step {
    pub(super) step: i64,
    pub(super) of: Samples,
}

/// What tells a series: each a number of [`Texts`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) component: u32,
    pub(super) metric: u32,
    pub(super) host: u32,
    pub(super) labels: u32,
}

/// How far a counter went in a step, and in how many seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Growth {
    pub(super) increase: f64,
    pub(super) seconds: f64,
}

/// Texts by number.
#[derive(Debug, Default)]
pub(super) struct Texts {
    numbers: HashMap<Arc<str>, u32>,
    texts: Vec<Arc<str>>,
}

/// The steps of every series.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    pub(super) texts: Texts,
    pub(super) series: Vec<(Key, Vec<Step>)>,
    places: HashMap<Key, usize>,
    /// The series that came after each one last time.
    after: Vec<usize>,
    at: usize,
    steps: usize,
    room: usize,
}

impl Samples {
    /// One sample.
    pub(super) fn one(value: f64, us: i64) -> Self {
        Self {
            n: 1,
            total: value,
            first: value,
            last: value,
            min: value,
            max: value,
            first_us: us,
            last_us: us,
        }
    }

    /// Takes in others of the same series.
    pub(super) fn add(&mut self, other: &Self) {
        self.n += other.n;
        self.total += other.total;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        if other.first_us < self.first_us {
            (self.first, self.first_us) = (other.first, other.first_us);
        }
        if other.last_us >= self.last_us {
            (self.last, self.last_us) = (other.last, other.last_us);
        }
    }

    pub(super) fn mean(&self) -> f64 {
        self.total / self.n as f64
    }

    /// Between the first and the last of them.
    pub(super) fn seconds(&self) -> f64 {
        (self.last_us - self.first_us) as f64 / 1e6
    }

    /// The growth since the step before. A counter that falls below half of its value has started
    /// anew, as for `counter_rate`; one that falls less has been corrected and stands still.
    pub(super) fn growth(&self, before: Option<&Self>) -> Growth {
        let between = match before.map(|before| before.last) {
            None => 0.0,
            Some(last) if self.first >= last => self.first - last,
            Some(last) if self.first < 0.5 * last => self.first,
            Some(_) => 0.0,
        };
        let within = if self.min < 0.5 * self.first || self.last < 0.5 * self.max {
            match self.max > self.last {
                true => self.max - self.first + self.last,
                false => self.last,
            }
        } else {
            (self.last - self.first).max(0.0)
        };
        let since_us = before.map_or(self.first_us, |before| before.last_us);
        Growth {
            increase: between + within,
            seconds: (self.last_us - since_us) as f64 / 1e6,
        }
    }
}

impl Growth {
    pub(super) fn rate_per_s(self) -> Option<f64> {
        (self.seconds > 0.0).then(|| self.increase / self.seconds)
    }
}

impl Texts {
    /// The number of a text, which gets one if it has none.
    pub(super) fn number(&mut self, text: &str) -> u32 {
        if let Some(number) = self.numbers.get(text) {
            return *number;
        }
        let number = u32::try_from(self.texts.len()).expect("fewer texts than numbers");
        let text: Arc<str> = Arc::from(text);
        self.texts.push(Arc::clone(&text));
        self.numbers.insert(text, number);
        number
    }

    pub(super) fn text(&self, number: u32) -> &str {
        &self.texts[number as usize]
    }

    /// The place of each text among all of them in their order.
    fn ranks(&self) -> Vec<u32> {
        let mut order: Vec<u32> = (0..).take(self.texts.len()).collect();
        order.sort_unstable_by_key(|number| self.text(*number));
        let mut ranks = vec![0; order.len()];
        for (rank, number) in (0..).zip(order) {
            ranks[number as usize] = rank;
        }
        ranks
    }
}

impl Gathered {
    /// For series of about so many steps.
    pub(super) fn of_steps(steps: usize) -> Self {
        Self {
            room: steps.min(STEPS_AT_ONCE),
            ..Self::default()
        }
    }

    /// About how much memory all of it takes.
    pub(super) fn bytes(&self) -> usize {
        let series = size_of::<(Key, Vec<Step>)>() + 2 * size_of::<(Key, usize)>();
        self.series.len() * series + self.steps * size_of::<Step>()
    }

    /// Takes in samples of a series.
    pub(super) fn add(&mut self, key: Key, step: i64, samples: &Samples) {
        let place = self.place(key);
        let steps = &mut self.series[place].1;
        let before = steps.len();
        match steps.last_mut() {
            Some(last) if last.step == step => last.of.add(samples),
            Some(last) if last.step > step => {
                match steps.binary_search_by_key(&step, |one| one.step) {
                    Ok(found) => steps[found].of.add(samples),
                    Err(free) => steps.insert(free, Step { step, of: *samples }),
                }
            }
            _ => steps.push(Step { step, of: *samples }),
        }
        self.steps += steps.len() - before;
    }

    /// Puts series in the order of their texts, so that nothing depends on how rows came.
    pub(super) fn sort(&mut self) {
        let ranks = self.texts.ranks();
        let rank = |number: u32| ranks[number as usize];
        self.series.sort_unstable_by_key(|(key, _)| {
            (
                rank(key.component),
                rank(key.metric),
                rank(key.host),
                rank(key.labels),
            )
        });
        self.places.clear();
        self.after.clear();
        self.at = 0;
    }

    /// Rows come series by series, or moment by moment with the series in the same order: it is
    /// mostly the same one again, or the one that followed last time.
    fn place(&mut self, key: Key) -> usize {
        let is = |place: usize| {
            self.series
                .get(place)
                .is_some_and(|(found, _)| *found == key)
        };
        if is(self.at) {
            return self.at;
        }
        let place = match self.after.get(self.at) {
            Some(next) if is(*next) => *next,
            _ => *self.places.entry(key).or_insert_with(|| {
                self.series.push((key, Vec::with_capacity(self.room)));
                self.after.push(0);
                self.series.len() - 1
            }),
        };
        if let Some(next) = self.after.get_mut(self.at) {
            *next = place;
        }
        self.at = place;
        place
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some(values: &[f64], from_us: i64) -> Samples {
        let mut times = (0..).map(|second| from_us + second * 1_000_000);
        let mut all = values
            .iter()
            .map(|value| Samples::one(*value, times.next().expect("a time")));
        let mut sum = all.next().expect("a value");
        all.for_each(|one| sum.add(&one));
        sum
    }

    #[test]
    fn counters_grow_within_steps_and_between_them_across_resets() {
        let before = some(&[90.0, 100.0], 0);
        let grown = |values: &[f64]| some(values, 10_000_000).growth(Some(&before)).increase;
        assert_eq!(grown(&[130.0, 140.0]), 40.0);
        // From zero again between the steps, and within one.
        assert_eq!(grown(&[5.0, 15.0]), 15.0);
        assert_eq!(grown(&[110.0, 120.0, 3.0, 8.0]), 10.0 + 10.0 + 8.0);
        // Corrected, not restarted.
        assert_eq!(grown(&[95.0, 94.0]), 0.0);
        let alone = before.growth(None);
        assert_eq!((alone.increase, alone.seconds), (10.0, 1.0));
        assert_eq!(alone.rate_per_s(), Some(10.0));
        assert_eq!(Samples::one(4.0, 7).growth(None).rate_per_s(), None);
        assert_eq!(some(&[1.0], 10_000_000).growth(Some(&before)).seconds, 9.0);
    }

    #[test]
    fn the_order_of_rows_does_not_matter() {
        let rows: Vec<(&str, i64)> = ["b", "a", "c"]
            .into_iter()
            .flat_map(|labels| (0..20).map(move |second| (labels, second)))
            .collect();
        let gather = |rows: &mut dyn Iterator<Item = &(&str, i64)>| {
            let mut all = Gathered::default();
            for (labels, second) in rows {
                let component = all.texts.number("host");
                let metric = all.texts.number("load");
                let host = all.texts.number("h1");
                let labels = all.texts.number(labels);
                let key = Key {
                    component,
                    metric,
                    host,
                    labels,
                };
                let one = Samples::one(*second as f64, second * 1_000_000);
                all.add(key, second / 6, &one);
            }
            all.sort();
            let told =
                |(key, steps): (Key, Vec<Step>)| (all.texts.text(key.labels).to_owned(), steps);
            std::mem::take(&mut all.series)
                .into_iter()
                .map(told)
                .collect::<Vec<_>>()
        };
        let straight = gather(&mut rows.iter());
        assert_eq!(straight.len(), 3);
        assert_eq!(straight[0].0, "a");
        assert_eq!(
            straight[0]
                .1
                .iter()
                .map(|step| step.of.n)
                .collect::<Vec<_>>(),
            [6, 6, 6, 2]
        );
        assert_eq!(straight[0].1[1].of.mean(), 8.5);
        assert_eq!(gather(&mut rows.iter().rev()), straight);
        let mut mixed = rows.clone();
        mixed.sort_by_key(|(labels, second)| (second * 7 % 20, *labels));
        assert_eq!(gather(&mut mixed.iter()), straight);
    }
}
