//! The views of the whole server, column by column.

use driftline_schemas::metric::catalogue::id;

use super::query::{ALWAYS, Column, View, column};

const DATABASE: &str = "postgresql.database.name";
const STATE: &str = "postgresql.state";
const SOURCE: &str = "postgresql.source";
const TYPE: &str = "postgresql.type";
const OPERATION: &str = "postgresql.operation";
const DIRECTION: &str = "disk.io.direction";

/// What is read at every pass.
pub(super) const EVERY_PASS: &[&View] = &[
    &SERVER,
    &DATABASES,
    &BACKENDS,
    &WAITING,
    &LOCKS,
    &BACKGROUND_UP_TO_16,
    &BACKGROUND,
    &CHECKPOINTER,
    &WAL_UP_TO_13,
    &WAL,
    &REPLICATION,
    &STANDBY,
    &SLOTS,
    &IO,
];

const SERVER: View = View {
    name: "pg_stat_activity",
    labels: &[],
    columns: &[
        column(
            const { id("postgresql.uptime") },
            "extract(epoch FROM clock_timestamp() - pg_postmaster_start_time())",
        ),
        column(
            const { id("postgresql.version") },
            "current_setting('server_version_num')",
        ),
        column(
            const { id("postgresql.in_recovery") },
            "pg_is_in_recovery()::int",
        ),
        column(
            const { id("postgresql.connection.max") },
            "current_setting('max_connections')",
        ),
        column(
            const { id("postgresql.connection.count") },
            "count(*) FILTER (WHERE client)",
        ),
        column(
            const { id("postgresql.transaction.duration.max") },
            "coalesce(extract(epoch FROM clock_timestamp() - min(xact_start) FILTER (WHERE client AND other)), 0)",
        ),
        column(
            const { id("postgresql.transaction.idle_duration.max") },
            "coalesce(extract(epoch FROM clock_timestamp() - min(state_change) FILTER (WHERE client AND other AND state LIKE 'idle in transaction%')), 0)",
        ),
        column(
            const { id("postgresql.query.duration.max") },
            "coalesce(extract(epoch FROM clock_timestamp() - min(query_start) FILTER (WHERE client AND other AND state = 'active')), 0)",
        ),
        column(
            const { id("postgresql.autovacuum.workers") },
            "count(*) FILTER (WHERE backend_type = 'autovacuum worker')",
        ),
        column(
            const { id("postgresql.xmin.age") },
            "coalesce(greatest(max(greatest(age(backend_xmin), age(backend_xid))) FILTER (WHERE other), (SELECT max(age(xmin)) FROM pg_replication_slots), (SELECT max(age(transaction)) FROM pg_prepared_xacts)), 0)",
        ),
    ],
    from: "FROM (SELECT *, backend_type = 'client backend' AS client, application_name IS DISTINCT FROM 'driftline' AS other FROM pg_stat_activity) a",
    versions: ALWAYS,
};

const DATABASES: View = View {
    name: "pg_stat_database",
    labels: &[(DATABASE, "d.datname")],
    columns: &[
        column(const { id("postgresql.commits") }, "xact_commit"),
        column(const { id("postgresql.rollbacks") }, "xact_rollback"),
        column(const { id("postgresql.blks_hit") }, "blks_hit"),
        column(const { id("postgresql.blks_read") }, "blks_read"),
        column(const { id("postgresql.tup_returned") }, "tup_returned"),
        column(const { id("postgresql.tup_fetched") }, "tup_fetched"),
        column(const { id("postgresql.tup_inserted") }, "tup_inserted"),
        column(const { id("postgresql.tup_updated") }, "tup_updated"),
        column(const { id("postgresql.tup_deleted") }, "tup_deleted"),
        column(const { id("postgresql.temp_files") }, "temp_files"),
        column(const { id("postgresql.temp.io") }, "temp_bytes"),
        column(const { id("postgresql.deadlocks") }, "deadlocks"),
        column(const { id("postgresql.conflicts") }, "conflicts"),
        column(const { id("postgresql.block.time") }, "blk_read_time / 1e3")
            .label(DIRECTION, "read"),
        column(
            const { id("postgresql.block.time") },
            "blk_write_time / 1e3",
        )
        .label(DIRECTION, "write"),
        column(const { id("postgresql.sessions") }, "sessions").since(14),
        column(
            const { id("postgresql.sessions.failed") },
            "sessions_abandoned",
        )
        .since(14)
        .label("postgresql.reason", "abandoned"),
        column(const { id("postgresql.sessions.failed") }, "sessions_fatal")
            .since(14)
            .label("postgresql.reason", "fatal"),
        column(
            const { id("postgresql.sessions.failed") },
            "sessions_killed",
        )
        .since(14)
        .label("postgresql.reason", "killed"),
        column(
            const { id("postgresql.session.time") },
            "session_time / 1e3",
        )
        .since(14)
        .label(STATE, "total"),
        column(const { id("postgresql.session.time") }, "active_time / 1e3")
            .since(14)
            .label(STATE, "active"),
        column(
            const { id("postgresql.session.time") },
            "idle_in_transaction_time / 1e3",
        )
        .since(14)
        .label(STATE, "idle_in_transaction"),
        column(
            const { id("postgresql.checksum_failures") },
            "checksum_failures",
        ),
        column(
            const { id("postgresql.transaction_id.age") },
            "age(d.datfrozenxid)",
        ),
    ],
    // A hundred databases, the busiest first.
    from: "FROM pg_stat_database s JOIN pg_database d ON d.oid = s.datid WHERE NOT d.datistemplate ORDER BY s.xact_commit DESC LIMIT 100",
    versions: ALWAYS,
};

const BACKENDS: View = View {
    name: "pg_stat_activity",
    labels: &[
        (DATABASE, "datname"),
        (
            STATE,
            "CASE WHEN state IN ('active', 'idle') THEN state WHEN state LIKE 'idle in transaction%' THEN 'idle_in_transaction' ELSE 'other' END",
        ),
    ],
    columns: &[column(const { id("postgresql.backends") }, "count(*)")],
    from: "FROM pg_stat_activity WHERE backend_type = 'client backend' AND application_name IS DISTINCT FROM 'driftline' GROUP BY 1, 2 LIMIT 400",
    versions: ALWAYS,
};

const WAITING: View = View {
    name: "pg_stat_activity",
    labels: &[("postgresql.wait.type", "wait_event_type")],
    columns: &[column(
        const { id("postgresql.backends.waiting") },
        "count(*)",
    )],
    from: "FROM pg_stat_activity WHERE backend_type = 'client backend' AND application_name IS DISTINCT FROM 'driftline' AND state = 'active' AND wait_event_type IS NOT NULL GROUP BY 1",
    versions: ALWAYS,
};

const LOCKS: View = View {
    name: "pg_locks",
    labels: &[
        ("postgresql.lock.mode", "mode"),
        ("postgresql.lock.granted", "granted"),
    ],
    columns: &[column(
        const { id("postgresql.database.locks") },
        "count(*)",
    )],
    from: "FROM pg_locks WHERE pid <> pg_backend_pid() AND locktype <> 'virtualxid' GROUP BY mode, granted",
    versions: ALWAYS,
};

const BACKGROUND_UP_TO_16: View = View {
    name: "pg_stat_bgwriter",
    labels: &[],
    columns: &[
        column(
            const { id("postgresql.bgwriter.checkpoint.count") },
            "checkpoints_req",
        )
        .label(TYPE, "requested"),
        column(
            const { id("postgresql.bgwriter.checkpoint.count") },
            "checkpoints_timed",
        )
        .label(TYPE, "scheduled"),
        column(
            const { id("postgresql.bgwriter.duration") },
            "checkpoint_write_time / 1e3",
        )
        .label(TYPE, "write"),
        column(
            const { id("postgresql.bgwriter.duration") },
            "checkpoint_sync_time / 1e3",
        )
        .label(TYPE, "sync"),
        column(
            const { id("postgresql.bgwriter.buffers.writes") },
            "buffers_checkpoint",
        )
        .label(SOURCE, "checkpoints"),
        column(
            const { id("postgresql.bgwriter.buffers.writes") },
            "buffers_clean",
        )
        .label(SOURCE, "bgwriter"),
        column(
            const { id("postgresql.bgwriter.buffers.writes") },
            "buffers_backend",
        )
        .label(SOURCE, "backend"),
        column(
            const { id("postgresql.bgwriter.buffers.allocated") },
            "buffers_alloc",
        ),
        column(
            const { id("postgresql.bgwriter.maxwritten") },
            "maxwritten_clean",
        ),
    ],
    from: "FROM pg_stat_bgwriter",
    versions: (13, 16),
};

const BACKGROUND: View = View {
    name: "pg_stat_bgwriter",
    labels: &[],
    columns: &[
        column(
            const { id("postgresql.bgwriter.buffers.writes") },
            "buffers_clean",
        )
        .label(SOURCE, "bgwriter"),
        column(
            const { id("postgresql.bgwriter.buffers.allocated") },
            "buffers_alloc",
        ),
        column(
            const { id("postgresql.bgwriter.maxwritten") },
            "maxwritten_clean",
        ),
    ],
    from: "FROM pg_stat_bgwriter",
    versions: (17, u32::MAX),
};

const CHECKPOINTER: View = View {
    name: "pg_stat_checkpointer",
    labels: &[],
    columns: &[
        column(
            const { id("postgresql.bgwriter.checkpoint.count") },
            "num_requested",
        )
        .label(TYPE, "requested"),
        column(
            const { id("postgresql.bgwriter.checkpoint.count") },
            "num_timed",
        )
        .label(TYPE, "scheduled"),
        column(
            const { id("postgresql.bgwriter.duration") },
            "write_time / 1e3",
        )
        .label(TYPE, "write"),
        column(
            const { id("postgresql.bgwriter.duration") },
            "sync_time / 1e3",
        )
        .label(TYPE, "sync"),
        column(
            const { id("postgresql.bgwriter.buffers.writes") },
            "buffers_written",
        )
        .label(SOURCE, "checkpoints"),
    ],
    from: "FROM pg_stat_checkpointer",
    versions: (17, u32::MAX),
};

const WAL_UP_TO_13: View = View {
    name: "the write-ahead log",
    labels: &[],
    columns: &[column(
        const { id("postgresql.wal.bytes") },
        "pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END, '0/0')",
    )],
    from: "",
    versions: (13, 13),
};

const WAL: View = View {
    name: "pg_stat_wal",
    labels: &[],
    columns: &[
        column(const { id("postgresql.wal.bytes") }, "wal_bytes"),
        column(const { id("postgresql.wal.fpi") }, "wal_fpi"),
        column(const { id("postgresql.wal.records") }, "wal_records"),
        column(
            const { id("postgresql.wal.buffers_full") },
            "wal_buffers_full",
        ),
    ],
    from: "FROM pg_stat_wal",
    versions: (14, u32::MAX),
};

/// Standbys of one name count as one, the slowest of them.
const REPLICATION: View = View {
    name: "pg_stat_replication",
    labels: &[(
        "postgresql.replication_client",
        "coalesce(nullif(application_name, ''), host(client_addr), 'local')",
    )],
    columns: &[
        column(
            const { id("postgresql.wal.lag") },
            "coalesce(extract(epoch FROM max(write_lag)), 0)",
        )
        .label(OPERATION, "write"),
        column(
            const { id("postgresql.wal.lag") },
            "coalesce(extract(epoch FROM max(flush_lag)), 0)",
        )
        .label(OPERATION, "flush"),
        column(
            const { id("postgresql.wal.lag") },
            "coalesce(extract(epoch FROM max(replay_lag)), 0)",
        )
        .label(OPERATION, "replay"),
        column(
            const { id("postgresql.replication.data_delay") },
            "max(pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_receive_lsn() ELSE pg_current_wal_lsn() END, replay_lsn))",
        ),
    ],
    from: "FROM pg_stat_replication GROUP BY 1 LIMIT 50",
    versions: ALWAYS,
};

/// A standby that has replayed all that it received is not behind, however long the primary is idle.
const STANDBY: View = View {
    name: "the standby's position",
    labels: &[],
    columns: &[column(
        const { id("postgresql.wal.lag") },
        "CASE WHEN pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() THEN 0 ELSE extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp()) END",
    )],
    from: "WHERE pg_is_in_recovery()",
    versions: ALWAYS,
};

const SLOTS: View = View {
    name: "pg_replication_slots",
    labels: &[
        ("postgresql.slot.name", "slot_name"),
        ("postgresql.slot.active", "active"),
    ],
    columns: &[column(
        const { id("postgresql.replication.slot.retained") },
        "pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_receive_lsn() ELSE pg_current_wal_lsn() END, restart_lsn)",
    )],
    from: "FROM pg_replication_slots LIMIT 50",
    versions: ALWAYS,
};

const IO_OPERATIONS: u32 = id("postgresql.io.operations");

const IO: View = View {
    name: "pg_stat_io",
    labels: &[
        ("postgresql.backend.type", "backend_type"),
        ("postgresql.io.object", "object"),
        ("postgresql.io.context", "context"),
    ],
    columns: &[
        io("reads"),
        io("writes"),
        io("extends"),
        io("hits"),
        io("evictions"),
    ],
    from: "FROM pg_stat_io WHERE coalesce(reads, 0) + coalesce(writes, 0) + coalesce(extends, 0) + coalesce(hits, 0) > 0",
    versions: (16, u32::MAX),
};

const fn io(operation: &'static str) -> Column {
    column(IO_OPERATIONS, operation).label(OPERATION, operation)
}

/// The sizes of databases, which the server finds by looking at every file.
pub(super) const SIZES: View = View {
    name: "the sizes of databases",
    labels: &[(DATABASE, "datname")],
    columns: &[column(
        const { id("postgresql.db_size") },
        "CASE WHEN has_database_privilege(oid, 'CONNECT') OR pg_has_role('pg_read_all_stats', 'USAGE') THEN pg_database_size(oid) END",
    )],
    from: "FROM pg_database WHERE NOT datistemplate ORDER BY age(datfrozenxid) DESC LIMIT 100",
    versions: ALWAYS,
};
