//! Two runs held against each other: what is worse fires, what is not stays quiet, and what is too
//! short is not judged.

use driftline_schemas::{Body, Component, Event, EventName, Request, RequestBatch};
use driftline_sink::table::TableName;
use driftline_stats::noise::Noise;

use super::{
    CompareRunsError, RunCompareOptions, RunComparison, Verdict, compare_runs, compare_several,
};
use crate::engine::Engine;
use crate::testing::{S, T0, block, engine, lake};

/// Requests of one second.
const RATE: i64 = 50;

/// A run whose two endpoints answer after about 10 ms, `item` slower by a factor.
struct Plan {
    name: &'static str,
    seed: u64,
    seconds: i64,
    slower: f64,
    failing: f64,
    generator: &'static str,
}

impl Plan {
    const fn new(name: &'static str, seed: u64) -> Self {
        Self {
            name,
            seed,
            seconds: 40,
            slower: 1.0,
            failing: 0.0,
            generator: "ok",
        }
    }

    fn requests(&self, from: i64) -> Body {
        let mut noise = Noise::new(self.seed);
        let request = |number: i64| {
            let endpoint = u32::from(number % 2 == 0);
            let factor = if endpoint == 1 { self.slower } else { 1.0 };
            let failed = endpoint == 1 && noise.uniform() < self.failing;
            let done_ns = (10e6 * factor * (0.2 * noise.normal()).exp()) as i64;
            Request {
                endpoint,
                intended_us: from + number * S / RATE,
                sent_ns: 1_000,
                first_byte_ns: done_ns,
                done_ns,
                status: if failed { 500 } else { 200 },
                bytes: 100,
                error: u32::from(failed),
            }
        };
        Body::Requests(RequestBatch {
            run: self.name.to_owned(),
            worker: 0,
            endpoints: vec!["home".to_owned(), "item".to_owned()],
            errors: vec!["status".to_owned()],
            requests: (0..self.seconds * RATE).map(request).collect(),
        })
    }

    fn events(&self, from: i64) -> [Event; 2] {
        let event = |name, ts_us, attributes: &[(&str, &str)]| Event {
            ts_us,
            name,
            component: Component::Driftline,
            subject: self.name.to_owned(),
            message: String::new(),
            attributes: attributes
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect(),
        };
        let operations = (self.seconds * RATE).to_string();
        let started = [("scenario", "s"), ("hash", "1"), ("warm_up_ns", "0")];
        let finished = [
            ("ended", "completed"),
            ("generator", self.generator),
            ("recording", "ok"),
            ("operations", operations.as_str()),
        ];
        [
            event(EventName::RunStarted, from, &started),
            event(EventName::RunFinished, from + self.seconds * S, &finished),
        ]
    }
}

async fn engine_of(plans: &[Plan]) -> (tempfile::TempDir, Engine) {
    let (dir, mut lake) = lake(&[], &[]);
    let (mut requests, mut events) = (Vec::new(), Vec::new());
    for (number, plan) in plans.iter().enumerate() {
        let from = T0 + number as i64 * 3600 * S;
        requests.extend(block(TableName::Requests, plan.requests(from)));
        events.extend(plan.events(from));
    }
    for (table, tail) in [
        (TableName::Requests, requests),
        (
            TableName::Events,
            block(TableName::Events, Body::Events(events)),
        ),
    ] {
        let mut contents = lake.contents(table);
        contents.tail = tail;
        lake.tables.push(contents);
    }
    (dir, engine(lake).await)
}

async fn compared(b: Plan) -> RunComparison {
    let (_dir, engine) = engine_of(&[Plan::new("a", 1), b]).await;
    compare_runs(&engine, "a", "b", &RunCompareOptions::default())
        .await
        .expect("a comparison")
}

fn moved(comparison: &RunComparison) -> Vec<String> {
    let moved = |verdict| matches!(verdict, Verdict::Regression | Verdict::Improvement);
    comparison
        .shifts
        .iter()
        .filter(|shift| moved(shift.verdict))
        .map(|shift| format!("{} {} {}", shift.endpoint, shift.metric, shift.verdict))
        .collect()
}

#[tokio::test]
async fn a_slower_endpoint_is_found_with_its_effect() {
    let comparison = compared(Plan {
        slower: 1.2,
        ..Plan::new("b", 2)
    })
    .await;
    assert_eq!(comparison.verdict(), Verdict::Regression);
    let found = moved(&comparison);
    assert!(
        found.contains(&"item p50 regression".to_owned()),
        "{found:?}"
    );
    assert!(
        found.iter().all(|found| !found.starts_with("home")),
        "{found:?}"
    );
    let item = comparison
        .shifts
        .iter()
        .find(|shift| shift.endpoint == "item" && shift.metric == "p50")
        .expect("it was judged");
    let (lo, hi) = (
        item.effect_lo_pct.expect("a bound"),
        item.effect_hi_pct.expect("a bound"),
    );
    assert!(lo < 20.0 && 20.0 < hi && hi - lo < 20.0, "{lo} to {hi}");
}

#[tokio::test]
async fn failures_are_found_in_points_of_percent() {
    let comparison = compared(Plan {
        failing: 0.05,
        ..Plan::new("b", 2)
    })
    .await;
    let found = moved(&comparison);
    assert!(
        found.contains(&"item error_rate regression".to_owned()),
        "{found:?}"
    );
}

#[tokio::test]
async fn the_same_again_is_no_change() {
    for seed in 2..12 {
        let comparison = compared(Plan::new("b", seed)).await;
        assert_eq!(
            comparison.verdict(),
            Verdict::NoChange,
            "seed {seed}: {:?}",
            moved(&comparison)
        );
        assert_eq!(comparison.notes, Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_short_run_is_too_little() {
    let comparison = compared(Plan {
        seconds: 4,
        ..Plan::new("b", 2)
    })
    .await;
    assert_eq!(comparison.verdict(), Verdict::TooLittleData);
}

#[tokio::test]
async fn a_run_that_cannot_be_believed_gets_no_verdict() {
    let comparison = compared(Plan {
        slower: 2.0,
        generator: "generator-limited",
        ..Plan::new("b", 2)
    })
    .await;
    assert_eq!(comparison.verdict(), Verdict::TooLittleData);
    assert_eq!(comparison.notes.len(), 1, "{:?}", comparison.notes);
}

#[tokio::test]
async fn a_run_that_is_not_there_is_named() {
    let (_dir, engine) = engine_of(&[Plan::new("a", 1)]).await;
    let options = RunCompareOptions::default();
    let missing = compare_runs(&engine, "a", "b", &options).await;
    assert!(matches!(missing, Err(CompareRunsError::Missing { run }) if run == "b"));
    let same = compare_runs(&engine, "a", "a", &options).await;
    assert!(matches!(same, Err(CompareRunsError::Same { .. })));
}

/// Five runs of each side, in turns.
async fn several(slower: f64) -> RunComparison {
    let names = ["a0", "b0", "a1", "b1", "a2", "b2", "a3", "b3", "a4", "b4"];
    let plans: Vec<Plan> = names
        .iter()
        .zip(10..)
        .map(|(name, seed)| Plan {
            slower: if name.starts_with('b') { slower } else { 1.0 },
            ..Plan::new(name, seed)
        })
        .collect();
    let (_dir, engine) = engine_of(&plans).await;
    let side = |letter: &str| (0..5).map(|n| format!("{letter}{n}")).collect::<Vec<_>>();
    compare_several(
        &engine,
        &side("a"),
        &side("b"),
        &RunCompareOptions::default(),
    )
    .await
    .expect("a comparison")
}

#[tokio::test]
async fn several_runs_of_each_side_find_a_change() {
    let comparison = several(1.2).await;
    assert_eq!(
        comparison.verdict(),
        Verdict::Regression,
        "{:?}",
        moved(&comparison)
    );
    let found = moved(&comparison);
    assert!(
        found.contains(&"item p50 regression".to_owned()),
        "{found:?}"
    );
    assert!(
        found.iter().all(|found| !found.starts_with("home")),
        "{found:?}"
    );
    let same = several(1.0).await;
    assert_eq!(same.verdict(), Verdict::NoChange, "{:?}", moved(&same));
    assert_eq!(same.run_a, "a0,a1,a2,a3,a4");
}

#[tokio::test]
async fn a_run_stands_on_one_side_only_and_one_is_too_few() {
    let (_dir, engine) =
        engine_of(&[Plan::new("a", 1), Plan::new("b", 2), Plan::new("c", 3)]).await;
    let named = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
    let options = RunCompareOptions::default();
    let twice = compare_several(&engine, &named(&["a", "b"]), &named(&["b", "c"]), &options).await;
    assert!(matches!(twice, Err(CompareRunsError::Same { run }) if run == "b"));
    let few = compare_several(&engine, &named(&["a"]), &named(&["b", "c"]), &options).await;
    assert!(matches!(few, Err(CompareRunsError::TooFew { .. })));
}
