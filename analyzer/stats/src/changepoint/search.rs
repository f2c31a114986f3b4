//! The search for several steps: candidates, then merging and splitting until nothing changes.

use super::calibration::{p_value, threshold};
use super::candidates;
use super::grid::Positions;
use super::model::Model;
use super::scan::{Scan, Split};

/// Rounds of learning the noise anew; the search is steady after two or three.
const MAX_ROUNDS: usize = 40;

/// Samples beyond this many cells from the middle count as if they were there, for the slope.
const FAR: i32 = 4_000;
/// By how much a line has to describe two parts better than their levels, in units of the long-run
/// variance, to count as a trend: three standard deviations of such a difference would be 9.
const STEEP: f64 = 4.0;

/// A step: the first sample of the new level, and the p-value of the split.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Step {
    pub(super) at: usize,
    pub(super) p_value: f64,
}

/// The steps of the residuals, in time order.
pub(super) fn steps(values: &[f64], min_side: usize, max_p_value: f64) -> Vec<Step> {
    let mut scratch = Vec::with_capacity(values.len());
    let Some(positions) = Positions::new(values, values, &mut scratch) else {
        return Vec::new();
    };
    let mut splits = candidates::split(&positions.cells, min_side);
    let mut search = Search {
        values,
        positions,
        around: false,
        scan: Scan::default(),
        min_side,
        threshold: 0.0 * threshold(max_p_value),
        scratch,
    };
    let Some(mut model) = search.learn(&splits) else {
        return Vec::new();
    };
    let mut learnt = splits.clone();
    let mut evidence = search.merge(&model, &mut splits);
    for _ in 0..MAX_ROUNDS {
        if learnt != splits {
            let Some(next) = search.learn(&splits) else {
                break;
            };
            model = next;
            learnt.clone_from(&splits);
        }
        let Some(more) = search.divide(&model, &splits) else {
            break;
        };
        let mut trial = splits.clone();
        trial.push(more);
        trial.sort_unstable();
        let Some(next) = search.learn(&trial) else {
            break;
        };
        let found = search.merge(&next, &mut trial);
        if trial.len() <= splits.len() {
            break;
        }
        splits = trial;
        evidence = found;
    }
    splits
        .into_iter()
        .zip(evidence)
        .map(|(at, evidence)| Step {
            at,
            p_value: p_value(evidence),
        })
        .collect()
}

#[derive(Debug)]
struct Search<'a> {
    values: &'a [f64],
    positions: Positions,
    /// Whether the positions were taken around the levels of several parts.
    around: bool,
    scan: Scan,
    min_side: usize,
    threshold: f64,
    scratch: Vec<f64>,
}

impl Search<'_> {
    /// Learns the noise around the levels between these splits.
    fn learn(&mut self, splits: &[usize]) -> Option<Model> {
        if splits.is_empty() {
            if self.around {
                self.positions = Positions::new(self.values, self.values, &mut self.scratch)?;
                self.around = false;
            }
            return Some(Model::new(&self.positions.cells, 1));
        }
        self.around = true;
        let mut residuals = Vec::with_capacity(self.values.len());
        for (from, to) in parts(splits, self.values.len()) {
            let part = &self.values[from..to];
            let level = crate::robust::median(part)?;
            residuals.extend(part.iter().map(|value| value - level));
        }
        self.positions = Positions::new(self.values, &residuals, &mut self.scratch)?;
        let mut cells = Vec::with_capacity(self.values.len());
        for (from, to) in parts(splits, self.values.len()) {
            let part = &self.positions.cells[from..to];
            let level = median(part);
            cells.extend(part.iter().map(|cell| cell - level));
        }
        Some(Model::new(&cells, splits.len() + 1))
    }

    /// The evidence for a split inside the samples from one to another.
    fn within(&mut self, model: &Model, from: usize, to: usize) -> Option<Split> {
        let level = median(&self.positions.cells[from..to]);
        let cells: Vec<i32> = self.positions.cells[from..to]
            .iter()
            .map(|cell| cell - level)
            .collect();
        self.scan.best(model, &cells, self.min_side)
    }

    /// Whether two levels describe these samples better than a straight line does, or nearly so.
    fn is_step(&self, model: &Model, from: usize, at: usize, to: usize) -> bool {
        let cells = &self.positions.cells[from..to];
        let (level, n) = (median(cells), cells.len() as f64);
        let (mut sum, mut squares, mut moment, mut left) = (0.0, 0.0, 0.0, 0.0);
        for (place, cell) in cells.iter().enumerate() {
            let value = f64::from((cell - level).clamp(-FAR, FAR));
            let time = place as f64 - (n - 1.0) / 2.0;
            sum += value;
            squares += value * value;
            moment += value * time;
            if place < at - from {
                left += value;
            }
        }
        let before = (at - from) as f64;
        let excess = left - sum * before / n;
        let step = excess * excess * n / (before * (n - before));
        let line = moment * moment * 12.0 / (n * (n * n - 1.0));
        let rest = (squares - sum * sum / n - line).max(0.0) / n;
        line - step < STEEP * rest.max(1.0) * model.inflation
    }

    /// Removes the weakest split until each that is left has enough evidence, which is returned.
    fn merge(&mut self, model: &Model, splits: &mut Vec<usize>) -> Vec<f64> {
        loop {
            let mut evidence = Vec::with_capacity(splits.len());
            for place in 0..splits.len() {
                let from = if place == 0 { 0 } else { splits[place - 1] };
                let to = splits
                    .get(place + 1)
                    .copied()
                    .unwrap_or(self.values.len());
                let found = self
                    .within(model, from, to)
                    .filter(|split| self.is_step(model, from, from + split.at, to));
                evidence.push(found.map_or(f64::NEG_INFINITY, |split| split.evidence));
                if let Some(found) = found
                    && found.evidence >= self.threshold + tt(model)
                {
                    splits[place] = from + found.at;
                }
            }
            let weakest = (0..evidence.len()).min_by(|a, b| evidence[*a].total_cmp(&evidence[*b]));
            match weakest {
                Some(place) if evidence[place] < self.threshold + tt(model) => {
                    splits.remove(place);
                }
                _ => return evidence,
            }
        }
    }

    /// The split inside a part that has the most evidence, if it may turn out to be enough once the
    /// noise is learnt around it.
    fn divide(&mut self, model: &Model, splits: &[usize]) -> Option<usize> {
        let mut best: Option<(f64, usize)> = None;
        for (from, to) in parts(splits, self.values.len()) {
            if let Some(found) = self.within(model, from, to)
                && found.evidence >= self.threshold + tt(model) - slack()
                && best.is_none_or(|(most, _)| found.evidence > most)
            {
                best = Some((found.evidence, from + found.at));
            }
        }
        best.map(|(_, at)| at)
    }
}

/// The parts between the splits.
fn parts(splits: &[usize], n: usize) -> impl Iterator<Item = (usize, usize)> {
    let from = std::iter::once(0).chain(splits.iter().copied());
    let to = splits.iter().copied().chain(std::iter::once(n));
    from.zip(to)
}

/// The upper median.
fn median(cells: &[i32]) -> i32 {
    let mut cells = cells.to_vec();
    let middle = cells.len() / 2;
    *cells.select_nth_unstable(middle).1
}

fn tt(model: &Model) -> f64 {
    static T: std::sync::OnceLock<(f64, f64)> = std::sync::OnceLock::new();
    let (a, b) = T.get_or_init(|| {
        let g = |n: &str, d: f64| std::env::var(n).ok().and_then(|v| v.parse().ok()).unwrap_or(d);
        (g("T0", 0.0), g("T1", 0.0))
    });
    a + b * model.inflation.ln()
}

fn slack() -> f64 {
    std::env::var("SL").ok().and_then(|v| v.parse().ok()).unwrap_or(3.0)
}
