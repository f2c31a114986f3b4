//! Windows of a PostgreSQL server, from the differences of its counters.
//!
//! Counters are never reset here. A window in which they were is no window.

use std::collections::BTreeMap;

use tokio_postgres::{Client, Row};

use super::{DatabaseWork, StatementWork, TableWork, Window};
use crate::action::{TableName, sql};
use crate::config::ServerConfig;
use crate::server::{ServerError, failed};

/// Most statements that are read; those with the most blocks come first.
pub const STATEMENTS_MAX: i64 = 200;

/// Counters at a time.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Snapshot {
    /// When, in microseconds since 1970 UTC.
    pub at_us: i64,
    /// When the server began, in microseconds since 1970 UTC.
    pub started_us: i64,
    /// The statements' counters.
    pub statements: BTreeMap<i64, StatementWork>,
    /// Whether there were more statements than are read.
    pub truncated: bool,
    /// The table's counters.
    pub table: Option<TableWork>,
    /// The database's counters.
    pub database: DatabaseWork,
}

/// Where the statements' counters are; `None` if the extension is missing.
pub async fn statements_view(
    client: &Client,
    server: &ServerConfig,
) -> Result<Option<String>, ServerError> {
    let row = client
        .query_opt(
            "SELECT n.nspname::text FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace \
             WHERE e.extname = 'pg_stat_statements'",
            &[],
        )
        .await
        .map_err(|source| failed(server, source))?;
    Ok(row.map(|row| format!("{}.pg_stat_statements", sql::identifier(row.get(0)))))
}

/// Reads the counters of every statement that names `table`, or of the whole database, and of those
/// in `wanted`.
pub async fn read(
    client: &Client,
    server: &ServerConfig,
    table: Option<&TableName>,
    wanted: &[i64],
    at_us: i64,
) -> Result<Snapshot, ServerError> {
    let failed = |source| failed(server, source);
    let mut snapshot = Snapshot {
        at_us,
        ..Snapshot::default()
    };
    if let Some(view) = statements_view(client, server).await? {
        let rows = client
            .query(
                &statements_query(&view),
                &[&named(table), &wanted, &STATEMENTS_MAX],
            )
            .await
            .map_err(failed)?;
        snapshot.truncated = rows.len() as i64 >= STATEMENTS_MAX;
        snapshot.statements = rows.iter().map(statement).collect();
    }
    let row = client
        .query_one(
            "SELECT xact_commit, xact_rollback, \
                    (extract(epoch FROM pg_postmaster_start_time()) * 1e6)::int8 \
             FROM pg_stat_database WHERE datname = current_database()",
            &[],
        )
        .await
        .map_err(failed)?;
    snapshot.database = DatabaseWork {
        commits: count(&row, 0),
        rollbacks: count(&row, 1),
    };
    snapshot.started_us = row.get(2);
    if let Some(table) = table {
        let row = client
            .query_opt(
                "SELECT n_tup_ins, n_tup_upd, n_tup_hot_upd, n_tup_del, n_live_tup, n_dead_tup, \
                        n_mod_since_analyze \
                 FROM pg_stat_all_tables WHERE schemaname = $1 AND relname = $2",
                &[&table.schema, &table.name],
            )
            .await
            .map_err(failed)?;
        snapshot.table = row.map(|row| TableWork {
            inserts: count(&row, 0),
            updates: count(&row, 1),
            hot_updates: count(&row, 2),
            deletes: count(&row, 3),
            live: count(&row, 4),
            dead: count(&row, 5),
            modified: count(&row, 6),
        });
    }
    Ok(snapshot)
}

/// The window between two readings; `None` if the server was restarted or its counters reset.
pub fn window(earlier: &Snapshot, later: &Snapshot) -> Option<Window> {
    if earlier.started_us != later.started_us {
        return None;
    }
    let mut statements = BTreeMap::new();
    for (id, now) in &later.statements {
        let was = match earlier.statements.get(id) {
            Some(was) => *was,
            // It is new, unless it may only have been below the limit.
            None if earlier.truncated => continue,
            None => StatementWork::default(),
        };
        let work = difference(&was, now)?;
        if work.calls > 0 {
            statements.insert(*id, work);
        }
    }
    let table = match (&earlier.table, &later.table) {
        (Some(was), Some(now)) => Some(TableWork {
            inserts: now.inserts.checked_sub(was.inserts)?,
            updates: now.updates.checked_sub(was.updates)?,
            hot_updates: now.hot_updates.checked_sub(was.hot_updates)?,
            deletes: now.deletes.checked_sub(was.deletes)?,
            ..*now
        }),
        _ => None,
    };
    Some(Window {
        from_us: earlier.at_us,
        to_us: later.at_us,
        statements,
        table,
        database: Some(DatabaseWork {
            commits: later
                .database
                .commits
                .checked_sub(earlier.database.commits)?,
            rollbacks: later
                .database
                .rollbacks
                .checked_sub(earlier.database.rollbacks)?,
        }),
        cache: None,
    })
}

fn difference(was: &StatementWork, now: &StatementWork) -> Option<StatementWork> {
    Some(StatementWork {
        calls: now.calls.checked_sub(was.calls)?,
        blocks: now.blocks.checked_sub(was.blocks)?,
        temp_blocks: now.temp_blocks.checked_sub(was.temp_blocks)?,
        time_ms: (now.time_ms - was.time_ms).max(0.0),
        wal_bytes: now.wal_bytes.checked_sub(was.wal_bytes)?,
        wal_images: now.wal_images.checked_sub(was.wal_images)?,
        wal_records: now.wal_records.checked_sub(was.wal_records)?,
        writes: now.writes,
    })
}

fn statements_query(view: &str) -> String {
    format!(
        "SELECT queryid, sum(calls)::int8, \
                sum(shared_blks_hit + shared_blks_read + local_blks_hit + local_blks_read \
                    + temp_blks_read)::int8, \
                sum(temp_blks_written)::int8, sum(total_exec_time)::float8, \
                sum(wal_bytes)::int8, sum(wal_fpi)::int8, sum(wal_records)::int8, \
                bool_or(query ~* '^\\s*(insert|update|delete|merge)\\M') \
         FROM {view} \
         WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) \
           AND queryid IS NOT NULL AND query ~* '^\\s*(select|with|insert|update|delete|merge)\\M' \
           AND (query ~* $1 OR queryid = ANY($2)) \
         GROUP BY queryid ORDER BY 3 DESC LIMIT $3"
    )
}

/// A pattern for statements that name `table`; of a quoted name its quotes are boundaries.
pub(crate) fn named(table: Option<&TableName>) -> String {
    let Some(table) = table else {
        return String::new();
    };
    let mut pattern = "\\m".to_owned();
    for c in table.name.chars() {
        if !c.is_alphanumeric() && c != '_' {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern + "\\M"
}

fn statement(row: &Row) -> (i64, StatementWork) {
    let work = StatementWork {
        calls: count(row, 1),
        blocks: count(row, 2),
        temp_blocks: count(row, 3),
        time_ms: row.get(4),
        wal_bytes: count(row, 5),
        wal_images: count(row, 6),
        wal_records: count(row, 7),
        writes: row.get(8),
    };
    (row.get(0), work)
}

/// A counter, which is never below 0.
fn count(row: &Row, column: usize) -> u64 {
    u64::try_from(row.get::<_, i64>(column)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(calls: u64, truncated: bool) -> Snapshot {
        let work = StatementWork {
            calls,
            blocks: 10 * calls,
            ..StatementWork::default()
        };
        Snapshot {
            statements: BTreeMap::from([(1, work)]),
            truncated,
            ..Snapshot::default()
        }
    }

    #[test]
    fn a_window_is_the_difference_and_a_reset_makes_none() {
        let window = window(&snapshot(5, false), &snapshot(8, false)).expect("a window");
        assert_eq!(
            (window.statements[&1].calls, window.statements[&1].blocks),
            (3, 30)
        );
        assert_eq!(
            super::window(&snapshot(8, false), &snapshot(5, false)),
            None
        );
        let restarted = Snapshot {
            started_us: 1,
            ..snapshot(9, false)
        };
        assert_eq!(super::window(&snapshot(5, false), &restarted), None);
    }

    #[test]
    fn a_statement_that_was_cut_off_before_is_not_taken_for_new() {
        let empty = |truncated| Snapshot {
            truncated,
            ..Snapshot::default()
        };
        let new = window(&empty(false), &snapshot(8, false)).expect("a window");
        assert_eq!(new.statements[&1].calls, 8);
        let cut = window(&empty(true), &snapshot(8, false)).expect("a window");
        assert_eq!(cut.statements.len(), 0);
    }

    #[test]
    fn a_table_is_named_by_whole_words() {
        let pattern = named(Some(&TableName::new("public", "a.b_c")));
        assert_eq!(pattern, "\\ma\\.b_c\\M");
    }
}
