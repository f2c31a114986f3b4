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

/// Two days of eight series; the fourth rises by 30 % at noon of the second day.
fn two_days(dir: &Path) -> String {
    two_days_of(dir, START, START + 216 * 600)
}

/// Two days of eight series from `start`, a point every ten minutes; the fourth rises by 30 % at
/// `onset`. Both are seconds since 1970.
pub(crate) fn two_days_of(dir: &Path, start: i64, onset: i64) -> String {
    let mut jitter = Jitter(7);
    let mut text = "series,timestamp,value\n".to_owned();
    for series in 0..8 {
        for point in 0..288 {
            let at = start + point * 600;
            let level = if series == 3 && at >= onset {
                130.0
            } else {
                100.0
            };
            let value = level * (1.0 + 0.05 * jitter.next());
            writeln!(text, "metric{series},{at},{value:.4}").expect("a text");
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

    let short = dir.join("short.csv");
    std::fs::write(&short, "series,timestamp,value\na,1,2\na,2,3\n").expect("a file");
    let output = detect("change-point", &short.display().to_string());
    assert_eq!(output.status.code(), Some(4));

    // The same file as rows that come one by one, and by what earlier days were.
    for more in ["--stream", "--daily"] {
        let output = run(&mut command(dir, &["detect", "--input", &input, more]));
        let rows = String::from_utf8_lossy(&output.stdout);
        let found: Vec<&str> = rows.lines().skip(1).collect();
        assert!(
            found.len() == 1 && found[0].starts_with("metric3,2"),
            "{more}: {rows}"
        );
    }

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

/// Whether the page has its parts, and needs nothing beside it.
fn check_page(page: &str, parts: &[&str]) {
    for part in parts {
        assert!(page.contains(part), "{part} is missing");
    }
    for foreign in ["<script", "src=", "http:", "https:", "url("] {
        assert!(!page.contains(foreign), "{foreign}");
    }
}

#[test]
fn a_day_and_a_finding_are_pages_with_charts() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let dir = dir.path();
    stdout_of(&mut command(dir, &["import", "csv", &two_days(dir)]));
    let at = "2026-01-31T11:58:00Z";
    stdout_of(&mut command(
        dir,
        &["mark", "deploy", "version=2", "--at", at],
    ));
    let day = [
        "nightly",
        "--date",
        "2026-01-31",
        "--format",
        "html",
        "-o",
        "day.html",
    ];
    stdout_of(&mut command(dir, &day));
    let page = std::fs::read_to_string(dir.join("day.html")).expect("a page");
    let parts = [
        "When what began",
        "class=\"usual\"",
        "class=\"onset\"",
        "class=\"mark\"",
        "deploy version=2",
        "metric3",
    ];
    check_page(&page, &parts);
    let found = json(&stdout_of(&mut command(
        dir,
        &["findings", "--format", "json"],
    )));
    let id = found[0]["id"].as_str().expect("an id");
    let one = stdout_of(&mut command(
        dir,
        &["findings", "show", id, "--format", "html"],
    ));
    check_page(&one, &["class=\"usual\"", "class=\"after\"", "metric3", id]);
}

#[test]
fn rows_that_come_late_reopen_their_day_and_days_have_a_time_zone() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let dir = dir.path();
    std::fs::write(
        dir.join("driftline.toml"),
        "[nightly]\ntime_zone = \"Asia/Kolkata\"\n",
    )
    .expect("a file");
    let all = std::fs::read_to_string(two_days(dir)).expect("a file");
    let header = all.lines().next().expect("a header");
    let part = |name: &str, wanted: &dyn Fn(&str) -> bool| {
        let rows: Vec<&str> = all.lines().skip(1).filter(|line| wanted(line)).collect();
        std::fs::write(dir.join(name), format!("{header}\n{}\n", rows.join("\n"))).expect("a file");
    };
    part("most.csv", &|line| !line.starts_with("metric3,"));
    part("late.csv", &|line| line.starts_with("metric3,"));
    stdout_of(&mut command(dir, &["import", "csv", "most.csv"]));
    let day = |date: &str| {
        run(&mut command(
            dir,
            &["nightly", "--date", date, "--format", "json"],
        ))
    };
    let first = day("2026-01-31");
    assert_eq!(first.status.code(), Some(0), "{first:?}");
    let again = day("2026-02-01");
    let err = String::from_utf8_lossy(&again.stderr);
    assert!(!err.contains("was analysed again"), "{err}");
    stdout_of(&mut command(dir, &["import", "csv", "late.csv"]));
    let reopened = day("2026-02-01");
    let err = String::from_utf8_lossy(&reopened.stderr);
    assert!(err.contains("2026-01-31 was analysed again"), "{err}");
    let found = json(&stdout_of(&mut command(
        dir,
        &["findings", "--format", "json"],
    )));
    assert_eq!(found[0]["day"], "2026-01-31", "{found}");
    // Noon is half past five in the afternoon there.
    let page = stdout_of(&mut command(
        dir,
        &["nightly", "--date", "2026-01-31", "--format", "html"],
    ));
    assert!(
        page.contains("Asia/Kolkata") && page.contains("since 17:"),
        "{page}"
    );
    std::fs::write(
        dir.join("driftline.toml"),
        "[nightly]\ntime_zone = \"Mars\"\n",
    )
    .expect("a file");
    let wrong = day("2026-01-31");
    let err = String::from_utf8_lossy(&wrong.stderr);
    assert!(
        err.contains("nightly.time_zone") && err.contains("Mars"),
        "{err}"
    );
}

#[test]
fn detection_is_validated_on_the_past_and_baselines_are_looked_up() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let dir = dir.path();
    let until = "2026-02-01T00:00:00Z";
    let validate = [
        "validate",
        "detection",
        "--until",
        until,
        "--planted",
        "20",
        "--format",
        "json",
    ];
    let empty = run(&mut command(dir, &validate));
    assert_eq!(empty.status.code(), Some(4), "{empty:?}");
    stdout_of(&mut command(dir, &["import", "csv", &two_days(dir)]));
    let first = stdout_of(&mut command(dir, &validate));
    let result = json(&first);
    let alarms = &result["false_alarms"]["series_per_night"];
    assert_eq!(alarms["trials"], 8, "{first}");
    assert!(
        alarms["ci_hi"].as_f64().is_some_and(|hi| hi > 0.0),
        "{first}"
    );
    let power = result["power"].as_array().expect("power");
    let of = |row: &Value| row["share"].as_f64().expect("a share");
    assert!(of(&power[0]) <= of(&power[power.len() - 1]), "{first}");
    assert!(
        of(&power[power.len() - 1]) > 0.5,
        "half as much again is found: {first}"
    );
    assert_eq!(
        stdout_of(&mut command(dir, &validate)),
        first,
        "the same seed"
    );
    let count = "select count(*) as n from events where name = 'DetectionValidated'";
    let counts = stdout_of(&mut command(dir, &["query", "--format", "csv", count]));
    assert_eq!(counts.lines().last(), Some("2"));

    stdout_of(&mut command(
        dir,
        &["baseline", "--last", "999999h", "--name", "all"],
    ));
    let listed = json(&stdout_of(&mut command(
        dir,
        &["baseline", "list", "--format", "json"],
    )));
    assert_eq!(
        (listed[0]["name"].as_str(), listed[0]["series"].as_i64()),
        (Some("all"), Some(8))
    );
    let shown = stdout_of(&mut command(dir, &["baseline", "show", "all"]));
    assert!(shown.contains("metric3"), "{shown}");
    let unknown = run(&mut command(dir, &["baseline", "show", "other"]));
    assert_eq!(unknown.status.code(), Some(2));
}

#[test]
fn two_windows_are_compared_series_by_series() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let dir = dir.path();
    stdout_of(&mut command(dir, &["import", "csv", &two_days(dir)]));
    let (before, after) = (
        "2026-01-30T12:00:00Z..2026-01-31T12:00:00Z",
        "2026-01-31T12:00:00Z..2026-02-01T00:00:00Z",
    );
    let worse = [
        "compare", "--window", before, "--window", after, "--format", "json",
    ];
    let shifts = json(&stdout_of(&mut command(dir, &worse)));
    let shifts = shifts["shifts"].as_array().expect("shifts");
    assert_eq!(shifts.len(), 8);
    assert_eq!(
        (&shifts[0]["metric"], &shifts[0]["verdict"]),
        (&Value::from("metric3"), &Value::from("change"))
    );
    assert!(
        shifts[1..]
            .iter()
            .all(|shift| shift["verdict"] == "no change"),
        "{shifts:?}"
    );
    let once = run(&mut command(dir, &["compare", "--window", after]));
    assert_eq!(once.status.code(), Some(2));
}
