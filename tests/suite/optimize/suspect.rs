//! A regression is found after a change that was kept: it names the change, which is measured again and
//! undone, since by now it does harm. Nobody is asked.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use chrono::DateTime;
use serde_json::Value;

use super::traffic::{Postgres, Traffic};
use super::{ROWS, apply, configure, json, recommended, up};
use crate::nightly::two_days_of;
use crate::process::{DEADLINE, driftline, poll, run, stdout_of};
use crate::servers::PostgresServer;

const HOUR_S: i64 = 3_600;
const DAY_S: i64 = 24 * HOUR_S;
/// The points of what gets worse come this often.
const POINT_S: i64 = 600;

#[test]
fn what_is_kept_is_undone_without_asking_when_something_gets_worse_and_it_does_harm() {
    let Some(server) = PostgresServer::start(&[]) else {
        return;
    };
    let dir = tempfile::tempdir().expect("temporary directory");
    let dir = dir.path();
    let day = Day::around_now();
    configure(dir, &server, &day.config());
    let postgres = Postgres::orders(server.url(), ROWS);
    let reads = Traffic::reads(server.url());
    let moves = Traffic::moves(server.url());
    let first = up(dir);
    let id = recommended(dir, "p2_missing_index");
    let (code, told) = apply(dir, &["optimize", "apply", &id, "--yes"]);
    assert_eq!((code, postgres.ours()), (Some(0), 1), "{told}");
    let action = status(dir)["action"].as_str().expect("its id").to_owned();
    assert!(first.terminate());

    // Nobody reads by the index any more, and each update has to change it.
    reads.end();
    postgres.shift(1);
    let finding = day.get_worse(dir);
    let causes = finding["causes"].as_array().expect("causes");
    let named = |cause: &Value| {
        let what = cause["what"].as_str().unwrap_or_default();
        what.starts_with(&format!("optimizer, {action}:"))
    };
    assert!(causes.iter().any(named), "{finding:#}");

    let second = up(dir);
    let mut seen = Value::Null;
    let reverted = poll(DEADLINE, || {
        seen = status(dir);
        seen["state"] == "reverted"
    });
    moves.end();
    assert!(reverted, "{seen:#}");
    assert_eq!(postgres.ours(), 0);
    let steps = "SELECT name FROM events WHERE label(attributes, 'action') IS NOT NULL \
                 AND name IN ('RevertStarted', 'RevertSucceeded') ORDER BY ts";
    let steps = json(dir, &["query", steps]);
    assert_eq!(steps.as_array().map(Vec::len), Some(2), "{steps:#}");
    assert!(second.terminate());
}

fn status(dir: &Path) -> Value {
    json(dir, &["optimize", "status"])[0].take()
}

/// The day in a time zone where it is noon now, so that what is to come of it suffices to be judged.
struct Day {
    now_s: i64,
    offset_h: i64,
}

impl Day {
    fn around_now() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now_s = now.expect("after 1970").as_secs().cast_signed();
        Self {
            now_s,
            offset_h: 12 - now_s.rem_euclid(DAY_S) / HOUR_S,
        }
    }

    fn config(&self) -> String {
        // The names of these zones have the sign of what is to be added to their time.
        format!("[nightly]\ntime_zone = \"Etc/GMT{:+}\"\n", -self.offset_h)
    }

    /// A latency that rises in a few minutes; what the analysis of the day tells of it.
    fn get_worse(&self, dir: &Path) -> Value {
        let local_s = self.now_s + self.offset_h * HOUR_S;
        let midnight_s = local_s.div_euclid(DAY_S) * DAY_S - self.offset_h * HOUR_S;
        let onset_s = (self.now_s / POINT_S + 2) * POINT_S;
        let file = two_days_of(dir, midnight_s - DAY_S, onset_s);
        let meaning = ["--unit", "s", "--better", "lower", "--category", "latency"];
        let import = ["import", "csv", &file, "--data", "d"];
        stdout_of(driftline(&import).args(meaning).current_dir(dir));
        let date = DateTime::from_timestamp(local_s, 0)
            .expect("a time")
            .date_naive()
            .to_string();
        let args = ["nightly", "--date", &date, "--format", "json"];
        let output = run(driftline(&args)
            .args(["--data", "d", "--config", "c.toml"])
            .current_dir(dir));
        let text = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(3), "{text}");
        let mut found: Value = serde_json::from_str(&text).expect("JSON");
        let findings = found["findings"].as_array_mut().expect("findings");
        let about = |finding: &&mut Value| finding["evidence"][0]["name"] == "metric3";
        let finding = findings.iter_mut().find(about);
        finding.map(Value::take).unwrap_or_else(|| panic!("{text}"))
    }
}
