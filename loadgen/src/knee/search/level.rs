//! All that was observed at one rate, and where it stands. One step is one vote: a rate is tried
//! again where its steps are not sure or contradict each other, at most [`MOST_VOTES`] times.

use super::super::config::SearchConfig;
use super::super::judgement::{Judgement, Reason, judge_report};
use super::super::monitor::{Ended, StepReport};
use super::super::usl::UslPoint;
use super::super::{StepSummary, judgement};
use super::is_sure;

/// Most steps at one rate: two can contradict each other, a third decides.
pub(super) const MOST_VOTES: usize = 3;
/// Steps that an end of the interval rests on.
const CONFIRMING_VOTES: usize = 2;
/// A target that fails this share of all operations is not overloaded but broken.
const HOPELESS_ERRORS: f64 = 0.5;

/// Where a rate stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// It is held.
    Good,
    /// It is not.
    Bad,
    /// It has been tried often enough and stays on the bound.
    Unsure,
    /// The generator cannot offer it.
    GeneratorLimited,
    /// It must be tried again.
    Open,
}

/// A rate and its steps.
#[derive(Debug)]
pub(super) struct Level<'a> {
    pub(super) rate: f64,
    pub(super) standing: Standing,
    /// All its steps that agree with where it stands, pooled.
    pub(super) report: StepReport,
    steps: Vec<&'a StepSummary>,
}

impl<'a> Level<'a> {
    /// All rates in ascending order.
    pub(super) fn all(steps: &'a [StepSummary], config: &SearchConfig) -> Vec<Self> {
        let mut sorted: Vec<&StepSummary> = steps.iter().collect();
        sorted.sort_by(|a, b| a.report.rate.total_cmp(&b.report.rate));
        sorted
            .chunk_by(|a, b| a.report.rate == b.report.rate)
            .map(|steps| Self::of(steps.to_vec(), config))
            .collect()
    }

    fn of(steps: Vec<&'a StepSummary>, config: &SearchConfig) -> Self {
        let standing = standing(&steps, config);
        // A step that was outvoted is left out of the numbers as well: a stall is not the target's law.
        let voice = match standing {
            Standing::Good => Some(Judgement::Bad),
            Standing::Bad => Some(Judgement::Good),
            _ => None,
        };
        let heard: Vec<&StepReport> = steps
            .iter()
            .filter(|step| Some(step.judgement) != voice && step.generator_limited.is_none())
            .map(|step| &step.report)
            .collect();
        let report = StepReport::pooled(&heard, config).unwrap_or_else(|| steps[0].report.clone());
        Self {
            rate: steps[0].report.rate,
            standing,
            report,
            steps,
        }
    }

    /// Whether it bounds the knee from above.
    pub(super) fn is_above(&self) -> bool {
        matches!(self.standing, Standing::Bad | Standing::GeneratorLimited)
    }

    /// Its rate, where it rests on a single step.
    pub(super) fn unconfirmed(&self) -> Option<f64> {
        (self.steps.len() < CONFIRMING_VOTES).then_some(self.rate)
    }

    /// Whether less load cannot help.
    pub(super) fn is_hopeless(&self) -> bool {
        let errors = self.report.error_share;
        let nothing_ended = self
            .report
            .throughput_per_s
            .is_some_and(|it| it.value == 0.0);
        self.standing == Standing::Bad
            && (nothing_ended || errors.is_some_and(|it| it.low > HOPELESS_ERRORS))
    }

    /// Why it is not held.
    pub(super) fn reasons(&self, config: &SearchConfig) -> Vec<Reason> {
        let is_bad = |step: &&&StepSummary| step.judgement == Judgement::Bad;
        match self.steps.iter().find(is_bad) {
            Some(step) => step.reasons.clone(),
            None => judge_report(&self.report, config, 1.0).1,
        }
    }

    /// Concurrency and throughput, by Little's law. It holds for what flows steadily, so steps whose
    /// throughput does not follow, whose response times still grow, or that were not offered as
    /// planned have none; nor have those cut off because they looked bad, which would favour what
    /// was bad by chance.
    pub(super) fn usl_point(&self) -> Option<UslPoint> {
        let report = &self.report;
        let is_steady = report.following?.low >= judgement::FOLLOWING_SHARE
            && report.dropped == 0
            && !report.growing
            && report.ended != Ended::ClearlyBad;
        let is_heard = self
            .steps
            .iter()
            .any(|step| step.generator_limited.is_none());
        let (throughput, mean) = (report.throughput_per_s?, report.mean_ns?);
        (is_steady && is_heard && throughput.value > 0.0 && mean.value > 0.0)
            .then(|| UslPoint::from_little(throughput, mean))
    }
}

fn standing(steps: &[&StepSummary], config: &SearchConfig) -> Standing {
    let votes = |judgement| {
        steps
            .iter()
            .filter(|step| step.judgement == judgement)
            .count()
    };
    let limited = votes(Judgement::GeneratorLimited);
    if limited >= CONFIRMING_VOTES {
        return Standing::GeneratorLimited;
    }
    if limited > 0 && steps.len() < MOST_VOTES {
        return Standing::Open;
    }
    let (good, bad) = (votes(Judgement::Good), votes(Judgement::Bad));
    let is_first = steps.len() == 1;
    match (good, bad) {
        (1, 0) | (0, 1) if is_first => sure(good > bad),
        (2.., _) | (_, 2..) => sure(good > bad),
        _ if is_first => Standing::Open,
        (1, 1) if steps.len() >= MOST_VOTES => Standing::Unsure,
        (1, 1) => Standing::Open,
        _ => by_pooling(steps, config),
    }
}

/// At most one sure vote: what the steps say together.
fn by_pooling(steps: &[&StepSummary], config: &SearchConfig) -> Standing {
    let heard: Vec<&StepReport> = steps
        .iter()
        .filter(|step| step.generator_limited.is_none())
        .map(|step| &step.report)
        .collect();
    let together =
        StepReport::pooled(&heard, config).map(|report| judge_report(&report, config, 1.0).0);
    match together {
        Some(judgement) if is_sure(judgement) => sure(judgement == Judgement::Good),
        _ if steps.len() < MOST_VOTES => Standing::Open,
        _ => Standing::Unsure,
    }
}

fn sure(is_good: bool) -> Standing {
    if is_good {
        Standing::Good
    } else {
        Standing::Bad
    }
}
