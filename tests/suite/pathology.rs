//! Pathologies planted in real PostgreSQL and Redis servers under load: the right rule names the right
//! object, its neighbours stay quiet, and so do all rules on healthy servers.
//!
//! All servers are observed at once, by the first test that asks; the others look at the same
//! recommendations. Four durations of rules are shortened, see [`lab`].

mod history;
mod lab;
mod load;
mod postgres_load;
mod redis_load;
mod told;

use std::sync::LazyLock;

use serde_json::json;

use self::told::{Planted, Told};

const MISSING_INDEX: Planted = ("p2_missing_index", "schema", "public.visits");
const UNUSED_INDEX: Planted = ("p3_unused_index", "schema", "visits_page_idx");
const DUPLICATE_INDEX: Planted = ("p4_duplicate_index", "schema", "orders_customer_idx");
const DEAD_ROWS: Planted = ("p5_dead_rows", "schema", "public.sessions");
const HELD_BACK: Planted = ("p5_dead_rows", "pressure", "public.journal");
const BLOAT: Planted = ("p6_bloat", "schema", "public.carts");
const STALE_STATISTICS: Planted = ("p7_stale_statistics", "schema", "public.prices");
const LONG_TRANSACTION: Planted = ("p8_long_transaction", "pressure", "transactions");
const LOCK_WAITS: Planted = ("p9_lock_waits", "pressure", "locks");
const TEMP_FILES: Planted = ("p10_temp_files", "schema", "FROM reports");
const CHECKPOINTS: Planted = ("p11_requested_checkpoints", "pressure", "max_wal_size");
const CONNECTIONS: Planted = ("p12_connections", "pressure", "connections");
const SHORT_SESSIONS: Planted = ("p13_short_sessions", "pressure", "churn");
const SLOW_STATEMENT: Planted = ("p14_slow_statement", "schema", "FROM notes");
const N_PLUS_ONE: Planted = ("p16_n_plus_one", "schema", "FROM products");
const DROPPED_INDEX: Planted = ("p15_regressed_statement", "worn", "FROM invoices");
const OTHER_PLAN: Planted = ("p17_plan_change", "worn", "FROM jobs");
const UPDATED_INDEX: Planted = ("p18_hot_updates", "worn", "public.meters");
const FEW_BUFFERS: Planted = ("p1_buffer_hits", "worn", "postgres");
const COLD: Planted = ("r1_hit_ratio", "thrashing", "keyspace");
const EVICTIONS: Planted = ("r2_evictions", "thrashing", "maxmemory");
const BIG_LIST: Planted = ("r4_big_keys", "busy", "feed:");
const BIG_STRING: Planted = ("r4_big_keys", "busy", "page:");
const SLOW_COMMANDS: Planted = ("r5_slow_commands", "full", "keys");
const NO_EVICTION: Planted = ("r7_no_eviction", "full", "maxmemory-policy");
const HOT_KEY: Planted = ("r10_hot_key", "busy", "rate:");
const NO_PIPELINES: Planted = ("r11_pipelining", "busy", "commands");
const CRUMBS: Planted = ("r3_fragmentation", "crumbled", "memory");
const SLOW_FORK: Planted = ("r8_fork", "crumbled", "fork");
const NO_TTL: Planted = ("r6_no_ttl", "shared", "db 0");
const NO_POOL: Planted = ("r9_connections", "shared", "connections");

const PLANTED: [Planted; 31] = [
    FEW_BUFFERS,
    MISSING_INDEX,
    UNUSED_INDEX,
    DUPLICATE_INDEX,
    DEAD_ROWS,
    HELD_BACK,
    BLOAT,
    STALE_STATISTICS,
    LONG_TRANSACTION,
    LOCK_WAITS,
    TEMP_FILES,
    CHECKPOINTS,
    CONNECTIONS,
    SHORT_SESSIONS,
    SLOW_STATEMENT,
    DROPPED_INDEX,
    N_PLUS_ONE,
    OTHER_PLAN,
    UPDATED_INDEX,
    COLD,
    EVICTIONS,
    BIG_LIST,
    BIG_STRING,
    SLOW_COMMANDS,
    NO_EVICTION,
    HOT_KEY,
    NO_PIPELINES,
    CRUMBS,
    NO_TTL,
    SLOW_FORK,
    NO_POOL,
];

/// What the rules said of all servers; `None` where they could not be had.
static TOLD: LazyLock<Option<Told>> = LazyLock::new(|| lab::observe(&PLANTED));

#[test]
fn an_index_is_proposed_for_the_column_that_is_looked_up_without_one() {
    let Some(told) = TOLD.as_ref() else { return };
    told.fires_only_on("p2_missing_index", "schema", &["public.visits"]);
    let action = json!({
        "kind": "create_index",
        "table": {"schema": "public", "name": "visits"},
        "columns": ["visitor_id"],
    });
    told.prepares(MISSING_INDEX, &action);
}

#[test]
fn one_of_two_equal_indexes_is_dropped_and_not_both() {
    let Some(told) = TOLD.as_ref() else { return };
    told.fires_only_on("p4_duplicate_index", "schema", &["orders_customer_idx"]);
    let action = json!({
        "kind": "drop_index",
        "table": {"schema": "public", "name": "orders"},
        "index": "orders_customer_idx",
    });
    told.prepares(DUPLICATE_INDEX, &action);
    // No other rule wants to drop its twin, which one of the two has to be left of.
    told.fires_only_on("p3_unused_index", "schema", &["visits_page_idx"]);
}

#[test]
fn dead_rows_and_free_space_are_told_apart() {
    let Some(told) = TOLD.as_ref() else { return };
    told.fires_only_on("p5_dead_rows", "schema", &["public.sessions"]);
    told.says(DEAD_ROWS, "evidence", "of the space as measured");
    told.says(DEAD_ROWS, "advice", "Vacuum public.sessions");
    told.fires_only_on("p6_bloat", "schema", &["public.carts"]);
}

#[test]
fn no_vacuum_is_prepared_where_an_open_transaction_holds_it_back() {
    let Some(told) = TOLD.as_ref() else { return };
    told.fires_only_on("p5_dead_rows", "pressure", &["public.journal"]);
    told.says(
        HELD_BACK,
        "advice",
        "End the oldest transaction of pressure",
    );
    told.prepares(HELD_BACK, &json!(null));
}

#[test]
fn statistics_are_stale_only_where_nothing_refreshes_them() {
    let Some(told) = TOLD.as_ref() else { return };
    told.fires_only_on("p7_stale_statistics", "schema", &["public.prices"]);
    let table = json!({"schema": "public", "name": "prices"});
    told.prepares(
        STALE_STATISTICS,
        &json!({"kind": "analyze", "table": table}),
    );
    // It changes faster still, and autovacuum analyses it all the time.
    told.fires_only_on("p7_stale_statistics", "pressure", &[]);
}

#[test]
fn a_forgotten_transaction_and_those_who_wait_for_it_are_named() {
    let Some(told) = TOLD.as_ref() else { return };
    told.says(LONG_TRANSACTION, "advice", "open while it idles");
    let action = json!({
        "kind": "set_setting", "setting": "idle_in_transaction_session_timeout", "value": 300.0,
    });
    told.prepares(LONG_TRANSACTION, &action);
    told.says(LOCK_WAITS, "advice", "(nightly report)");
    told.says(LOCK_WAITS, "advice", "while it is idle in transaction");
    told.says(LOCK_WAITS, "evidence", "3 sessions blocked");
}

#[test]
fn a_sort_through_files_a_slow_search_and_a_loop_of_look_ups_are_told_apart() {
    let Some(told) = TOLD.as_ref() else { return };
    told.fires_only_on("p10_temp_files", "schema", &["FROM reports"]);
    told.says(TEMP_FILES, "evidence", "work_mem is 64 KiB");
    told.says(SLOW_STATEMENT, "evidence", "of all statements' time");
    told.fires_only_on("p16_n_plus_one", "schema", &["FROM products"]);
    told.says(N_PLUS_ONE, "evidence", "1 rows each");
}

#[test]
fn a_log_that_is_too_small_is_enlarged() {
    let Some(told) = TOLD.as_ref() else { return };
    let action = json!({
        "kind": "set_setting", "setting": "max_wal_size", "value": f64::from(64 << 20),
    });
    told.prepares(CHECKPOINTS, &action);
}

#[test]
fn connections_that_idle_and_connections_for_each_statement_are_told_apart() {
    let Some(told) = TOLD.as_ref() else { return };
    told.says(CONNECTIONS, "evidence", "of 40 connections taken");
    told.fires_only_on("p13_short_sessions", "pressure", &["churn"]);
}

#[test]
fn a_server_with_next_to_no_buffers_is_told_what_a_miss_costs() {
    let Some(told) = TOLD.as_ref() else { return };
    // What is rewritten all the time misses as well; what is only read does not.
    told.fires_only_on("p1_buffer_hits", "schema", &[]);
    // It is measured there.
    told.says(FEW_BUFFERS, "evidence", "blocks were in the cache");
    assert!(
        !told.of(FEW_BUFFERS)["evidence"]
            .to_string()
            .contains("assumed")
    );
}

#[test]
fn statements_that_cost_more_than_they_did_are_told_from_those_that_always_did() {
    let Some(told) = TOLD.as_ref() else { return };
    told.fires_only_at("p15_regressed_statement", "worn");
    let regressed = ["FROM invoices", "FROM jobs"];
    told.fires_only_on("p15_regressed_statement", "worn", &regressed);
    // Of the two the one whose table was changed since its statistics were taken has another plan by them.
    told.fires_only_at("p17_plan_change", "worn");
    told.fires_only_on("p17_plan_change", "worn", &["FROM jobs"]);
    let table = json!({"schema": "public", "name": "jobs"});
    told.prepares(OTHER_PLAN, &json!({"kind": "analyze", "table": table}));
}

#[test]
fn the_index_that_makes_updates_dear_is_dropped() {
    let Some(told) = TOLD.as_ref() else { return };
    told.fires_only_at("p18_hot_updates", "worn");
    told.fires_only_on("p18_hot_updates", "worn", &["public.meters"]);
    let action = json!({
        "kind": "drop_index",
        "table": {"schema": "public", "name": "meters"},
        "index": "meters_reading_idx",
    });
    told.prepares(UPDATED_INDEX, &action);
}

#[test]
fn memory_in_crumbs_and_snapshots_that_stop_the_server_are_told() {
    let Some(told) = TOLD.as_ref() else { return };
    let action = json!({
        "kind": "redis_config_set", "parameter": "activedefrag", "value": "yes",
    });
    told.prepares(CRUMBS, &action);
    told.says(SLOW_FORK, "evidence", "forks");
    told.fires_only_at("r3_fragmentation", "crumbled");
    told.fires_only_at("r8_fork", "crumbled");
    let mut rules = told.rules_on("crumbled");
    rules.sort_unstable();
    assert_eq!(rules, ["r3_fragmentation", "r8_fork"], "{told}");
}

#[test]
fn clients_that_share_no_connections_and_keys_that_never_expire_are_told() {
    let Some(told) = TOLD.as_ref() else { return };
    told.says(NO_TTL, "evidence", "30 %");
    told.says(NO_POOL, "evidence", "of 40 clients connected");
    let mut rules = told.rules_on("shared");
    rules.sort_unstable();
    assert_eq!(rules, ["r6_no_ttl", "r9_connections"], "{told}");
    told.fires_only_at("r6_no_ttl", "shared");
    told.fires_only_at("r9_connections", "shared");
}

#[test]
fn a_cache_that_is_too_small_misses_and_evicts() {
    let Some(told) = TOLD.as_ref() else { return };
    told.says(COLD, "evidence", "lookups found their key");
    told.says(EVICTIONS, "evidence", "keys evicted");
    let mut rules = told.rules_on("thrashing");
    rules.sort_unstable();
    assert_eq!(rules, ["r1_hit_ratio", "r2_evictions"], "{told}");
}

#[test]
fn a_full_cache_that_may_not_evict_is_told_to() {
    let Some(told) = TOLD.as_ref() else { return };
    let action = json!({
        "kind": "redis_config_set", "parameter": "maxmemory-policy", "value": "allkeys-lfu",
    });
    told.prepares(NO_EVICTION, &action);
    // Where the machine has no time to give, other commands take long as well.
    told.says(SLOW_COMMANDS, "advice", "KEYS by SCAN");
}

#[test]
fn hot_keys_and_big_keys_are_named_by_their_patterns() {
    let Some(told) = TOLD.as_ref() else { return };
    told.fires_only_on("r10_hot_key", "busy", &["rate:"]);
    told.fires_only_on("r4_big_keys", "busy", &["feed:", "page:"]);
}

#[test]
fn pipelines_are_proposed_where_many_commands_come_alone() {
    let Some(told) = TOLD.as_ref() else { return };
    told.says(NO_PIPELINES, "advice", "several commands at once");
}

#[test]
fn nothing_is_said_of_healthy_servers() {
    let Some(told) = TOLD.as_ref() else { return };
    for target in ["healthy", "cache"] {
        assert!(
            told.rules_on(target).is_empty(),
            "{target} is healthy:\n{told}"
        );
    }
    assert_eq!(told.failed(), &json!([]), "{told}");
}
