//! Whether a change was good: a pure function of the windows before and after it.
//!
//! The primary measure is work per call, because it hardly moves when nothing changes, while time
//! does; see [`crate::config::VerifyConfig`]. That a signal is clear is not enough: the guards must
//! hold, too. Reading the windows is left to [`crate::measure`], what follows from a verdict to
//! [`crate::protocol`].

mod cache;
mod signal;
mod work;

use serde::{Deserialize, Serialize};

use crate::action::{Action, ActionKind};
use crate::config::VerifyConfig;
use crate::measure::{Total, Window};
use crate::recommendation::{Estimate, Recommendation, Verification};

/// What a change is judged by.
#[derive(Debug, Clone, Copy)]
pub struct Spec<'a> {
    /// What was done.
    pub action: &'a Action,
    /// How it is judged.
    pub verification: Verification,
    /// What was expected.
    pub estimate: Option<&'a Estimate>,
    /// Least windows after it.
    pub windows_min: usize,
    /// The limits.
    pub limits: &'a VerifyConfig,
}

/// How a change ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It brought what it should, and hurt nothing.
    Kept,
    /// It made something worse.
    Regressed,
    /// It brought nothing.
    NoGain,
    /// There was too little to judge.
    Inconclusive,
}

/// A verdict, with what was expected beside what came.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// How it ended.
    pub outcome: Outcome,
    /// What the figures are of.
    pub measure: String,
    /// What was expected.
    pub predicted: Option<f64>,
    /// The interval of that.
    pub interval: Option<(f64, f64)>,
    /// What came.
    pub actual: Option<f64>,
    /// Time per call after ÷ before. Secondary: it is shown, and ends nothing by itself.
    pub time_ratio: Option<f64>,
    /// Why, for a person.
    pub reason: String,
    /// Each statement that was compared.
    #[serde(default)]
    pub statements: Vec<StatementChange>,
}

/// A statement before and after.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct StatementChange {
    /// Its `queryid`.
    pub id: i64,
    /// Calls after.
    pub calls: u64,
    /// Blocks per call before.
    pub before: f64,
    /// Blocks per call after.
    pub after: f64,
    /// WAL per call after ÷ before, without full-page images; 1 for what does not write.
    pub wal_ratio: f64,
    /// Whether it is hurt.
    pub hurt: bool,
}

/// What the windows say so far.
#[derive(Debug, Clone, PartialEq)]
pub enum Judgement {
    /// There is too little yet, and of what.
    NeedMore(String),
    /// Enough to decide.
    Decided(Verdict),
}

impl Outcome {
    /// The word in events.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::Regressed => "regressed",
            Self::NoGain => "no_gain",
            Self::Inconclusive => "inconclusive",
        }
    }
}

impl<'a> Spec<'a> {
    /// What `recommendation` is judged by, if it can be applied.
    pub fn of(
        recommendation: &'a Recommendation,
        windows_min: usize,
        limits: &'a VerifyConfig,
    ) -> Option<Self> {
        Some(Self {
            action: recommendation.action.as_ref()?,
            verification: recommendation.verification,
            estimate: recommendation.estimate.as_ref(),
            windows_min,
            limits,
        })
    }

    /// Whether not being worse is enough: dropping an index saves space whatever the blocks say, and
    /// what cannot be undone is not asked for a gain.
    fn not_worse_is_enough(&self) -> bool {
        matches!(
            self.action.kind(),
            ActionKind::DropIndex | ActionKind::Analyze | ActionKind::Vacuum
        )
    }

    fn verdict(&self, outcome: Outcome, measure: &str, reason: String) -> Verdict {
        Verdict {
            outcome,
            measure: measure.to_owned(),
            predicted: self.estimate.map(|e| e.predicted),
            interval: self.estimate.map(|e| (e.low, e.high)),
            actual: None,
            time_ratio: None,
            reason,
            statements: Vec::new(),
        }
    }
}

/// Whether the windows suffice as a baseline; otherwise what is missing.
pub fn baseline_suffices(spec: &Spec<'_>, windows: &[Window]) -> Result<(), String> {
    if windows.len() < spec.windows_min {
        return Err(format!("{} of {} windows", windows.len(), spec.windows_min));
    }
    let total = Total::of(windows);
    match spec.verification {
        Verification::Work => work::suffices(spec, &total),
        Verification::HitRatio => cache::suffices(spec, &total),
        Verification::Signal => signal::of(spec.action, windows)
            .map(|_| ())
            .ok_or_else(|| "nothing that its signal is made of was measured".to_owned()),
    }
}

/// Judges a change by all windows after it.
pub fn judge(spec: &Spec<'_>, before: &[Window], after: &[Window]) -> Judgement {
    if after.len() < spec.windows_min {
        let told = format!("{} of {} windows", after.len(), spec.windows_min);
        return Judgement::NeedMore(told);
    }
    match spec.verification {
        Verification::Work => work::judge(spec, before, after),
        Verification::Signal => signal::judge(spec, before, after),
        Verification::HitRatio => cache::judge(spec, before, after),
    }
}

/// The verdict where there will be no more windows. Harm needs no more of them: it does not wait for a
/// statement that nobody runs any more.
pub fn give_up(spec: &Spec<'_>, before: &[Window], after: &[Window], missing: &str) -> Verdict {
    if spec.verification == Verification::Work
        && let Some(harm) = work::harm(spec, before, after)
    {
        return spec.verdict(Outcome::Regressed, "work_saved", harm);
    }
    spec.verdict(
        Outcome::Inconclusive,
        "none",
        format!("too little to judge: {missing}"),
    )
}

/// Harm that ends a change at once, asked after each window.
pub fn breach(spec: &Spec<'_>, before: &[Window], after: &[Window]) -> Option<String> {
    if before.is_empty() || after.is_empty() {
        return None;
    }
    let (was, is) = (Total::of(before), Total::of(after));
    work::breach(spec, &was, &is)
        .or_else(|| errors_breach(spec.limits, &was, &is))
        .or_else(|| cache::breach(spec.limits, &was, &is))
}

/// Transactions that are rolled back, beyond the limit.
fn errors_breach(limits: &VerifyConfig, was: &Total, is: &Total) -> Option<String> {
    let rise = 100.0 * (is.database.rollback_share() - was.database.rollback_share());
    (is.database.rollbacks >= limits.calls_min && rise >= limits.error_rise_points).then(|| {
        format!(
            "transactions rolled back rose by {rise:.1} points to {:.1} %",
            100.0 * is.database.rollback_share()
        )
    })
}
