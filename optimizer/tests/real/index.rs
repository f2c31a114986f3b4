//! Indexes: a missing one is kept, a bad one reverted, one that cannot be built leaves nothing.

use driftline_optimizer::protocol::{Check, Closure, Next};
use driftline_optimizer::recommendation::{Estimate, EstimateMeasure, Verification};
use driftline_optimizer::run::is_kept;
use driftline_optimizer::verify::Outcome;
use tokio_postgres::Client;

use super::harness::{
    Server, Traffic, config, index_on, optimizer, orders, person, recommendation,
};

pub(crate) const READ: &str = "SELECT note FROM orders WHERE customer = $1";
const UPDATE: &str = "UPDATE orders SET state = state + 1 WHERE id = $1";

/// How many indexes of ours there are, and how many of them are invalid.
pub(crate) async fn ours(client: &Client) -> (i64, i64) {
    let row = client
        .query_one(
            "SELECT count(*), count(*) FILTER (WHERE NOT indisvalid) FROM pg_index \
             JOIN pg_class c ON c.oid = indexrelid WHERE relname LIKE 'driftline\\_%'",
            &[],
        )
        .await
        .expect("it counts");
    (row.get(0), row.get(1))
}

pub(crate) fn missing() -> driftline_optimizer::Recommendation {
    let mut missing = recommendation("P2", "shop", index_on("customer"), Verification::Work);
    missing.estimate = Some(Estimate {
        measure: EstimateMeasure::WorkSaved,
        predicted: 0.98,
        low: 0.9,
        high: 1.0,
        method: "E1".to_owned(),
        confidence: 0.8,
        saved_s_per_h: None,
        statements: Vec::new(),
    });
    missing
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_index_is_created_and_kept() {
    let Some(server) = Server::postgres() else {
        return;
    };
    let client = server.client().await;
    orders(&client, 20_000).await;
    let traffic = Traffic::run(server.client().await, READ, 1000);
    let directory = tempfile::tempdir().expect("a directory");
    let optimizer = optimizer(config(vec![server.config("shop")]), directory.path());
    let state = optimizer
        .apply(&missing(), person())
        .await
        .expect("it is applied");
    traffic.end().await;
    let verdict = state.verdict(Check::Immediate).expect("a verdict");
    println!(
        "predicted {:?}, actual {:?}: {}",
        verdict.predicted, verdict.actual, verdict.reason
    );
    assert_eq!(verdict.outcome, Outcome::Kept, "{verdict:?}");
    assert!(
        verdict.actual.is_some_and(|saved| saved > 0.9),
        "{verdict:?}"
    );
    assert!(is_kept(&optimizer.next(&state)));
    assert_eq!(ours(&client).await, (1, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_index_on_an_updated_column_is_reverted() {
    let Some(server) = Server::postgres() else {
        return;
    };
    let client = server.client().await;
    orders(&client, 5_000).await;
    let traffic = Traffic::run(server.client().await, UPDATE, 1000);
    let directory = tempfile::tempdir().expect("a directory");
    let mut config = config(vec![server.config("shop")]);
    // Otherwise the gate refuses: nobody reads by that column.
    config.reads_per_write_min = 0.0;
    let optimizer = optimizer(config, directory.path());
    let bad = recommendation("P2", "shop", index_on("state"), Verification::Work);
    let state = optimizer
        .apply(&bad, person())
        .await
        .expect("it is applied");
    traffic.end().await;
    println!("{:?} {:?}", state.breach, state.verdicts);
    assert_eq!(optimizer.next(&state), Next::Closed(Closure::Reverted));
    assert!(state.breach.is_some() || !state.is_kept());
    assert_eq!(ours(&client).await, (0, 0));
    // What was undone is left alone for a while.
    let again = optimizer
        .apply(&bad, person())
        .await
        .expect_err("it cools down");
    assert!(again.to_string().contains("undone before"), "{again}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_that_is_not_had_leaves_no_invalid_index() {
    let Some(server) = Server::postgres() else {
        return;
    };
    let client = server.client().await;
    orders(&client, 5_000).await;
    let traffic = Traffic::run(server.client().await, READ, 1000);
    // A writer that stays open until the invalid index has been seen.
    let mut writer = server.client().await;
    let watcher = server.client().await;
    let writing = tokio::spawn(async move {
        let open = writer.transaction().await.expect("it begins");
        open.execute("UPDATE orders SET state = 1 WHERE id = 1", &[])
            .await
            .expect("it writes");
        let mut seen_built = false;
        loop {
            let row = watcher
                .query_one("SELECT count(*) FROM pg_stat_progress_create_index", &[])
                .await
                .expect("it asks");
            let building = row.get::<_, i64>(0) > 0;
            // The build was given up: the writer may end.
            if seen_built && !building && ours(&watcher).await == (1, 1) {
                break;
            }
            seen_built |= building;
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        open.commit().await.expect("it commits");
    });
    let directory = tempfile::tempdir().expect("a directory");
    let mut config = config(vec![server.config("shop")]);
    config.lock_timeout = std::time::Duration::from_millis(500);
    let optimizer = optimizer(config, directory.path());
    let state = optimizer
        .apply(&missing(), person())
        .await
        .expect("it ends in order");
    traffic.end().await;
    writing.await.expect("the writer ended");
    let next = optimizer.next(&state);
    let failed =
        matches!(&next, Next::Closed(Closure::Failed(why)) if why.contains("lock timeout"));
    assert!(failed, "{next:?}");
    assert_eq!(ours(&client).await, (0, 0));
}
