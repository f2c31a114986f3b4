//! The analysis of a day: what changed is found once, with its suspects, and lives until somebody
//! resolves it. And detection in plain files.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::Value;

use crate::process::{driftline, run, stdout_of};

/// Midnight of 2026-01-30 UTC.
const START: i64 = 1_769_731_200;

/// Numbers that look random and are the same every time: a linear congruential generator (Knuth,
/// MMIX), the mean of four of its values.
struct Jitter(u64);

impl Jitter {
    fn next(&mut self) -> f64 {
        let sum: f64 = (0..4)
            .map(|_| {
                self.0 = self
                    .0
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                (self.0 >> 11) as f64 / (1_u64 << 53) as f64 - 0.5
            })
            .sum();
        sum / 2.0
    }
}

/// Two days of eight series, a point every ten minutes; the fourth rises by 30 % at noon of the
/// second day.
fn two_days(dir: &Path) -> String {
    let mut jitter = Jitter(7);
    let mut text = "series,timestamp,value\n".to_owned();
    for series in 0..8 {
        for point in 0..288 {
            let level = if series == 3 && point >= 216 {
                130.0
            } else {
                100.0
            };
            let value = level * (1.0 + 0.05 * jitter.next());
            writeln!(text, "metric{series},{},{value:.4}", START + point * 600).expect("a text");
        }
    }
    let path = dir.join("two-days.csv");
    std::fs::write(&path, text).expect("a file");
    path.display().to_string()
}

fn command(dir: &Path, args: &[&str]) -> std::process::Command {
    let mut command = driftline(args);
    command.args(["--data", "d"]).current_dir(dir);
    command
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).expect(text)
}

#[test]
fn a_change_is_found_once_with_its_suspect_and_lives_until_it_is_resolved() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let dir = dir.path();
    stdout_of(&mut command(dir, &["import", "csv", &two_days(dir)]));
    stdout_of(&mut command(
        dir,
        &[
            "mark",
            "deploy",
            "version=2",
            "--at",
            "2026-01-31T11:58:00Z",
        ],
    ));
    let day = ["nightly", "--date", "2026-01-31", "--format", "json"];
    let first = stdout_of(&mut command(dir, &day));
    let found = json(&first);
    assert_eq!(found["series"], 8);
    let findings = found["findings"].as_array().expect("findings");
    let [finding] = findings.as_slice() else {
        panic!("not one finding: {first}");
    };
    let id = finding["id"].as_str().expect("an id");
    assert_eq!(finding["evidence"][0]["name"], "metric3");
    let bound = |name: &str| finding["evidence"][0][name].as_f64().expect("a bound");
    assert!(
        bound("ci_lo_pct") <= 30.0 && 30.0 <= bound("ci_hi_pct"),
        "{first}"
    );
    let noon = (START + 216 * 600) * 1_000_000;
    let onset = finding["onset_us"].as_i64().expect("an onset");
    assert!((onset - noon).abs() <= 3 * 600 * 1_000_000, "{onset}");
    assert_eq!(finding["causes"][0]["what"], "deploy version=2");

    // A rerun says the same to the last byte and tells the log nothing new.
    assert_eq!(stdout_of(&mut command(dir, &day)), first);
    let count = "select name, count(*) as n from events where name in ('FindingOpened', 'FindingUpdated', 'DayAnalysed') group by name order by name";
    let counts = stdout_of(&mut command(dir, &["query", "--format", "csv", count]));
    assert_eq!(
        counts.lines().skip(1).collect::<Vec<_>>(),
        ["DayAnalysed,2", "FindingOpened,1"]
    );

    let open = || {
        json(&stdout_of(&mut command(
            dir,
            &["findings", "--format", "json"],
        )))
    };
    assert_eq!(open()[0]["state"], "open");
    stdout_of(&mut command(dir, &["findings", "ack", id]));
    assert_eq!(open()[0]["state"], "acknowledged");
    stdout_of(&mut command(
        dir,
        &["findings", "resolve", id, "--as", "accepted"],
    ));
    assert_eq!(open().as_array().map(Vec::len), Some(0));
    let shown = stdout_of(&mut command(dir, &["findings", "show", id]));
    assert!(
        shown.contains("accepted") && shown.contains("metric3"),
        "{shown}"
    );
    let again = run(&mut command(dir, &["findings", "ack", id]));
    assert_eq!(
        again.status.code(),
        Some(2),
        "what is accepted is not acknowledged"
    );

    // The day before has nothing to tell, and one without data cannot be judged.
    let quiet = json(&stdout_of(&mut command(
        dir,
        &["nightly", "--date", "2026-01-30", "--format", "json"],
    )));
    assert_eq!(quiet["findings"].as_array().map(Vec::len), Some(0));
    let empty = run(&mut command(dir, &["nightly", "--date", "2020-01-01"]));
    assert_eq!(empty.status.code(), Some(4));
    let err = String::from_utf8_lossy(&empty.stderr);
    assert!(err.contains("too little data on 2020-01-01"), "{err}");
}

#[test]
fn plain_files_are_judged_and_what_is_wrong_in_them_is_named() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let dir = dir.path();
    let input = two_days(dir);
    let detect = |mode: &str, input: &str| {
        run(&mut command(
            dir,
            &["detect", "--mode", mode, "--input", input],
        ))
    };
    let output = detect("change-point", &input);
    let rows = String::from_utf8(output.stdout).expect("text");
    let rows: Vec<&str> = rows.lines().collect();
    assert!(
        rows[0].starts_with("series,changepoint_index,effect_pct,ci_lo,ci_hi,p_value,direction")
    );
    assert_eq!(rows.len(), 2, "{rows:?}");
    let fields: Vec<&str> = rows[1].split(',').collect();
    let index: i64 = fields[1].parse().expect("an index");
    assert!(
        fields[0] == "metric3" && (index - 216).abs() <= 2,
        "{rows:?}"
    );
    for mode in ["anomaly", "fleet"] {
        let output = detect(mode, &input);
        assert_eq!(output.status.code(), Some(0), "{mode}");
    }

    let wrong = dir.join("wrong.csv");
    std::fs::write(&wrong, "series,timestamp,value\na,1,2\na,2,x\n").expect("a file");
    let output = detect("change-point", &wrong.display().to_string());
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{err}");
    assert!(
        err.contains("line 3, column value: \"x\" is no number"),
        "{err}"
    );

    // Runs of B take a fifth longer.
    let mut jitter = Jitter(3);
    let mut text = "case,arm,run,value\n".to_owned();
    for (arm, level) in [("A", 10.0), ("B", 12.0)] {
        for run in 0..5 {
            for _ in 0..150 {
                writeln!(
                    text,
                    "c,{arm},{run},{}",
                    level * (1.0 + 0.2 * jitter.next())
                )
                .expect("a text");
            }
        }
    }
    let cases = dir.join("cases.csv");
    std::fs::write(&cases, text).expect("a file");
    let output = detect("compare", &cases.display().to_string());
    let rows = String::from_utf8(output.stdout).expect("text");
    assert!(rows.contains("c,p50,regression,"), "{rows}");
}
