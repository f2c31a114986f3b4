//! What comes next: a pure function of where an action stands and of the time.

use std::time::Duration;

use super::{Applied, Check, Reverted, State};
use crate::config::{OptimizerConfig, VerifyConfig};
use crate::duration::micros;
use crate::verify::{self, Judgement, Outcome, Spec, Verdict};

/// How often undoing is tried before a person is needed.
pub const REVERT_ATTEMPTS_MAX: usize = 5;

/// What the next step depends on, beside the state.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// How long a change settles.
    pub settle: Duration,
    /// Least windows.
    pub windows_min: usize,
    /// Most windows.
    pub windows_max: usize,
    /// How old a baseline may be.
    pub baseline_max_age: Duration,
    /// When the first check is, after the change.
    pub recheck_first: Duration,
    /// When the last is.
    pub recheck_last: Duration,
    /// The limits of verdicts.
    pub verify: VerifyConfig,
}

/// How an action ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Closure {
    /// Its change is kept; nothing more is measured.
    Kept,
    /// Its change was undone.
    Reverted,
    /// Its change did not take place.
    Failed(String),
    /// Somebody else changed what it had changed.
    Superseded(String),
    /// It could not be undone; a person is needed.
    Stuck(String),
}

/// What comes next.
#[derive(Debug, Clone, PartialEq)]
pub enum Next {
    /// Somebody must allow it.
    AwaitApproval,
    /// The baseline is to be measured and frozen, with the inverse.
    Freeze,
    /// The system is to be changed.
    Apply,
    /// Whether the change took place is to be asked of the system.
    Inspect,
    /// A window is to be measured, not before a time.
    Observe {
        /// For which verdict.
        check: Check,
        /// From when.
        from_us: i64,
    },
    /// It does harm, which is to be told.
    Breach(String),
    /// A verdict is to be told.
    Conclude {
        /// Of which check.
        check: Check,
        /// Which.
        verdict: Box<Verdict>,
    },
    /// It is to be undone.
    Revert {
        /// Why.
        reason: String,
    },
    /// It is kept; the next check is due at a time.
    Wait {
        /// Which check.
        check: Check,
        /// When.
        until_us: i64,
    },
    /// Nothing.
    Closed(Closure),
}

impl Policy {
    /// The policy that is configured.
    pub fn of(config: &OptimizerConfig) -> Self {
        Self {
            settle: config.settle,
            windows_min: config.windows_min,
            windows_max: config.windows_max,
            baseline_max_age: config.baseline_max_age,
            recheck_first: config.recheck_first,
            recheck_last: config.recheck_last,
            verify: config.verify.clone(),
        }
    }
}

impl Next {
    /// Whether the action has come to its end, or to a pause of hours or days.
    pub const fn rests(&self) -> bool {
        matches!(
            self,
            Self::AwaitApproval | Self::Wait { .. } | Self::Closed(_)
        )
    }

    /// Whether the action holds its component: nothing else may be changed there meanwhile.
    pub const fn in_flight(&self) -> bool {
        !self.rests() || matches!(self, Self::Closed(Closure::Stuck(_)))
    }
}

/// What comes next for an action in `state` at `now_us`.
pub fn next_step(state: &State, now_us: i64, policy: &Policy) -> Next {
    if matches!(state.reverted, Reverted::Succeeded { .. }) {
        return closed_after_revert(state);
    }
    if let Some((_, found)) = &state.external {
        return Next::Closed(Closure::Superseded(found.clone()));
    }
    if let Reverted::Started { reason, failures } = &state.reverted {
        return revert(reason.clone(), *failures, state);
    }
    match &state.applied {
        Applied::NotStarted => before(state, now_us, policy),
        Applied::Started => Next::Inspect,
        Applied::Failed {
            reason,
            remnant: true,
        } => revert(format!("it failed and left something: {reason}"), 0, state),
        Applied::Failed { reason, .. } => Next::Closed(Closure::Failed(reason.clone())),
        Applied::Succeeded { ts_us } => after(state, *ts_us, now_us, policy),
    }
}

/// Nothing was changed yet. What changes it needs a baseline and an inverse in the log.
fn before(state: &State, now_us: i64, policy: &Policy) -> Next {
    if state.approved.is_none() {
        return Next::AwaitApproval;
    }
    match (&state.baseline, &state.inverse) {
        (Some((ts_us, _)), Some(_))
            if now_us.saturating_sub(*ts_us) <= micros(policy.baseline_max_age) =>
        {
            Next::Apply
        }
        _ => Next::Freeze,
    }
}

/// The change took place: it is measured, judged, and judged again.
fn after(state: &State, applied_us: i64, now_us: i64, policy: &Policy) -> Next {
    if let Some(reason) = &state.breach {
        return revert(format!("a guard was breached: {reason}"), 0, state);
    }
    let checks = [
        (Check::Immediate, policy.settle),
        (Check::First, policy.recheck_first),
        (Check::Last, policy.recheck_last),
    ];
    for (check, wait) in checks {
        let due_us = applied_us.saturating_add(micros(wait));
        match state.verdict(check) {
            Some(verdict) if undoes(check, verdict) => {
                let told = format!("{}: {}", verdict.outcome.as_str(), verdict.reason);
                return revert(told, 0, state);
            }
            Some(_) => {}
            None if check != Check::Immediate && now_us < due_us => {
                return Next::Wait {
                    check,
                    until_us: due_us,
                };
            }
            None => return measure(state, check, due_us, policy),
        }
    }
    Next::Closed(Closure::Kept)
}

/// Whether a verdict undoes the change. Later on only harm does: that a day brought too little to
/// judge says nothing against what was kept.
pub(super) fn undoes(check: Check, verdict: &Verdict) -> bool {
    match check {
        Check::Immediate => verdict.outcome != Outcome::Kept,
        Check::First | Check::Last => verdict.outcome == Outcome::Regressed,
    }
}

fn measure(state: &State, check: Check, due_us: i64, policy: &Policy) -> Next {
    let before = state
        .baseline
        .as_ref()
        .map(|(_, windows)| windows.as_slice());
    let windows = state.windows.get(&check).map(Vec::as_slice);
    let (before, windows) = (before.unwrap_or_default(), windows.unwrap_or_default());
    let spec = Spec::of(&state.recommendation, policy.windows_min, &policy.verify);
    let Some(spec) = spec else {
        return revert("its action is not known".to_owned(), 0, state);
    };
    if let Some(reason) = verify::breach(&spec, before, windows) {
        return Next::Breach(reason);
    }
    let conclude = |verdict: Verdict| Next::Conclude {
        check,
        verdict: Box::new(verdict),
    };
    match verify::judge(&spec, before, windows) {
        Judgement::Decided(verdict) => conclude(verdict),
        Judgement::NeedMore(missing) if windows.len() >= policy.windows_max => {
            conclude(verify::give_up(&spec, before, windows, &missing))
        }
        Judgement::NeedMore(_) => Next::Observe {
            check,
            from_us: due_us,
        },
    }
}

fn revert(reason: String, failures: usize, state: &State) -> Next {
    if state.inverse.is_none() {
        return Next::Closed(Closure::Stuck(format!("no inverse is stored; {reason}")));
    }
    if failures >= REVERT_ATTEMPTS_MAX {
        return Next::Closed(Closure::Stuck(format!(
            "undoing failed {failures} times; {reason}"
        )));
    }
    Next::Revert { reason }
}

fn closed_after_revert(state: &State) -> Next {
    Next::Closed(match &state.applied {
        Applied::Failed { reason, .. } => Closure::Failed(reason.clone()),
        _ => Closure::Reverted,
    })
}
