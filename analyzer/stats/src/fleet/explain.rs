//! Whose step it was: the labels that account for most of a movement, its members, its size.

use super::noise_model::NoiseModel;
use super::scan::Dense;
use super::search::{Fleet, LARGE_SHARE};
use super::{Event, Member};
use crate::distribution::normal_two_sided;
use crate::multiple::benjamini_hochberg;

/// Coverage of the intervals.
const CONFIDENCE: f64 = 0.99;
/// The better explanation's place is looked for this many times the least side around the place
/// where the scan saw the step.
const REFINE_SIDES: usize = 2;

/// A place where the level changes, and the stretch on which it is measured.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    /// The first sample of the new level.
    pub(super) at: usize,
    pub(super) from: usize,
    pub(super) to: usize,
}

/// A step with the candidate that explains it.
pub(super) struct Explained {
    pub(super) candidate: usize,
    /// Where, and the stretch on which it was found.
    pub(super) span: Span,
    /// Pooled difference of residuals, and half the width of its interval.
    step: f64,
    half_width: f64,
    pub(super) members: Vec<MemberStep>,
}

/// A member's own step, in residuals.
pub(super) struct MemberStep {
    pub(super) series: usize,
    pub(super) step: f64,
    half_width: f64,
    p_value: f64,
    pub(super) moved: bool,
}

impl Explained {
    /// Whether this is the same finding as another: the same group, nearer than a side.
    pub(super) fn repeats(&self, other: &Self, side: usize) -> bool {
        self.candidate == other.candidate && self.span.at.abs_diff(other.span.at) < side
    }

    pub(super) fn event(self, fleet: &Fleet<'_>, p_value: f64) -> Event {
        let candidate = &fleet.candidates[self.candidate];
        let q_values =
            benjamini_hochberg(&self.members.iter().map(|m| m.p_value).collect::<Vec<_>>());
        let moved: Vec<&MemberStep> = self.members.iter().filter(|m| m.moved).collect();
        // The pooled step speaks in logarithms where most of those that moved do.
        let speaker = moved
            .iter()
            .filter_map(|m| fleet.prepared[m.series].as_ref())
            .max_by_key(|p| usize::from(p.logarithmic));
        let relative = |step: f64| speaker.map_or(step, |p| p.relative(step));
        let effect = relative(self.step);
        let weight: f64 = moved.iter().map(|m| fleet.series[m.series].weight).sum();
        let purity = moved.len() as f64 / self.members.len().max(1) as f64;
        let members = self.members.iter().zip(q_values).map(|(m, q_value)| {
            let own = |step: f64| {
                fleet.prepared[m.series]
                    .as_ref()
                    .map_or(step, |p| p.relative(step))
            };
            Member {
                series: m.series,
                effect: own(m.step),
                ci_lo: own(m.step - m.half_width),
                ci_hi: own(m.step + m.half_width),
                q_value,
                moved: m.moved,
            }
        });
        Event {
            index: self.span.at,
            constraint: candidate.constraint.clone(),
            members: members.collect(),
            effect,
            ci_lo: relative(self.step - self.half_width),
            ci_hi: relative(self.step + self.half_width),
            p_value,
            purity,
            cost: effect.abs() * weight,
            rank: 0,
        }
    }
}

/// The candidate that accounts for most of the movement that `chosen` shows, measured anew.
///
/// With own steps `e` of weight `w` (samples by variance), a candidate that gives all its members
/// one common step accounts for `(Σ w e)² / Σ w` of the fleet's sum of squares: the likelihood ratio
/// of that one step. More members that moved alike add to it; members that did not move dilute it.
pub(super) fn explain(fleet: &Fleet<'_>, chosen: usize, step: &Span) -> Option<Explained> {
    let control = fleet.control(chosen);
    let related = fleet.related(&fleet.candidates[chosen].members);
    let mut steps: Vec<Option<f64>> = vec![None; fleet.prepared.len()];
    let everyone: Vec<usize> = (0..fleet.prepared.len()).collect();
    let weights = fleet.weights(&everyone);
    for candidate in &related {
        for member in &fleet.candidates[*candidate].members {
            if steps[*member].is_none() {
                steps[*member] = own_step(fleet, *member, control, step);
            }
        }
    }
    let mut best = (0.0, chosen);
    for candidate in related {
        let (mut sum, mut weight) = (0.0, 0.0);
        for member in &fleet.candidates[candidate].members {
            if let Some(own) = steps[*member] {
                sum += weights[*member] * own;
                weight += weights[*member];
            }
        }
        let accounted = if weight > 0.0 {
            sum * sum / weight
        } else {
            0.0
        };
        if accounted > best.0 {
            best = (accounted, candidate);
        }
    }
    let mover = mover(fleet, best.1, step);
    measure(fleet, mover, step)
}

/// Where a large group moved against all others, either may be the one that moved: the one whose
/// own step, against nothing, is the larger.
fn mover(fleet: &Fleet<'_>, candidate: usize, step: &Span) -> usize {
    if fleet.share(candidate) <= LARGE_SHARE {
        return candidate;
    }
    let Some(complement) = fleet.complement(candidate) else {
        return candidate;
    };
    let raw = |candidate: usize| {
        let steps: Vec<f64> = fleet.candidates[candidate]
            .members
            .iter()
            .filter_map(|member| own_step(fleet, *member, None, step))
            .collect();
        steps.iter().sum::<f64>().abs() / steps.len().max(1) as f64
    };
    if raw(complement) > raw(candidate) {
        complement
    } else {
        candidate
    }
}

/// The difference of a series' means after and before a step within the step's interval.
fn own_step(fleet: &Fleet<'_>, series: usize, control: Option<&[f64]>, step: &Span) -> Option<f64> {
    let residual = &fleet.prepared[series].as_ref()?.residual;
    let mean = |from: usize, to: usize| {
        let (mut sum, mut n) = (0.0, 0.0);
        for i in from..to {
            let value = residual[i] - control.map_or(0.0, |c| c[i]);
            if value.is_finite() {
                sum += value;
                n += 1.0;
            }
        }
        (n > 0.0).then(|| sum / n)
    };
    Some(mean(step.at, step.to)? - mean(step.from, step.at)?)
}

/// The place and size of a candidate's step, and what each member did.
pub(super) fn measure(fleet: &Fleet<'_>, candidate: usize, step: &Span) -> Option<Explained> {
    let side = fleet.options.min_side.max(2);
    let pooled = fleet.aggregate(candidate);
    let (from, to) = (pooled.rank(step.from), pooled.rank(step.to));
    let near = REFINE_SIDES * side;
    let first = pooled.rank(step.at.saturating_sub(near)).max(from + side);
    let last = pooled.rank(step.at + near).min(to.saturating_sub(side));
    let mut best = (0.0, None);
    for at in first..=last {
        let (n1, n2) = ((at - from) as f64, (to - at) as f64);
        let difference = pooled.mean(at, to) - pooled.mean(from, at);
        let square = difference * difference * n1 * n2 / (n1 + n2);
        if square > best.0 {
            best = (square, Some((at, difference)));
        }
    }
    let (rank, difference) = best.1?;
    let at = pooled.places[rank];
    let noise = noise_at(&pooled, from, rank, to)?.at_least(fleet.memory[candidate]);
    let half_width = noise.half_width((rank - from) as f64, (to - rank) as f64, CONFIDENCE);
    let members = fleet.candidates[candidate]
        .members
        .iter()
        .filter_map(|series| {
            let own = fleet.single(*series, candidate)?;
            member(&own, *series, at, step, difference)
        })
        .collect();
    Some(Explained {
        candidate,
        span: Span { at, ..*step },
        step: difference,
        half_width,
        members,
    })
}

fn noise_at(series: &Dense, from: usize, at: usize, to: usize) -> Option<NoiseModel> {
    series.noise(&[from, at, to])
}

fn member(own: &Dense, series: usize, at: usize, step: &Span, pooled: f64) -> Option<MemberStep> {
    let (from, rank, to) = (own.rank(step.from), own.rank(at), own.rank(step.to));
    if rank == from || to == rank {
        return None;
    }
    let difference = own.mean(rank, to) - own.mean(from, rank);
    let (n1, n2) = ((rank - from) as f64, (to - rank) as f64);
    let noise = noise_at(own, from, rank, to)?;
    let statistic = difference / (1.0 / n1 + 1.0 / n2).sqrt();
    Some(MemberStep {
        series,
        step: difference,
        half_width: noise.half_width(n1, n2, CONFIDENCE),
        p_value: normal_two_sided(noise.deviate(statistic)),
        moved: difference * pooled.signum() > pooled.abs() / 2.0,
    })
}

/// Where the level of an explained step returned, or came from, within the persistence: the places
/// of the incident.
pub(super) fn returned(fleet: &Fleet<'_>, explained: &Explained) -> Option<(usize, usize)> {
    let side = fleet.options.min_side.max(2);
    let longest = fleet.options.persistence;
    let pooled = fleet.aggregate(explained.candidate);
    let n = pooled.values.len();
    let at = pooled.rank(explained.span.at);
    let window = |from: usize, to: usize| (to >= from + side).then(|| pooled.mean(from, to));
    // The incident lies between the two ranks; before and after it the level is the same.
    let between = |from: usize, to: usize| {
        let before = window(from.saturating_sub(longest), from)?;
        let after = window(to, (to + longest).min(n))?;
        let within = pooled.mean(from, to) - before;
        ((after - before).abs() < within.abs() / 2.0 && within.abs() > explained.step.abs() / 2.0)
            .then_some(((after - before).abs() - within.abs(), from, to))
    };
    let later = (at + 1..=(at + longest).min(n)).filter_map(|to| between(at, to));
    let earlier = (at.saturating_sub(longest)..at).filter_map(|from| between(from, at));
    let (_, from, to) = later.chain(earlier).min_by(|a, b| a.0.total_cmp(&b.0))?;
    Some((pooled.places[from], pooled.places[to - 1] + 1))
}
