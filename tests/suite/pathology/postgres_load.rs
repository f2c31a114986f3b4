//! PostgreSQL servers under load: one healthy, one with a bad schema, one under pressure, one that
//! wears out.

use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_postgres::{Client, Config, NoTls};

use super::load::{Stop, pick};
use crate::process::DEADLINE;

/// What follows needs the counts of what stands before.
const COUNTED: &str = "-- When all of that is counted:\n";

/// How often those look that have nothing to do but to wait.
const LOOK: Duration = Duration::from_millis(100);
/// Connections that idle, of the 40 that the server under pressure accepts.
const IDLE: usize = 27;
/// Products on a page.
const ON_A_SHELF: u64 = 20;
/// Clients that connect for each statement.
const CONNECTING: usize = 3;
/// Sessions that wait for the same row.
const WAITING: usize = 3;

/// Runs a script statement by statement, since some may not be in a transaction. What comes after
/// [`COUNTED`] waits until the server has counted what came before: statistics that are taken earlier
/// would count it as a change since.
pub(super) async fn prepare(url: &str, script: &str) {
    let (before, after) = script.split_once(COUNTED).expect("the script counts");
    run(url, before).await;
    let counted = "SELECT bool_and(n_tup_ins > 0) FROM pg_stat_user_tables";
    until(url, counted).await;
    run(url, after).await;
}

/// Waits until the server has counted what a session did, which it does when that ends.
async fn until(url: &str, counted: &str) {
    let client = connect(url, "prepare").await;
    let mut look = interval(LOOK);
    let holds = async {
        while !client
            .query_one(counted, &[])
            .await
            .expect("counts")
            .get::<_, bool>(0)
        {
            look.tick().await;
        }
    };
    timeout(DEADLINE, holds).await.expect(counted);
}

async fn run(url: &str, script: &str) {
    let client = connect(url, "prepare").await;
    for statement in script.split(";\n") {
        let done = client.batch_execute(statement).await;
        done.unwrap_or_else(|error| panic!("{statement}: {error:?}"));
    }
}

/// Look-ups and changes of single rows, all of them by indexes.
pub(super) fn healthy(url: &str, stop: &Stop, loads: &mut JoinSet<()>) {
    paced(loads, url, stop, 20, |n| {
        let (id, owner) = (pick(n, 40_000), pick(n, 4_000));
        match n % 3 {
            0 => format!("SELECT balance FROM accounts WHERE id = {id}"),
            1 => format!("SELECT id, balance FROM accounts WHERE owner = {owner}"),
            _ => format!("UPDATE accounts SET balance = balance + 1 WHERE id = {id}"),
        }
    });
}

/// Statements for each table of the bad schema and for the neighbours of what is bad.
pub(super) fn schema(url: &str, stop: &Stop, loads: &mut JoinSet<()>) {
    paced(loads, url, stop, 4, |n| {
        let visitor = pick(n, 20_000);
        format!("SELECT id, page FROM visits WHERE visitor_id = {visitor}")
    });
    paced(loads, url, stop, 20, |n| {
        let (shop, order) = (pick(n, 20_000), pick(n, 20_000));
        let (customer, session) = (order / 4, 25_001 + order / 2);
        match n % 5 {
            0 => format!("SELECT id, page FROM visits WHERE shop_id = {shop}"),
            1 => format!("SELECT id, total FROM orders WHERE customer_id = {customer}"),
            2 => {
                format!("SELECT id FROM orders WHERE customer_id = {customer} AND total = {order}")
            }
            // The dead rows are in other pages, so that reading does not tidy them up.
            3 => format!("SELECT body FROM sessions WHERE id = {session}"),
            _ => format!("UPDATE orders SET total = total + 1 WHERE id = {order}"),
        }
    });
    paced(loads, url, stop, 2, |_| {
        "SELECT count(*) FROM notes WHERE body ~ '(a[0-9]){4}.*(b[0-9]){4}'".to_owned()
    });
    paced(loads, url, stop, 1, |_| {
        "SELECT max(id) FROM (SELECT id, body FROM reports ORDER BY body DESC OFFSET 10) sorted"
            .to_owned()
    });
}

/// A page that looks up its products one by one, and the access log of those who ask for it.
pub(super) async fn shelves(url: String, log: PathBuf, stop: Stop) {
    let client = connect(&url, "shop").await;
    let mut log = File::options().append(true).open(log).expect("a log");
    let mut ticks = ticks(5);
    let mut page = 0;
    while !stop.load(Ordering::Relaxed) {
        ticks.tick().await;
        for n in 0..ON_A_SHELF {
            let product = 1 + pick(page * ON_A_SHELF + n, 5_000);
            let wanted = format!("SELECT name FROM products WHERE id = {product}");
            client.simple_query(&wanted).await.expect("an answer");
        }
        let bytes = 100 + pick(page, 900);
        let line = format!("::1 - - [t] \"GET /shelves/{page} HTTP/1.1\" 200 {bytes}");
        writeln!(log, "{line}").expect("room for a line");
        page += 1;
    }
}

/// A forgotten transaction that others wait for, connections that idle, connections for each
/// statement, and changes that fill the log.
pub(super) fn pressure(url: &str, stop: &Stop, loads: &mut JoinSet<()>) {
    paced(loads, url, stop, 12, |n| {
        let from = pick(n, 7_800);
        format!(
            "UPDATE journal SET body = reverse(body) WHERE id BETWEEN {from} AND {}",
            from + 200
        )
    });
    loads.spawn(forgotten(url.to_owned(), stop.clone()));
    loads.spawn(idle(url.to_owned(), stop.clone()));
    let server = url
        .strip_suffix("/postgres")
        .expect("the address of a database");
    for _ in 0..CONNECTING {
        loads.spawn(churn(format!("{server}/churn"), stop.clone()));
    }
}

/// Statements that are cheap at first.
pub(super) fn worn(url: &str, stop: &Stop, loads: &mut JoinSet<()>) {
    paced(loads, url, stop, 5, |n| {
        format!(
            "SELECT body FROM invoices WHERE customer_id = {}",
            pick(n, 5_000)
        )
    });
    paced(loads, url, stop, 5, |_| {
        "SELECT id FROM jobs WHERE owner = 7 ORDER BY id LIMIT 20".to_owned()
    });
    paced(loads, url, stop, 50, |n| {
        format!(
            "UPDATE meters SET reading = reading + 1 WHERE id = {}",
            1 + pick(n, 4_000)
        )
    });
}

/// What makes the same statements dear: an index is dropped, another one is put on what is updated all
/// the time, and statistics are taken while a seventh of all jobs has one owner for a moment, so that
/// the planner expects to meet that owner's soon and walks through nearly all.
pub(super) async fn wear(url: &str) {
    run(
        url,
        "DROP INDEX invoices_customer_idx;\nCREATE INDEX meters_reading_idx ON meters (reading)",
    )
    .await;
    run(url, "UPDATE jobs SET owner = 7 WHERE id % 7 = 0").await;
    // Statistics that are taken earlier would count it as a change since.
    let counted = "SELECT n_mod_since_analyze > 0 FROM pg_stat_user_tables WHERE relname = 'jobs'";
    until(url, counted).await;
    run(url, "ANALYZE jobs").await;
    run(url, "UPDATE jobs SET owner = id % 1000 WHERE id % 7 = 0").await;
}

/// A transaction that idles holding a row, and others that want it.
async fn forgotten(url: String, stop: Stop) {
    let blocker = connect(&url, "nightly report").await;
    let held = blocker.batch_execute("BEGIN; UPDATE stock SET left_over = 1 WHERE id = 1");
    held.await.expect("the row is free");
    let mut waiting = JoinSet::new();
    for _ in 0..WAITING {
        let client = connect(&url, "shop").await;
        waiting.spawn(async move {
            let wanted = "UPDATE stock SET left_over = 2 WHERE id = 1";
            client
                .batch_execute(wanted)
                .await
                .expect("in the end the row is free");
        });
    }
    told(&stop).await;
    blocker.batch_execute("ROLLBACK").await.expect("it ends");
    waiting.join_all().await;
}

async fn idle(url: String, stop: Stop) {
    let mut connections = Vec::new();
    for _ in 0..IDLE {
        connections.push(connect(&url, "worker").await);
    }
    told(&stop).await;
}

/// Connects for each statement.
async fn churn(url: String, stop: Stop) {
    let mut ticks = ticks(3);
    while !stop.load(Ordering::Relaxed) {
        ticks.tick().await;
        let client = connect(&url, "script").await;
        client.simple_query("SELECT 1").await.expect("an answer");
    }
}

/// Runs statements at a rate over one connection until it is told to stop.
fn paced(
    loads: &mut JoinSet<()>,
    url: &str,
    stop: &Stop,
    per_s: u32,
    statement: fn(u64) -> String,
) {
    let (url, stop) = (url.to_owned(), stop.clone());
    loads.spawn(async move {
        let client = connect(&url, "shop").await;
        let mut ticks = ticks(per_s);
        let mut n = 0;
        while !stop.load(Ordering::Relaxed) {
            ticks.tick().await;
            let done = client.simple_query(&statement(n)).await;
            done.unwrap_or_else(|error| panic!("{}: {error:?}", statement(n)));
            n += 1;
        }
    });
}

fn ticks(per_s: u32) -> tokio::time::Interval {
    let mut ticks = interval(Duration::from_secs(1) / per_s);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

async fn told(stop: &Stop) {
    let mut look = interval(LOOK);
    while !stop.load(Ordering::Relaxed) {
        look.tick().await;
    }
}

async fn connect(url: &str, application: &str) -> Client {
    let mut config: Config = url.parse().expect("an address");
    config.application_name(application);
    let (client, connection) = config.connect(NoTls).await.expect("it connects");
    tokio::spawn(connection);
    client
}
