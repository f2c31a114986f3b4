//! Change points of series that may follow the day, judged from their first hours on.
//!
//! The slopes and edges of a cycle look like steps: morning is a rise that lasts. From the second day
//! on a series that follows the day is therefore held against its own earlier days at the same time,
//! and from the second week on a change must not have come a week ago as well. Before the second day
//! only what moves more abruptly than anything else in the series counts.
//!
//! What is said is said of the last day; steps in the first one cannot be told from its cycle. From
//! three weeks on [`crate::seasonal`] knows the week and does better. A first weekend looks like a change:
//! on such a day, too, only what moves abruptly counts. Steps themselves are found by [`crate::changepoint`].

use crate::changepoint::{self, ChangePoint};
use crate::robust::median;
use crate::seasonal::center;
use crate::shift;

/// Days of a week.
const WEEK: usize = 7;
/// Days from which on the whole week can be removed.
const KNOWN_DAYS: usize = 3 * WEEK;
/// Parts of a day whose levels are compared from day to day.
const PARTS: usize = 24;
/// Distances, in parts of a day, that a cycle shows in: a quarter of it to three.
const APART: [usize; 4] = [6, 8, 12, 18];
/// The same times of different days are at most so far apart, as a share of the furthest other times,
/// in a series that follows the day. A cycle that is taken for noise raises alarms, noise that
/// is taken for a cycle costs some power; so this is far above what a clear cycle shows.
const FOLLOWS: f64 = 0.8;
/// Windows on either side of an edge: twenty minutes, or this part of a short series, but some samples
/// at least.
const EDGES_OF_DAY: usize = 72;
const EDGES_OF_SERIES: usize = 24;
const LEAST_EDGE: usize = 3;
/// An abrupt change is so many times as large as the next edge of the series.
const ABRUPT: f64 = 1.6;
/// An edge beside a step is its shadow up to this share of it; of a clean step it is half.
const SHADOW: f64 = 0.75;
/// A level that lasts no longer, and after which the series is back, is an event of a day and no lasting
/// change, as long as no other day is known to hold it against.
const BRIEF_HOURS: usize = 3;
/// The share of a change that must be seen in other ways too: as an edge, or against last week.
const SEEN: f64 = 0.5;

/// What is known of a series besides its values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Options {
    /// Samples of a day.
    pub per_day: usize,
    /// Whether the last day is one that a week sets apart from the days before it: Saturday, Sunday, and
    /// the Monday after.
    pub weekend: bool,
    /// How steps are looked for.
    pub steps: changepoint::Options,
}

impl Options {
    /// For so many samples a day, and a last day that is like the days before it.
    pub fn of_day(per_day: usize) -> Self {
        Self {
            per_day,
            weekend: false,
            steps: changepoint::Options::default(),
        }
    }
}

/// The lasting steps of a series, in time order.
///
/// Samples are evenly spaced; what is missing is NaN, and keeps its place. Indices refer to the slice
/// as given. Effects of series that follow the day are against earlier days at the same time.
pub fn detect(values: &[f64], options: &Options) -> Vec<ChangePoint> {
    let (n, per_day) = (values.len(), options.per_day);
    if n >= KNOWN_DAYS * per_day || per_day < PARTS {
        return changepoint::detect(values, &options.steps);
    }
    let series = Scaled::new(values);
    if n < 2 * per_day {
        let changes = changepoint::detect(values, &options.steps);
        let parts = parts(&changes, n);
        let window = (per_day / EDGES_OF_DAY).min(n / EDGES_OF_SERIES);
        let window = window.max(LEAST_EDGE);
        let mut kept = changes.clone();
        let confidence = options.steps.confidence;
        keep(&mut kept, &parts, |change, part| {
            !series.is_brief(per_day, &changes, part)
                && (series.is_abrupt(change, window)
                    || series.moves_against(change, per_day, part, confidence))
        });
        return kept;
    }
    let mut changes = match series.follows_day(per_day) {
        true => series.against_earlier_days(values, options),
        false => changepoint::detect(values, &options.steps),
    };
    if n > WEEK * per_day {
        let parts = parts(&changes, n);
        keep(&mut changes, &parts, |change, part| {
            series.is_new_to_the_week(change, per_day, part)
        });
    }
    changes
}

/// [`detect`] for samples at these times in seconds, in order and `step_s` apart but for gaps. Indices refer
/// to the samples as given.
pub fn detect_at(at_s: &[i64], values: &[f64], step_s: i64, options: &Options) -> Vec<ChangePoint> {
    let (Some(first), Some(last)) = (at_s.first(), at_s.last()) else {
        return Vec::new();
    };
    let place = |at_s: &i64| {
        let since = at_s.saturating_sub(*first) / step_s.max(1);
        usize::try_from(since).unwrap_or(0)
    };
    let n = place(last).saturating_add(1);
    if n == values.len() {
        return detect(values, options);
    }
    // What is missing keeps its place in the day, as far as days count: one gap may be of any length.
    if n >= KNOWN_DAYS * options.per_day {
        return changepoint::detect(values, &options.steps);
    }
    let mut spread = vec![f64::NAN; n];
    for (at_s, value) in at_s.iter().zip(values) {
        spread[place(at_s)] = *value;
    }
    let mut changes = detect(&spread, options);
    for change in &mut changes {
        change.index = at_s.partition_point(|at_s| place(at_s) < change.index);
    }
    changes
}

/// Values on a scale where a step is a shift: logarithms where all are positive.
struct Scaled {
    values: Vec<f64>,
    logarithmic: bool,
}

/// A change's place, and where the levels before and after it begin and end.
#[derive(Clone, Copy)]
struct Part {
    from: usize,
    at: usize,
    until: usize,
}

impl Scaled {
    fn new(values: &[f64]) -> Self {
        let positive = |value: &f64| !value.is_finite() || *value > 0.0;
        let logarithmic = values.iter().all(positive);
        Self {
            values: match logarithmic {
                true => values.iter().map(|value| value.ln()).collect(),
                false => values.to_vec(),
            },
            logarithmic,
        }
    }

    /// The size of a change on this scale.
    fn size(&self, change: &ChangePoint) -> f64 {
        match (self.logarithmic, change.relative) {
            (true, Some(relative)) => relative.ln_1p(),
            _ => change.effect,
        }
    }

    /// Whether the same hours of different days are more alike than other hours.
    fn follows_day(&self, per_day: usize) -> bool {
        let hours = self.values.chunks_exact(per_day / PARTS);
        let levels: Vec<f64> = hours.map(|hour| mean(hour).unwrap_or(f64::NAN)).collect();
        let distance = |lag: usize| {
            let apart = levels.iter().skip(lag).zip(&levels);
            let apart: Vec<f64> = apart.map(|(late, early)| (late - early).abs()).collect();
            mean(&apart)
        };
        let furthest = APART.into_iter().filter_map(distance).reduce(f64::max);
        match (distance(PARTS), furthest) {
            (Some(same), Some(other)) => same < FOLLOWS * other,
            _ => false,
        }
    }

    /// The steps of all days but the first, each sample taken against the earlier days at the same time.
    ///
    /// A day that began with a step is itself an earlier day later on, and the step then looks like one
    /// back: from away from the earlier days to nearer to them. Such steps are left out.
    fn against_earlier_days(&self, values: &[f64], options: &Options) -> Vec<ChangePoint> {
        let per_day = options.per_day;
        let Some(level) = middle(values) else {
            return Vec::new();
        };
        let mut earlier = Vec::new();
        let mut moved = Vec::with_capacity(values.len() - per_day);
        for at in per_day..values.len() {
            let same_time = self.values[at % per_day..at].iter().step_by(per_day);
            earlier.clear();
            earlier.extend(same_time.filter(|value| value.is_finite()));
            moved.push(match earlier.is_empty() {
                true => f64::NAN,
                false => self.moved(level, self.values[at] - center(&mut earlier)),
            });
        }
        let mut changes = changepoint::detect(&moved, &options.steps);
        let parts = parts(&changes, moved.len());
        keep(&mut changes, &parts, |_, part| {
            let away = |part: &[f64]| middle(part).map_or(0.0, |middle| (middle - level).abs());
            away(&moved[part.from..part.at]) < away(&moved[part.at..part.until])
        });
        if options.weekend && values.len() <= (WEEK + 1) * per_day {
            let series = Self::new(&moved);
            let window = (per_day / EDGES_OF_DAY).max(LEAST_EDGE);
            changes.retain(|change| series.is_abrupt(change, window));
        }
        for change in &mut changes {
            change.index += per_day;
        }
        changes
    }

    /// A level moved by a distance on this scale.
    fn moved(&self, level: f64, by: f64) -> f64 {
        match self.logarithmic {
            true => level * by.exp(),
            false => level + by,
        }
    }

    /// What each sample is above the one a lag before, on both sides of a place, up to a day from it.
    fn against(&self, lag: usize, per_day: usize, part: Part) -> (Vec<f64>, Vec<f64>) {
        let from = part.from.max(lag).max(part.at.saturating_sub(per_day));
        let until = part.until.min(part.at + per_day);
        let above = |range: std::ops::Range<usize>| {
            crate::finite(range.map(|at| self.values[at] - self.values[at - lag]))
        };
        (
            above(from.min(part.at)..part.at),
            above(part.at.max(lag)..until),
        )
    }

    /// Whether a change begins or ends a level of some hours after which the series is back.
    fn is_brief(&self, per_day: usize, changes: &[ChangePoint], part: Part) -> bool {
        let n = self.values.len();
        let bound = |place: usize| match place {
            0 => 0,
            place => changes.get(place - 1).map_or(n, |change| change.index),
        };
        let number = changes.partition_point(|change| change.index < part.at);
        [number, number + 1].into_iter().any(|level| {
            if level == 0 || level == changes.len() {
                return false;
            }
            let levels = [level - 1, level, level + 1]
                .map(|level| middle(&self.values[bound(level)..bound(level + 1)]));
            let [Some(before), Some(during), Some(after)] = levels else {
                return false;
            };
            let brief = bound(level + 1) - bound(level) <= BRIEF_HOURS * per_day / PARTS;
            brief && (after - before).abs() < (1.0 - SEEN) * (during - before).abs()
        })
    }

    /// Whether a series leaves at a place what it did a day before, surely and by most of a change.
    fn moves_against(
        &self,
        change: &ChangePoint,
        per_day: usize,
        part: Part,
        confidence: f64,
    ) -> bool {
        let (before, after) = self.against(per_day, per_day, part);
        let (Some(early), Some(late)) = (median(&before), median(&after)) else {
            return false;
        };
        let Some(shift) = shift(&before, &after, confidence) else {
            return false;
        };
        let sure = shift
            .ci_lo
            .zip(shift.ci_hi)
            .is_some_and(|(lo, hi)| lo > 0.0 || hi < 0.0);
        sure && early.abs() < late.abs() && (late - early) / self.size(change) > SEEN
    }

    /// Whether a change did not come a week before as well; so where nothing is known of that time.
    fn is_new_to_the_week(&self, change: &ChangePoint, per_day: usize, part: Part) -> bool {
        let (before, after) = self.against(WEEK * per_day, per_day, part);
        match (median(&before), median(&after)) {
            (Some(before), Some(after)) => (after - before) / self.size(change) > SEEN,
            _ => true,
        }
    }

    /// Whether the series moves at once at a change, and more so than anywhere else.
    fn is_abrupt(&self, change: &ChangePoint, window: usize) -> bool {
        let places = 2 * window..(self.values.len() + 1).saturating_sub(2 * window);
        let edges: Vec<(usize, f64)> = places
            .filter_map(|at| Some((at.abs_diff(change.index), self.edge(at, window)?.abs())))
            .collect();
        let near = edges.iter().filter(|(apart, _)| *apart <= window);
        let here = near.fold(0.0_f64, |most, (_, edge)| most.max(*edge));
        let others = edges.iter().filter(|(apart, edge)| {
            *apart > 3 * window || (*apart > window && *edge > SHADOW * here)
        });
        let elsewhere = others.fold(0.0_f64, |most, (_, edge)| most.max(*edge));
        here > ABRUPT * elsewhere && here > SEEN * self.size(change).abs()
    }

    /// By how much the level moves from one window to the next beyond what it moves on either side: a
    /// slope has no edge.
    fn edge(&self, at: usize, window: usize) -> Option<f64> {
        let mut levels = [0.0; 4];
        for (level, part) in levels.iter_mut().zip(0..) {
            let from = at + part * window - 2 * window;
            *level = mean(&self.values[from..from + window])?;
        }
        let [a, b, c, d] = levels;
        Some((c - b) - 0.5 * ((b - a) + (d - c)))
    }
}

/// Each change between its neighbours.
fn parts(changes: &[ChangePoint], n: usize) -> Vec<Part> {
    let at = |place: usize| changes.get(place).map_or(n, |change| change.index);
    let part = |place: usize| Part {
        from: place.checked_sub(1).map_or(0, at),
        at: at(place),
        until: at(place + 1),
    };
    (0..changes.len()).map(part).collect()
}

fn keep(
    changes: &mut Vec<ChangePoint>,
    parts: &[Part],
    keeps: impl Fn(&ChangePoint, Part) -> bool,
) {
    let mut parts = parts.iter();
    changes.retain(|change| parts.next().is_some_and(|part| keeps(change, *part)));
}

fn middle(values: &[f64]) -> Option<f64> {
    median(&crate::finite(values.iter().copied()))
}

/// The mean of what is there.
fn mean(values: &[f64]) -> Option<f64> {
    let there = values.iter().filter(|value| value.is_finite());
    let (sum, count) = there.fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
    (count > 0.0).then(|| sum / count)
}

#[cfg(test)]
mod tests;
