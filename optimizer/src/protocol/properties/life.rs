//! An action that lives through a list of happenings: each says what comes of the step that the
//! protocol asks for next.

use std::collections::BTreeMap;

use driftline_schemas::metric::Component;
use proptest::prelude::*;

use super::super::next::REVERT_ATTEMPTS_MAX;
use super::super::*;
use crate::action::{Action, TableName};
use crate::config::OptimizerConfig;
use crate::measure::StatementWork;
use crate::recommendation::{Auto, Risk, Verification};

/// Most happenings before everything goes well.
const HAPPENINGS_MAX: usize = 60;
/// The statement that the windows are made of.
const STATEMENT: i64 = 7;
/// Steps that are not repeated, with room for keys that are warmed.
const STEPS_ONCE: usize = 12;

/// What comes of the step that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Happening {
    /// It goes well; what is measured is better.
    Well,
    /// It goes well; what is measured is neither better nor worse.
    Same,
    /// It goes well; what is measured is worse.
    Worse,
    /// It goes well; what is measured is so much worse that a guard is breached.
    MuchWorse,
    /// Nothing was measured, or a part is done.
    Little,
    /// It fails and leaves nothing.
    Fails,
    /// It fails and leaves something.
    FailsHalfWay,
    /// Somebody else changes what was changed.
    Meddled,
    /// The process is killed before the step is kept.
    Killed,
    /// The process is killed, and comes back much later.
    KilledForLong,
    /// A person asks for a revert.
    AskedBack,
}

/// An action with its log, as it goes on.
pub(super) struct Life {
    pub(super) policy: Policy,
    pub(super) now_us: i64,
    pub(super) log: Vec<Record>,
    pub(super) state: State,
}

pub(in crate::protocol) fn recommendation() -> Recommendation {
    Recommendation {
        id: "r".to_owned(),
        rule: "P2".to_owned(),
        component: Component::Postgres,
        target: "shop".to_owned(),
        subject: "public.orders".to_owned(),
        advice: String::new(),
        action: Some(Action::CreateIndex {
            table: TableName::new("public", "orders"),
            columns: vec!["customer".to_owned()],
            predicate: None,
        }),
        evidence: Vec::new(),
        estimate: None,
        risk: Risk::Medium,
        auto: Auto::Automatic,
        verification: Verification::Work,
        raised_us: 0,
        expires_us: i64::MAX,
    }
}

pub(super) fn window(calls: u64, blocks_per_call: u64) -> Window {
    let work = StatementWork {
        calls,
        blocks: calls * blocks_per_call,
        ..StatementWork::default()
    };
    Window {
        statements: BTreeMap::from([(STATEMENT, work)]),
        ..Window::default()
    }
}

pub(super) fn failed(remnant: bool) -> Step {
    Step::ApplyFailed {
        reason: "so it happens".to_owned(),
        remnant,
    }
}

pub(super) fn reason() -> String {
    "so it happens".to_owned()
}

impl Life {
    pub(super) fn begin() -> Self {
        let planned = Step::DryRunPassed {
            recommendation: Box::new(recommendation()),
            plan: Plan::default(),
        };
        let first = record(0, planned);
        let state = State::fold([&first]).expect("the first step").expect("one");
        Self {
            policy: Policy::of(&OptimizerConfig::default()),
            now_us: 1,
            log: vec![first],
            state,
        }
    }

    pub(super) fn next(&self) -> Next {
        next_step(&self.state, self.now_us, &self.policy)
    }

    /// Takes the step that is asked for, as it happens to go. `false` at the end.
    pub(super) fn go_on(&mut self, happening: Happening) -> bool {
        let next = self.next();
        self.now_us += 1_000;
        if happening == Happening::KilledForLong {
            self.now_us +=
                2 * i64::try_from(self.policy.baseline_max_age.as_micros()).expect("short");
        }
        if let Next::Wait { until_us, .. } = next {
            self.now_us = self.now_us.max(until_us);
        }
        if happening == Happening::AskedBack && may_be_asked_back(&self.state) {
            self.keep(Step::RevertStarted { reason: reason() });
            return true;
        }
        let step = match next {
            Next::Closed(_) => return false,
            Next::Wait { .. } => None,
            next => answer(&self.state, next, happening),
        };
        if let Some(step) = step {
            self.keep(step);
        }
        true
    }

    pub(super) fn keep(&mut self, step: Step) {
        let record = record(self.now_us, step);
        if matches!(record.step, Step::ApplyStarted { .. }) {
            assert!(self.state.approved.is_some(), "it is not approved");
            assert!(self.state.baseline.is_some(), "there is no baseline");
            assert!(self.state.inverse.is_some(), "there is no inverse");
        }
        self.state.apply(&record).expect("what is asked for fits");
        self.log.push(record);
    }
}

pub(super) fn record(ts_us: i64, step: Step) -> Record {
    Record {
        ts_us,
        action: "action-1".to_owned(),
        step,
    }
}

/// As [`crate::run::Optimizer::revert`] lets a person ask.
fn may_be_asked_back(state: &State) -> bool {
    matches!(
        state.applied,
        Applied::Started | Applied::Succeeded { .. } | Applied::Failed { remnant: true, .. }
    ) && state.reverted == Reverted::NotStarted
        && state.external.is_none()
}

/// The step that is kept; `None` where the process was killed before, or could not measure.
fn answer(state: &State, next: Next, happening: Happening) -> Option<Step> {
    if matches!(happening, Happening::Killed | Happening::KilledForLong) {
        return None;
    }
    let meddled = happening == Happening::Meddled;
    let external = || Step::ExternalChangeDetected { found: reason() };
    Some(match next {
        Next::AwaitApproval => Step::Approved {
            by: Approval::Automatic,
        },
        Next::Freeze if happening == Happening::Fails => failed(false),
        Next::Freeze => Step::BaselineFrozen {
            windows: vec![window(100, 100); 3],
            inverse: Inverse::Nothing { why: reason() },
        },
        Next::Apply if happening == Happening::Fails => failed(false),
        Next::Apply => Step::ApplyStarted {
            command: String::new(),
        },
        Next::Inspect if meddled => external(),
        Next::Inspect => match happening {
            Happening::Fails => failed(false),
            Happening::FailsHalfWay => failed(true),
            Happening::Little if state.warmed.len() < STEPS_ONCE / 2 => Step::ApplyProgressed {
                warmed: vec![WarmedKey {
                    key: String::new(),
                    value: String::new(),
                }],
            },
            _ => Step::ApplySucceeded {
                note: String::new(),
            },
        },
        Next::Observe { .. } if meddled => external(),
        Next::Observe { check, .. } => {
            let window = match happening {
                Happening::Fails | Happening::FailsHalfWay => return None,
                Happening::Same => window(100, 100),
                Happening::Worse => window(100, 130),
                Happening::MuchWorse => window(100, 1_000),
                Happening::Little => window(1, 1),
                _ => window(100, 10),
            };
            Step::WindowObserved { check, window }
        }
        Next::Breach(reason) => Step::GuardBreached { reason },
        Next::Conclude { check, verdict } => Step::VerdictReached {
            check,
            verdict: *verdict,
        },
        Next::Revert { reason } if state.reverted == Reverted::NotStarted => {
            if meddled && matches!(state.applied, Applied::Succeeded { .. }) {
                external()
            } else {
                Step::RevertStarted { reason }
            }
        }
        Next::Revert { .. } => match happening {
            Happening::Meddled => external(),
            Happening::Fails | Happening::FailsHalfWay => Step::RevertFailed { reason: reason() },
            _ => Step::RevertSucceeded {
                note: String::new(),
            },
        },
        Next::Wait { .. } | Next::Closed(_) => return None,
    })
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        6 => Just(Happening::Well),
        2 => Just(Happening::Same),
        1 => Just(Happening::Worse),
        1 => Just(Happening::MuchWorse),
        3 => Just(Happening::Little),
        1 => Just(Happening::Fails),
        1 => Just(Happening::FailsHalfWay),
        1 => Just(Happening::Meddled),
        3 => Just(Happening::Killed),
        1 => Just(Happening::KilledForLong),
        1 => Just(Happening::AskedBack),
    ]
}

/// The same tail of luck as most lives have: from some point on everything fails, or nothing does.
pub(super) fn life() -> impl Strategy<Value = (Vec<Happening>, Happening)> {
    let rest = prop_oneof![
        Just(Happening::Well),
        Just(Happening::Same),
        Just(Happening::Worse),
        Just(Happening::Little),
        Just(Happening::FailsHalfWay),
    ];
    (prop::collection::vec(happening(), 0..HAPPENINGS_MAX), rest)
}

/// Lives it to its end; `None` if it does not come within its bound. Where nothing can be measured
/// ever, no step is taken any more; the runner gives up and a later one goes on, which is told by
/// [`Happening::Well`] here.
pub(super) fn live(happenings: &[Happening], rest: Happening) -> Option<Life> {
    let mut life = Life::begin();
    // Each happening may cost one round; what follows is bounded by the windows of three checks, the
    // attempts to undo, and the steps that come once. Every round of waiting may come twice.
    let checks = order::CHECKS.len();
    let most = happenings.len()
        + 2 * (checks * (life.policy.windows_max + 3) + REVERT_ATTEMPTS_MAX + STEPS_ONCE);
    for round in 0..most {
        let observing = matches!(life.next(), Next::Observe { .. });
        let happening = match happenings.get(round) {
            Some(happening) => *happening,
            None if observing && rest == Happening::FailsHalfWay => Happening::Well,
            None => rest,
        };
        if !life.go_on(happening) {
            return Some(life);
        }
    }
    None
}
