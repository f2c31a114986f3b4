//! Whatever happens between the steps, the protocol ends, and never changes what it cannot undo.

pub(super) mod life;

use proptest::prelude::*;

use self::life::{Happening, Life, failed, life, live, reason, recommendation, record, window};
use super::next::REVERT_ATTEMPTS_MAX;
use super::*;

/// One step of every kind, of every check.
fn every_step() -> Vec<Step> {
    let verdict = |outcome| Verdict {
        outcome,
        measure: String::new(),
        predicted: None,
        interval: None,
        actual: None,
        time_ratio: None,
        reason: reason(),
        statements: Vec::new(),
    };
    let mut all = vec![
        Step::DryRunPassed {
            recommendation: Box::new(recommendation()),
            plan: Plan::default(),
        },
        Step::Approved {
            by: Approval::Automatic,
        },
        Step::BaselineFrozen {
            windows: Vec::new(),
            inverse: Inverse::Nothing { why: reason() },
        },
        Step::ApplyStarted {
            command: String::new(),
        },
        Step::ApplyProgressed { warmed: Vec::new() },
        Step::ApplySucceeded {
            note: String::new(),
        },
        failed(false),
        failed(true),
        Step::GuardBreached { reason: reason() },
        Step::RevertStarted { reason: reason() },
        Step::RevertSucceeded {
            note: String::new(),
        },
        Step::RevertFailed { reason: reason() },
        Step::ExternalChangeDetected { found: reason() },
    ];
    for check in order::CHECKS {
        all.push(Step::WindowObserved {
            check,
            window: window(1, 1),
        });
        for outcome in [Outcome::Kept, Outcome::Regressed] {
            let verdict = verdict(outcome);
            all.push(Step::VerdictReached { check, verdict });
        }
    }
    all
}

/// Whether what the log tells allows a step, by what was told before and what was not.
fn told_allows(log: &[Record], step: &Step) -> bool {
    let told = |names: &[&str]| log.iter().any(|r| names.contains(&r.step.name()));
    let judged = |of: Check| {
        log.iter()
            .any(|r| matches!(&r.step, Step::VerdictReached { check, .. } if *check == of))
    };
    let undoing = told(&["RevertStarted", "GuardBreached"]);
    match step {
        Step::DryRunPassed { .. } | Step::Approved { .. } => !told(&["ApplyStarted"]),
        Step::BaselineFrozen { .. } => told(&["ActionApproved"]) && !told(&["ApplyStarted"]),
        Step::ApplyStarted { .. } => told(&["BaselineFrozen"]) && !told(&["ApplyStarted"]),
        Step::ApplyProgressed { .. } | Step::ApplySucceeded { .. } => {
            told(&["ApplyStarted"]) && !told(&["ApplySucceeded", "ApplyFailed", "RevertStarted"])
        }
        Step::ApplyFailed { .. } => !told(&["ApplySucceeded", "ApplyFailed", "RevertStarted"]),
        Step::WindowObserved { check, .. } | Step::VerdictReached { check, .. } => {
            let before = order::CHECKS.into_iter().take_while(|other| other < check);
            told(&["ApplySucceeded"])
                && !undoing
                && !judged(*check)
                && before.into_iter().all(judged)
        }
        Step::GuardBreached { .. } => told(&["ApplySucceeded"]) && !undoing,
        Step::RevertStarted { .. } | Step::ExternalChangeDetected { .. } => told(&["ApplyStarted"]),
        Step::RevertSucceeded { .. } | Step::RevertFailed { .. } => told(&["RevertStarted"]),
    }
}

proptest! {
    #[test]
    fn every_action_ends_within_its_bound((happenings, rest) in life()) {
        let ended = live(&happenings, rest);
        prop_assert!(ended.is_some(), "it does not end");
        let life = ended.expect("it ended");
        prop_assert!(matches!(life.next(), Next::Closed(_)), "{:?}", life.next());
    }

    #[test]
    fn harm_and_remnants_are_always_undone((happenings, rest) in life()) {
        let life = live(&happenings, rest).expect("it ends");
        let at = life.log.iter().position(|r| matches!(
            &r.step,
            Step::GuardBreached { .. } | Step::ApplyFailed { remnant: true, .. }
        ));
        let verdict = life.log.iter().position(|r| matches!(
            &r.step,
            Step::VerdictReached { verdict, .. } if verdict.outcome == Outcome::Regressed
        ));
        for at in [at, verdict].into_iter().flatten() {
            let followed = life.log.get(at + 1).map(|r| &r.step);
            prop_assert!(
                matches!(
                    followed,
                    Some(Step::RevertStarted { .. } | Step::ExternalChangeDetected { .. })
                ),
                "{followed:?}"
            );
            let Next::Closed(closure) = life.next() else {
                return Err(TestCaseError::fail("it has not ended"));
            };
            prop_assert!(!matches!(closure, Closure::Kept), "{closure:?}");
        }
    }

    #[test]
    fn nothing_is_changed_before_its_baseline_and_inverse_are_in_the_log(
        (happenings, rest) in life()
    ) {
        let life = live(&happenings, rest).expect("it ends");
        let place = |wanted: fn(&Step) -> bool| life.log.iter().position(|r| wanted(&r.step));
        if let Some(begun) = place(|step| matches!(step, Step::ApplyStarted { .. })) {
            let frozen = place(|step| matches!(step, Step::BaselineFrozen { .. }));
            prop_assert!(frozen.is_some_and(|frozen| frozen < begun));
        }
        let Next::Closed(closure) = life.next() else {
            return Err(TestCaseError::fail("it has not ended"));
        };
        if let Closure::Stuck(why) = closure {
            prop_assert!(!why.contains("no inverse"), "{why}");
        }
    }

    #[test]
    fn the_log_from_any_point_on_gives_the_same_state(
        (happenings, rest) in life(), cut in any::<prop::sample::Index>()
    ) {
        let life = live(&happenings, rest).expect("it ends");
        let whole = State::fold(&life.log).expect("it folds").expect("one");
        prop_assert_eq!(&whole, &life.state);
        let cut = 1 + cut.index(life.log.len());
        let mut part = State::fold(&life.log[..cut]).expect("it folds").expect("one");
        for record in &life.log[cut..] {
            part.apply(record).expect("it goes on");
        }
        prop_assert_eq!(&part, &whole);
        // And as events, written and read.
        let read: Vec<Record> = life
            .log
            .iter()
            .map(|record| {
                let event = event::write(record, &life.state.recommendation).expect("an event");
                event::read(&event).expect("a step").expect("one")
            })
            .collect();
        // A figure may lose its last bit as JSON, so that not every verdict is the same.
        let read = State::fold(&read).expect("it folds").expect("one");
        prop_assert_eq!((&read.windows, &read.baseline), (&whole.windows, &whole.baseline));
        prop_assert_eq!((&read.applied, &read.reverted), (&whole.applied, &whole.reverted));
        prop_assert_eq!(next_step(&read, life.now_us, &life.policy), life.next());
    }

    #[test]
    fn what_is_out_of_order_is_refused_and_changes_nothing(
        (happenings, rest) in life(), cut in any::<prop::sample::Index>()
    ) {
        let life = live(&happenings, rest).expect("it ends");
        let cut = 1 + cut.index(life.log.len());
        let state = State::fold(&life.log[..cut]).expect("it folds").expect("one");
        for step in every_step() {
            let mut tried = state.clone();
            let forged = record(life.now_us, step);
            if tried.apply(&forged).is_err() {
                prop_assert_eq!(&tried, &state, "{} was refused", forged.step.name());
                continue;
            }
            let allowed = told_allows(&life.log[..cut], &forged.step);
            prop_assert!(allowed, "{} was taken", forged.step.name());
            // What has ended takes nothing any more, but for undoing what was kept or is stuck.
            let may_follow = match next_step(&state, life.now_us, &life.policy) {
                Next::Closed(Closure::Kept | Closure::Stuck(_)) => matches!(
                    forged.step,
                    Step::RevertStarted { .. } | Step::RevertSucceeded { .. }
                        | Step::RevertFailed { .. } | Step::ExternalChangeDetected { .. }
                ),
                Next::Closed(_) => false,
                _ => true,
            };
            prop_assert!(may_follow, "{} follows an end", forged.step.name());
        }
    }
}

#[test]
fn one_that_is_stuck_can_be_tried_again() {
    let mut life = Life::begin();
    let happenings = [Happening::Well; 4].into_iter();
    for happening in happenings.chain([Happening::AskedBack]) {
        assert!(life.go_on(happening), "it goes on");
    }
    for _ in 0..REVERT_ATTEMPTS_MAX {
        assert!(life.go_on(Happening::Fails), "it goes on");
    }
    assert!(matches!(life.next(), Next::Closed(Closure::Stuck(_))));
    life.keep(Step::RevertStarted { reason: reason() });
    assert!(life.go_on(Happening::Well), "it goes on");
    assert_eq!(life.next(), Next::Closed(Closure::Reverted));
}
