//! Each gate closes by itself, and names itself.

use std::time::Duration;

use driftline_schemas::metric::Component;

use super::*;
use crate::action::TableName;
use crate::action::hypothetical::Explained;
use crate::recommendation::{Estimate, Risk, Verification};

/// 2023-11-14 22:13:20 UTC, a Tuesday.
const NOW_US: i64 = 1_700_000_000_000_000;

fn recommendation(action: Action) -> Recommendation {
    Recommendation {
        id: "r".to_owned(),
        rule: "P2".to_owned(),
        component: Component::Postgres,
        target: "shop".to_owned(),
        subject: "public.orders".to_owned(),
        advice: String::new(),
        action: Some(action),
        evidence: Vec::new(),
        estimate: None,
        risk: Risk::Low,
        auto: Auto::Automatic,
        verification: Verification::Work,
        raised_us: 0,
        expires_us: NOW_US + 1,
    }
}

fn index() -> Action {
    Action::CreateIndex {
        table: TableName::new("public", "orders"),
        columns: vec!["a".to_owned()],
        predicate: None,
    }
}

fn analyze() -> Action {
    Action::Analyze {
        table: TableName::new("public", "orders"),
    }
}

fn open() -> OptimizerConfig {
    let mut config = OptimizerConfig {
        dry_run: false,
        create_index: true,
        auto_approve: true,
        ..OptimizerConfig::default()
    };
    config.allow.insert(ActionKind::CreateIndex);
    config
}

fn known() -> Known {
    Known {
        now_us: NOW_US,
        ..Known::default()
    }
}

fn asked(config: &OptimizerConfig, action: Action, known: &Known) -> Vec<Refusal> {
    refusals(
        config,
        &recommendation(action),
        Some(&Approval::Automatic),
        known,
    )
}

#[test]
fn what_is_allowed_and_approved_passes() {
    assert_eq!(asked(&open(), analyze(), &known()), []);
    assert_eq!(asked(&open(), index(), &known()), []);
}

#[test]
fn a_dry_run_is_the_default() {
    let all = asked(&OptimizerConfig::default(), analyze(), &known());
    assert!(all.contains(&Refusal::DryRun));
}

#[test]
fn only_what_is_listed_is_applied_and_indexes_need_a_second_opt_in() {
    let mut config = open();
    config.allow.clear();
    let all = asked(&config, analyze(), &known());
    assert_eq!(all, [Refusal::NotAllowed(ActionKind::Analyze)]);
    let mut config = open();
    config.create_index = false;
    assert_eq!(asked(&config, index(), &known()), [Refusal::NoSecondOptIn]);
}

#[test]
fn automatic_needs_the_rule_the_kind_and_the_configuration() {
    let ask = |config: &OptimizerConfig, r: &Recommendation, approval: Option<&Approval>| {
        refusals(config, r, approval, &known())
    };
    let mut prepared = recommendation(analyze());
    prepared.auto = Auto::Prepared;
    let person = Approval::Person("ada".to_owned());
    let automatic = Approval::Automatic;
    assert!(matches!(
        ask(&open(), &prepared, Some(&automatic))[..],
        [Refusal::NotApproved(_)]
    ));
    assert_eq!(ask(&open(), &prepared, Some(&person)), []);
    assert!(matches!(
        ask(&open(), &prepared, None)[..],
        [Refusal::NotApproved(_)]
    ));
    let mut never = recommendation(analyze());
    never.auto = Auto::Never;
    assert_eq!(ask(&open(), &never, Some(&person)), [Refusal::AdviceOnly]);
    let work_mem = recommendation(Action::SetSetting {
        setting: Setting::WorkMem,
        value: 1e7,
    });
    assert!(matches!(
        ask(&open(), &work_mem, Some(&automatic))[..],
        [Refusal::NotApproved(_)]
    ));
    let mut config = open();
    config.auto_approve = false;
    let all = ask(&config, &recommendation(analyze()), Some(&automatic));
    assert!(matches!(all[..], [Refusal::NotApproved(_)]));
}

#[test]
fn advice_and_what_has_expired_are_not_applied() {
    let mut advice = recommendation(analyze());
    advice.action = None;
    assert_eq!(
        refusals(&open(), &advice, None, &known()),
        [Refusal::AdviceOnly]
    );
    let late = Known {
        now_us: NOW_US + 1,
        ..known()
    };
    assert_eq!(asked(&open(), analyze(), &late), [Refusal::Expired]);
}

#[test]
fn one_change_at_a_time() {
    let known = Known {
        in_flight: Some("action-1".to_owned()),
        ..known()
    };
    let all = asked(&open(), analyze(), &known);
    assert_eq!(all, [Refusal::InFlight("action-1".to_owned())]);
}

#[test]
fn changes_begin_in_their_window_even_over_midnight() {
    let mut config = open();
    for (hours, passes) in [
        ([22, 6], true),
        ([0, 24], true),
        ([8, 18], false),
        ([23, 6], false),
    ] {
        config.hours = hours;
        assert_eq!(
            asked(&config, analyze(), &known()).is_empty(),
            passes,
            "{hours:?}"
        );
    }
    config.hours = [0, 24];
    config.days = [Day::Tue].into();
    assert_eq!(asked(&config, analyze(), &known()), []);
    config.days = [Day::Wed].into();
    let all = asked(&config, analyze(), &known());
    assert!(all[0].to_string().contains("on Wed"), "{all:?}");
}

#[test]
fn what_was_undone_is_left_alone() {
    let mut config = open();
    config.cool_down = Duration::from_secs(10);
    let at = |undone_us| Known {
        undone_us: Some(undone_us),
        ..known()
    };
    assert_eq!(asked(&config, analyze(), &at(NOW_US - 10_000_000)), []);
    let all = asked(&config, analyze(), &at(NOW_US - 9_999_999));
    assert_eq!(
        all,
        [Refusal::CoolingDown {
            until_us: NOW_US + 1
        }]
    );
}

#[test]
fn a_busy_machine_and_a_full_disk_refuse() {
    let busy = Known {
        cpu_busy_percent: Some(81.0),
        ..known()
    };
    assert!(matches!(
        asked(&open(), analyze(), &busy)[..],
        [Refusal::Busy(_)]
    ));
    let pressed = Known {
        cpu_pressure_percent: Some(21.0),
        ..known()
    };
    assert!(matches!(
        asked(&open(), analyze(), &pressed)[..],
        [Refusal::Busy(_)]
    ));
    let disk = |used, disk_known: bool| Known {
        disk: disk_known.then_some((used, 100)),
        needs_bytes: Some(1),
        ..known()
    };
    assert_eq!(asked(&open(), index(), &disk(89, true)), []);
    assert!(matches!(
        asked(&open(), index(), &disk(90, true))[..],
        [Refusal::Disk(_)]
    ));
    assert!(matches!(
        asked(&open(), index(), &disk(0, false))[..],
        [Refusal::Disk(_)]
    ));
}

#[test]
fn an_index_that_the_planner_would_not_use_is_refused() {
    let expected = |used, after| Known {
        hypothetical: Hypothetical::of(vec![Explained {
            id: 1,
            calls: 1,
            before: 100.0,
            after,
            used,
            shape: String::new(),
        }]),
        ..known()
    };
    assert_eq!(asked(&open(), index(), &expected(true, 50.0)), []);
    for (used, after) in [(true, 51.0), (false, 100.0)] {
        let all = asked(&open(), index(), &expected(used, after));
        assert!(matches!(all[..], [Refusal::Unused(_)]), "{all:?}");
        assert!(
            all[0]
                .to_string()
                .starts_with("the planner would not use it")
        );
    }
}

#[test]
fn an_index_on_a_table_that_is_mostly_written_needs_a_net_benefit() {
    let known = Known {
        reads_writes: Some((299, 100)),
        ..known()
    };
    assert!(matches!(
        asked(&open(), index(), &known)[..],
        [Refusal::Writes(_)]
    ));
    let mut proven = recommendation(index());
    proven.estimate = Some(Estimate {
        measure: EstimateMeasure::WorkSaved,
        predicted: 0.9,
        low: 0.6,
        high: 1.0,
        method: "E1".to_owned(),
        confidence: 1.0,
        saved_s_per_h: None,
        statements: Vec::new(),
    });
    let all = refusals(&open(), &proven, Some(&Approval::Automatic), &known);
    assert_eq!(all, []);
}
