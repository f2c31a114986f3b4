//! The safe-apply protocol as a fold over events: from the log alone follows where an action stands
//! and what comes next, so that an optimizer that was killed between any two steps resumes or
//! reverts.
//!
//! The inverse and the baseline are in the log before the change begins. Performing the steps is
//! left to [`crate::run`], their form in the log to [`event`].

mod actions;
pub mod event;
pub mod next;
mod order;
#[cfg(test)]
mod properties;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use self::actions::{Actions, Damaged};
pub use self::next::{Closure, Next, Policy, next_step};
use crate::action::{Inverse, Plan};
use crate::gate::Approval;
use crate::measure::Window;
use crate::recommendation::Recommendation;
use crate::verify::{Outcome, Verdict};

/// Most keys in one step of warming.
pub const WARMED_PER_STEP: usize = 256;

/// When an effect is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Check {
    /// Right after the change has settled.
    Immediate,
    /// After a day, by default.
    First,
    /// After a week, by default.
    Last,
}

/// A key that warming wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WarmedKey {
    /// The key.
    pub key: String,
    /// A fingerprint of the value that was written.
    pub value: String,
}

/// One step of an action.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// It was planned, and nothing stands against it.
    DryRunPassed {
        /// What is to be done.
        recommendation: Box<Recommendation>,
        /// What the dry run found.
        plan: Plan,
    },
    /// It is allowed.
    Approved {
        /// By whom.
        by: Approval,
    },
    /// What it is judged by, and what undoes it.
    BaselineFrozen {
        /// The windows before it.
        windows: Vec<Window>,
        /// What undoes it exactly.
        inverse: Inverse,
    },
    /// It is about to change the system.
    ApplyStarted {
        /// The command.
        command: String,
    },
    /// A part of it is done.
    ApplyProgressed {
        /// The keys that were written.
        warmed: Vec<WarmedKey>,
    },
    /// It has changed the system.
    ApplySucceeded {
        /// What is worth knowing.
        note: String,
    },
    /// It could not change the system.
    ApplyFailed {
        /// Why.
        reason: String,
        /// Whether something of it may be left, which must be undone.
        remnant: bool,
    },
    /// A window was measured.
    WindowObserved {
        /// For which verdict.
        check: Check,
        /// What was measured.
        window: Window,
    },
    /// It does harm.
    GuardBreached {
        /// Which.
        reason: String,
    },
    /// It was judged.
    VerdictReached {
        /// When.
        check: Check,
        /// How.
        verdict: Verdict,
    },
    /// It is about to be undone.
    RevertStarted {
        /// Why.
        reason: String,
    },
    /// It is undone.
    RevertSucceeded {
        /// What is worth knowing.
        note: String,
    },
    /// It could not be undone this time.
    RevertFailed {
        /// Why.
        reason: String,
    },
    /// Somebody else changed what it had changed.
    ExternalChangeDetected {
        /// What was found.
        found: String,
    },
}

/// A step with its time and its action.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// When, in microseconds since 1970 UTC.
    pub ts_us: i64,
    /// Of which action.
    pub action: String,
    /// Which.
    pub step: Step,
}

/// Why steps make no action.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// A step came where it cannot come.
    #[error("{step} of {action} cannot follow: {problem}; look at its events")]
    OutOfOrder {
        /// The action.
        action: String,
        /// The step.
        step: &'static str,
        /// What is missing before it.
        problem: &'static str,
    },
}

/// How far the change of the system has come.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Applied {
    /// It has not begun.
    #[default]
    NotStarted,
    /// It began; whether it took place is to be asked of the system.
    Started,
    /// It took place.
    Succeeded {
        /// When.
        ts_us: i64,
    },
    /// It did not take place.
    Failed {
        /// Why.
        reason: String,
        /// Whether something may be left of it.
        remnant: bool,
    },
}

/// How far undoing has come.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Reverted {
    /// It was not asked for.
    #[default]
    NotStarted,
    /// It began, or is to be tried again.
    Started {
        /// Why.
        reason: String,
        /// How often it has failed.
        failures: usize,
    },
    /// It is done.
    Succeeded {
        /// When.
        ts_us: i64,
    },
}

/// Where an action stands.
#[derive(Debug, Clone, PartialEq)]
pub struct State {
    /// Its id.
    pub action: String,
    /// What is done.
    pub recommendation: Recommendation,
    /// What the dry run found.
    pub plan: Plan,
    /// Who allowed it.
    pub approved: Option<Approval>,
    /// The windows before it, and when they were frozen.
    pub baseline: Option<(i64, Vec<Window>)>,
    /// What undoes it.
    pub inverse: Option<Inverse>,
    /// How far it has come.
    pub applied: Applied,
    /// The keys that warming wrote.
    pub warmed: Vec<WarmedKey>,
    /// The windows after it.
    pub windows: BTreeMap<Check, Vec<Window>>,
    /// The verdicts, in order.
    pub verdicts: Vec<(Check, Verdict)>,
    /// The harm that ended it.
    pub breach: Option<String>,
    /// How far undoing has come.
    pub reverted: Reverted,
    /// What somebody else changed.
    pub external: Option<(i64, String)>,
    /// When the last step was.
    pub last_us: i64,
}

impl Step {
    /// Its name, which is its event's name.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::DryRunPassed { .. } => "DryRunPassed",
            Self::Approved { .. } => "ActionApproved",
            Self::BaselineFrozen { .. } => "BaselineFrozen",
            Self::ApplyStarted { .. } => "ApplyStarted",
            Self::ApplyProgressed { .. } => "ApplyProgressed",
            Self::ApplySucceeded { .. } => "ApplySucceeded",
            Self::ApplyFailed { .. } => "ApplyFailed",
            Self::WindowObserved { .. } => "WindowObserved",
            Self::GuardBreached { .. } => "GuardBreached",
            Self::VerdictReached { .. } => "VerdictReached",
            Self::RevertStarted { .. } => "RevertStarted",
            Self::RevertSucceeded { .. } => "RevertSucceeded",
            Self::RevertFailed { .. } => "RevertFailed",
            Self::ExternalChangeDetected { .. } => "ExternalChangeDetected",
        }
    }
}

impl State {
    /// Where an action stands after its steps; `None` before the first.
    pub fn fold<'a>(
        records: impl IntoIterator<Item = &'a Record>,
    ) -> Result<Option<Self>, ProtocolError> {
        let mut state: Option<Self> = None;
        for record in records {
            match (&mut state, &record.step) {
                (
                    None,
                    Step::DryRunPassed {
                        recommendation,
                        plan,
                    },
                ) => state = Some(Self::new(record, recommendation, plan)),
                (None, step) => {
                    return Err(out_of_order(record, step, "the action was not planned"));
                }
                (Some(state), _) => state.apply(record)?,
            }
        }
        Ok(state)
    }

    fn new(record: &Record, recommendation: &Recommendation, plan: &Plan) -> Self {
        Self {
            action: record.action.clone(),
            recommendation: recommendation.clone(),
            plan: plan.clone(),
            approved: None,
            baseline: None,
            inverse: None,
            applied: Applied::NotStarted,
            warmed: Vec::new(),
            windows: BTreeMap::new(),
            verdicts: Vec::new(),
            breach: None,
            reverted: Reverted::NotStarted,
            external: None,
            last_us: record.ts_us,
        }
    }

    /// Takes one more step.
    pub fn apply(&mut self, record: &Record) -> Result<(), ProtocolError> {
        if let Some(problem) = order::problem(self, &record.step) {
            return Err(out_of_order(record, &record.step, problem));
        }
        self.last_us = record.ts_us;
        match record.step.clone() {
            Step::DryRunPassed { plan, .. } => self.plan = plan,
            Step::Approved { by } => self.approved = Some(by),
            Step::BaselineFrozen { windows, inverse } => {
                self.baseline = Some((record.ts_us, windows));
                self.inverse = Some(inverse);
            }
            Step::ApplyStarted { .. } => self.applied = Applied::Started,
            Step::ApplyProgressed { warmed } => self.warmed.extend(warmed),
            Step::ApplySucceeded { .. } => {
                self.applied = Applied::Succeeded {
                    ts_us: record.ts_us,
                };
            }
            Step::ApplyFailed { reason, remnant } => {
                self.applied = Applied::Failed { reason, remnant };
            }
            Step::WindowObserved { check, window } => {
                self.windows.entry(check).or_default().push(window);
            }
            Step::GuardBreached { reason } => self.breach = Some(reason),
            Step::VerdictReached { check, verdict } => self.verdicts.push((check, verdict)),
            Step::RevertStarted { reason } => {
                let failures = 0;
                self.reverted = Reverted::Started { reason, failures };
            }
            Step::RevertSucceeded { .. } => {
                self.reverted = Reverted::Succeeded {
                    ts_us: record.ts_us,
                };
            }
            Step::RevertFailed { .. } => {
                if let Reverted::Started { failures, .. } = &mut self.reverted {
                    *failures += 1;
                }
            }
            Step::ExternalChangeDetected { found } => self.external = Some((record.ts_us, found)),
        }
        Ok(())
    }

    /// The verdict of a check, if there is one.
    pub fn verdict(&self, check: Check) -> Option<&Verdict> {
        let found = self.verdicts.iter().find(|(of, _)| *of == check);
        found.map(|(_, verdict)| verdict)
    }

    /// Whether the first verdict was to keep it.
    pub fn is_kept(&self) -> bool {
        self.verdict(Check::Immediate)
            .is_some_and(|verdict| verdict.outcome == Outcome::Kept)
    }

    /// When the change was undone, by us or by somebody else.
    pub fn undone_us(&self) -> Option<i64> {
        match self.reverted {
            Reverted::Succeeded { ts_us } => Some(ts_us),
            _ => self.external.as_ref().map(|(ts_us, _)| *ts_us),
        }
    }

    /// How often undoing has failed.
    pub const fn revert_failures(&self) -> usize {
        match self.reverted {
            Reverted::Started { failures, .. } => failures,
            _ => 0,
        }
    }
}

fn out_of_order(record: &Record, step: &Step, problem: &'static str) -> ProtocolError {
    ProtocolError::OutOfOrder {
        action: record.action.clone(),
        step: step.name(),
        problem,
    }
}
