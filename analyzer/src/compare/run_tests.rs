//! Two runs held against each other: what is worse fires, what is not stays quiet, and what is too
//! short is not judged.

use super::{
    CompareRunsError, RunCompareOptions, RunComparison, RunShift, Verdict, compare_runs,
    compare_several,
};
use crate::testing::runs::{Plan, engine_of};

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
    of_sides(|b| b.slower = slower).await
}

/// The same with whatever is different of those of side b.
async fn of_sides(differ: impl Fn(&mut Plan)) -> RunComparison {
    let names = ["a0", "b0", "a1", "b1", "a2", "b2", "a3", "b3", "a4", "b4"];
    let plans: Vec<Plan> = names
        .iter()
        .zip(10..)
        .map(|(name, seed)| {
            let mut plan = Plan::new(name, seed);
            if name.starts_with('b') {
                differ(&mut plan);
            }
            plan
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
async fn fewer_answers_per_second_are_worse() {
    let comparison = of_sides(|b| b.per_second = 40).await;
    let rate = |endpoint: &str| {
        let of_endpoint = |shift: &&RunShift| shift.endpoint == endpoint && shift.metric == "rate";
        let found = comparison.shifts.iter().find(of_endpoint);
        found.expect("it was judged").clone()
    };
    for (endpoint, before, after) in [("", 50.0, 40.0), ("item", 25.0, 20.0)] {
        let found = rate(endpoint);
        assert_eq!(found.verdict, Verdict::Regression, "{found:?}");
        let levels = [found.median_a, found.median_b].map(|level| level.expect("a level"));
        assert!(
            (levels[0] - before).abs() < 0.1 && (levels[1] - after).abs() < 0.1,
            "{levels:?}"
        );
        let (lo, hi) = (found.effect_lo_pct, found.effect_hi_pct);
        assert!(lo.is_some_and(|lo| lo < -20.0) && hi.is_some_and(|hi| -20.0 < hi && hi < 0.0));
    }
    let unequal = |note: &String| note.starts_with("unequal load");
    assert!(
        comparison.notes.iter().any(unequal),
        "{:?}",
        comparison.notes
    );
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
