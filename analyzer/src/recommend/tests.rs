//! Rules of a few lines over a few samples: what is found, how it is ordered, and what is told.

use driftline_schemas::{Event, EventName, SampleBatch};

use super::*;
use crate::engine::EngineConfig;
use crate::lake::Lake;
use crate::rule::parse;
use crate::testing::{HOST, S, T0, samples};

const LOAD: &str = "system.cpu.load_average.1m";
const HOUR_US: i64 = 3_600 * S;

fn rule(id: &str, extra: &str, sql: &str) -> Rule {
    let text = format!(
        "-- id: {id}\n-- kind: recommendation\n-- title: Do it\n-- component: host\n-- risk: medium\n\
         -- auto: automatic\n-- verify: signal_clears\n-- undo: Undo it\n\
         -- inputs: host/system.cpu.load_average.1m{extra}\n-- sources: ours\n-- every: 5m\n\
         -- reads: window_series\n-- why: Because.\n{sql}\n"
    );
    parse(&format!("{id}.sql"), &text).expect("a rule")
}

/// One row, about what the window says of the load.
fn about_load(id: &str, saved: &str, subject: &str) -> Rule {
    rule(
        id,
        "",
        &format!(
            "SELECT host, 'host' AS target, {subject} AS subject, 'Less load' AS advice,
             human(max, '1') AS evidence, {saved} AS saved_s_per_h, 'E4' AS saved_method,
             0.5 AS predicted, 0.8 AS confidence,
             json_object('kind', 'analyze', 'host', host) AS action,
             max AS observed, 1.0 AS threshold, '1' AS unit
             FROM window_series WHERE metric = '{LOAD}' AND max > 1.0"
        ),
    )
}

fn load(value: f64) -> SampleBatch {
    samples((0..60).map(|at| (LOAD, [].as_slice(), T0 + at * 60 * S, value)))
}

async fn over(value: f64, events: &[Event]) -> Engine {
    let batch = load(value);
    let lake = Lake::of_hosts([(HOST, &batch)], [(HOST, events)]).expect("rows");
    Engine::over(lake, &EngineConfig::default())
        .await
        .expect("an engine")
}

fn options(recommendations: Vec<Rule>) -> RecommendOptions {
    RecommendOptions {
        rules: Rules {
            recommendations,
            windows: Vec::new(),
        },
        window: Window {
            from_us: T0,
            until_us: T0 + HOUR_US,
        },
        source: Source::Auto,
        judged_us: BTreeMap::new(),
    }
}

fn names(events: &[Event]) -> Vec<&str> {
    events.iter().map(|event| event.name.as_str()).collect()
}

#[tokio::test]
async fn what_saves_most_comes_first_and_a_broken_rule_stops_no_other() {
    let rules = vec![
        about_load("a", "10.0", "'host'"),
        rule("b", "", "SELECT nothing FROM window_series"),
        rule("c", ", redis/redis.uptime", "SELECT 1"),
        about_load("d", "40.0", "'host'"),
        about_load("e", "CAST(NULL AS DOUBLE)", "'host'"),
    ];
    let engine = over(9.0, &[]).await;
    let report = recommend(&engine, &options(rules)).await.expect("a report");
    let order: Vec<&str> = report
        .recommendations
        .iter()
        .map(|one| one.rule.as_str())
        .collect();
    assert_eq!(order, ["d", "a", "e"]);
    assert_eq!(report.judged, ["a", "d", "e"]);
    let best = &report.recommendations[0];
    assert!((best.priority - 40.0 * 0.8 / 3.0).abs() < 1e-9);
    assert_eq!(report.failed.len(), 1);
    assert_eq!(report.failed[0].rule, "b");
    assert!(
        report.failed[0].reason.contains("nothing"),
        "{:?}",
        report.failed
    );
    assert_eq!(report.waiting.len(), 1);
    assert!(report.waiting[0].reason.contains("redis/redis.uptime"));
    for text in [
        to_table(&report),
        to_markdown(&report),
        to_json(&report).to_string(),
    ] {
        assert!(text.contains("Less load"), "{text}");
        assert!(
            text.contains("redis") || text.contains("1 failed"),
            "{text}"
        );
    }
}

#[tokio::test]
async fn columns_are_held_to_the_format() {
    let engine = over(9.0, &[]).await;
    let good = about_load("a", "1.0", "'host'");
    for (from, to, part) in [
        (
            "0.8 AS confidence",
            "1.8 AS confidence",
            "column confidence",
        ),
        (
            "'host' AS subject",
            "CAST(NULL AS VARCHAR) AS subject",
            "column subject",
        ),
        ("'E4'", "'E9'", "column saved_method"),
        ("'kind', 'analyze', ", "", "column action"),
        ("'1' AS unit", "'1' AS unit, 1 AS more", "column more"),
    ] {
        let sql = good.sql.replace(from, to);
        assert_ne!(sql, good.sql, "{from}");
        let rule = Rule {
            sql,
            ..good.clone()
        };
        let report = recommend(&engine, &options(vec![rule]))
            .await
            .expect("a report");
        let reason = &report.failed.first().expect("a failure").reason;
        assert!(reason.contains(part), "{reason}");
    }
}

#[tokio::test]
async fn a_rule_that_finds_too_much_is_cut_and_expires_nothing() {
    let engine = over(9.0, &[]).await;
    let mut many = about_load("a", "1.0", "'host'");
    many.sql = format!(
        "SELECT host, target, CAST(n AS VARCHAR) AS subject, advice, evidence, CAST(n AS DOUBLE) AS saved_s_per_h, \
         saved_method, predicted, confidence, action, observed, threshold, unit \
         FROM ({}) CROSS JOIN (SELECT unnest(range(0, 150)) AS n)",
        many.sql
    );
    let options = options(vec![many]);
    let report = recommend(&engine, &options).await.expect("a report");
    assert_eq!(report.failed, []);
    assert_eq!(report.recommendations.len(), MOST_ROWS);
    assert_eq!(report.recommendations[0].subject, "149");
    assert_eq!(report.cut, [("a".to_owned(), 150)]);
    let gone = Held {
        id: "recommendation-x".to_owned(),
        rule: "a".to_owned(),
        state: State::Open,
        saved_s_per_h: None,
        observed: 1.0,
        confidence: 0.5,
        told_us: T0,
        expires_us: i64::MAX,
    };
    let told = events(&report, &options, &[gone], T0 + HOUR_US);
    assert!(!names(&told).contains(&"RecommendationExpired"));
}

#[tokio::test]
async fn judging_again_says_nothing_new_and_what_is_over_expires() {
    let options = options(vec![about_load("a", "10.0", "'host'")]);
    let now = T0 + HOUR_US;
    let report = recommend(&over(9.0, &[]).await, &options)
        .await
        .expect("a report");
    let raised = events(&report, &options, &[], now);
    assert_eq!(names(&raised), ["RecommendationRaised"]);
    // A quarter less load is told, a little more is not.
    for (load, later_us, told) in [
        (9.0, 0, vec![]),
        (9.9, 0, vec![]),
        (6.0, 0, vec!["RecommendationRefreshed"]),
        (9.0, 13 * HOUR_US, vec!["RecommendationRefreshed"]),
        (0.5, 0, vec!["RecommendationExpired"]),
    ] {
        let engine = over(load, &raised).await;
        let held = held(&engine).await.expect("what is held");
        assert_eq!(held.len(), 1);
        let report = recommend(&engine, &options).await.expect("a report");
        let again = events(&report, &options, &held, now + later_us);
        assert_eq!(names(&again), told, "load {load}");
        assert!(again.iter().all(|event| event.subject == raised[0].subject));
    }
}

#[tokio::test]
async fn what_a_person_dismissed_stays_so_and_what_expired_may_come_again() {
    let options = options(vec![about_load("a", "10.0", "'host'")]);
    let report = recommend(&over(9.0, &[]).await, &options)
        .await
        .expect("a report");
    for (name, told) in [
        (EventName::RecommendationDismissed, vec![]),
        (
            EventName::RecommendationExpired,
            vec!["RecommendationRaised"],
        ),
    ] {
        let mut past = events(&report, &options, &[], T0);
        let step = Event {
            ts_us: T0 + S,
            name,
            ..past[0].clone()
        };
        past.push(step);
        let engine = over(9.0, &past).await;
        let held = held(&engine).await.expect("what is held");
        let report = recommend(&engine, &options).await.expect("a report");
        assert_eq!(names(&events(&report, &options, &held, T0 + HOUR_US)), told);
    }
}

#[tokio::test]
async fn a_rule_that_was_not_judged_keeps_what_it_found_until_its_time_is_up() {
    let mut options = options(vec![about_load("a", "10.0", "'host'")]);
    let report = recommend(&over(9.0, &[]).await, &options)
        .await
        .expect("a report");
    let raised = events(&report, &options, &[], T0);
    let engine = over(0.5, &raised).await;
    let held = held(&engine).await.expect("what is held");
    options.judged_us.insert("a".to_owned(), T0 + HOUR_US - S);
    let report = recommend(&engine, &options).await.expect("a report");
    assert_eq!(report.waiting[0].reason, "not due yet");
    assert_eq!(events(&report, &options, &held, T0 + HOUR_US), []);
    let late = events(&report, &options, &held, T0 + 25 * HOUR_US);
    assert_eq!(names(&late), ["RecommendationExpired"]);
}

#[tokio::test]
async fn outcomes_of_actions_set_the_confidence_right() {
    let verdict = |subject: &str, at: i64, outcome: &str, actual: &str| Event {
        ts_us: T0 + at,
        name: EventName::VerdictReached,
        component: Component::Host,
        subject: subject.to_owned(),
        message: String::new(),
        attributes: [
            ("rule", "a"),
            ("outcome", outcome),
            ("predicted", "0.8"),
            ("actual", actual),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .to_vec(),
    };
    let past = [
        verdict("x", 1, "kept", "0.8"),
        // After a day it was no gain any more.
        verdict("x", 2, "reverted", "-0.1"),
        verdict("y", 1, "kept", "0.4"),
        verdict("z", 1, "inconclusive", "0"),
    ];
    let engine = over(9.0, &past).await;
    let options = options(vec![about_load("a", "10.0", "'host'")]);
    let report = recommend(&engine, &options).await.expect("a report");
    let found = &report.recommendations[0];
    assert_eq!(found.outcomes, 2);
    assert!((found.prior - 0.8).abs() < 1e-12);
    assert!((found.confidence - (4.0 * 0.8 + 0.5) / 6.0).abs() < 1e-12);
}

/// The rows of an answer, as texts.
async fn asked(session: &Session, sql: &str) -> Vec<String> {
    let planned = session.plan(sql, Vec::new()).await.expect("a plan");
    let rows = session.collect(planned.plan).await.expect("rows");
    crate::testing::lines(&rows.batches)
}

#[tokio::test]
async fn counters_grow_across_restarts_and_steps() {
    const FAULTS: &str = "system.paging.faults";
    // 5 per second from 1000; after half an hour it starts again from zero.
    let value = |at: i64| match at {
        ..1_800 => 1_000.0 + 5.0 * at as f64,
        _ => 5.0 * (at - 1_800) as f64,
    };
    let rows = (0..360).map(|step| {
        let at = step * 10;
        (FAULTS, [].as_slice(), T0 + at * S, value(at))
    });
    let batch = samples(rows);
    let lake = Lake::of_hosts([(HOST, &batch)], []).expect("rows");
    let engine = Engine::over(lake, &EngineConfig::default())
        .await
        .expect("an engine");
    let wanted = window::Metrics::from([(Component::Host, FAULTS.to_owned())]);
    let window = Window {
        from_us: T0,
        until_us: T0 + HOUR_US,
    };
    let session = engine.session().expect("a session");
    let kept = Kept::default();
    let seen = window::add_window(&kept, &session, &engine, window, Source::Auto, &wanted)
        .await
        .expect("tables");
    assert_eq!(seen.len(), 1);
    let series = "SELECT increase, round(rate_per_s, 2), n, seconds FROM window_series";
    // What was counted between the last sample and the restart, 10 s, nobody saw.
    assert_eq!(asked(&session, series).await, ["17900.0|4.99|360|3590.0"]);
    let steps = "SELECT count(*), min(increase), max(increase), max(seconds) FROM window_steps";
    assert_eq!(asked(&session, steps).await, ["60|250.0|300.0|60.0"]);
}

#[tokio::test]
async fn filters_by_metric_leave_out_whole_metrics_and_no_more() {
    const UPTIME: &str = "system.uptime";
    let rows = (0..60).flat_map(|at| {
        [(LOAD, 2.0), (UPTIME, 60.0 * at as f64)]
            .map(|(metric, value)| (metric, [].as_slice(), T0 + at * 60 * S, value))
    });
    let batch = samples(rows);
    let lake = Lake::of_hosts([(HOST, &batch), ("h2", &batch)], []).expect("rows");
    let engine = Engine::over(lake, &EngineConfig::default())
        .await
        .expect("an engine");
    let wanted = [LOAD, UPTIME].map(|metric| (Component::Host, metric.to_owned()));
    let session = engine.session().expect("a session");
    let options = options(Vec::new());
    let wanted = window::Metrics::from(wanted);
    let kept = Kept::default();
    window::add_window(
        &kept,
        &session,
        &engine,
        options.window,
        Source::Auto,
        &wanted,
    )
    .await
    .expect("tables");
    for (filter, steps) in [
        ("true", "240"),
        ("metric = 'system.uptime'", "120"),
        ("metric IN ('system.uptime', 'system.nothing')", "120"),
        ("metric <> 'system.uptime' AND component = 'host'", "120"),
        ("metric LIKE 'system.%' OR host = 'h3'", "240"),
        ("metric = 'system.uptime' AND host = 'h2'", "60"),
        ("metric = 'system.uptime' OR host = 'h2'", "180"),
        ("component = 'redis'", "0"),
    ] {
        let sql = format!("SELECT count(*) FROM window_steps WHERE {filter}");
        assert_eq!(asked(&session, &sql).await, [steps], "{filter}");
    }
}

/// The rows that a rule finds, over one engine after another with one judge.
async fn found(judge: &mut Judge, engine: &Engine, rule: &Rule) -> Vec<(String, f64)> {
    let report = judge
        .recommend(engine, &options(vec![rule.clone()]))
        .await
        .expect("a report");
    assert!(report.failed.is_empty(), "{:?}", report.failed);
    let found = report.recommendations.iter();
    found
        .map(|one| (one.subject.clone(), one.observed))
        .collect()
}

#[tokio::test]
async fn a_kept_plan_reads_what_is_there_now() {
    let mut judge = Judge::default();
    // The best of each host beside the others, so that a join and an aggregate must start anew.
    let rule = rule(
        "a",
        "",
        &format!(
            "SELECT a.host, 'host' AS target, 'host' AS subject, 'Less load' AS advice,
             human(b.most, '1') AS evidence, 1.0 AS saved_s_per_h, 'E4' AS saved_method,
             0.5 AS predicted, 0.8 AS confidence, CAST(NULL AS VARCHAR) AS action,
             b.most AS observed, 1.0 AS threshold, '1' AS unit
             FROM window_series a
             JOIN (SELECT host, max(max) AS most FROM window_series GROUP BY host) b
                 ON a.host = b.host
             WHERE a.metric = '{LOAD}' AND b.most > 1.0"
        ),
    );
    for value in [9.0, 4.0, 0.5, 7.0] {
        let found = found(&mut judge, &over(value, &[]).await, &rule).await;
        let wanted = (value > 1.0).then(|| ("host".to_owned(), value));
        assert_eq!(found, Vec::from_iter(wanted));
    }
    assert_eq!(judge.kept.planned(), ["a"]);
    // Another statement under the same name is planned anew.
    let other = Rule {
        sql: rule
            .sql
            .replace("b.most AS observed", "b.most + 1.0 AS observed"),
        ..rule.clone()
    };
    let engine = over(9.0, &[]).await;
    assert_eq!(
        found(&mut judge, &engine, &other).await,
        [("host".to_owned(), 10.0)]
    );
}

#[tokio::test]
async fn plans_over_other_tables_or_the_time_of_day_are_not_kept() {
    let mut judge = Judge::default();
    let engine = over(9.0, &[]).await;
    for subject in [
        "CAST((SELECT count(*) FROM events) AS VARCHAR)",
        "CAST(now() AS VARCHAR)",
    ] {
        let rule = about_load("a", "1.0", subject);
        assert_eq!(found(&mut judge, &engine, &rule).await.len(), 1);
        assert!(judge.kept.planned().is_empty(), "{subject}");
    }
    let rule = about_load("a", "1.0", "'host'");
    assert_eq!(found(&mut judge, &engine, &rule).await.len(), 1);
    assert_eq!(judge.kept.planned(), ["a"]);
}
