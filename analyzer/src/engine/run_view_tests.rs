//! The views of load runs, over operations whose answer is known.

use driftline_schemas::{Body, Component, Event, EventName, Request, RequestBatch};
use driftline_sink::table::TableName;

use super::Engine;
use crate::testing::{S, T0, ask, block, engine, lake};

const MS: i64 = 1_000_000;

/// One operation a quarter of a second: answered after 10, 20, 30, … ms, the last one given up.
fn requests() -> Body {
    let request = |at: i64| Request {
        endpoint: 0,
        intended_us: T0 + at * S / 4,
        sent_ns: MS,
        first_byte_ns: if at == 9 { -1 } else { at * 10 * MS },
        done_ns: if at == 9 {
            1_000 * MS
        } else {
            (at + 1) * 10 * MS
        },
        status: if at == 9 { 0 } else { 200 },
        bytes: 100,
        error: u32::from(at == 9),
    };
    Body::Requests(RequestBatch {
        run: "r1".to_owned(),
        worker: 0,
        endpoints: vec!["home".to_owned()],
        errors: vec!["timeout".to_owned()],
        requests: (0..10).map(request).collect(),
    })
}

fn event(name: EventName, ts_us: i64, run: &str, attributes: &[(&str, &str)]) -> Event {
    let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    Event {
        ts_us,
        name,
        component: Component::Driftline,
        subject: run.to_owned(),
        message: String::new(),
        attributes: attributes.iter().map(own).collect(),
    }
}

async fn runs() -> (tempfile::TempDir, Engine) {
    let started = |run: &str| {
        let attributes = [
            ("scenario", "api"),
            ("target", "http://a,b"),
            ("warm_up_ns", "1000000000"),
        ];
        event(EventName::RunStarted, T0, run, &attributes)
    };
    let finished = [
        ("ended", "completed"),
        ("generator", "ok"),
        ("recording", "ok"),
        ("operations", "10"),
    ];
    let events = vec![
        started("r1"),
        event(EventName::RunFinished, T0 + 3 * S, "r1", &finished),
        started("killed"),
    ];
    let (dir, mut lake) = lake(&[], &[]);
    for (table, body) in [
        (TableName::Requests, requests()),
        (TableName::Events, Body::Events(events)),
    ] {
        let mut contents = lake.contents(table);
        contents.tail = block(table, body);
        lake.tables.push(contents);
    }
    (dir, engine(lake).await)
}

#[tokio::test]
async fn a_run_without_an_end_is_shown_as_such() {
    let (_dir, engine) = runs().await;
    let sql = "SELECT run, scenario, target, ended, generator, operations FROM runs ORDER BY run";
    let want = [
        "killed|api|http://a,b|null|null|null",
        "r1|api|http://a,b|completed|ok|10",
    ];
    assert_eq!(ask(&engine, sql).await, want);
}

#[tokio::test]
async fn the_warm_up_is_left_out_and_what_was_never_answered_is_not() {
    let (_dir, engine) = runs().await;
    let sql = "SELECT endpoint, operations, answered, failed, dropped, p50_ms, max_ms, bytes FROM run_summary";
    // Operations 4 to 9: 50, 60, 70, 80, 90 and at least 1,000 ms.
    assert_eq!(ask(&engine, sql).await, ["home|6|5|1|0|75.0|1000.0|600"]);
    let sql = "SELECT latency_ms - service_ms FROM run_requests WHERE error = 'timeout'";
    assert_eq!(ask(&engine, sql).await, ["1.0"]);
}

#[tokio::test]
async fn a_run_s_timeline_goes_by_intended_seconds() {
    let (_dir, engine) = runs().await;
    let sql = "SELECT operations, answered, failed, p50_ms FROM run_timeline ORDER BY ts";
    assert_eq!(ask(&engine, sql).await, ["4|4|0|65.0", "2|1|1|545.0"]);
}
