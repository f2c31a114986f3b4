//! Options that are set, undone exactly, and given up when a person changes them.

use driftline_optimizer::action::{RedisParameter, Setting, TableName, TableOption};
use driftline_optimizer::protocol::{Closure, Next};
use driftline_optimizer::recommendation::Verification;
use driftline_optimizer::{Action, OptimizeError};

use super::harness::{Server, Traffic, config, optimizer, orders, person, recommendation};
use super::index::READ;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_setting_without_gain_goes_back_to_what_it_was() {
    let Some(server) = Server::postgres() else {
        return;
    };
    let client = server.client().await;
    orders(&client, 2_000).await;
    client
        .batch_execute("ALTER SYSTEM SET max_wal_size = '700MB'")
        .await
        .expect("it is set");
    client
        .batch_execute("SELECT pg_reload_conf()")
        .await
        .expect("it reloads");
    let update = "UPDATE orders SET state = state + 1 WHERE id = $1";
    let traffic = Traffic::run(server.client().await, update, 1000);
    let directory = tempfile::tempdir().expect("a directory");
    let optimizer = optimizer(config(vec![server.config("shop")]), directory.path());
    let action = Action::SetSetting {
        setting: Setting::MaxWalSize,
        value: 2.0 * 1024.0 * 1024.0 * 1024.0,
    };
    let wal = recommendation("P11", "shop", action, Verification::Signal);
    let state = optimizer
        .apply(&wal, person())
        .await
        .expect("it is applied");
    traffic.end().await;
    assert_eq!(
        optimizer.next(&state),
        Next::Closed(Closure::Reverted),
        "{:?}",
        state.verdicts
    );
    let row = server
        .client()
        .await
        .query_one("SHOW max_wal_size", &[])
        .await
        .expect("it shows");
    assert_eq!(row.get::<_, String>(0), "700MB");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_person_changes_meanwhile_is_left_to_that_person() {
    let Some(server) = Server::postgres() else {
        return;
    };
    let client = server.client().await;
    orders(&client, 2_000).await;
    let traffic = Traffic::run(server.client().await, READ, 1000);
    let other = server.client().await;
    let person_at_work = tokio::spawn(async move {
        let table = "SELECT 1 FROM pg_class WHERE relname = 'orders' AND reloptions::text LIKE '%cost_limit%'";
        while other
            .query_opt(table, &[])
            .await
            .expect("it asks")
            .is_none()
        {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        other
            .batch_execute("ALTER TABLE orders SET (autovacuum_vacuum_cost_limit = 777)")
            .await
            .expect("it is changed");
    });
    let directory = tempfile::tempdir().expect("a directory");
    let optimizer = optimizer(config(vec![server.config("shop")]), directory.path());
    let action = Action::SetTableOption {
        table: TableName::new("public", "orders"),
        option: TableOption::AutovacuumVacuumCostLimit,
        value: 500.0,
    };
    let option = recommendation("P5", "shop", action, Verification::Work);
    let state = optimizer
        .apply(&option, person())
        .await
        .expect("it is applied");
    traffic.end().await;
    person_at_work.await.expect("the person is done");
    let next = optimizer.next(&state);
    assert!(
        matches!(&next, Next::Closed(Closure::Superseded(found)) if found.contains("777")),
        "{next:?}"
    );
    let row = client
        .query_one(
            "SELECT reloptions::text FROM pg_class WHERE relname = 'orders'",
            &[],
        )
        .await
        .expect("it shows");
    assert!(row.get::<_, String>(0).contains("cost_limit=777"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_parameters_are_capped_by_the_machine() {
    let Some(server) = Server::redis() else {
        return;
    };
    let directory = tempfile::tempdir().expect("a directory");
    let optimizer = optimizer(config(vec![server.config("cache")]), directory.path());
    let action = Action::RedisConfigSet {
        parameter: RedisParameter::Maxmemory,
        value: (1_u64 << 60).to_string(),
    };
    let huge = recommendation("R2", "cache", action, Verification::HitRatio);
    let refused = optimizer
        .apply(&huge, person())
        .await
        .expect_err("too much");
    assert!(matches!(&refused, OptimizeError::Refused(_)), "{refused}");
    assert!(refused.to_string().contains("three quarters"), "{refused}");
}
