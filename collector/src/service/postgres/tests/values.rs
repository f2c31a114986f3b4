//! What is recorded and told against what SQL says.

use driftline_schemas::EventName;
use tokio_postgres::Client;

use super::{SECRET, Seen, client, fixture, number, observer, pass, run, until};

const LAYOUT: &str = "CREATE TABLE orders (id int PRIMARY KEY, customer int, note text) WITH (autovacuum_enabled = off, fillfactor = 70);
    CREATE INDEX orders_id ON orders (id);
    CREATE INDEX orders_note ON orders (note) WHERE note <> 'hunter2';
    CREATE INDEX orders_note_too ON orders (note) WHERE note <> 'hunter2';
    INSERT INTO orders SELECT n, n % 100, 'n' || n FROM generate_series(1, 20000) n;
    ANALYZE orders";
const TABLE: &str = "postgresql.database.name=postgres,postgresql.schema.name=public,postgresql.table.name=orders,service.instance.id=main";

fn index(name: &str) -> String {
    format!(
        "postgresql.database.name=postgres,postgresql.index.name={name},postgresql.schema.name=public,postgresql.table.name=orders,service.instance.id=main"
    )
}

#[tokio::test]
async fn values_agree_with_the_server_and_grow_under_load() {
    let Some(fixture) = fixture::PostgresServer::start(&[]) else {
        return;
    };
    let load = client(fixture.url()).await;
    run(&load, LAYOUT).await;
    run(
        &load,
        &format!("ALTER ROLE driftline CONNECTION LIMIT 17; CREATE ROLE x PASSWORD '{SECRET}'"),
    )
    .await;
    run(&load, &format!("SELECT count(*) FROM orders WHERE note = '{SECRET}'; UPDATE orders SET customer = 1 WHERE id <= 500")).await;
    until(
        &load,
        "SELECT n_tup_upd::float8 FROM pg_stat_user_tables WHERE relname = 'orders'",
        500.0,
    )
    .await;
    let mut server = observer(fixture.driftline_url());
    let first = pass(&mut server, 1).await.ok();
    tables_agree(&first, &load).await;
    statements_agree(&first, &load).await;
    let setting = |name: &str| format!("postgresql.setting.name={name},service.instance.id=main");
    assert_eq!(
        first.value("postgresql.setting.size", &setting("shared_buffers")),
        33_554_432.0
    );
    assert_eq!(
        first.value("postgresql.setting.value", &setting("autovacuum")),
        1.0
    );
    assert_eq!(
        first.value("postgresql.connection.max", "service.instance.id=main"),
        60.0
    );
    assert!(
        first
            .with("postgresql.db_size", "name=postgres")
            .is_some_and(|size| size > 1e6)
    );

    for _ in 0..50 {
        run(
            &load,
            "SELECT count(*) FROM orders WHERE customer = 5; SELECT note FROM orders WHERE id = 7",
        )
        .await;
    }
    run(&load, "ALTER SYSTEM SET work_mem = '5MB'").await;
    run(&load, "SELECT pg_reload_conf()").await;
    until(
        &load,
        "SELECT (setting = '5120')::int::float8 FROM pg_settings WHERE name = 'work_mem'",
        1.0,
    )
    .await;
    until(
        &load,
        "SELECT seq_scan::float8 FROM pg_stat_user_tables WHERE relname = 'orders'",
        51.0,
    )
    .await;
    let second = pass(&mut server, 2).await.ok();
    grew(&first, &second);
    let changed = second.events(EventName::SettingChanged);
    assert_eq!(changed.len(), 1, "{changed:?}");
    assert!(changed[0].message.contains("work_mem"), "{changed:?}");
    for event in first.events.iter().chain(&second.events) {
        assert!(!format!("{event:?}").contains(SECRET), "{event:?}");
    }
    assert!(second.events(EventName::IndexSeen).is_empty(), "told once");
}

#[tokio::test]
async fn an_application_in_the_observing_role_is_told_and_we_are_not() {
    let Some(fixture) = fixture::PostgresServer::start(&[]) else {
        return;
    };
    let load = client(fixture.url()).await;
    run(&load, LAYOUT).await;
    run(&load, "SELECT count(*) FROM orders WHERE customer = 5").await;
    let mut server = observer(fixture.url());
    let seen = pass(&mut server, 1).await.ok();
    let told = seen.events(EventName::StatementSeen);
    let of_application = |text: &str| text.starts_with("SELECT count(*) FROM orders");
    assert!(
        told.iter().any(|event| of_application(&event.message)),
        "{told:?}"
    );
    assert!(
        told.iter()
            .all(|event| !event.message.contains("driftline */")),
        "{told:?}"
    );
}

async fn tables_agree(seen: &Seen, load: &Client) {
    let of_table = |column: &str| {
        format!("SELECT {column}::float8 FROM pg_stat_user_tables WHERE relname = 'orders'")
    };
    for (metric, labels, column) in [
        ("postgresql.sequential_scans", TABLE.to_owned(), "seq_scan"),
        (
            "postgresql.table.seq_tup_read",
            TABLE.to_owned(),
            "seq_tup_read",
        ),
        ("postgresql.table.index_scans", TABLE.to_owned(), "idx_scan"),
        (
            "postgresql.table.idx_tup_fetch",
            TABLE.to_owned(),
            "idx_tup_fetch",
        ),
        (
            "postgresql.table.modified_rows",
            TABLE.to_owned(),
            "n_mod_since_analyze",
        ),
        (
            "postgresql.operations",
            operation("hot_upd"),
            "n_tup_hot_upd",
        ),
        ("postgresql.operations", operation("upd"), "n_tup_upd"),
        ("postgresql.operations", operation("ins"), "n_tup_ins"),
    ] {
        let expected = number(load, &of_table(column)).await;
        assert_eq!(seen.value(metric, &labels), expected, "{metric} {labels}");
    }
    assert_eq!(
        seen.value("postgresql.table.estimated_rows", TABLE),
        20_000.0
    );
    let size = number(load, "SELECT pg_relation_size('orders')::float8").await;
    assert_eq!(seen.value("postgresql.table.size", TABLE), size);
    assert!(seen.value("postgresql.table.analyze.age", TABLE) >= 0.0);
    let option = seen.with(
        "postgresql.table.setting",
        "setting.name=autovacuum_enabled",
    );
    assert_eq!(option, Some(0.0));
    assert_eq!(
        seen.value("postgresql.index.required", &index("orders_pkey")),
        1.0
    );
    assert_eq!(
        seen.value("postgresql.index.required", &index("orders_id")),
        0.0
    );
    assert_eq!(
        seen.value("postgresql.index.valid", &index("orders_note")),
        1.0
    );
    for (name, twin) in [
        ("orders_id", "orders_pkey"),
        ("orders_pkey", "orders_pkey"),
        ("orders_note_too", "orders_note"),
    ] {
        let labels = index(name).replace(
            ",postgresql.schema",
            &format!(",postgresql.index.twin={twin},postgresql.schema"),
        );
        assert_eq!(
            seen.value("postgresql.index.duplicates", &labels),
            2.0,
            "{name}"
        );
    }
    let told = seen.events(EventName::IndexSeen);
    assert_eq!(told.len(), 4, "{told:?}");
    assert!(
        told.iter()
            .any(|event| event.message.contains("USING btree (customer)")
                || event.message.contains("(note)"))
    );
}

fn operation(operation: &str) -> String {
    TABLE.replace(
        ",postgresql.schema",
        &format!(",postgresql.operation={operation},postgresql.schema"),
    )
}

async fn statements_agree(seen: &Seen, load: &Client) {
    let told = seen.events(EventName::StatementSeen);
    let update = told
        .iter()
        .find(|event| event.message.starts_with("UPDATE orders"))
        .expect("the statement is told");
    assert_eq!(
        update.message,
        "UPDATE orders SET customer = $1 WHERE id <= $2"
    );
    let query = update
        .subject
        .strip_prefix("postgres.main/")
        .expect("named by its fingerprint");
    let part = format!("postgresql.queryid={query},");
    assert_eq!(seen.with("postgresql.statement.calls", &part), Some(1.0));
    assert_eq!(seen.with("postgresql.statement.rows", &part), Some(500.0));
    let sql = format!(
        "SELECT (shared_blks_hit + shared_blks_read)::float8 FROM pg_stat_statements WHERE queryid = {query}"
    );
    let blocks = [
        "postgresql.statement.blks_hit",
        "postgresql.statement.blks_read",
    ]
    .map(|metric| seen.with(metric, &part).expect("recorded"));
    assert_eq!(blocks.iter().sum::<f64>(), number(load, &sql).await);
    assert!(
        told.iter()
            .any(|event| event.message == "CREATE ROLE x PASSWORD ?"
                || event
                    .message
                    .starts_with("ALTER ROLE driftline CONNECTION LIMIT ?")),
        "{told:?}"
    );
    assert!(
        told.iter()
            .all(|event| !event.message.contains("driftline */")),
        "{told:?}"
    );
    assert!(seen.value("postgresql.driftline.exec_time", "service.instance.id=main") > 0.0);
}

fn grew(first: &Seen, second: &Seen) {
    let calls = |seen: &Seen| {
        seen.value(
            "postgresql.statements.calls",
            "postgresql.database.name=postgres,service.instance.id=main",
        )
    };
    assert!(calls(second) >= calls(first) + 100.0);
    for (metric, labels) in [
        ("postgresql.sequential_scans", TABLE),
        (
            "postgresql.commits",
            "postgresql.database.name=postgres,service.instance.id=main",
        ),
        (
            "postgresql.blks_hit",
            "postgresql.database.name=postgres,service.instance.id=main",
        ),
        ("postgresql.wal.bytes", "service.instance.id=main"),
    ] {
        assert!(
            second.value(metric, labels) > first.value(metric, labels),
            "{metric}"
        );
    }
}
