//! Every rule of `queries/recommendations/` against its cases: one in which it fires, one just short
//! of it, and one with too little to judge.
//!
//! Rules and cases are read when this runs, so that a new rule needs no build. `DRIFTLINE_RULE` runs
//! one of them. The format of cases stands in `queries/README.md`.

#[path = "rules/case.rs"]
mod case;
#[path = "rules/expect.rs"]
mod expect;

use std::path::{Path, PathBuf};

use driftline_analyzer::recommend::{Judge, RecommendOptions, Rules, Source};
use driftline_analyzer::rule::{Input, Rule};
use driftline_analyzer::{Engine, EngineConfig, Window};

/// The cases of each rule. The last three are answered by the plan that was kept from the first.
const CASES: [&str; 4] = ["fires", "quiet", "sparse", "fires"];
/// The window of every case.
const WINDOW_S: i64 = 3_600;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn cases() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rules")
}

fn rules() -> Rules {
    let mut rules = Rules::of_directory(&root().join("queries")).expect("rule files in order");
    if let Ok(one) = std::env::var("DRIFTLINE_RULE") {
        rules.recommendations.retain(|rule| rule.id == one);
        assert_eq!(rules.recommendations.len(), 1, "no rule has the id {one}");
    }
    rules
}

#[tokio::test]
async fn every_rule_fires_keeps_quiet_and_waits_for_enough() {
    let rules = rules();
    let mut wrong = Vec::new();
    for rule in &rules.recommendations {
        let mut judge = Judge::default();
        for name in CASES {
            if let Err(reason) = check(&mut judge, &rules, rule, name).await {
                wrong.push(format!("{}/{name}: {reason}", rule.id));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

async fn check(judge: &mut Judge, rules: &Rules, rule: &Rule, name: &str) -> Result<(), String> {
    let place = cases().join(&rule.id).join(name);
    let case = case::read(&place)?;
    let lake = case.lake()?;
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let engine = Engine::over(lake, &EngineConfig::default())
        .await
        .map_err(|error| text(&error))?;
    let options = RecommendOptions {
        rules: Rules {
            recommendations: vec![rule.clone()],
            windows: rules.windows.clone(),
        },
        window: Window {
            from_us: case::START_US,
            until_us: case::START_US + WINDOW_S * 1_000_000,
        },
        source: Source::Samples,
        judged_us: Default::default(),
    };
    let report = judge
        .recommend(&engine, &options)
        .await
        .map_err(|error| text(&error))?;
    if let Some(failed) = report.failed.first() {
        return Err(format!("{} failed: {}", failed.rule, failed.reason));
    }
    if name != "sparse"
        && let Some(waiting) = report.waiting.first()
    {
        return Err(format!("it was not judged: {}", waiting.reason));
    }
    let wanted = expect::read(&place.join("expect.csv"), name != "fires")?;
    if name == "fires" && wanted.is_empty() {
        return Err("expect.csv has no rows".to_owned());
    }
    if name != "fires" && !wanted.is_empty() {
        return Err("expect.csv has rows, but nothing may be found".to_owned());
    }
    expect::compare(&wanted, &report.recommendations)
}

/// A rule whose input nothing emits could never fire.
#[test]
fn every_input_is_emitted() {
    let mut unknown = Vec::new();
    for rule in &rules().recommendations {
        let inputs = rule.recommending.iter().flat_map(|keys| &keys.inputs);
        for input in inputs {
            let Input::Metric {
                component, metric, ..
            } = input
            else {
                continue;
            };
            let known = driftline_schemas::metric_named(metric);
            if known.is_none_or(|known| known.component != *component) {
                unknown.push(format!("{}: nothing emits {input}", rule.id));
            }
        }
    }
    assert!(unknown.is_empty(), "{}", unknown.join("\n"));
}

/// A metric that a rule's SQL names must be among its inputs, or its table is empty in production.
#[test]
fn every_metric_in_the_sql_is_an_input() {
    let rules = rules();
    let mut missing = Vec::new();
    for rule in &rules.recommendations {
        let Some(keys) = &rule.recommending else {
            continue;
        };
        let inputs: Vec<&str> = keys.metrics().map(|(_, metric, _)| metric).collect();
        let named = rule.sql.split('\'').skip(1).step_by(2);
        for text in named.filter(|text| driftline_schemas::metric_named(text).is_some()) {
            if !inputs.contains(&text) {
                missing.push(format!("{}: {text} is no input", rule.id));
            }
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

#[test]
fn the_binary_carries_every_file_and_no_case_lacks_its_rule() {
    let on_disk = Rules::of_directory(&root().join("queries")).expect("rule files in order");
    let built_in = Rules::load(&Default::default()).expect("built-in rules");
    let ids =
        |rules: &[Rule]| -> Vec<String> { rules.iter().map(|rule| rule.id.clone()).collect() };
    assert_eq!(
        ids(&on_disk.recommendations),
        ids(&built_in.recommendations),
        "analyzer/src/rule/built_in.rs lists other rules than queries/recommendations/ holds"
    );
    assert_eq!(on_disk.windows.len(), built_in.windows.len());
    let known = ids(&on_disk.recommendations);
    for entry in std::fs::read_dir(cases()).expect("the cases") {
        let entry = entry.expect("an entry");
        if entry.file_type().expect("a type").is_dir() {
            let name = entry.file_name().to_string_lossy().into_owned();
            assert!(known.contains(&name), "tests/rules/{name} is of no rule");
        }
    }
}
