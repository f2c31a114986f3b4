//! Reports from made-up events: exact numbers, any order of rows, hostile texts.

use driftline_loadgen::report::{ReportBuilder, RequestRow, RunFacts, RunReport, Verdict};
use proptest::prelude::*;

const STARTED_US: i64 = 1_760_000_000_000_000;
const SCENARIO: &str = r#"
name = "shop"
[feeds.users]
path = "gone.csv"
[thresholds]
"p95" = "< 200ms"
"error_rate" = { limit = "< 5%", abort = true }
"p50{endpoint=item}" = "< 10ms"
"rate{stage=peak}" = "> 4/s"
"max{endpoint=home, stage=peak}" = "<= 50ms"
"#;

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    owned.collect()
}

fn started(text: &str) -> Vec<(String, String)> {
    pairs(&[
        ("run", "r-1"),
        ("scenario", "shop"),
        ("text", text),
        ("target", "http://127.0.0.1:8080/"),
        ("seed", "7"),
        (
            "stages",
            r#"[{"name":"up","from_ns":0,"until_ns":10000000000,"load":{"rate":{"from":0,"to":10,"arrival":"poisson"}}},
                {"name":"peak","from_ns":10000000000,"until_ns":20000000000,"load":{"users":{"from":5,"to":5}}}]"#,
        ),
        ("warm_up_ns", "2000000000"),
        ("endpoints", r#"["home","item"]"#),
        ("labels", r#"{"branch":"main","build":12}"#),
        ("workers", "2"),
        ("processes", "1"),
        ("of the future", "{"),
    ])
}

fn finished() -> Vec<(String, String)> {
    pairs(&[
        ("ended", "completed"),
        ("lost", "0"),
        ("generator", "ok"),
        ("reasons", "[]"),
        ("lateness_p50_us", "12"),
        ("lateness_p99_us", "90"),
        ("lateness_max_us", "1100"),
        ("retries", "2"),
        ("cpu_s", "1.250"),
        ("recording", "ok"),
        ("seconds", "20.010"),
    ])
}

/// `finished` with some attributes replaced.
fn finished_but(changes: &[(&str, &str)]) -> Vec<(String, String)> {
    let mut attributes = finished();
    for (name, value) in changes {
        attributes.retain(|(key, _)| key != name);
        attributes.extend(pairs(&[(name, value)]));
    }
    attributes
}

fn report(text: &str, finished: Option<&[(String, String)]>, rows: &[RequestRow<'_>]) -> RunReport {
    let facts = RunFacts::from_events(&started(text), finished, STARTED_US);
    let mut builder = ReportBuilder::new(facts.expect("the events are right"));
    rows.iter().for_each(|row| builder.push(row));
    builder.finish()
}

fn row(endpoint: &str, at_ms: i64, done_us: i64) -> RequestRow<'_> {
    RequestRow {
        endpoint,
        intended_us: STARTED_US + at_ms * 1_000,
        sent_ns: 1_000,
        first_byte_ns: done_us * 900,
        done_ns: done_us * 1_000,
        status: 200,
        bytes: 100,
        error: "",
    }
}

/// Ten operations per second over both stages, of 1 ms to 18 ms.
fn steady() -> Vec<RequestRow<'static>> {
    let of = |at: i64| {
        row(
            if at % 2 == 0 { "home" } else { "item" },
            at * 100,
            1_000 + (at % 18) * 1_000,
        )
    };
    (0..200).map(of).collect()
}

fn formats(report: &RunReport) -> [String; 5] {
    [
        report.to_json(),
        report.to_table(),
        report.to_markdown(),
        report.to_junit(),
        report.to_html(),
    ]
}

fn failed<'r>(row: RequestRow<'r>, error: &'r str) -> RequestRow<'r> {
    RequestRow {
        error,
        status: 0,
        ..row
    }
}

#[test]
fn a_run_that_holds_its_thresholds_passes() {
    let report = report(SCENARIO, Some(&finished()), &steady());
    let texts: Vec<&str> = report
        .thresholds
        .iter()
        .map(|one| one.text.as_str())
        .collect();
    assert_eq!(
        texts,
        [
            "p95 18 ms < 200ms: passed",
            "error_rate 0 % < 5%: passed",
            "p50{endpoint=item} 10 ms < 10ms: failed",
            "rate{stage=peak} 10/s > 4/s: passed",
            "max{endpoint=home, stage=peak} 17 ms <= 50ms: passed",
        ]
    );
    assert_eq!((report.verdict, report.exit_code()), (Verdict::Failed, 3));
    assert_eq!(report.labels["build"], "12");
    let without = report_of_text("", &steady());
    assert_eq!((without.verdict, without.exit_code()), (Verdict::Passed, 0));
}

fn report_of_text(text: &str, rows: &[RequestRow<'_>]) -> RunReport {
    report(text, Some(&finished()), rows)
}

#[test]
fn the_warm_up_is_in_the_timeline_alone() {
    let mut rows = steady();
    rows.iter_mut()
        .filter(|row| row.intended_us < STARTED_US + 2_000_000)
        .for_each(|row| {
            *row = failed(
                RequestRow {
                    done_ns: 9_000_000_000,
                    ..*row
                },
                "timeout",
            )
        });
    let report = report(SCENARIO, Some(&finished()), &rows);
    assert_eq!(
        (report.total.operations, report.warm_up_operations),
        (180, 20)
    );
    assert_eq!((report.total.failed, report.errors.len()), (0, 0));
    assert_eq!(
        (report.seconds, report.total.rate_per_s),
        (18.0, Some(10.0))
    );
    assert_eq!(report.stages[0].row.operations, 80);
    assert_eq!(report.stages[0].row.rate_per_s, Some(10.0));
    assert_eq!(report.stages[1].row.operations, 100);
    assert_eq!(report.timeline.len(), 20);
    assert_eq!(
        (report.timeline[0].arrivals, report.timeline[0].failed),
        (10, 10)
    );
    assert_eq!(report.timeline[5].failed, 0);
}

#[test]
fn stages_endpoints_and_thresholds_of_both_are_counted_apart() {
    let mut rows = steady();
    // One slow page in the first stage, where the threshold on the second does not look.
    rows.push(row("home", 5_000, 900_000));
    rows.push(row("elsewhere", 12_000, 1_000));
    // After the last stage: of a journey that began in it.
    rows.push(row("item", 20_500, 1_000));
    let report = report(SCENARIO, Some(&finished()), &rows);
    assert_eq!(report.thresholds[4].passed, Some(true));
    let names: Vec<_> = report
        .endpoints
        .iter()
        .map(|row| (row.name.as_str(), row.operations))
        .collect();
    assert_eq!(names, [("home", 91), ("item", 91), ("elsewhere", 1)]);
    assert_eq!(report.stages[1].row.operations, 102);
    // Answers that come after the end are none of the rate.
    assert_eq!(report.stages[1].row.rate_per_s, Some(10.1));
    assert_eq!(report.stages[0].load, "0 → 10/s poisson");
    assert_eq!(report.stages[1].load, "5 users");
    let slow = report.endpoints[0].latency.expect("it has times").max.ms;
    assert_eq!(slow, 900.0);
}

#[test]
fn operations_given_up_are_lower_bounds_of_quantiles() {
    let mut rows = steady();
    for at in 0..10 {
        rows.push(failed(row("home", 5_000 + at, 2_000_000), "timeout"));
    }
    rows.push(failed(
        RequestRow {
            sent_ns: -1,
            done_ns: 0,
            first_byte_ns: -1,
            ..row("home", 6_000, 0)
        },
        "dropped",
    ));
    let told = failed(row("item", 6_000, 5_000), "status");
    rows.push(RequestRow {
        status: 500,
        ..told
    });
    let report = report(SCENARIO, Some(&finished()), &rows);
    let total = &report.total;
    assert_eq!(
        (
            total.operations,
            total.failed,
            total.dropped,
            total.censored
        ),
        (192, 12, 1, 10)
    );
    assert_eq!(total.answered, 181);
    let times = total.latency.expect("it has times");
    let marks = times.named().map(|(_, time)| time.at_least);
    assert_eq!(marks, [true, false, true, true, true, true]);
    assert!((times.p95.ms - 2_000.0).abs() <= 2.0, "{}", times.p95.ms);
    let errors: Vec<_> = report
        .errors
        .iter()
        .map(|row| (row.error.as_str(), row.count))
        .collect();
    assert_eq!(errors, [("timeout", 10), ("dropped", 1), ("status", 1)]);
    assert!(
        report
            .to_json()
            .contains(r#""at_least":["mean","p95","p99","p999","max"]"#)
    );
    assert!(report.to_table().contains("≥ 2 s"));
}

#[test]
fn quantiles_are_within_a_thousandth_of_the_exact_ones() {
    // A spread over five decades from a fixed recurrence.
    let mut state = 12_345_u64;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as f64 / f64::from(1_u32 << 31)
    };
    let mut ns: Vec<i64> = (0..20_000)
        .map(|_| (20_000.0 * 10f64.powf(next() * 5.0)) as i64)
        .collect();
    let rows: Vec<_> = ns
        .iter()
        .map(|ns| RequestRow {
            done_ns: *ns,
            ..row("home", 3_000, 0)
        })
        .collect();
    let report = report_of_text("", &rows);
    ns.sort_unstable();
    let times = report.total.latency.expect("it has times");
    for (rank, time) in [
        (10_000, times.p50),
        (19_000, times.p95),
        (19_800, times.p99),
        (19_980, times.p999),
    ] {
        let exact = ns[rank - 1] as f64 / 1e6;
        assert!(
            (time.ms / exact - 1.0).abs() <= 1e-3,
            "{rank}: {} of {exact}",
            time.ms
        );
    }
    let sum: i64 = ns.iter().sum();
    assert!((times.mean.ms - sum as f64 / 20_000.0 / 1e6).abs() < 1e-6);
    assert_eq!(times.max.ms, ns[19_999] as f64 / 1e6);
    // Service time counts from when it was sent, 1 µs later.
    let service = report.total.service.expect("it has times");
    assert!((times.max.ms - service.max.ms - 0.001).abs() < 1e-9);
}

#[test]
fn runs_that_cannot_be_believed_have_no_verdict() {
    let verdict = |finished: Option<&[(String, String)]>| {
        let report = report(SCENARIO, finished, &steady());
        let said = report
            .thresholds
            .iter()
            .filter(|one| one.passed.is_some())
            .count();
        (report.verdict, report.exit_code(), said)
    };
    assert_eq!(verdict(None), (Verdict::Incomplete, 1, 0));
    let cases: [(&[(&str, &str)], _); 6] = [
        (&[("ended", "incomplete")], (Verdict::Incomplete, 1, 0)),
        (
            &[("generator", "limited"), ("reasons", "a core was full")],
            (Verdict::GeneratorLimited, 1, 0),
        ),
        (
            &[("recording", "limited")],
            (Verdict::RecordingLimited, 1, 0),
        ),
        (&[("lost", "3")], (Verdict::RecordingLimited, 1, 0)),
        (&[("ended", "aborted")], (Verdict::Failed, 3, 5)),
        (&[("ended", "interrupted")], (Verdict::Failed, 3, 5)),
    ];
    for (changes, expected) in cases {
        assert_eq!(
            verdict(Some(&finished_but(changes))),
            expected,
            "{changes:?}"
        );
    }
    let limited = finished_but(&[("generator", "limited"), ("reasons", "a core was full")]);
    let report = report("", Some(&limited), &steady());
    assert!(report.to_table().contains("(a core was full)"));
    assert!(report.to_junit().contains("<error message="));
}

#[test]
fn an_empty_run_has_too_little_data() {
    let report = report(SCENARIO, Some(&finished()), &[]);
    assert_eq!(
        (report.verdict, report.exit_code()),
        (Verdict::TooLittleData, 4)
    );
    assert_eq!(report.total.latency, None);
    for text in formats(&report) {
        assert!(!text.contains("NaN") && !text.contains("inf"), "{text}");
    }
    // Without one operation expected beyond it, a quantile says nothing.
    let few = report_of_text("[thresholds]\n\"p99\" = \"< 1s\"", &steady()[..50]);
    assert_eq!((few.verdict, few.exit_code()), (Verdict::TooLittleData, 4));
}

#[test]
fn an_incomplete_run_is_measured_until_its_last_operation() {
    let report = report(SCENARIO, None, &steady()[..100]);
    assert!((report.seconds - 7.9).abs() < 0.1, "{}", report.seconds);
    assert_eq!(report.generator.state, "unknown");
}

#[test]
fn damaged_events_are_named() {
    let put = |name: &str, value: &str| {
        let mut attributes = started(SCENARIO);
        attributes.retain(|(key, _)| key != name);
        attributes.extend(pairs(&[(name, value)]));
        let facts = RunFacts::from_events(&attributes, None, STARTED_US);
        facts.expect_err("it is damaged").to_string()
    };
    let none = RunFacts::from_events(&[], None, STARTED_US).expect_err("it has no run");
    assert!(none.to_string().contains("no attribute `run`"));
    assert!(put("seed", "x").contains("attribute `seed` of the event RunStarted is `x`"));
    assert!(put("stages", "[{}]").contains("attribute `stages`"));
    assert!(put("text", "a = ").contains("not TOML"));
    assert!(put("text", "[thresholds]\np95 = 3").contains("threshold `p95`"));
    assert!(put("text", "[thresholds]\np95 = '< 3'").contains("threshold `p95`"));
}

#[test]
fn texts_of_others_are_never_markup() {
    let hostile = "</script><svg onload=alert(1)>\"'&|`*[x](y)\u{1b}[2J\u{0}\n]]>";
    let mut attributes = started("# </pre><script>alert(1)</script>\n");
    for name in [
        "run", "scenario", "target", "hash", "host", "version", "commit",
    ] {
        attributes.retain(|(key, _)| key != name);
        attributes.push((name.to_owned(), hostile.to_owned()));
    }
    let facts = RunFacts::from_events(
        &attributes,
        Some(&finished_but(&[("reasons", hostile)])),
        STARTED_US,
    );
    let mut builder = ReportBuilder::new(facts.expect("the events are readable"));
    builder.push(&failed(row(hostile, 5_000, 1_000), hostile));
    let report = builder.finish();
    let [json, table, markdown, junit, html] = formats(&report);
    let object: serde_json::Value = serde_json::from_str(&json).expect("it is JSON");
    assert_eq!(object["run"], hostile);
    for text in [&table, &markdown, &junit, &html] {
        assert!(!text.contains('\u{1b}') && !text.contains('\u{0}'));
    }
    for text in [&markdown, &junit, &html] {
        assert!(
            !text.contains("<svg onload")
                && !text.contains("<script")
                && !text.contains("</script")
        );
    }
    assert!(!markdown.contains("[x](y)") && !junit.contains("]]>"));
    assert!(html.contains("&lt;svg onload=alert(1)&gt;&quot;&#39;&amp;|"));
}

#[test]
fn json_has_the_published_keys() {
    let report = report(SCENARIO, Some(&finished()), &steady());
    let object: serde_json::Value = serde_json::from_str(&report.to_json()).expect("it is JSON");
    let words = ["run", "verdict", "generator"].map(|key| &object[key]);
    assert_eq!(words, ["r-1", "failed", "ok"]);
    assert_eq!(object["generator_health"]["retries"], 2);
    assert!(report.to_markdown().contains("2 requests were sent"));
    let numbers = ["requests", "errors", "dropped"].map(|key| object[key].as_u64());
    assert_eq!(numbers, [Some(180), Some(0), Some(0)]);
    assert_eq!(object["rate_per_s"], 10.0);
    for times in ["latency_ms", "service_ms"] {
        for key in ["mean", "p50", "p95", "p99", "p999", "max"] {
            assert!(object[times][key].is_f64(), "{times} {key}");
        }
    }
    for list in ["endpoints", "stages", "thresholds", "timeline"] {
        assert!(
            object[list].as_array().is_some_and(|list| !list.is_empty()),
            "{list}"
        );
    }
}

#[test]
fn junit_has_a_case_for_each_threshold_and_one_for_the_run() {
    let junit = report(SCENARIO, Some(&finished()), &steady()).to_junit();
    assert_eq!(junit.matches("<testcase ").count(), 6);
    assert_eq!(junit.matches("<failure ").count(), 1);
    assert!(
        junit.contains("tests=\"6\" failures=\"1\" errors=\"0\" skipped=\"0\" time=\"18.000\"")
    );
    assert!(junit.contains("name=\"p95 &lt; 200ms\"/>"));
}

/// Operations of every kind, some impossible.
fn any_row() -> impl Strategy<Value = (usize, i64, i64, i64, usize)> {
    (
        0..4_usize,
        -1_000..30_000_i64,
        -1..20_000_000_i64,
        -1..9_000_000_000_i64,
        0..6_usize,
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_order_of_rows_does_not_matter(
        rows in proptest::collection::vec(any_row(), 0..120),
        order in any::<u64>(),
    ) {
        let endpoints = ["home", "item", "other", "more"];
        let errors = ["", "timeout", "dropped", "status", "unheard of", "reset"];
        let mut rows: Vec<_> = rows
            .iter()
            .map(|(endpoint, at_ms, sent_ns, done_ns, error)| RequestRow {
                sent_ns: *sent_ns,
                done_ns: *done_ns,
                error: errors[*error],
                ..row(endpoints[*endpoint], *at_ms, 0)
            })
            .collect();
        let before = report(SCENARIO, Some(&finished()), &rows);
        // A shuffle from a recurrence, so that a failure can be repeated from its seed.
        let mut state = order;
        for at in (1..rows.len()).rev() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            rows.swap(at, (state >> 33) as usize % (at + 1));
        }
        let after = report(SCENARIO, Some(&finished()), &rows);
        prop_assert_eq!(formats(&before), formats(&after));
    }
}
