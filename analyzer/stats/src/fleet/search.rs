//! The search for events: scan every group, explain the clearest step, remove it, repeat.

use std::collections::BTreeMap;

use super::control::common;
use super::explain::{Explained, Span, explain, measure, returned};
use super::gather::{Candidate, candidates};
use super::parallel;
use super::prepare::{Prepared, prepare};
use super::scan::{Dense, Step, clearest_step};
use super::{Event, FleetSeries, Label, Options};

/// A group with more than this part of the fleet moves the fleet's median; it is measured against
/// the median of all others instead.
pub(super) const LARGE_SHARE: f64 = 0.25;
/// Candidates of one kind that tell what is typical of it.
const MIN_KIND: usize = 5;
/// Once this part of the fleet has changed, the fleet's median is taken anew.
const STALE_SHARE: f64 = 0.05;

/// The steps that groups of the fleet made together, in the order of their cost.
///
/// Empty and constant series, and those with fewer than twelve finite values, take no part. Effects
/// are parts of the level: from differences of logarithms where all values of a series are
/// positive, else from the quotient by its median.
pub fn detect(series: &[FleetSeries], options: &Options) -> Vec<Event> {
    let mut fleet = Fleet::new(series, options);
    let mut steps: Vec<Option<Step>> = vec![None; fleet.candidates.len()];
    let mut stale: Vec<usize> = (0..fleet.candidates.len()).collect();
    let mut retired = vec![false; fleet.candidates.len()];
    let mut found: Vec<(Explained, f64)> = Vec::new();
    let limit = options.budget.max(f64::MIN_POSITIVE).ln();
    while found.len() < options.max_events {
        let fresh = parallel::map(options.threads, stale.len(), |k| fleet.scan(stale[k]));
        for (candidate, step) in stale.drain(..).zip(fresh) {
            steps[candidate] = step;
        }
        if fleet.memory.is_empty() {
            fleet.memory = typical_memory(&fleet.candidates, &steps);
        }
        let Some((chosen, step, ln_p)) = clearest(&fleet, &steps, &retired) else {
            break;
        };
        let ln_p = ln_p + (fleet.candidates.len() as f64).ln();
        if ln_p > limit {
            break;
        }
        let span = Span {
            at: step.at,
            from: step.from,
            to: step.to,
        };
        let Some(explained) = explain(&fleet, chosen, &span) else {
            retired[chosen] = true;
            continue;
        };
        let members = fleet.candidates[explained.candidate].members.clone();
        let near = |earlier: &Explained| earlier.repeats(&explained, options.min_side);
        if let Some((from, to)) = returned(&fleet, &explained) {
            fleet.leave_out(&members, from, to);
        } else if let Some(earlier) = found.iter().position(|(earlier, _)| near(earlier)) {
            // What is left of an event that was measured too small belongs to it.
            fleet.measure_again(&mut found[earlier..=earlier], |earlier| Span {
                at: earlier.span.at,
                ..explained.span
            });
            retired[chosen] = true;
        } else if explained.members.iter().all(|member| !member.moved) {
            // Removing it would change nothing.
            retired[chosen] = true;
            continue;
        } else {
            fleet.take_back(&explained);
            found.push((explained, ln_p.min(0.0).exp()));
        }
        stale = fleet.touched(&members);
        if stale.len() == fleet.candidates.len() {
            fleet.measure_again(&mut found, |explained| explained.span);
        }
    }
    fleet.renew_common();
    let to = fleet.length;
    fleet.measure_again(&mut found, |explained| Span {
        from: 0,
        to,
        ..explained.span
    });
    ranked(&fleet, found)
}

/// Per candidate the typical memory among the candidates whose constraints name the same keys: one
/// group's own estimate scatters, and the ones that scatter low would be the false alarms. 1 where
/// there are too few to tell what is typical.
fn typical_memory(candidates: &[Candidate], steps: &[Option<Step>]) -> Vec<f64> {
    let kind = |candidate: &Candidate| -> Vec<String> {
        candidate
            .constraint
            .iter()
            .map(|label| label.0.clone())
            .collect()
    };
    let mut ratios: BTreeMap<Vec<String>, Vec<f64>> = BTreeMap::new();
    for (candidate, step) in candidates.iter().zip(steps) {
        if let Some(step) = step {
            ratios
                .entry(kind(candidate))
                .or_default()
                .push(step.noise.ratio);
        }
    }
    let typical: BTreeMap<Vec<String>, f64> = ratios
        .into_iter()
        .filter(|(_, ratios)| ratios.len() >= MIN_KIND)
        .filter_map(|(kind, ratios)| Some((kind, crate::median(&ratios)?)))
        .collect();
    candidates
        .iter()
        .map(|c| typical.get(&kind(c)).copied().unwrap_or(1.0))
        .collect()
}

/// The candidate with the least p-value; the earlier one of equals.
fn clearest(
    fleet: &Fleet<'_>,
    steps: &[Option<Step>],
    retired: &[bool],
) -> Option<(usize, Step, f64)> {
    let mut best: Option<(usize, Step, f64)> = None;
    for (i, step) in steps.iter().enumerate().filter(|(i, _)| !retired[*i]) {
        if let Some(step) = step {
            let ln_p = step.ln_p(fleet.memory[i]);
            if best.is_none_or(|(_, _, other)| ln_p < other) {
                best = Some((i, *step, ln_p));
            }
        }
    }
    best
}

/// The fleet's state: what has not been explained yet.
pub(super) struct Fleet<'a> {
    pub(super) series: &'a [FleetSeries],
    pub(super) options: &'a Options,
    pub(super) candidates: Vec<Candidate>,
    /// Per series; `None` where it takes no part.
    pub(super) prepared: Vec<Option<Prepared>>,
    /// Per series the candidates that it is a member of.
    memberships: Vec<Vec<usize>>,
    length: usize,
    usable: usize,
    common: Vec<f64>,
    /// Per large candidate what all others do; `None` where that explains nothing.
    others: Vec<Option<Vec<f64>>>,
    changed_since_common: usize,
    /// Per candidate the least memory that its noise is taken to have.
    pub(super) memory: Vec<f64>,
}

impl<'a> Fleet<'a> {
    fn new(series: &'a [FleetSeries], options: &'a Options) -> Self {
        let length = series.iter().map(|s| s.values.len()).max().unwrap_or(0);
        let prepared = parallel::map(options.threads, series.len(), |i| {
            prepare(&series[i].values, length, options.period, options.incident)
        });
        let usable: Vec<bool> = prepared.iter().map(Option::is_some).collect();
        let labels: Vec<&[Label]> = series.iter().map(|s| s.labels.as_slice()).collect();
        let candidates = candidates(&labels, &usable, options.max_labels);
        let mut memberships = vec![Vec::new(); series.len()];
        for (c, candidate) in candidates.iter().enumerate() {
            for member in &candidate.members {
                memberships[*member].push(c);
            }
        }
        let mut fleet = Self {
            series,
            options,
            others: vec![None; candidates.len()],
            candidates,
            usable: usable.iter().filter(|u| **u).count(),
            prepared,
            memberships,
            length,
            common: Vec::new(),
            changed_since_common: 0,
            memory: Vec::new(),
        };
        fleet.renew_common();
        fleet
    }

    pub(super) fn share(&self, candidate: usize) -> f64 {
        self.candidates[candidate].members.len() as f64 / self.usable as f64
    }

    /// The candidate that holds exactly the usable series that this one does not.
    pub(super) fn complement(&self, candidate: usize) -> Option<usize> {
        let rest = self.rest(candidate);
        self.candidates.iter().position(|c| c.members == rest)
    }

    pub(super) fn rest(&self, candidate: usize) -> Vec<usize> {
        let members = &self.candidates[candidate].members;
        (0..self.prepared.len())
            .filter(|i| self.prepared[*i].is_some() && members.binary_search(i).is_err())
            .collect()
    }

    /// What a candidate is measured against; `None` for nothing.
    pub(super) fn control(&self, candidate: usize) -> Option<&[f64]> {
        if self.share(candidate) > LARGE_SHARE {
            self.others[candidate].as_deref()
        } else {
            Some(&self.common)
        }
    }

    /// Candidates that share a member with this one, itself included.
    pub(super) fn related(&self, members: &[usize]) -> Vec<usize> {
        let mut related: Vec<usize> = members
            .iter()
            .flat_map(|member| self.memberships[*member].iter().copied())
            .collect();
        related.sort_unstable();
        related.dedup();
        related
    }

    /// The weighted mean of a candidate's members against its control.
    pub(super) fn aggregate(&self, candidate: usize) -> Dense {
        let mean = self.mean(&self.candidates[candidate].members);
        let values = match self.control(candidate) {
            Some(control) => mean.iter().zip(control).map(|(m, c)| m - c).collect(),
            None => mean,
        };
        Dense::new(values, self.options.incident)
    }

    /// One series against the control of a candidate.
    pub(super) fn single(&self, series: usize, candidate: usize) -> Option<Dense> {
        let residual = &self.prepared[series].as_ref()?.residual;
        let values = match self.control(candidate) {
            Some(control) => residual.iter().zip(control).map(|(r, c)| r - c).collect(),
            None => residual.clone(),
        };
        Some(Dense::new(values, 0))
    }

    /// Weights of members: the inverse variance of their noise, with the typical one added, so that
    /// no quiet series speaks for its group alone.
    pub(super) fn weights(&self, members: &[usize]) -> Vec<f64> {
        let sigmas: Vec<f64> = members
            .iter()
            .map(|i| {
                self.prepared[*i]
                    .as_ref()
                    .map_or(f64::INFINITY, |p| p.sigma)
            })
            .collect();
        let typical = crate::median(&sigmas).unwrap_or(1.0);
        sigmas
            .iter()
            .map(|s| 1.0 / (s * s + typical * typical))
            .collect()
    }

    fn mean(&self, members: &[usize]) -> Vec<f64> {
        let weights = self.weights(members);
        let mut sums = vec![(0.0, 0.0); self.length];
        for (member, weight) in members.iter().zip(&weights) {
            let Some(prepared) = &self.prepared[*member] else {
                continue;
            };
            for (sum, value) in sums.iter_mut().zip(&prepared.residual) {
                if value.is_finite() {
                    sum.0 += weight * value;
                    sum.1 += weight;
                }
            }
        }
        // With most of the members missing, the rest is another group.
        let enough = weights.iter().sum::<f64>() / 2.0;
        sums.into_iter()
            .map(|(sum, weight)| {
                if weight >= enough {
                    sum / weight
                } else {
                    f64::NAN
                }
            })
            .collect()
    }

    fn scan(&self, candidate: usize) -> Option<Step> {
        clearest_step(&self.aggregate(candidate), self.options.min_side)
    }

    /// Takes a found step out of the members that made it.
    fn take_back(&mut self, explained: &Explained) {
        self.add_step(explained, -1.0);
    }

    fn put_back(&mut self, explained: &Explained) {
        self.add_step(explained, 1.0);
    }

    /// Measures every event once more, with all others taken out: while events that point the same
    /// way are still in the fleet's median, each seems smaller than it is.
    fn measure_again(&mut self, found: &mut [(Explained, f64)], span: impl Fn(&Explained) -> Span) {
        for (explained, _) in found {
            self.put_back(explained);
            if let Some(again) = measure(self, explained.candidate, &span(explained)) {
                *explained = again;
            }
            self.take_back(explained);
        }
    }

    fn add_step(&mut self, explained: &Explained, factor: f64) {
        for member in explained.members.iter().filter(|member| member.moved) {
            if let Some(prepared) = &mut self.prepared[member.series] {
                prepared.residual[explained.span.at..]
                    .iter_mut()
                    .for_each(|v| *v += factor * member.step);
            }
        }
    }

    fn leave_out(&mut self, members: &[usize], from: usize, to: usize) {
        for member in members {
            if let Some(prepared) = &mut self.prepared[*member] {
                prepared.residual[from..to].fill(f64::NAN);
            }
        }
    }

    /// The candidates to scan anew after these series changed.
    fn touched(&mut self, members: &[usize]) -> Vec<usize> {
        self.changed_since_common += members.len();
        if self.changed_since_common as f64 > STALE_SHARE * self.usable as f64 {
            self.renew_common();
            return (0..self.candidates.len()).collect();
        }
        self.related(members)
    }

    fn renew_common(&mut self) {
        let all: Vec<usize> = (0..self.prepared.len()).collect();
        self.common = self.median_of(&all);
        for candidate in 0..self.candidates.len() {
            if self.share(candidate) > LARGE_SHARE {
                self.others[candidate] = self.useful_control(candidate);
            }
        }
        self.changed_since_common = 0;
    }

    /// The median of all others, where subtracting it makes the group quieter: in a small fleet the
    /// others may have nothing in common with it.
    fn useful_control(&self, candidate: usize) -> Option<Vec<f64>> {
        let rest = self.rest(candidate);
        if rest.is_empty() {
            return None;
        }
        let control = self.median_of(&rest);
        let mean = self.mean(&self.candidates[candidate].members);
        let spread = |values: &mut dyn Iterator<Item = f64>| crate::mad(&crate::finite(values));
        let before = spread(&mut mean.iter().copied())?;
        let after = spread(&mut mean.iter().zip(&control).map(|(m, c)| m - c))?;
        (after <= before).then_some(control)
    }

    fn median_of(&self, members: &[usize]) -> Vec<f64> {
        let residuals: Vec<&[f64]> = members
            .iter()
            .filter_map(|i| self.prepared[*i].as_ref().map(|p| p.residual.as_slice()))
            .collect();
        common(&residuals, self.length, self.options.threads)
    }
}

fn ranked(fleet: &Fleet<'_>, found: Vec<(Explained, f64)>) -> Vec<Event> {
    let mut events: Vec<Event> = found
        .into_iter()
        .map(|(explained, p_value)| explained.event(fleet, p_value))
        .filter(|event| event.ci_lo.max(-event.ci_hi) >= fleet.options.min_effect)
        .collect();
    events.sort_by(|a, b| {
        b.cost
            .total_cmp(&a.cost)
            .then(a.index.cmp(&b.index))
            .then_with(|| a.constraint.cmp(&b.constraint))
    });
    for (place, event) in events.iter_mut().enumerate() {
        event.rank = place + 1;
    }
    events
}
