//! The page holds what was found, and nothing that a reader's browser would fetch or run.

use driftline_analyzer::Window;
use driftline_analyzer::nightly::Cause;

use super::*;

const DAY_S: i64 = 86_400;

fn finding(id: &str, severity: Severity, onset_s: i64, names: &[&str]) -> Finding {
    let evidence = |name: &&str| Evidence {
        name: (*name).to_owned(),
        unit: "s".to_owned(),
        before: Some(0.010),
        after: Some(0.013),
        effect_pct: Some(30.0),
        interval_pct: Some((27.5, 32.25)),
        p_value: 1e-5,
    };
    Finding {
        id: id.to_owned(),
        severity,
        title: format!("{} on <h1> moved by +30 %", names[0]),
        onset_us: onset_s * 1_000_000,
        scope: vec![("host".to_owned(), "<h1>".to_owned())],
        evidence: names.iter().map(evidence).collect(),
        causes: vec![Cause {
            ts_us: onset_s * 1_000_000,
            what: "deploy version=2 & more".to_owned(),
        }],
        sql: "SELECT ts FROM derived_series WHERE value < 1".to_owned(),
    }
}

fn plot(finding: &str, name: &str) -> Plot {
    let at_s: Vec<i64> = (0..288).map(|n| n * 600).collect();
    let values =
        (0..288_u32).map(|n| if n >= 216 { 0.013 } else { 0.010 } + 0.0001 * f64::from(n * 7 % 5));
    Plot {
        finding: finding.to_owned(),
        name: name.to_owned(),
        host: "<h1>".to_owned(),
        unit: "s".to_owned(),
        values: values.collect(),
        at_s,
        from: 0,
        change: 216,
        until: 288,
        before: Some(0.010),
        after: Some(0.013),
        band: Some((0.0095, 0.0105)),
    }
}

fn day() -> Nightly {
    let onset_s = 216 * 600;
    Nightly {
        day: Window {
            from_us: DAY_S * 1_000_000,
            until_us: 2 * DAY_S * 1_000_000,
        },
        rows: 5_760,
        series: 8,
        runs: 1,
        notes: vec!["run a<b cannot be judged".to_owned()],
        findings: vec![
            finding(
                "change-1",
                Severity::Regression,
                onset_s,
                &["m{a=<b>}", "n"],
            ),
            finding("change-2", Severity::Improvement, onset_s, &["o"]),
        ],
        plots: vec![plot("change-1", "m{a=<b>}"), plot("change-1", "n")],
        marks: vec![Cause {
            ts_us: (onset_s - 120) * 1_000_000,
            what: "deploy version=2 & more".to_owned(),
        }],
    }
}

fn render(nightly: &Nightly, zone: &str) -> String {
    Page {
        title: "1970-01-02",
        nightly,
        calendar: Calendar::of(zone).expect("a zone"),
    }
    .render()
}

#[test]
fn every_finding_stands_there_with_its_charts() {
    let page = render(&day(), "UTC");
    assert_eq!(page.matches("<section class=\"finding\"").count(), 2);
    // The day, two series, and the effects of the finding with two members.
    assert_eq!(page.matches("<figure").count(), 4);
    assert_eq!(page.matches("class=\"onset\"").count(), 2);
    assert!(page.contains("10ms → 13ms since 12:00"), "{page}");
    assert!(page.contains("deploy version=2 &amp; more"));
    assert!(page.contains("+30.0 % (+27.5 … +32.2)"));
    assert!(render(&day(), "Asia/Kolkata").contains("since 17:30"));
    assert_eq!(render(&day(), "UTC"), page, "the same to the last byte");
}

#[test]
fn nothing_is_fetched_or_run_and_names_are_text() {
    let page = render(&day(), "UTC");
    for foreign in ["<script", "src=", "http:", "https:", "@import", "url("] {
        assert!(!page.contains(foreign), "{foreign}");
    }
    assert!(
        !page.contains("<h1>\"") && !page.contains("a=<b>"),
        "{page}"
    );
    assert!(page.contains("m{a=&lt;b&gt;}"));
    let opened = page.matches("<svg").count();
    assert_eq!(opened, page.matches("</svg>").count());
}

#[test]
fn a_quiet_day_says_so_and_charts_of_odd_series_hold() {
    let mut quiet = day();
    quiet.findings.clear();
    assert!(render(&quiet, "UTC").contains("Nothing changed"));
    let mut odd = day();
    for values in [vec![0.0; 288], vec![f64::MAX; 288], vec![-1e-300; 288]] {
        odd.plots[0].values = values;
        odd.plots[0].band = None;
        odd.plots[0].before = None;
        let page = render(&odd, "UTC");
        assert!(!page.contains("NaN") && !page.contains("inf"), "{page}");
    }
    odd.plots[0].at_s.clear();
    odd.plots[0].values.clear();
    assert_eq!(render(&odd, "UTC").matches("<figure").count(), 3);
}
