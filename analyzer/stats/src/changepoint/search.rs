//! The search for several steps: candidates, then merging and splitting until nothing changes.

use super::calibration::{p_value, threshold};
use super::candidates;
use super::grid::Positions;
use super::model::Model;
use super::proposals::propose;
use super::scan::{Scan, Split};
use crate::{effective_size, lag1_of_ranks, mann_whitney};

/// Rounds, each of which adds one step to those of the candidates.
const MAX_ROUNDS: usize = 40;
/// Evidence that both ends of a level cost that lasts less than half as long as those around it: the
/// same few samples speak for both, so their place has been chosen once more than each end pays
/// for. Blocks of repeated measurements look like that.
const BRIEF: f64 = 2.0;
/// Proposals that are tried before a series counts as fully divided.
const TRIES: usize = 3;

/// Samples beyond this many cells from the middle count as if they were there, for the slope.
const FAR: i32 = 4_000;
/// Parts of so many samples are compared by ranks, too; the memory of shorter ones is not known well
/// enough.
const LONG: usize = 20;
/// Largest p-value of ranks, two-sided, for a shift between long parts.
const MAX_RANK_P: f64 = 0.05;
/// By how much a line has to describe two parts better than their levels, in units of the long-run
/// variance, to count as a trend: a square, so 9 is three standard
/// deviations of a slope.
const STEEP: f64 = 9.0;

/// A step: the first sample of the new level, and the p-value of the split.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Step {
    pub(super) at: usize,
    pub(super) p_value: f64,
}

/// The steps of the residuals, in time order.
pub(super) fn steps(values: &[f64], min_side: usize, max_p_value: f64) -> Vec<Step> {
    let Some(positions) = Positions::new(values, values) else {
        return Vec::new();
    };
    let mut splits = candidates::split(&positions.cells, min_side);
    let mut search = Search {
        values,
        positions,
        around: false,
        scan: Scan::default(),
        min_side,
        threshold: threshold(max_p_value),
    };
    let Some(mut model) = search.learn(&splits) else {
        return Vec::new();
    };
    let mut learnt = splits.clone();
    let mut evidence = search.merge(&model, &mut splits);
    'rounds: for _ in 0..MAX_ROUNDS {
        if learnt != splits {
            let Some(next) = search.learn(&splits) else {
                break;
            };
            model = next;
            learnt.clone_from(&splits);
        }
        for more in search.proposals(&model, &splits) {
            let mut trial = splits.clone();
            trial.push(more);
            trial.sort_unstable();
            let Some(next) = search.learn(&trial) else {
                break 'rounds;
            };
            let found = search.merge(&next, &mut trial);
            if trial.len() > splits.len() {
                splits = trial;
                evidence = found;
                continue 'rounds;
            }
        }
        break;
    }
    while let Some(place) = search.least_shifted(&splits) {
        splits.remove(place);
        evidence = search.merge(&model, &mut splits);
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
}

impl Search<'_> {
    /// Learns the noise around the levels between these splits.
    fn learn(&mut self, splits: &[usize]) -> Option<Model> {
        if splits.is_empty() {
            if self.around {
                self.positions = Positions::new(self.values, self.values)?;
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
        // Without any noise around the levels the grid stays as wide as it was.
        if let Some(positions) = Positions::new(self.values, &residuals) {
            self.positions = positions;
        }
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
        self.scan.best(model, &cells, self.min_side, self.threshold)
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

    /// The split between long parts whose levels differ least, if ranks show no shift between them:
    /// then the shape has changed, or a few samples, and not the level.
    fn least_shifted(&self, splits: &[usize]) -> Option<usize> {
        let mut least = (MAX_RANK_P, None);
        for (place, at) in splits.iter().enumerate() {
            let from = if place == 0 { 0 } else { splits[place - 1] };
            let to = splits.get(place + 1).copied().unwrap_or(self.values.len());
            let (left, right) = (&self.values[from..*at], &self.values[*at..to]);
            if left.len().min(right.len()) < LONG {
                continue;
            }
            let sizes = [left, right].map(|part| effective_size(part.len(), lag1_of_ranks(part)));
            if let Some(test) = mann_whitney(left, right, sizes[0], sizes[1])
                && test.p_value > least.0
            {
                least = (test.p_value, Some(place));
            }
        }
        least.1
    }

    /// Whether a split is the start or the end of a level that lasts less than half as long as each of
    /// those around it.
    fn is_brief(&self, splits: &[usize], place: usize) -> bool {
        let bound = |index: usize| match index {
            0 => 0,
            _ => splits.get(index - 1).copied().unwrap_or(self.values.len()),
        };
        let length = |part: usize| bound(part + 1) - bound(part);
        [place, place + 1].into_iter().any(|part| {
            (1..splits.len()).contains(&part)
                && 2 * length(part) < length(part - 1).min(length(part + 1))
        })
    }

    /// Removes the weakest split until each that is left has enough evidence, which is returned.
    fn merge(&mut self, model: &Model, splits: &mut Vec<usize>) -> Vec<f64> {
        loop {
            let mut evidence = Vec::with_capacity(splits.len());
            for place in 0..splits.len() {
                let from = if place == 0 { 0 } else { splits[place - 1] };
                let to = splits.get(place + 1).copied().unwrap_or(self.values.len());
                let found = self
                    .within(model, from, to)
                    .filter(|split| self.is_step(model, from, from + split.at, to));
                let price = if self.is_brief(splits, place) {
                    BRIEF
                } else {
                    0.0
                };
                evidence.push(found.map_or(f64::NEG_INFINITY, |split| split.evidence - price));
                if let Some(found) = found
                    && found.evidence >= self.threshold
                {
                    splits[place] = from + found.at;
                }
            }
            let weakest = (0..evidence.len()).min_by(|a, b| evidence[*a].total_cmp(&evidence[*b]));
            match weakest {
                Some(place) if evidence[place] < self.threshold => {
                    splits.remove(place);
                }
                _ => return evidence,
            }
        }
    }

    /// Places inside the parts where the level may change, the likeliest first.
    fn proposals(&self, model: &Model, splits: &[usize]) -> Vec<usize> {
        let mut found = Vec::new();
        for (from, to) in parts(splits, self.values.len()) {
            let cells = &self.positions.cells[from..to];
            let level = median(cells);
            let cells: Vec<i32> = cells.iter().map(|cell| cell - level).collect();
            propose(model, &cells, self.min_side, from, &mut found);
        }
        found.sort_by(|a, b| b.strength.total_cmp(&a.strength).then(a.at.cmp(&b.at)));
        let mut places: Vec<usize> = Vec::with_capacity(TRIES);
        for proposal in found {
            let near = |place: &usize| place.abs_diff(proposal.at) < self.min_side;
            if places.len() < TRIES && !places.iter().any(near) {
                places.push(proposal.at);
            }
        }
        places
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::Noise;

    #[test]
    fn a_slope_is_no_staircase() {
        let slope: Vec<f64> = Noise::new(1)
            .normals(400)
            .iter()
            .enumerate()
            .map(|(place, noise)| 0.05 * place as f64 + noise)
            .collect();
        assert_eq!(steps(&slope, 6, 0.005), []);
    }

    /// A walk has no levels; of 800 others, 324 steps were reported. The bound is four standard errors
    /// above that rate, for counts that vary as a Poisson's do.
    #[test]
    fn a_wandering_series_has_few_steps() {
        let mut found = 0;
        for seed in 0..100 {
            let mut level = 0.0;
            let walk: Vec<f64> = Noise::new(seed)
                .normals(250)
                .iter()
                .map(|step| {
                    level += step;
                    level
                })
                .collect();
            found += steps(&walk, 6, 0.005).len();
        }
        assert!(found <= 69, "{found} steps in 100 random walks");
    }

    #[test]
    fn neighbouring_steps_do_not_hide_each_other() {
        for seed in 0..10 {
            let mut values = Noise::new(seed).normals(300);
            for (place, value) in values.iter_mut().enumerate() {
                *value += [0.0, 5.0, 1.0, 6.0, -2.0][place / 60];
            }
            let found: Vec<usize> = steps(&values, 6, 0.005)
                .iter()
                .map(|step| step.at)
                .collect();
            assert_eq!(found.len(), 4, "seed {seed}: {found:?}");
            for (at, want) in found.iter().zip([60, 120, 180, 240]) {
                assert!(at.abs_diff(want) <= 2, "seed {seed}: {found:?}");
            }
        }
    }
}
