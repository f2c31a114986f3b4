//! Tests with a real server.

mod values;

use std::time::Duration;

use driftline_schemas::{Event, EventName};
use tokio_postgres::{Client, NoTls};

use super::PostgresConfig;
use super::server::PostgresServer;
use crate::clock;
use crate::recorder::Recorder;
use crate::service::fixture;
use crate::service::run::Meter;
use crate::service::{Pass, Service as _, ServiceError};
use crate::testing::{Row, rows_of, value};

const MINUTE_US: i64 = 60_000_000;
/// Stands for what must never leave the server.
const SECRET: &str = "hunter2";

/// What one pass came to.
struct Seen {
    rows: Vec<Row>,
    events: Vec<Event>,
    outcome: Result<(), ServiceError>,
}

impl Seen {
    fn value(&self, metric: &str, labels: &str) -> f64 {
        value(&self.rows, metric, labels)
    }

    fn events(&self, name: EventName) -> Vec<&Event> {
        self.events
            .iter()
            .filter(|event| event.name == name)
            .collect()
    }

    /// The value of the one series whose labels contain this.
    fn with(&self, metric: &str, part: &str) -> Option<f64> {
        let found = self
            .rows
            .iter()
            .find(|row| row.0 == metric && row.1.contains(part));
        found.map(|row| row.2)
    }

    /// The server's major version.
    fn major(&self) -> u32 {
        (self.value("postgresql.version", "service.instance.id=main") / 1e4) as u32
    }

    fn ok(self) -> Self {
        if let Err(error) = &self.outcome {
            panic!("the pass failed: {error}");
        }
        self
    }
}

async fn pass(server: &mut PostgresServer, minute: i64) -> Seen {
    let mut recorder = Recorder::new();
    recorder.begin(minute * MINUTE_US);
    let mut out = Pass {
        recorder,
        batches: Vec::new(),
        events: Vec::new(),
        meter: Meter::default(),
    };
    let outcome = server.pass(&mut out).await;
    Seen {
        rows: rows_of(&out.recorder.finish()),
        events: out.events,
        outcome,
    }
}

fn observer(url: &str) -> PostgresServer {
    PostgresServer::new(PostgresConfig {
        url: url.to_owned(),
        time_out: Duration::from_secs(30),
        ..PostgresConfig::default()
    })
}

async fn client(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls)
        .await
        .expect("a session");
    drop(tokio::spawn(connection));
    client
}

async fn run(client: &Client, sql: &str) {
    if let Err(error) = client.batch_execute(sql).await {
        panic!("{sql}: {error:?}");
    }
}

async fn number(client: &Client, sql: &str) -> f64 {
    client.query_one(sql, &[]).await.expect(sql).get(0)
}

/// Looks again until it holds; the server tells its statistics a little later.
async fn until(client: &Client, sql: &str, expected: f64) {
    for _ in 0..200 {
        if number(client, sql).await >= expected {
            return;
        }
        run(client, "SELECT pg_sleep(0.05)").await;
    }
    panic!("{sql} did not come to {expected}");
}

#[tokio::test]
async fn the_head_of_a_queue_is_named() {
    let Some(fixture) = fixture::PostgresServer::start(&[]) else {
        return;
    };
    let head = client(fixture.url()).await;
    run(&head, "CREATE TABLE t (a int); INSERT INTO t VALUES (1)").await;
    run(
        &head,
        "SET application_name = 'the head'; BEGIN; UPDATE t SET a = 2",
    )
    .await;
    let blocked = client(fixture.url()).await;
    let waits = tokio::spawn(async move { blocked.batch_execute("UPDATE t SET a = 3").await });
    let watch = client(fixture.url()).await;
    until(
        &watch,
        "SELECT count(*)::float8 FROM pg_stat_activity WHERE wait_event_type = 'Lock'",
        1.0,
    )
    .await;
    let mut server = observer(fixture.driftline_url());
    let seen = pass(&mut server, 1).await.ok();
    assert_eq!(
        seen.value("postgresql.sessions.blocked", "service.instance.id=main"),
        1.0
    );
    let named = seen.with(
        "postgresql.blocker.sessions",
        "postgresql.application_name=the head,",
    );
    assert_eq!(named, Some(1.0), "{:#?}", seen.rows);
    assert!(
        seen.value(
            "postgresql.transaction.idle_duration.max",
            "service.instance.id=main"
        ) > 0.0
    );
    // A relation that is locked does not hold up the pass.
    run(
        &head,
        "COMMIT; BEGIN; LOCK TABLE t IN ACCESS EXCLUSIVE MODE",
    )
    .await;
    let seen = pass(&mut server, 2).await.ok();
    assert!(
        seen.with("postgresql.table.size", "postgresql.table.name=t,")
            .is_some()
    );
    assert!(
        seen.events(EventName::ComponentFailed).is_empty(),
        "{:?}",
        seen.events
    );
    run(&head, "COMMIT").await;
    waits.await.expect("joined").expect("it got its turn");
    // A transaction that idles has no snapshot, but what it wrote holds vacuum back all the same.
    run(&head, "BEGIN; UPDATE t SET a = 4").await;
    run(&watch, "CREATE TABLE later (a int)").await;
    let seen = pass(&mut server, 3).await.ok();
    assert!(seen.value("postgresql.xmin.age", "service.instance.id=main") > 0.0);
}

#[tokio::test]
async fn a_killed_server_is_told_and_its_restart_too() {
    let Some(fixture) = fixture::PostgresServer::start(&[]) else {
        return;
    };
    let mut server = observer(fixture.driftline_url());
    pass(&mut server, 1).await.ok();
    fixture.kill();
    let error = pass(&mut server, 2)
        .await
        .outcome
        .expect_err("it is gone")
        .to_string();
    assert!(
        error.contains("cannot be reached") && error.contains("start the server"),
        "{error}"
    );
    assert!(!error.contains("only-for-tests"), "{error}");
    fixture.restart();
    let seen = pass(&mut server, 3).await.ok();
    assert_eq!(seen.events(EventName::ServerRestarted).len(), 1);
    let superuser = client(fixture.url()).await;
    run(&superuser, "SELECT pg_stat_statements_reset()").await;
    let seen = pass(&mut server, 4).await.ok();
    // Version 13 does not say when its statements were reset.
    let expected = usize::from(seen.major() > 13);
    assert_eq!(seen.events(EventName::StatisticsReset).len(), expected);
}

#[tokio::test]
async fn refusals_and_roles_are_told_with_their_remedies() {
    let Some(fixture) = fixture::PostgresServer::start(&["shared_preload_libraries="]) else {
        return;
    };
    let wrong = fixture.driftline_url().replace("only-for-tests", SECRET);
    let error = pass(&mut observer(&wrong), 1)
        .await
        .outcome
        .expect_err("refused")
        .to_string();
    assert!(
        error.contains("pg_monitor") && !error.contains(SECRET),
        "{error}"
    );

    let superuser = client(fixture.url()).await;
    run(
        &superuser,
        "CREATE ROLE plain LOGIN PASSWORD 'only-for-tests'",
    )
    .await;
    let plain = fixture.driftline_url().replace("driftline:", "plain:");
    let mut server = observer(&plain);
    let seen = pass(&mut server, 1).await.ok();
    let told: Vec<&str> = seen
        .events(EventName::ComponentFailed)
        .iter()
        .map(|event| event.message.as_str())
        .collect();
    assert!(
        told.iter()
            .any(|text| text.contains("GRANT pg_monitor TO plain")),
        "{told:?}"
    );
    assert!(
        told.iter()
            .any(|text| text.contains("shared_preload_libraries")),
        "{told:?}"
    );
    assert!(
        seen.with("postgresql.commits", "name=postgres").is_some(),
        "the rest goes on"
    );
    let again = pass(&mut server, 2).await.ok();
    assert!(
        again.events(EventName::ComponentFailed).is_empty(),
        "told once"
    );

    let mut server = observer(fixture.url());
    let seen = pass(&mut server, 1).await.ok();
    assert_eq!(seen.events(EventName::RoleTooPowerful).len(), 1);
    let again = pass(&mut server, 2).await.ok();
    assert!(
        again.events(EventName::RoleTooPowerful).is_empty(),
        "told once"
    );
}

/// Thirteen operators, by the bits of a number: each is a statement of its own.
fn distinct(number: u32) -> String {
    let terms: String = (0..13)
        .map(|bit| {
            if number >> bit & 1 == 0 {
                " + 1"
            } else {
                " * 1"
            }
        })
        .collect();
    format!("SELECT 1{terms};")
}

#[tokio::test]
async fn of_five_thousand_statements_the_costliest_are_reported() {
    let Some(fixture) = fixture::PostgresServer::start(&["pg_stat_statements.max=6000"]) else {
        return;
    };
    let load = client(fixture.url()).await;
    for hundred in 0..50 {
        let batch: String = (0..100).map(|n| distinct(hundred * 100 + n)).collect();
        run(&load, &batch).await;
    }
    let mut server = observer(fixture.driftline_url());
    let first = pass(&mut server, 1).await.ok();
    let tracked = first.value("postgresql.statements.tracked", "service.instance.id=main");
    assert!(tracked >= 5_000.0, "{tracked} statements");
    let reported = first
        .rows
        .iter()
        .filter(|row| row.0 == "postgresql.statement.calls")
        .count();
    assert!((50..=200).contains(&reported), "{reported} are reported");
    let mut spent = Vec::new();
    for minute in 2..12 {
        let before = clock::thread_cpu();
        pass(&mut server, minute).await.ok();
        spent.push(clock::thread_cpu().saturating_sub(before));
    }
    spent.sort();
    println!(
        "a pass with {tracked} statements took {:?} of CPU time, the median of {}",
        spent[5],
        spent.len()
    );
}
