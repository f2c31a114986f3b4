//! Which actions are suspected after which findings.

use driftline_schemas::{Component, Event, EventName};

use super::*;
use crate::engine::EngineConfig;
use crate::lake::Lake;
use crate::testing::{HOST, S, T0};

const MINUTE: i64 = 60 * S;
/// When the action was applied, and when it was judged.
const APPLIED: i64 = T0;
const JUDGED: i64 = T0 + 3 * MINUTE;
/// When most findings are told.
const TOLD: i64 = T0 + 90 * MINUTE;

fn event(ts_us: i64, name: EventName, subject: &str, attributes: &[(&str, &str)]) -> Event {
    let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    Event {
        ts_us,
        name,
        component: Component::Postgres,
        subject: subject.to_owned(),
        message: "told".to_owned(),
        attributes: attributes.iter().map(owned).collect(),
    }
}

fn step(ts_us: i64, name: EventName, attributes: &[(&str, &str)]) -> Event {
    let mut all = vec![("action", "action-1"), ("detail", "{}")];
    all.extend_from_slice(attributes);
    event(ts_us, name, "orders", &all)
}

fn verdict(ts_us: i64, outcome: &str) -> Event {
    step(ts_us, EventName::VerdictReached, &[("outcome", outcome)])
}

/// An action that is applied and kept.
fn kept() -> Vec<Event> {
    vec![
        step(APPLIED, EventName::ApplySucceeded, &[]),
        verdict(JUDGED, "kept"),
    ]
}

struct Finding {
    id: &'static str,
    told_us: i64,
    onset_us: i64,
    severity: &'static str,
    causes: &'static str,
}

/// A regression ten minutes after the change.
const WORSE: Finding = Finding {
    id: "f1",
    told_us: TOLD,
    onset_us: APPLIED + 10 * MINUTE,
    severity: "regression",
    causes: "[]",
};

impl Finding {
    fn opened(&self) -> Event {
        let onset = self.onset_us.to_string();
        let title = format!("{} is slower", self.id);
        let attributes = [
            ("severity", self.severity),
            ("title", &title),
            ("onset_us", &onset),
            ("causes", self.causes),
        ];
        event(self.told_us, EventName::FindingOpened, self.id, &attributes)
    }
}

fn with(mut events: Vec<Event>, more: impl IntoIterator<Item = Event>) -> Vec<Event> {
    events.extend(more);
    events
}

/// The actions that are suspected, each with what got worse.
async fn suspected(events: &[Event]) -> Vec<String> {
    let lake = Lake::of_hosts([], [(HOST, events)]).expect("events");
    let engine = Engine::over(lake, &EngineConfig::default())
        .await
        .expect("an engine");
    let all = suspects(&engine).await.expect("they are asked for");
    let told = |one: &Suspect| format!("{} {} {}", one.action, one.finding, one.title);
    all.iter().map(told).collect()
}

#[tokio::test]
async fn a_regression_within_the_hour_after_a_kept_change_suspects_it() {
    let suspects_it = ["action-1 f1 f1 is slower"];
    let acknowledged = event(TOLD + S, EventName::FindingAcknowledged, "f1", &[]);
    let window = step(TOLD + S, EventName::WindowObserved, &[]);
    let second = Finding { id: "f2", ..WORSE };
    for (what, more) in [
        ("one", vec![WORSE.opened()]),
        ("that somebody has seen", vec![WORSE.opened(), acknowledged]),
        ("while it is measured again", vec![WORSE.opened(), window]),
        ("of two", vec![second.opened(), WORSE.opened()]),
    ] {
        assert_eq!(suspected(&with(kept(), more)).await, suspects_it, "{what}");
    }
}

#[tokio::test]
async fn a_regression_that_names_a_change_suspects_it_though_its_step_begins_before() {
    let named = Finding {
        onset_us: APPLIED - 5 * MINUTE,
        causes: r#"[{"ts_us":1,"what":"optimizer, action-1: p2: applied; done"}]"#,
        ..WORSE
    };
    assert_eq!(suspected(&with(kept(), [named.opened()])).await.len(), 1);
    let another = Finding {
        causes: r#"[{"ts_us":1,"what":"optimizer, action-12: p2: applied; done"}]"#,
        ..named
    };
    assert_eq!(suspected(&with(kept(), [another.opened()])).await.len(), 0);
}

#[tokio::test]
async fn nothing_else_suspects_it() {
    let resolved = event(
        TOLD + S,
        EventName::FindingResolved,
        "f1",
        &[("as", "fixed")],
    );
    let before = APPLIED - S;
    let beyond = APPLIED + 61 * MINUTE;
    let improvement = Finding {
        severity: "improvement",
        ..WORSE
    };
    let known = Finding {
        told_us: JUDGED - S,
        ..WORSE
    };
    let elsewhere = |onset_us| Finding { onset_us, ..WORSE };
    let undone = step(TOLD + S, EventName::RevertSucceeded, &[]);
    for (what, more) in [
        ("nothing", vec![]),
        ("before it", vec![elsewhere(before).opened()]),
        ("long after it", vec![elsewhere(beyond).opened()]),
        ("an improvement", vec![improvement.opened()]),
        ("told before the verdict", vec![known.opened()]),
        ("resolved", vec![WORSE.opened(), resolved]),
        (
            "judged since",
            vec![WORSE.opened(), verdict(TOLD + S, "kept")],
        ),
        ("undone since", vec![WORSE.opened(), undone]),
    ] {
        assert_eq!(suspected(&with(kept(), more)).await.len(), 0, "{what}");
    }
    let observing = vec![kept().remove(0), WORSE.opened()];
    assert_eq!(suspected(&observing).await.len(), 0);
}
