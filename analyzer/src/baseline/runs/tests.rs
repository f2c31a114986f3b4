//! Which runs are accepted, and what a run is held against.

use driftline_schemas::{Component, Event, EventName};

use super::history::{History, PastRun, Said};
use super::*;
use crate::baseline::Baseline;
use crate::compare::{RunCompareOptions, Verdict, Window};
use crate::nightly::{NightlyOptions, Severity, nightly};
use crate::testing::runs::{Plan, engine_of, engine_with};
use crate::testing::{S, T0};

const HOUR: i64 = 3_600 * S;
const NAMES: [&str; 8] = ["r0", "r1", "r2", "r3", "r4", "r5", "r6", "r7"];

/// Runs whose endpoint `item` is slower by these factors.
fn plans(slower: &[f64]) -> Vec<Plan> {
    NAMES
        .iter()
        .zip(slower)
        .zip(1..)
        .map(|((name, slower), seed)| Plan {
            slower: *slower,
            ..Plan::new(name, seed)
        })
        .collect()
}

fn history(said: &[Said]) -> History {
    let run = |(number, said): (usize, &Said)| PastRun {
        run: NAMES[number].to_owned(),
        started_us: number as i64 * HOUR,
        trusted: true,
        said: said.clone(),
    };
    History {
        scenario: "s".to_owned(),
        scenario_hash: "1".to_owned(),
        target: String::new(),
        runs: said.iter().enumerate().map(run).collect(),
    }
}

fn accepted(history: &History) -> Vec<&str> {
    let accepted = history.accepted(history.runs.len()).into_iter();
    accepted.map(|run| run.run.as_str()).collect()
}

fn worse(fixed_us: Option<i64>) -> Said {
    Said::Worse {
        id: "run-1".to_owned(),
        fixed_us,
    }
}

#[test]
fn from_a_run_that_is_worse_until_it_is_fixed_none_is_accepted() {
    let n = Said::Nothing;
    let [n0, n1, n2, n3] = [n.clone(), n.clone(), n.clone(), n];
    let said = [n0, n1, worse(None), n2, n3];
    assert_eq!(accepted(&history(&said)), ["r0", "r1"]);
    let mut fixed = said.clone();
    fixed[2] = worse(Some(3 * HOUR + 1));
    assert_eq!(accepted(&history(&fixed)), ["r0", "r1", "r4"]);
    assert_eq!(history(&fixed).open(3), Some("run-1"));
    assert_eq!(history(&fixed).open(4), None);
    let mut taken = said;
    taken[2] = Said::Accepted;
    assert_eq!(accepted(&history(&taken)), ["r2", "r3", "r4"]);
    let mut doubtful = history(&taken);
    doubtful.runs[3].trusted = false;
    assert_eq!(accepted(&doubtful), ["r2", "r4"]);
}

#[tokio::test]
async fn a_baseline_holds_levels_of_runs_by_endpoint() {
    let (_dir, engine) = engine_of(&plans(&[1.0, 1.2, 1.1])).await;
    let all = take(&engine, T0 + 3 * HOUR).await.expect("baselines");
    let endpoints: Vec<&str> = all.iter().map(|one| one.endpoint.as_str()).collect();
    assert_eq!(endpoints, ["", "home", "item"]);
    let item = &all[2];
    let names: Vec<&str> = item.runs.iter().map(|run| run.run.as_str()).collect();
    assert_eq!(
        (names, item.scenario_hash.as_str()),
        (vec!["r0", "r1", "r2"], "1")
    );
    for (run, factor) in item.runs.iter().zip([1.0, 1.2, 1.1]) {
        let p50 = run.p50_ms.expect("latencies");
        assert!((p50 / (10.0 * factor) - 1.0).abs() < 0.05, "{run:?}");
        assert!((run.rate_per_s - 25.0).abs() < 1.0, "{run:?}");
        assert_eq!((run.operations, run.failed), (1_000, 0));
    }
    let merged = item.p50_ms.expect("latencies");
    assert!((merged / 11.0 - 1.0).abs() < 0.05, "{merged}");
    let first = take(&engine, T0 + 1).await.expect("baselines");
    assert_eq!(
        first[0].runs.len(),
        1,
        "runs that began later are not in it"
    );
}

#[tokio::test]
async fn a_run_is_held_against_the_spread_of_accepted_ones() {
    let spread = [1.0, 1.1, 0.92, 1.06, 0.9, 1.04];
    let mut like_others = spread.to_vec();
    like_others.push(1.08);
    let mut slow = spread.to_vec();
    slow.push(1.9);
    for (slower, wanted) in [
        (like_others, Verdict::NoChange),
        (slow, Verdict::Regression),
    ] {
        let (_dir, engine) = engine_of(&plans(&slower)).await;
        let kept = take(&engine, T0 + 6 * HOUR).await.expect("a baseline");
        let options = RunCompareOptions::default();
        let compared = compare_with_baseline(&engine, &kept, "r6", &options)
            .await
            .expect("a comparison");
        assert_eq!(compared.verdict(), wanted, "{compared:?}");
        assert_eq!(compared.run_a, "r0,r1,r2,r3,r4,r5");
        let home = compared
            .shifts
            .iter()
            .filter(|shift| shift.endpoint == "home");
        assert!(home.clone().count() == 5);
        assert!(
            home.into_iter()
                .all(|shift| shift.verdict == Verdict::NoChange)
        );
        if wanted == Verdict::Regression {
            let found = |shift: &&crate::compare::RunShift| {
                shift.endpoint == "item" && shift.metric == "p50"
            };
            let p50 = compared.shifts.iter().find(found).expect("it was judged");
            assert_eq!(p50.verdict, Verdict::Regression, "{p50:?}");
            let (lo, hi) = (
                p50.effect_lo_pct.expect("a bound"),
                p50.effect_hi_pct.expect("a bound"),
            );
            assert!(lo > 2.0 && lo < 90.0 && hi > 90.0, "{p50:?}");
        }
        let own = compare_with_baseline(&engine, &kept, "r3", &options).await;
        assert!(own.is_err(), "a run is not held against itself");
    }
    let (_dir, engine) = engine_of(&plans(&[1.0, 1.0, 2.0])).await;
    let kept = take(&engine, T0 + 2 * HOUR).await.expect("a baseline");
    let few = compare_with_baseline(&engine, &kept, "r2", &RunCompareOptions::default()).await;
    let few = few.expect("a comparison");
    assert_eq!(
        (few.verdict(), few.notes.len()),
        (Verdict::TooLittleData, 1)
    );
}

fn day(from: i64, until: i64) -> NightlyOptions {
    NightlyOptions {
        day: Window {
            from_us: T0 + from * HOUR - 1,
            until_us: T0 + until * HOUR - 1,
        },
        ..NightlyOptions::default()
    }
}

/// A finding as the log holds it.
fn told(name: EventName, id: &str, ts_us: i64, more: &[(&str, &str)]) -> Event {
    let pair = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
    let own = [
        ("severity", "regression"),
        ("day", "2023-11-15"),
        ("onset_us", "0"),
    ];
    Event {
        ts_us,
        name,
        component: Component::Driftline,
        subject: id.to_owned(),
        message: String::new(),
        attributes: own
            .into_iter()
            .chain(more.iter().copied())
            .map(pair)
            .collect(),
    }
}

#[tokio::test]
async fn a_night_tells_a_worse_run_once_and_says_the_same_again() {
    // The last two are as slow as each other; the one before them only strays.
    let plans = plans(&[1.0, 1.1, 0.92, 1.06, 0.9, 1.1, 1.9, 1.9]);
    let (_dir, engine) = engine_of(&plans).await;
    let first = nightly(&engine, &day(5, 8)).await.expect("an analysis");
    assert_eq!(first.findings.len(), 1, "{:?}", first.findings);
    let finding = &first.findings[0];
    assert_eq!(finding.severity, Severity::Regression);
    assert!(
        finding
            .title
            .starts_with("run r6 against the last 6 accepted ones: "),
        "{}",
        finding.title
    );
    assert!(
        first.notes.iter().any(|note| note.contains("run r7")),
        "{:?}",
        first.notes
    );
    assert_eq!(first.runs, 3);
    let opened = told(EventName::FindingOpened, &finding.id, T0 + 9 * HOUR, &[]);
    let (_dir, engine) = engine_with(&plans, std::slice::from_ref(&opened)).await;
    let again = nightly(&engine, &day(5, 8)).await.expect("an analysis");
    assert_eq!(
        (&again.findings, &again.notes),
        (&first.findings, &first.notes)
    );
    // The next night knows it from the log alone.
    let next = nightly(&engine, &day(7, 8)).await.expect("an analysis");
    assert_eq!(next.findings, []);
    // Once it is taken as the new level, the baseline begins anew.
    let by = [("as", "accepted")];
    let resolved = told(EventName::FindingResolved, &finding.id, T0 + 10 * HOUR, &by);
    let (_dir, engine) = engine_with(&plans, &[opened, resolved]).await;
    let kept = take(&engine, T0 + 8 * HOUR).await.expect("a baseline");
    let names: Vec<&str> = kept[0].runs.iter().map(|run| run.run.as_str()).collect();
    assert_eq!(names, ["r6", "r7"]);
}

#[tokio::test]
async fn it_is_kept_in_the_file_and_older_files_are_read() {
    let (_dir, engine) = engine_of(&plans(&[1.0, 1.2])).await;
    let window = Window {
        from_us: T0,
        until_us: T0 + 9 * HOUR,
    };
    let taken = crate::baseline::take(&engine, "runs", window)
        .await
        .expect("a baseline");
    assert_eq!((taken.series.len(), taken.runs.len()), (0, 3));
    let dir = tempfile::tempdir().expect("a directory");
    taken.save(dir.path()).expect("saved");
    let read = Baseline::load(dir.path(), "runs").expect("read");
    let read = read.expect("it is there");
    // Numbers come back to the last bit but one.
    let told = |baseline: &Baseline| -> Vec<(String, String, usize, f64)> {
        let of = |one: &RunBaseline| {
            let p99 = one.p99_ms.expect("latencies");
            let p99 = (p99 * 1e9).round();
            (
                one.endpoint.clone(),
                one.sketch.clone(),
                one.runs.len(),
                p99,
            )
        };
        baseline.runs.iter().map(of).collect()
    };
    assert_eq!(told(&read), told(&taken));
    let bytes = BASE64.decode(&taken.runs[0].sketch).expect("base64");
    let sketch = Sketch::decode(&bytes).expect("a sketch");
    assert_eq!(sketch.quantile(0.99), taken.runs[0].p99_ms);
    let old =
        r#"{"format":2,"name":"old","from_us":0,"until_us":1,"samples_version":null,"series":[]}"#;
    std::fs::write(dir.path().join("baselines/old.json"), old).expect("written");
    let old = Baseline::load(dir.path(), "old")
        .expect("read")
        .expect("there");
    assert_eq!(old.runs, []);
}
