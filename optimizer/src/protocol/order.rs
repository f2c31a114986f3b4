//! Which step can follow where: what the fold refuses. A step that is refused leaves the state as it
//! was.

use super::next::{REVERT_ATTEMPTS_MAX, undoes};
use super::{Applied, Check, Reverted, State, Step};

/// The checks, in the order in which they come.
pub(super) const CHECKS: [Check; 3] = [Check::Immediate, Check::First, Check::Last];

/// Why `step` cannot come now; `None` if it can.
pub(super) fn problem(state: &State, step: &Step) -> Option<&'static str> {
    if ended(state) {
        return Some("the action has ended");
    }
    let not_started = state.applied == Applied::NotStarted;
    let started = state.applied == Applied::Started;
    let reverting = matches!(state.reverted, Reverted::Started { .. });
    let (fine, problem) = match step {
        Step::DryRunPassed { .. } | Step::Approved { .. } => (not_started, "the change has begun"),
        Step::BaselineFrozen { .. } => (
            not_started && state.approved.is_some(),
            "it must be approved and not yet begun",
        ),
        Step::ApplyStarted { .. } => (
            not_started && state.baseline.is_some() && state.inverse.is_some(),
            "a baseline and an inverse must be stored first",
        ),
        Step::ApplyProgressed { .. } | Step::ApplySucceeded { .. } => (
            started && !reverting,
            "the change has not begun, or has ended",
        ),
        Step::ApplyFailed { .. } => (
            (started || not_started) && !reverting,
            "the change has ended, and must be reverted instead",
        ),
        Step::WindowObserved { check, .. } | Step::VerdictReached { check, .. } => (
            measured(state) && due(state) == Some(*check),
            "the change has not taken place, or this is not its next check",
        ),
        Step::GuardBreached { .. } => (
            measured(state) && due(state).is_some(),
            "the change has not taken place, or is not measured any more",
        ),
        Step::RevertStarted { .. } => (
            !not_started
                && state.inverse.is_some()
                && (!reverting || state.revert_failures() >= REVERT_ATTEMPTS_MAX),
            "there is no change to revert, or it is being reverted",
        ),
        Step::RevertSucceeded { .. } | Step::RevertFailed { .. } => {
            (reverting, "no revert has begun")
        }
        Step::ExternalChangeDetected { .. } => (!not_started, "there is no change of ours"),
    };
    (!fine).then_some(problem)
}

/// Whether nothing can follow. What is kept has not ended: a person may still undo it.
fn ended(state: &State) -> bool {
    let nothing_left = matches!(state.applied, Applied::Failed { remnant: false, .. });
    nothing_left || state.external.is_some() || matches!(state.reverted, Reverted::Succeeded { .. })
}

/// Whether the change stands and nothing says that it must go.
fn measured(state: &State) -> bool {
    matches!(state.applied, Applied::Succeeded { .. })
        && state.reverted == Reverted::NotStarted
        && state.breach.is_none()
        && !state.verdicts.iter().any(|(check, v)| undoes(*check, v))
}

/// The next check without a verdict.
fn due(state: &State) -> Option<Check> {
    CHECKS
        .into_iter()
        .find(|check| state.verdict(*check).is_none())
}
