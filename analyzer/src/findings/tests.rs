use super::*;
use crate::compare::Window;
use crate::nightly::Severity;
use crate::testing::{S, T0, block, engine, lake};
use driftline_schemas::Body;
use driftline_sink::table::TableName;

const DAY: &str = "2026-01-31";

fn finding(id: &str, effect: f64) -> Finding {
    Finding {
        id: id.to_owned(),
        severity: Severity::Regression,
        title: format!("{id} moved"),
        onset_us: T0,
        scope: vec![("host".to_owned(), "h1".to_owned())],
        evidence: vec![Evidence {
            name: "a=b,c".to_owned(),
            unit: "s".to_owned(),
            before: Some(1.0),
            after: Some(1.0 + effect),
            effect_pct: Some(100.0 * effect),
            interval_pct: Some((90.0 * effect, 110.0 * effect)),
            p_value: 1e-6,
        }],
        causes: Vec::new(),
        sql: "SELECT 'it''s'".to_owned(),
    }
}

fn nightly(findings: &[Finding]) -> Nightly {
    Nightly {
        day: Window {
            from_us: T0,
            until_us: T0 + 86_400 * S,
        },
        rows: 9,
        series: 3,
        runs: 0,
        notes: Vec::new(),
        findings: findings.to_vec(),
        plots: Vec::new(),
        marks: Vec::new(),
    }
}

/// What is held after these events.
async fn after(events: &[Event]) -> Vec<Held> {
    let (_dir, mut lake) = lake(&[], &[]);
    let mut contents = lake.contents(TableName::Events);
    contents.tail = block(TableName::Events, Body::Events(events.to_vec()));
    lake.tables.push(contents);
    held(&engine(lake).await, Some(DAY))
        .await
        .expect("findings")
}

fn names(events: &[Event]) -> Vec<&str> {
    events.iter().map(|event| event.name.as_str()).collect()
}

#[tokio::test]
async fn each_change_is_told_once() {
    let both = nightly(&[finding("x", 0.5), finding("y", 0.2)]);
    let mut log = events(&both, DAY, &[], T0);
    assert_eq!(
        names(&log),
        ["FindingOpened", "FindingOpened", "DayAnalysed"]
    );
    let first = after(&log).await;
    assert_eq!(first.len(), 2);
    assert!(first.iter().all(|held| held.state == State::Open));
    assert_eq!(names(&events(&both, DAY, &first, T0 + S)), ["DayAnalysed"]);

    // Late rows change one finding and take the other away.
    let later = events(&nightly(&[finding("x", 0.6)]), DAY, &first, T0 + 2 * S);
    assert_eq!(
        names(&later),
        ["FindingUpdated", "FindingSuperseded", "DayAnalysed"]
    );
    log.extend(later);
    let second = after(&log).await;
    let states: Vec<&str> = second.iter().map(|held| held.state.as_str()).collect();
    assert_eq!(states, ["open", "superseded"]);

    // And it comes back.
    let again = events(&both, DAY, &second, T0 + 3 * S);
    assert_eq!(
        names(&again),
        ["FindingUpdated", "FindingOpened", "DayAnalysed"]
    );
    log.extend(again);
    assert!(
        after(&log)
            .await
            .iter()
            .all(|held| held.state == State::Open)
    );
}

#[tokio::test]
async fn people_have_the_last_word() {
    let found = nightly(&[finding("x", 0.5)]);
    let mut log = events(&found, DAY, &[], T0);
    let mut now = T0;
    for (step_wanted, state) in [
        (Step::Acknowledge, State::Acknowledged),
        (Step::Fix, State::Fixed),
        (Step::Reopen, State::Open),
        (Step::Accept, State::Accepted),
    ] {
        now += S;
        let held = after(&log).await;
        log.push(step(&held[0], step_wanted, "ann", now).expect("it is allowed"));
        assert_eq!(after(&log).await[0].state, state);
    }
    let held = after(&log).await;
    let refused = step(&held[0], Step::Acknowledge, "ann", now).expect_err("it is closed");
    assert_eq!(
        refused.to_string(),
        "finding x is accepted: it cannot be acknowledged"
    );
    // An update tells what is new without opening what was accepted.
    log.extend(events(&nightly(&[finding("x", 0.7)]), DAY, &held, now + S));
    assert_eq!(after(&log).await[0].state, State::Accepted);
    // What was accepted and is not found any more stays as it is.
    let quiet = events(&nightly(&[]), DAY, &held, now + S);
    assert_eq!(names(&quiet), ["DayAnalysed"]);
}
