//! The search itself: a pure function from what was observed to the next step, or to the end.
//!
//! Rates grow geometrically until one is not held, then the bracket is halved until it is narrow
//! enough. A rate whose step is not sure is tried again, and one that stays unsure is left inside the
//! interval, with sure rates sought on both sides of it. Neither end of the interval rests on a
//! single step.

#[cfg(test)]
mod bounds;
mod level;

use super::config::SearchConfig;
use super::judgement::{Judgement, Reason, judge};
use super::usl::{UslFit, UslPoint};
use super::{Knee, SAFE_SHARE, StepPlan, StepResult, StepSummary, Verdict};
use level::{Level, Standing};

/// A search under way.
#[derive(Debug, Clone)]
pub struct Search {
    config: SearchConfig,
    steps: Vec<StepSummary>,
    seconds: f64,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Move {
    Try(f64),
    End(Verdict),
}

impl Search {
    /// A search that has seen nothing.
    pub fn new(config: SearchConfig) -> Self {
        Self {
            config,
            steps: Vec::new(),
            seconds: 0.0,
        }
    }

    /// How it searches.
    pub fn config(&self) -> &SearchConfig {
        &self.config
    }

    /// The next step, or `None` when the search has ended. Asking twice gives the same answer.
    pub fn next(&self) -> Option<StepPlan> {
        let options = self.config.options();
        match self.next_move() {
            Move::End(_) => None,
            Move::Try(rate) => {
                let left = options.seconds - self.seconds;
                let at_most = options.step_seconds_at_most.min(left);
                Some(StepPlan {
                    number: self.steps.len() + 1,
                    rate,
                    seconds_at_least: options.step_seconds_at_least.min(at_most),
                    seconds_at_most: at_most,
                })
            }
        }
    }

    /// Takes what came of the step that [`Search::next`] planned.
    pub fn observe(&mut self, mut result: StepResult) {
        if result.generator_limited.is_none() && result.report.is_under_offered() {
            result.generator_limited =
                Some("fewer arrivals than planned were brought by the schedule".to_owned());
        }
        let (judgement, reasons) = judge(&result, &self.config);
        self.seconds += result.report.seconds.max(0.0);
        self.steps.push(StepSummary {
            number: self.steps.len() + 1,
            judgement,
            reasons,
            generator_limited: result.generator_limited,
            report: result.report,
        });
    }

    /// The result of what was observed; before the end of the search that of a search cut off.
    pub fn finish(self) -> Knee {
        let verdict = match self.next_move() {
            Move::End(verdict) => verdict,
            Move::Try(_) => Verdict::TimeBox,
        };
        let levels = Level::all(&self.steps, &self.config);
        let bracket = Bracket::of(&levels);
        let held_rate = bracket.good.map(|at| levels[at].rate);
        let is_known = matches!(verdict, Verdict::Found | Verdict::TimeBox);
        let ends = match (bracket.good, bracket.above) {
            (Some(low), Some(high)) if is_known && levels[high].standing == Standing::Bad => {
                Some((low, high))
            }
            _ => None,
        };
        let reason = match verdict {
            Verdict::Found | Verdict::TimeBox | Verdict::TargetFailed => bracket
                .above
                .and_then(|at| levels[at].reasons(&self.config).into_iter().next()),
            Verdict::NotReached | Verdict::GeneratorLimited => None,
        };
        let options = self.config.options();
        let points: Vec<UslPoint> = levels.iter().filter_map(Level::usl_point).collect();
        Knee {
            verdict,
            rate: ends
                .map(|(low, high)| crossing(&levels[low..=high], &self.config, reason.as_ref())),
            interval: ends.map(|(low, high)| (levels[low].rate, levels[high].rate)),
            safe_rate: held_rate.map(|rate| rate * SAFE_SHARE),
            held_rate,
            reason,
            usl: UslFit::of(&points, options.seed, options.resamples),
            saturated: None,
            notes: self.notes(),
            steps: self.steps,
        }
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = self.config.notes().to_vec();
        let limited = self.steps.iter().filter_map(|step| {
            let why = step.generator_limited.as_ref()?;
            Some((step, why))
        });
        notes.extend(limited.map(|(step, why)| {
            let rate = step.report.rate;
            format!(
                "step {} at {rate:.1}/s says nothing about the target: {why}",
                step.number
            )
        }));
        notes
    }

    fn next_move(&self) -> Move {
        let options = self.config.options();
        let levels = Level::all(&self.steps, &self.config);
        let wanted = wanted_move(&levels, &self.config);
        let has_room = self.steps.len() < options.steps
            && self.seconds + options.step_seconds_at_least <= options.seconds;
        match wanted {
            Move::Try(_) if !has_room => Move::End(Verdict::TimeBox),
            wanted => wanted,
        }
    }
}

/// The levels between which the knee lies: indices into levels in ascending order of rate.
#[derive(Debug, Clone, Copy)]
struct Bracket {
    good: Option<usize>,
    above: Option<usize>,
}

impl Bracket {
    /// The lowest rate that is not held, and the highest below it that is.
    fn of(levels: &[Level<'_>]) -> Self {
        let is_above = |level: &Level<'_>| {
            matches!(level.standing, Standing::Bad | Standing::GeneratorLimited)
        };
        let above = levels.iter().position(is_above);
        let below = &levels[..above.unwrap_or(levels.len())];
        let good = below
            .iter()
            .rposition(|level| level.standing == Standing::Good);
        Self { good, above }
    }
}

fn wanted_move(levels: &[Level<'_>], config: &SearchConfig) -> Move {
    let options = config.options();
    if levels.is_empty() {
        return Move::Try(options.start_rate);
    }
    if let Some(open) = levels.iter().find(|level| level.standing == Standing::Open) {
        return Move::Try(open.rate);
    }
    let bracket = Bracket::of(levels);
    match (bracket.good, bracket.above) {
        (_, None) => climb(levels, config),
        (None, Some(above)) => descend(levels, above, config),
        (Some(good), Some(above)) => narrow(levels, good, above, config),
    }
}

/// Nothing failed yet: the next higher rate.
fn climb(levels: &[Level<'_>], config: &SearchConfig) -> Move {
    let options = config.options();
    let highest = levels.iter().map(|level| level.rate).fold(0.0, f64::max);
    if highest >= options.highest_rate {
        // An unsure highest rate is neither held nor broken; it is not claimed as a knee.
        return Move::End(Verdict::NotReached);
    }
    Move::Try((highest * options.factor).min(options.highest_rate))
}

/// Nothing was held yet: the next lower rate.
fn descend(levels: &[Level<'_>], above: usize, config: &SearchConfig) -> Move {
    let options = config.options();
    let first = &levels[above];
    if let Some(again) = first.unconfirmed() {
        return Move::Try(again);
    }
    let lowest = levels[0].rate;
    if lowest > options.lowest_rate && !first.is_hopeless() {
        return Move::Try((lowest / options.factor).max(options.lowest_rate));
    }
    match first.standing {
        Standing::GeneratorLimited => Move::End(Verdict::GeneratorLimited),
        _ => Move::End(Verdict::TargetFailed),
    }
}

/// Between a rate that is held and one that is not.
fn narrow(levels: &[Level<'_>], good: usize, above: usize, config: &SearchConfig) -> Move {
    let (low, high) = (&levels[good], &levels[above]);
    // The first bad rate steers the whole search, and a bad rate below one that was held is
    // suspicious: both are looked at again before anything is built on them.
    let is_contradicted = levels[above..]
        .iter()
        .any(|level| level.standing == Standing::Good);
    let is_first = levels.iter().filter(|level| level.is_above()).count() == 1;
    if let Some(again) = high.unconfirmed().filter(|_| is_contradicted || is_first) {
        return Move::Try(again);
    }
    let width = config.options().relative_width;
    let gap = |from: f64, to: f64| (to - from) / ((to + from) / 2.0);
    let unsure = &levels[good + 1..above];
    let candidate = match (unsure.first(), unsure.last()) {
        (Some(first), Some(last)) => {
            let (below, beyond) = (gap(low.rate, first.rate), gap(last.rate, high.rate));
            let (from, to) = if below >= beyond {
                (low, first)
            } else {
                (last, high)
            };
            (gap(from.rate, to.rate) > width / 2.0).then(|| (from.rate + to.rate) / 2.0)
        }
        _ => (gap(low.rate, high.rate) > width).then(|| (low.rate + high.rate) / 2.0),
    };
    match candidate
        .or_else(|| high.unconfirmed())
        .or_else(|| low.unconfirmed())
    {
        Some(rate) => Move::Try(rate),
        None if high.standing == Standing::GeneratorLimited => Move::End(Verdict::GeneratorLimited),
        None => Move::End(Verdict::Found),
    }
}

/// Where the failing threshold's measure crosses its bound, interpolated in its logarithm between
/// the neighbours around the crossing; the middle where it was no threshold that failed.
fn crossing(levels: &[Level<'_>], config: &SearchConfig, reason: Option<&Reason>) -> f64 {
    let (low, high) = (levels[0].rate, levels[levels.len() - 1].rate);
    let middle = f64::midpoint(low, high);
    let Some(Reason::Threshold(text)) = reason else {
        return middle;
    };
    let Some(at) = config.limits().iter().position(|limit| &limit.text == text) else {
        return middle;
    };
    let bound = config.limits()[at].bound;
    let points: Vec<(f64, f64)> = levels
        .iter()
        .filter_map(|level| {
            let excess = (level.report.limits.get(at).copied().flatten()?.value / bound).ln();
            excess.is_finite().then_some((level.rate, excess))
        })
        .collect();
    let around = points
        .windows(2)
        .find(|pair| pair[0].1 <= 0.0 && pair[1].1 > 0.0);
    around.map_or(middle, |pair| {
        let ((from, below), (to, beyond)) = (pair[0], pair[1]);
        from + (to - from) * -below / (beyond - below)
    })
}

/// Whether a judgement is sure of the target.
fn is_sure(judgement: Judgement) -> bool {
    matches!(judgement, Judgement::Good | Judgement::Bad)
}
