//! What a run came to, for people and for programs, from the live statistics. The report from the
//! log's rows is exact; here quantiles are within 0.1 %.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::{RunOutcome, Verdict};
use crate::recorder::Times;
use crate::scenario::Scenario;
use crate::scenario::quantity::human_ns;

/// One JSON object with the keys that stay stable.
pub fn json(outcome: &RunOutcome) -> Value {
    let measured = &outcome.measured;
    json!({
        "run": outcome.run,
        "verdict": outcome.verdict().as_str(),
        "ended": outcome.ended.as_str(),
        "generator": outcome.generator_state(),
        "reasons": outcome.reasons(),
        "requests": measured.operations(),
        "answered": measured.answered(),
        "errors": measured.failed() - measured.dropped(),
        "errors_by_kind": measured
            .failures()
            .into_iter()
            .map(|(failure, count)| (failure.as_str().to_owned(), Value::from(count)))
            .collect::<serde_json::Map<_, _>>(),
        "dropped": measured.dropped(),
        "lost": outcome.lost,
        "bytes": measured.bytes(),
        "rate_per_s": outcome.rate_per_s(),
        "latency_ms": times(measured.response()),
        "service_ms": times(measured.service()),
        "lateness_us": {
            "p50": outcome.generator.lateness_at_most_us(0.5),
            "p99": outcome.generator.lateness_at_most_us(0.99),
            "max": outcome.generator.lateness_max_ns.div_ceil(1_000),
        },
        "retries": outcome.generator.retries,
        "cpu_s": outcome.generator.cpu_s(),
        "thresholds": outcome
            .thresholds
            .iter()
            .map(|one| json!({
                "threshold": one.threshold, "text": one.text, "value": one.value, "passed": one.passed,
            }))
            .collect::<Vec<_>>(),
    })
}

/// Some lines for people.
pub fn table(outcome: &RunOutcome, scenario: &Scenario) -> String {
    let mut text = String::new();
    let mut say = |line: std::fmt::Arguments<'_>| {
        writeln!(text, "{line}").expect("a string takes every text");
    };
    let measured = &outcome.measured;
    say(format_args!(
        "run {} {} after {:.1} s: {}",
        outcome.run,
        outcome.ended.as_str(),
        outcome.seconds,
        match outcome.verdict() {
            Verdict::Passed if outcome.thresholds.is_empty() => "no thresholds to hold",
            verdict => verdict.as_str(),
        }
    ));
    for reason in outcome.reasons() {
        say(format_args!("  {}: {reason}", outcome.generator_state()));
    }
    say(format_args!(
        "  {} requests, {} errors, {} dropped, {}/s answered",
        measured.operations(),
        measured.failed() - measured.dropped(),
        measured.dropped(),
        outcome
            .rate_per_s()
            .map_or_else(|| "-".to_owned(), |rate| format!("{rate:.1}")),
    ));
    say(format_args!(""));
    say(format_args!(
        "  {:<28} {:>10} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}",
        "from when it was due", "count", "mean", "p50", "p95", "p99", "p99.9", "max"
    ));
    for (at, name) in scenario.endpoints.iter().enumerate() {
        let one = outcome.statistics.select(u32::try_from(at).ok(), None);
        if one.operations() > 0 {
            say(format_args!("{}", row(name, one.response())));
        }
    }
    say(format_args!("{}", row("all", measured.response())));
    say(format_args!(
        "{}",
        row("all, from when it was sent", measured.service())
    ));
    say(format_args!(
        "  (quantiles are within 0.1 %; what was given up counts with the time it was waited for)"
    ));
    if let Some(late_us) = outcome.generator.lateness_at_most_us(0.99) {
        say(format_args!(
            "  99 % of arrivals were late by at most {} by the generator's own fault",
            human_ns(late_us as f64 * 1e3)
        ));
    }
    if outcome.generator.retries > 0 {
        say(format_args!(
            "  {} requests were sent once more, because their connection had ended",
            outcome.generator.retries
        ));
    }
    for (failure, count) in measured.failures() {
        say(format_args!("  {count} {}", failure.as_str()));
    }
    for one in &outcome.thresholds {
        say(format_args!("  {}", one.text));
    }
    text
}

fn row(name: &str, times: &Times) -> String {
    let ns = |ns: Option<f64>| ns.map_or_else(|| "-".to_owned(), human_ns);
    let quantile = |quantile| ns(times.quantile_ns(quantile).map(|ns| ns as f64));
    let mut name: String = name.chars().take(28).collect();
    if name.is_empty() {
        name.push('-');
    }
    format!(
        "  {name:<28} {:>10} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}",
        times.len(),
        ns(times.mean_ns()),
        quantile(0.5),
        quantile(0.95),
        quantile(0.99),
        quantile(0.999),
        ns(times.max_ns().map(|ns| ns as f64)),
    )
}

fn times(times: &Times) -> Value {
    let ms = |ns: Option<u64>| ns.map(|ns| ns as f64 / 1e6);
    json!({
        "mean": times.mean_ns().map(|ns| ns / 1e6),
        "p50": ms(times.quantile_ns(0.5)),
        "p95": ms(times.quantile_ns(0.95)),
        "p99": ms(times.quantile_ns(0.99)),
        "p999": ms(times.quantile_ns(0.999)),
        "max": ms(times.max_ns()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operation::{Failure, Operation};
    use crate::recorder::Statistics;
    use crate::run::{Ended, Health, Judged, Snapshot, testing};

    fn outcome(change: impl FnOnce(&mut RunOutcome)) -> (RunOutcome, Scenario) {
        let scenario = testing::scenario(&["home", "cart"], &[10]);
        let mut statistics = Statistics::new(&scenario);
        for at in 0..100_u64 {
            statistics.record(&Operation {
                endpoint: 0,
                status: 200,
                failure: (at == 99).then_some(Failure::Timeout),
                intended_ns: at * 1_000_000,
                sent_ns: at * 1_000_000 + 500_000,
                first_byte_ns: at * 1_000_000 + 2_000_000,
                done_ns: at * 1_000_000 + 2_500_000,
                bytes: 10,
            });
        }
        let mut outcome = RunOutcome {
            run: "r-1".to_owned(),
            ended: Ended::Completed,
            measured: statistics.select(None, None),
            statistics,
            until_ns: u64::MAX,
            operations: 100,
            lost: 0,
            log_bytes: 450,
            thresholds: vec![Judged {
                text: "p95 2.5 ms < 200ms: passed".to_owned(),
                threshold: "p95 < 200ms".to_owned(),
                value: Some(2.5e6),
                passed: Some(true),
                abort: false,
            }],
            health: Health::Ok,
            generator: Snapshot::default(),
            notes: Vec::new(),
            seconds: 10.5,
        };
        change(&mut outcome);
        (outcome, scenario)
    }

    #[test]
    fn programs_get_the_stable_keys() {
        let object = json(&outcome(|_| {}).0);
        assert_eq!(object["run"], "r-1");
        assert_eq!(object["verdict"], "passed");
        assert_eq!(object["generator"], "ok");
        assert_eq!(object["requests"], 100);
        assert_eq!(object["errors"], 1);
        assert_eq!(object["dropped"], 0);
        assert_eq!(object["rate_per_s"], 9.9);
        for (times, expected) in [("latency_ms", 2.5), ("service_ms", 2.0)] {
            for key in ["mean", "p50", "p95", "p99", "p999", "max"] {
                let found = object[times][key].as_f64().expect("it is a number");
                assert!(
                    (found / expected - 1.0).abs() < 0.001,
                    "{times}.{key} {found}"
                );
            }
        }
    }

    #[test]
    fn people_are_told_what_the_numbers_are() {
        let (outcome, scenario) = outcome(|_| {});
        let text = table(&outcome, &scenario);
        for expected in [
            "run r-1 completed after 10.5 s: passed",
            "100 requests, 1 errors, 0 dropped, 9.9/s answered",
            "  home ",
            "within 0.1 %",
            "1 timeout",
            "p95 2.5 ms < 200ms: passed",
        ] {
            assert!(text.contains(expected), "{expected:?} is not in\n{text}");
        }
        assert!(!text.contains("cart"), "nothing happened there");
        assert!(!text.contains("once more"), "nothing was sent twice");
    }

    #[test]
    fn what_was_sent_twice_is_told() {
        let (outcome, scenario) = outcome(|outcome| {
            outcome.generator.retries = 7;
            outcome.lost = 1;
        });
        assert_eq!(json(&outcome)["retries"], 7);
        assert_eq!(json(&outcome)["verdict"], "recording-limited");
        let text = table(&outcome, &scenario);
        for expected in [
            "7 requests were sent once more",
            "10.5 s: recording-limited",
        ] {
            assert!(text.contains(expected), "{expected:?} is not in\n{text}");
        }
    }

    #[test]
    fn verdicts_and_exit_codes() {
        let verdict = |change: &dyn Fn(&mut RunOutcome)| {
            let verdict = outcome(|outcome| change(outcome)).0.verdict();
            (verdict, verdict.exit_code())
        };
        let break_it = |outcome: &mut RunOutcome| outcome.thresholds[0].passed = Some(false);
        assert_eq!(verdict(&|_| {}), (Verdict::Passed, 0));
        assert_eq!(verdict(&break_it), (Verdict::Failed, 3));
        assert_eq!(
            verdict(&|outcome| outcome.ended = Ended::Aborted),
            (Verdict::Failed, 3)
        );
        assert_eq!(
            verdict(&|outcome| outcome.thresholds[0].passed = None),
            (Verdict::TooLittleData, 4)
        );
        assert_eq!(
            verdict(&|outcome| outcome.ended = Ended::Interrupted),
            (Verdict::Incomplete, 1)
        );
        assert_eq!(
            verdict(&|outcome| {
                outcome.ended = Ended::Interrupted;
                break_it(outcome);
            }),
            (Verdict::Failed, 3)
        );
        // Whatever makes the numbers doubtful leaves no verdict, not even a bad one.
        type Change = dyn Fn(&mut RunOutcome);
        let doubts: [(&Change, Verdict); 3] = [
            (&|outcome| outcome.lost = 1, Verdict::RecordingLimited),
            (
                &|outcome| outcome.ended = Ended::Incomplete,
                Verdict::Incomplete,
            ),
            (
                &|outcome| {
                    outcome.health = Health::Limited {
                        reasons: Vec::new(),
                    }
                },
                Verdict::GeneratorLimited,
            ),
        ];
        for (doubt, expected) in doubts {
            let both = |outcome: &mut RunOutcome| {
                break_it(outcome);
                doubt(outcome);
            };
            assert_eq!(verdict(&both), (expected, 1));
        }
    }
}
