//! The three loops on real servers, each from one command: a missing index is recommended, applied and
//! kept; a bad one, which somebody's own rule asks for, is reverted; a cache is warmed as estimated. And
//! what is kept is undone when something gets worse after it.

mod suspect;
mod traffic;

use std::path::Path;
use std::time::Duration;

use driftline_optimizer::Action;
use serde_json::Value;

use self::traffic::{Postgres, Traffic};
use crate::process::{Running, driftline, poll, run, stdout_of};
use crate::servers::{PostgresServer, RedisServer};

/// Rows of the table; the statement without its index reads all of its pages.
const ROWS: u32 = 40_000;
/// Longest wait for a rule to see what is wrong.
const RECOMMENDED_WITHIN: Duration = Duration::from_secs(90);

/// Somebody's own rule that asks for an index on what is updated all the time.
const BAD_RULE: &str = "-- id: x1_bad_index
-- kind: recommendation
-- title: Index the state
-- component: postgres
-- risk: medium
-- auto: approval
-- verify: work_per_call
-- undo: DROP INDEX CONCURRENTLY
-- inputs: postgres/postgresql.table.estimated_rows
-- sources: own
-- every: 1h
-- reads: window_series
-- why: A rule that is wrong, so that it is seen to be undone.
SELECT
    host, label(labels, 'service.instance.id') AS target, 'postgres.public.orders' AS subject,
    'Create an index on public.orders (state)' AS advice, 'none' AS evidence,
    CAST(NULL AS DOUBLE) AS saved_s_per_h, CAST(NULL AS VARCHAR) AS saved_method,
    0.9 AS predicted, 0.9 AS confidence,
    json_object(
        'kind', 'create_index', 'table', named_struct('schema', 'public', 'name', 'orders'),
        'columns', make_array('state')
    ) AS action,
    1.0 AS observed, 1.0 AS threshold, '1' AS unit
FROM window_series
WHERE metric = 'postgresql.table.estimated_rows' AND labels LIKE '%orders%'
LIMIT 1
";

/// A configuration that collects `shop`, and allows everything to be tried in short windows.
fn configure(dir: &Path, postgres: &PostgresServer, more: &str) {
    let text = format!(
        "[collector.process]\nenabled = false\n[collector.cgroup]\nenabled = false\n\
         [live]\nenabled = false\n\
         [[collector.postgres]]\nname = \"shop\"\nurl = \"{read}\"\ninterval = \"2s\"\nstatements_every = \"2s\"\ntables_every = \"2s\"\n\
         [optimizer]\ndry_run = false\ncreate_index = true\ndisk_unknown = true\n\
         allow = [\"create_index\", \"warm\"]\nreads_per_write_min = 0.0\n\
         cpu_busy_max_percent = 100.0\ncpu_pressure_max_percent = 100.0\nwindow = \"1500ms\"\nsettle = \"200ms\"\nwindows_max = 20\n\
         [[optimizer.server]]\nname = \"shop\"\nkind = \"postgres\"\nurl = \"{write}\"\n{more}",
        read = postgres.driftline_url(),
        write = postgres.url(),
    );
    std::fs::write(dir.join("c.toml"), text).expect("a configuration");
}

fn up(dir: &Path) -> Running {
    let mut command = driftline(&["up", "--data", "d", "--config", "c.toml"]);
    Running::start(command.current_dir(dir), dir, "up")
}

fn json(dir: &Path, args: &[&str]) -> Value {
    let mut command = driftline(args);
    let command = command.args(["--format", "json", "--data", "d", "--config", "c.toml"]);
    serde_json::from_str(&stdout_of(command.current_dir(dir))).expect("JSON")
}

/// The id of the recommendation of a rule about the table, as soon as there is one.
fn recommended(dir: &Path, rule: &str) -> String {
    let mut seen = Value::Null;
    let mut id = None;
    poll(RECOMMENDED_WITHIN, || {
        let mut command = driftline(&["recommend", "--last", "10m", "--format", "json"]);
        let command = command.args(["--data", "d", "--config", "c.toml"]);
        // Before the first samples there is too little data.
        let output = run(command.current_dir(dir));
        seen = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let all = seen["recommendations"].as_array();
        let mut found = all.into_iter().flatten().filter(|one| {
            one["rule"] == rule
                && one["action"].is_object()
                && one["subject"]
                    .as_str()
                    .is_some_and(|s| s.contains("orders"))
        });
        id = found
            .next()
            .and_then(|one| Some(one["id"].as_str()?.to_owned()));
        id.is_some()
    });
    id.unwrap_or_else(|| panic!("{rule} recommends nothing: {seen:#}"))
}

fn apply(dir: &Path, args: &[&str]) -> (Option<i32>, String) {
    let mut command = driftline(args);
    let command = command.args(["--data", "d", "--config", "c.toml"]);
    let output = run(command.current_dir(dir));
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.code(),
        String::from_utf8_lossy(&text).into_owned(),
    )
}

#[test]
fn a_missing_index_is_recommended_created_and_kept_with_predicted_beside_actual() {
    let Some(server) = PostgresServer::start(&[]) else {
        return;
    };
    let dir = tempfile::tempdir().expect("temporary directory");
    let dir = dir.path();
    configure(dir, &server, "");
    let postgres = Postgres::orders(server.url(), ROWS);
    let traffic = Traffic::reads(server.url());
    let up = up(dir);
    let id = recommended(dir, "p2_missing_index");

    let plans = json(dir, &["optimize", "plan", &id]);
    let command = plans[0]["plan"]["command"].as_str().expect("a command");
    assert!(command.contains("CREATE INDEX CONCURRENTLY"), "{plans:#}");
    assert_eq!(postgres.ours(), 0, "a plan changes nothing");

    // Without a person's yes it is a dry run.
    let (code, told) = apply(dir, &["optimize", "apply", &id]);
    assert_eq!((code, postgres.ours()), (Some(0), 0), "{told}");
    let (code, told) = apply(dir, &["optimize", "apply", &id, "--yes"]);
    assert_eq!(code, Some(0), "{told}");
    traffic.end();
    assert_eq!(postgres.ours(), 1, "{told}");

    let status = json(dir, &["optimize", "status"]);
    assert_eq!(status[0]["state"], "kept", "{status:#}");
    let figure = |key: &str| status[0][key].as_f64().expect("a figure");
    let (predicted, actual) = (figure("predicted"), figure("actual"));
    assert!((predicted - actual).abs() < 0.05, "{status:#}");

    // Undone by hand, it is gone, and the log has every step.
    let action = status[0]["action"].as_str().expect("its id");
    let (code, told) = apply(dir, &["optimize", "revert", action]);
    assert_eq!((code, postgres.ours()), (Some(0), 0), "{told}");
    let steps = json(
        dir,
        &[
            "query",
            "SELECT name FROM events WHERE label(attributes, 'action') IS NOT NULL ORDER BY ts",
        ],
    );
    let names: Vec<&str> = steps
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|row| row["name"].as_str())
        .filter(|name| *name != "WindowObserved")
        .collect();
    let expected = [
        "DryRunPassed",
        "ActionApproved",
        "BaselineFrozen",
        "ApplyStarted",
        "ApplySucceeded",
        "VerdictReached",
        "RevertStarted",
        "RevertSucceeded",
    ];
    assert_eq!(names, expected);
    assert!(up.terminate());
}

#[test]
fn a_bad_index_that_a_rule_asks_for_is_reverted() {
    let Some(server) = PostgresServer::start(&[]) else {
        return;
    };
    let dir = tempfile::tempdir().expect("temporary directory");
    let dir = dir.path();
    std::fs::create_dir(dir.join("rules")).expect("a directory");
    std::fs::write(dir.join("rules/x1_bad_index.sql"), BAD_RULE).expect("a rule");
    configure(dir, &server, "[recommend]\nqueries = \"rules\"\n");
    let postgres = Postgres::orders(server.url(), ROWS);
    let traffic = Traffic::updates(server.url());
    let up = up(dir);
    let id = recommended(dir, "x1_bad_index");
    let (code, told) = apply(dir, &["optimize", "apply", &id, "--yes"]);
    traffic.end();
    assert_eq!(code, Some(3), "{told}");
    let status = json(dir, &["optimize", "status"]);
    assert_eq!(status[0]["state"], "reverted", "{status:#}");
    assert_eq!(postgres.ours(), 0, "{told}");
    // What was undone is left alone for a while.
    let (code, told) = apply(dir, &["optimize", "apply", &id, "--yes"]);
    assert!(told.contains("undone before"), "{code:?}: {told}");
    assert!(up.terminate());
}

#[test]
fn a_cache_is_warmed_and_its_hit_ratio_rises_as_estimated() {
    let (Some(server), Some(cache)) = (PostgresServer::start(&[]), RedisServer::start(&[])) else {
        return;
    };
    let dir = tempfile::tempdir().expect("temporary directory");
    let dir = dir.path();
    let more = format!(
        "[[optimizer.server]]\nname = \"cache\"\nkind = \"redis\"\nurl = \"{}\"\n\
         [[optimizer.loader]]\npattern = \"order:*\"\nserver = \"shop\"\nttl = \"10m\"\n\
         sql = \"SELECT note FROM orders WHERE id = {{1}}::int\"\n\
         [optimizer.warm]\nbackend_ms_per_s = 500.0\np95_max_ms = 1000.0\n",
        cache.url()
    );
    configure(dir, &server, &more);
    let _postgres = Postgres::orders(server.url(), ROWS);
    let traffic = Traffic::cached(cache.url());
    let args = [
        "optimize",
        "warm",
        "cache",
        "--pattern",
        "order:*",
        "--for",
        "8s",
        "--keys",
        "200",
        "--apply",
    ];
    let (code, told) = apply(dir, &args);
    traffic.end();
    assert_eq!(code, Some(0), "{told}");
    let status = json(dir, &["optimize", "status"]);
    assert_eq!(status[0]["state"], "kept", "{told}\n{status:#}");
    let verdict = &status[0]["verdicts"][0]["verdict"];
    let bound = |at: usize| verdict["interval"][at].as_f64().expect("a bound");
    let actual = verdict["actual"].as_f64().expect("a figure");
    assert!((bound(0)..=bound(1)).contains(&actual), "{status:#}");
}

#[test]
fn every_action_that_a_rule_prepares_is_one_that_can_be_applied() {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("analyzer/tests/rules");
    let mut read = 0;
    for rule in std::fs::read_dir(cases).expect("the rules' cases") {
        let expected = rule.expect("a rule").path().join("fires/expect.csv");
        let Ok(mut rows) = csv::Reader::from_path(&expected) else {
            continue;
        };
        for row in rows.records() {
            let row = row.expect("a row");
            for cell in row.iter().filter(|cell| cell.contains("\"kind\"")) {
                let action: Action = serde_json::from_str(cell)
                    .unwrap_or_else(|error| panic!("{}: {cell}: {error}", expected.display()));
                assert_eq!(action.check(), Ok(()), "{}", expected.display());
                read += 1;
            }
        }
    }
    assert!(read >= 10, "only {read} actions were read");
}
