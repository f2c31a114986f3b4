//! This host's metrics through the log into SQL, on the spool and on a real Kafka.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::broker::Broker;
use crate::process::{DEADLINE, Running, driftline, poll, run, stdout_of};

const FRESH: &str = "select metric, count(*), avg(value) from samples \
                     where ts > now() - interval '10 seconds' group by metric";

fn lines(text: &str) -> usize {
    text.lines().count()
}

fn query(data: &str, sql: &str) -> Option<String> {
    let output = run(&mut driftline(&[
        "query", "--data", data, "--format", "csv", sql,
    ]));
    output
        .status
        .success()
        .then(|| String::from_utf8(output.stdout).expect("text"))
}

#[test]
fn up_shows_this_hosts_metrics_within_seconds_and_commits_all_of_them_at_its_end() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let data = dir.path().join("data").display().to_string();
    let begun = Instant::now();
    let up = Running::start(&mut driftline(&["up", "--data", &data]), dir.path(), "up");
    let mut answer = String::new();
    let seen = poll(DEADLINE, || {
        answer = query(&data, FRESH).unwrap_or_default();
        lines(&answer) > 50
    });
    assert!(seen, "few metrics: {answer}\n{}", output(dir.path(), "up"));
    eprintln!("{} metrics after {:?}", lines(&answer) - 1, begun.elapsed());
    for metric in [
        "system.cpu.time",
        "system.memory.usage",
        "system.network.io",
    ] {
        assert!(answer.contains(metric), "{metric} is missing: {answer}");
    }
    // Rows that are still in the log, rows that are committed: each is seen once.
    let twice = "select count(*) from (select ts, host, metric, labels from samples \
                 group by ts, host, metric, labels having count(*) > 1)";
    assert_eq!(
        query(&data, twice)
            .as_deref()
            .map(|text| text.lines().last()),
        Some(Some("0"))
    );
    assert!(up.terminate(), "{}", output(dir.path(), "up"));
    let all =
        "select count(*) as n, count(distinct seq) as ticks, max(seq) + 1 as next from samples";
    let all = query(&data, all).expect("query");
    let row: Vec<u64> = all
        .lines()
        .last()
        .expect("row")
        .split(',')
        .map(|n| n.parse().expect("number"))
        .collect();
    assert!(row[0] > 100, "{all}");
    assert_eq!(row[1], row[2], "a tick is missing: {all}");
    let stopped = query(
        &data,
        "select count(*) from events where name = 'CollectorStopped'",
    )
    .expect("query");
    assert_eq!(stopped.lines().last(), Some("1"));
}

#[test]
fn a_second_up_on_the_same_data_is_told_who_holds_it() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let data = dir.path().join("data").display().to_string();
    let up = Running::start(&mut driftline(&["up", "--data", &data]), dir.path(), "up");
    let seen = poll(DEADLINE, || {
        query(&data, FRESH).is_some_and(|text| lines(&text) > 1)
    });
    assert!(seen, "{}", output(dir.path(), "up"));
    let second = run(&mut driftline(&["up", "--data", &data]));
    assert_eq!(second.status.code(), Some(1));
    let message = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(message.contains("already serves"), "{message}");
    assert!(up.terminate());
}

#[test]
fn roles_over_a_real_kafka_bring_every_tick_into_the_table() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let Some(kafka) = Broker::start_own() else {
        return;
    };
    let at = |name: &str| dir.path().join(name).display().to_string();
    let (host, lake) = (at("host"), at("lake"));
    let brokers = ["--kafka-brokers", kafka.address()];
    let start = |role: &str, data: &str| {
        Running::start(
            driftline(&[role, "--data", data]).args(brokers),
            dir.path(),
            role,
        )
    };
    let sink = start("sink", &lake);
    let collect = start("collect", &host);
    let count = || {
        let sql = "select count(distinct seq) from samples";
        let mut command = driftline(&["query", "--data", &lake, "--format", "csv", sql]);
        let output = run(command.args(brokers));
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.lines()
            .last()
            .and_then(|line| line.parse::<u64>().ok())
            .unwrap_or_default()
    };
    assert!(
        poll(DEADLINE, || count() >= 3),
        "{}{}",
        output(dir.path(), "sink"),
        output(dir.path(), "collect")
    );
    assert!(collect.terminate(), "{}", output(dir.path(), "collect"));
    // The collector's own last event says that the stream has ended; it comes after every tick.
    let ended = || {
        query(
            &lake,
            "select count(*) from events where name = 'CollectorStopped'",
        )
        .is_some_and(|text| text.lines().last() == Some("1"))
    };
    assert!(poll(DEADLINE, ended), "{}", output(dir.path(), "sink"));
    assert!(sink.terminate(), "{}", output(dir.path(), "sink"));
    let row = query(
        &lake,
        "select count(distinct seq), max(seq) + 1 from samples",
    )
    .expect("query");
    let row: Vec<&str> = row.lines().last().expect("row").split(',').collect();
    assert_eq!(row[0], row[1], "a tick is missing");
    let mut lag = driftline(&["query", "--data", &lake, "select 1"]);
    let lag = run(lag.args(brokers));
    let notice = String::from_utf8_lossy(&lag.stderr).into_owned();
    assert!(
        notice.contains("behind"),
        "a query against Kafka says how far behind it is: {notice}"
    );
}

#[test]
fn analyze_covers_every_category_in_the_time_asked_for() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let data = dir.path().join("data").display().to_string();
    let begun = Instant::now();
    let args = [
        "analyze", "--for", "2s", "--format", "json", "--data", &data,
    ];
    let report = stdout_of(&mut driftline(&args));
    assert!(begun.elapsed() >= Duration::from_secs(2));
    let report: serde_json::Value = serde_json::from_str(&report).expect("JSON");
    let series = report["series"].as_array().expect("series");
    assert!(series.len() > 50, "{} series", series.len());
    for category in ["utilisation", "saturation", "errors", "throughput"] {
        let found = series.iter().any(|row| row["now"]["category"] == category);
        assert!(found, "no series of {category}");
    }
    let table = stdout_of(&mut driftline(&["analyze", "--for", "1s", "--data", &data]));
    assert!(
        table.contains("no baseline yet") && table.contains("system.memory"),
        "{table}"
    );
}

fn output(dir: &Path, name: &str) -> String {
    std::fs::read_to_string(dir.join(format!("{name}.output"))).unwrap_or_default()
}
