//! Comparing two windows of time series by series, and a canary with its controls.
//!
//! Series are read in points, as many as a window has seconds or fewer; the statistics are
//! `driftline_stats`'s, which widen intervals by how long a series remembers, and give none where a
//! window holds too little for that.

use std::collections::BTreeMap;

use driftline_schemas::label_pairs;
use driftline_stats::fleet::subtract_controls;
use driftline_stats::runs::{self, Options, Worse, compare_windows};
use driftline_stats::{median, quantile};

use super::{Verdict, Window};
use crate::engine::{Engine, EngineError};
use crate::nightly::{PointSeries, points};

/// Points of a window at most, and the lengths of points in seconds, finest first.
const MOST_POINTS: i64 = 2_016;
const STEPS_S: [i64; 5] = [1, 10, 60, 600, 3_600];

/// How windows are compared.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WindowOptions {
    /// Of the intervals; the false alarms of all series together share the rest.
    pub confidence: f64,
    /// Changes below this percentage of the level before do not count.
    pub min_effect_pct: f64,
}

/// Which series: those with all of these labels, the host and the component among them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selector {
    wanted: Vec<(String, String)>,
}

/// A selector that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} selects no series: expected key=value, several with commas between, such as host=web-3"
)]
pub struct SelectorError(String);

/// What is said of one series.
#[derive(Debug, Clone, PartialEq)]
pub struct WindowShift {
    /// What is observed.
    pub component: String,
    /// Where.
    pub host: String,
    /// The metric.
    pub metric: String,
    /// Its labels, canonical.
    pub labels: String,
    /// Its unit: of a counter, its unit per second.
    pub unit: String,
    /// Its level in the first window, or of its controls.
    pub before: Option<f64>,
    /// Its level in the second window, or of the canary.
    pub after: Option<f64>,
    /// The change in percent, what controls did at the same time taken off.
    pub effect_pct: Option<f64>,
    /// Bounds of the same.
    pub interval_pct: Option<(f64, f64)>,
    /// The change for the worse that would have been seen four times out of five.
    pub detectable_pct: Option<f64>,
    /// Points of either side.
    pub points: [usize; 2],
    /// Series that it was held against.
    pub controls: usize,
    /// What follows.
    pub verdict: Verdict,
}

impl Default for WindowOptions {
    fn default() -> Self {
        Self {
            confidence: 0.99,
            min_effect_pct: 2.0,
        }
    }
}

impl std::str::FromStr for Selector {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, SelectorError> {
        let wrong = || SelectorError(text.to_owned());
        let pair = |part: &str| {
            let (key, value) = part.split_once('=').ok_or_else(wrong)?;
            match key.trim().is_empty() || value.trim().is_empty() {
                true => Err(wrong()),
                false => Ok((key.trim().to_owned(), value.trim().to_owned())),
            }
        };
        let wanted = text.split(',').map(pair).collect::<Result<_, _>>()?;
        Ok(Self { wanted })
    }
}

impl Selector {
    fn selects(&self, series: &PointSeries) -> bool {
        let labels = label_pairs(&series.labels).unwrap_or_default();
        let has = |(key, value): &(String, String)| match key.as_str() {
            "host" => series.host == *value,
            "component" => series.component == *value,
            _ => labels
                .iter()
                .any(|label| label.0 == *key && label.1 == *value),
        };
        self.wanted.iter().all(has)
    }

    fn names(&self, key: &str) -> bool {
        self.wanted.iter().any(|(wanted, _)| wanted == key)
    }
}

/// Compares each series in window `b` with itself in window `a`; the worst come first.
pub async fn compare_two_windows(
    engine: &Engine,
    a: Window,
    b: Window,
    options: &WindowOptions,
) -> Result<Vec<WindowShift>, EngineError> {
    let (a, b) = read(engine, a, b).await?;
    Ok(two_windows(&a, &b, options))
}

/// Compares a canary with its controls: in window `b` against window `a`, less what the controls did
/// from one to the other; or in one window, level against level, where there is no other.
pub async fn compare_canary(
    engine: &Engine,
    a: Option<Window>,
    b: Window,
    (canary, controls): (&Selector, &Selector),
    options: &WindowOptions,
) -> Result<Vec<WindowShift>, EngineError> {
    let before = a.unwrap_or(b);
    let (before, after) = read(engine, before, b).await?;
    let before = a.map(|_| before);
    Ok(canaries(
        before.as_deref(),
        &after,
        (canary, controls),
        options,
    ))
}

async fn read(
    engine: &Engine,
    a: Window,
    b: Window,
) -> Result<(Vec<PointSeries>, Vec<PointSeries>), EngineError> {
    let seconds = |window: Window| (window.until_us - window.from_us) / 1_000_000;
    let longer = seconds(a).max(seconds(b));
    let step_s = STEPS_S
        .into_iter()
        .find(|step_s| longer / step_s <= MOST_POINTS)
        .unwrap_or(STEPS_S[STEPS_S.len() - 1]);
    let in_a = points::read(engine, a, step_s).await?;
    let in_b = match a == b {
        true => in_a.clone(),
        false => points::read(engine, b, step_s).await?,
    };
    Ok((in_a, in_b))
}

/// What makes two series the same one at different times.
fn identity(series: &PointSeries) -> [&str; 5] {
    [
        &series.component,
        &series.host,
        &series.metric,
        &series.labels,
        &series.unit,
    ]
}

fn two_windows(a: &[PointSeries], b: &[PointSeries], options: &WindowOptions) -> Vec<WindowShift> {
    let before: BTreeMap<[&str; 5], &PointSeries> =
        a.iter().map(|series| (identity(series), series)).collect();
    let pairs: Vec<(&PointSeries, &PointSeries)> = b
        .iter()
        .filter_map(|series| Some((*before.get(&identity(series))?, series)))
        .collect();
    let budget = Budget::new(options, pairs.len());
    let shift = |(a, b): &(&PointSeries, &PointSeries)| {
        let levels = (median(&a.values), median(&b.values));
        budget.judge(b, (&a.values, &b.values), levels, 0)
    };
    sorted(pairs.iter().map(shift).collect())
}

fn canaries(
    before: Option<&[PointSeries]>,
    after: &[PointSeries],
    (canary, controls): (&Selector, &Selector),
    options: &WindowOptions,
) -> Vec<WindowShift> {
    // Series match when they are the same but for their host and the labels that were selected by.
    let role = |series: &PointSeries| {
        let mut labels = label_pairs(&series.labels).unwrap_or_default();
        labels.retain(|(key, _)| !canary.names(key) && !controls.names(key));
        (
            series.component.clone(),
            series.metric.clone(),
            labels,
            series.unit.clone(),
        )
    };
    let mut by_role = BTreeMap::new();
    for series in after.iter().filter(|series| controls.selects(series)) {
        by_role
            .entry(role(series))
            .or_insert_with(Vec::new)
            .push(series);
    }
    let earlier: BTreeMap<[&str; 5], &PointSeries> = before
        .unwrap_or_default()
        .iter()
        .map(|series| (identity(series), series))
        .collect();
    let pairs: Vec<(&PointSeries, &Vec<&PointSeries>)> = after
        .iter()
        .filter(|series| canary.selects(series) && !controls.selects(series))
        .filter_map(|series| Some((series, by_role.get(&role(series))?)))
        .collect();
    let budget = Budget::new(options, pairs.len());
    let mut shifts = Vec::new();
    for (series, controls) in pairs {
        shifts.extend(match before {
            None => Some(beside(&budget, series, controls)),
            Some(_) => beyond(&budget, series, controls, &earlier),
        });
    }
    sorted(shifts)
}

/// A canary against the median of its controls at the same time.
fn beside(budget: &Budget, canary: &PointSeries, controls: &[&PointSeries]) -> WindowShift {
    let mut at: BTreeMap<i64, Vec<f64>> = BTreeMap::new();
    for control in controls {
        for (at_s, value) in control.at_s.iter().zip(&control.values) {
            at.entry(*at_s).or_default().push(*value);
        }
    }
    let middle = |mut values: Vec<f64>| quantile(&mut values, 0.5);
    let middles: Vec<f64> = at.into_values().filter_map(middle).collect();
    let levels = (median(&middles), median(&canary.values));
    budget.judge(canary, (&middles, &canary.values), levels, controls.len())
}

/// A canary before and after, less what its controls did; `None` where it was not there before.
fn beyond(
    budget: &Budget,
    canary: &PointSeries,
    controls: &[&PointSeries],
    earlier: &BTreeMap<[&str; 5], &PointSeries>,
) -> Option<WindowShift> {
    let before = earlier.get(&identity(canary))?;
    let grid: Vec<i64> = before.at_s.iter().chain(&canary.at_s).copied().collect();
    // Controls that were not there before say nothing of what happened since.
    let both: Vec<Vec<f64>> = controls
        .iter()
        .filter_map(|control| Some([*earlier.get(&identity(control))?, *control]))
        .map(|parts| on_grid(&parts, &grid))
        .collect();
    let held: Vec<&[f64]> = both.iter().map(Vec::as_slice).collect();
    let own = on_grid(&[before, canary], &grid);
    let freed: Vec<f64> = match held.is_empty() {
        true => Vec::new(),
        false => subtract_controls(&own, &held),
    };
    let freed: Vec<f64> = freed.into_iter().map(f64::exp).collect();
    let (a, b) = freed.split_at(before.at_s.len().min(freed.len()));
    let levels = (median(&before.values), median(&canary.values));
    Some(budget.judge(canary, (a, b), levels, held.len()))
}

/// Logarithms of a series' values at these times; NaN where there is none.
fn on_grid(parts: &[&PointSeries; 2], grid: &[i64]) -> Vec<f64> {
    let values: BTreeMap<i64, f64> = parts
        .iter()
        .flat_map(|part| part.at_s.iter().copied().zip(part.values.iter().copied()))
        .collect();
    let at = |at_s: &i64| match values.get(at_s) {
        Some(value) if *value > 0.0 => value.ln(),
        _ => f64::NAN,
    };
    grid.iter().map(at).collect()
}

/// How sure each verdict must be, so that all of them together keep to one rate of false alarms
/// (Bonferroni).
struct Budget {
    shown: Options,
    strict: Options,
}

impl Budget {
    fn new(options: &WindowOptions, tests: usize) -> Self {
        let shown = Options {
            confidence: options.confidence,
            min_effect_pct: options.min_effect_pct,
            ..Options::default()
        };
        Self {
            shown,
            strict: Options {
                confidence: 1.0 - (1.0 - options.confidence) / tests.max(1) as f64,
                ..shown
            },
        }
    }

    fn judge(
        &self,
        series: &PointSeries,
        (a, b): (&[f64], &[f64]),
        (before, after): (Option<f64>, Option<f64>),
        controls: usize,
    ) -> WindowShift {
        let worse = match series.better.as_str() {
            "higher" => Worse::Lower,
            _ => Worse::Higher,
        };
        let shown = compare_windows(
            a,
            b,
            &Options {
                worse,
                ..self.shown
            },
        );
        let strict = compare_windows(
            a,
            b,
            &Options {
                worse,
                ..self.strict
            },
        );
        let verdict = match (strict.verdict, series.better.as_str()) {
            (runs::Verdict::TooLittleData, _) => Verdict::TooLittleData,
            (runs::Verdict::NoChange, _) => Verdict::NoChange,
            (_, "neither") => Verdict::Change,
            (runs::Verdict::Regression, _) => Verdict::Regression,
            (runs::Verdict::Improvement, _) => Verdict::Improvement,
        };
        WindowShift {
            component: series.component.clone(),
            host: series.host.clone(),
            metric: series.metric.clone(),
            labels: series.labels.clone(),
            unit: series.unit.clone(),
            before,
            after,
            effect_pct: shown.effect_pct,
            interval_pct: shown.ci_lo_pct.zip(shown.ci_hi_pct),
            detectable_pct: strict.detectable_pct,
            points: [a.len(), b.len()],
            controls,
            verdict,
        }
    }
}

fn sorted(mut shifts: Vec<WindowShift>) -> Vec<WindowShift> {
    let size = |shift: &WindowShift| shift.effect_pct.unwrap_or_default().abs();
    shifts.sort_by(|a, b| {
        let name = |shift: &WindowShift| {
            let WindowShift {
                component,
                metric,
                labels,
                host,
                ..
            } = shift;
            [component, metric, labels, host].map(String::clone)
        };
        (a.verdict.cmp(&b.verdict))
            .then(size(b).total_cmp(&size(a)))
            .then_with(|| name(a).cmp(&name(b)))
    });
    shifts
}

#[cfg(test)]
mod tests;
