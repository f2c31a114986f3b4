//! The metrics of PostgreSQL servers.
//!
//! Names follow the `postgresql` receiver of the OpenTelemetry collector where it has them; times are
//! in seconds. Every series bears `service.instance.id`, the server's name in the configuration.
//! Those of a database add `postgresql.database.name`; those of a table add to that
//! `postgresql.schema.name` and `postgresql.table.name`; those of an index add to that
//! `postgresql.index.name`. Those of a statement bear the database, `postgresql.rolname` and
//! `postgresql.queryid`. Further labels are named in the brief, in brackets.

use super::super::Better::{Higher, Lower, Neither};
use super::super::Category::{Errors, Latency, Saturation, Throughput, Utilisation};
use super::super::Component::Postgres;
use super::super::Metric;
use super::super::MetricKind::{Counter, Gauge};
use super::row;

// One row per metric, so that the list reads as the table that it is.
#[rustfmt::skip]
pub(super) const TABLE: &[Metric] = &[
    row(400, Postgres, "postgresql.uptime", "s", Gauge, Utilisation, Neither, "The time since the server was started"),
    row(401, Postgres, "postgresql.version", "{version}", Gauge, Utilisation, Neither, "The server's version as a number, such as 150020 for 15.20"),
    row(402, Postgres, "postgresql.in_recovery", "1", Gauge, Utilisation, Neither, "1 on a standby, 0 on a primary"),
    row(403, Postgres, "postgresql.setting.value", "1", Gauge, Utilisation, Neither, "A setting that is a number or a switch (1 or 0) [postgresql.setting.name]"),
    row(404, Postgres, "postgresql.setting.size", "By", Gauge, Utilisation, Neither, "A setting that is an amount of memory or storage [postgresql.setting.name]"),
    row(405, Postgres, "postgresql.setting.duration", "s", Gauge, Utilisation, Neither, "A setting that is a time [postgresql.setting.name]"),
    row(406, Postgres, "postgresql.connection.max", "{connection}", Gauge, Utilisation, Neither, "Connections that the server accepts (max_connections)"),
    row(407, Postgres, "postgresql.connection.count", "{connection}", Gauge, Utilisation, Lower, "Connections of clients to any database"),
    row(408, Postgres, "postgresql.backends", "{connection}", Gauge, Utilisation, Lower, "Connections of clients to a database by state [postgresql.state: active, idle, idle_in_transaction, other]"),
    row(409, Postgres, "postgresql.backends.waiting", "{connection}", Gauge, Saturation, Lower, "Active connections of clients that wait, by what for [postgresql.wait.type: Lock, LWLock, IO and so on]"),
    row(410, Postgres, "postgresql.transaction.duration.max", "s", Gauge, Latency, Lower, "The age of the oldest open transaction of a client, 0 without one"),
    row(411, Postgres, "postgresql.transaction.idle_duration.max", "s", Gauge, Saturation, Lower, "How long the session that has been idle in a transaction longest has been so, 0 without one"),
    row(412, Postgres, "postgresql.query.duration.max", "s", Gauge, Latency, Lower, "The age of the oldest running statement of a client, 0 without one"),
    row(413, Postgres, "postgresql.sessions.blocked", "{session}", Gauge, Saturation, Lower, "Sessions that wait for a lock that another session holds or is to have"),
    row(414, Postgres, "postgresql.sessions.blocked_duration.max", "s", Gauge, Saturation, Lower, "How long the longest blocked statement has been running, 0 without one"),
    row(415, Postgres, "postgresql.blocker.sessions", "{session}", Gauge, Saturation, Lower, "Sessions that a session blocks, directly or through others, while it does [postgresql.pid, postgresql.database.name, postgresql.rolname, postgresql.application_name, postgresql.state]"),
    row(416, Postgres, "postgresql.database.locks", "{lock}", Gauge, Saturation, Lower, "Locks on relations and transactions by mode and whether they are granted [postgresql.lock.mode, postgresql.lock.granted: true, false]"),
    row(417, Postgres, "postgresql.xmin.age", "{transaction}", Gauge, Saturation, Lower, "How far the oldest snapshot, slot or prepared transaction holds back vacuum"),
    row(418, Postgres, "postgresql.transaction_id.age", "{transaction}", Gauge, Saturation, Lower, "The age of a database's oldest transaction id that is not frozen"),
    row(419, Postgres, "postgresql.autovacuum.workers", "{worker}", Gauge, Utilisation, Neither, "Autovacuum workers that run"),

    row(420, Postgres, "postgresql.commits", "{transaction}", Counter, Throughput, Neither, "Transactions of a database that were committed"),
    row(421, Postgres, "postgresql.rollbacks", "{transaction}", Counter, Errors, Lower, "Transactions of a database that were rolled back"),
    row(422, Postgres, "postgresql.blks_hit", "{block}", Counter, Throughput, Neither, "Blocks of a database found in the buffer cache"),
    row(423, Postgres, "postgresql.blks_read", "{block}", Counter, Throughput, Lower, "Blocks of a database not found in the buffer cache"),
    row(424, Postgres, "postgresql.tup_returned", "{row}", Counter, Throughput, Neither, "Rows that scans of a database's tables and indexes returned"),
    row(425, Postgres, "postgresql.tup_fetched", "{row}", Counter, Throughput, Neither, "Rows of a database fetched through indexes"),
    row(426, Postgres, "postgresql.tup_inserted", "{row}", Counter, Throughput, Neither, "Rows inserted into a database"),
    row(427, Postgres, "postgresql.tup_updated", "{row}", Counter, Throughput, Neither, "Rows updated in a database"),
    row(428, Postgres, "postgresql.tup_deleted", "{row}", Counter, Throughput, Neither, "Rows deleted from a database"),
    row(429, Postgres, "postgresql.temp_files", "{file}", Counter, Saturation, Lower, "Temporary files of a database's statements"),
    row(430, Postgres, "postgresql.temp.io", "By", Counter, Saturation, Lower, "Bytes written to temporary files of a database's statements"),
    row(431, Postgres, "postgresql.deadlocks", "{deadlock}", Counter, Errors, Lower, "Deadlocks of a database"),
    row(432, Postgres, "postgresql.conflicts", "{query}", Counter, Errors, Lower, "Statements of a database cancelled because of a conflict with recovery, on a standby"),
    row(433, Postgres, "postgresql.block.time", "s", Counter, Latency, Lower, "The time that a database's sessions spent reading and writing blocks, where track_io_timing is on [disk.io.direction: read, write]"),
    row(434, Postgres, "postgresql.sessions", "{session}", Counter, Throughput, Neither, "Sessions of a database that were begun (from version 14)"),
    row(435, Postgres, "postgresql.sessions.failed", "{session}", Counter, Errors, Lower, "Sessions of a database that ended out of order (from version 14) [postgresql.reason: abandoned, fatal, killed]"),
    row(436, Postgres, "postgresql.session.time", "s", Counter, Utilisation, Neither, "The time of a database's sessions (from version 14) [postgresql.state: total, active, idle_in_transaction]"),
    row(437, Postgres, "postgresql.db_size", "By", Gauge, Utilisation, Lower, "The size of a database on disk"),
    row(438, Postgres, "postgresql.checksum_failures", "{block}", Counter, Errors, Lower, "Blocks of a database whose checksum was wrong"),

    row(440, Postgres, "postgresql.statement.calls", "{call}", Counter, Throughput, Neither, "Executions of a statement"),
    row(441, Postgres, "postgresql.statement.exec_time", "s", Counter, Latency, Lower, "The time that a statement was executed"),
    row(442, Postgres, "postgresql.statement.plan_time", "s", Counter, Latency, Lower, "The time that a statement was planned, where pg_stat_statements.track_planning is on"),
    row(443, Postgres, "postgresql.statement.rows", "{row}", Counter, Throughput, Neither, "Rows that a statement returned or changed"),
    row(444, Postgres, "postgresql.statement.blks_hit", "{block}", Counter, Throughput, Lower, "Shared blocks that a statement found in the buffer cache"),
    row(445, Postgres, "postgresql.statement.blks_read", "{block}", Counter, Throughput, Lower, "Shared blocks that a statement did not find in the buffer cache"),
    row(446, Postgres, "postgresql.statement.blks_dirtied", "{block}", Counter, Throughput, Lower, "Shared blocks that a statement changed first"),
    row(447, Postgres, "postgresql.statement.blks_written", "{block}", Counter, Throughput, Lower, "Shared blocks that a statement had to write out itself"),
    row(448, Postgres, "postgresql.statement.temp_blks_read", "{block}", Counter, Saturation, Lower, "Temporary blocks that a statement read"),
    row(449, Postgres, "postgresql.statement.temp_blks_written", "{block}", Counter, Saturation, Lower, "Temporary blocks that a statement wrote"),
    row(450, Postgres, "postgresql.statement.block.time", "s", Counter, Latency, Lower, "The time that a statement spent reading and writing shared blocks, where track_io_timing is on [disk.io.direction: read, write]"),
    row(451, Postgres, "postgresql.statement.temp_block.time", "s", Counter, Latency, Lower, "The time that a statement spent reading and writing temporary blocks, where track_io_timing is on (from version 15)"),
    row(452, Postgres, "postgresql.statement.wal.bytes", "By", Counter, Throughput, Lower, "Bytes of write-ahead log of a statement"),
    row(453, Postgres, "postgresql.statement.wal.fpi", "{page}", Counter, Throughput, Lower, "Full-page images in the write-ahead log of a statement"),
    row(455, Postgres, "postgresql.statements.calls", "{call}", Counter, Throughput, Neither, "Executions of all statements of a database, those included that are not reported singly"),
    row(456, Postgres, "postgresql.statements.exec_time", "s", Counter, Latency, Lower, "The time of all statements of a database, those included that are not reported singly"),
    row(457, Postgres, "postgresql.statements.tracked", "{statement}", Gauge, Utilisation, Neither, "Statements in pg_stat_statements"),
    row(458, Postgres, "postgresql.statements.evictions", "{eviction}", Counter, Saturation, Lower, "Times that pg_stat_statements dropped rare statements for want of room (from version 14)"),
    row(459, Postgres, "postgresql.driftline.exec_time", "s", Counter, Latency, Lower, "The time of the statements that observe this server, which no other metric of statements contains"),

    row(460, Postgres, "postgresql.sequential_scans", "{scan}", Counter, Throughput, Lower, "Sequential scans of a table"),
    row(461, Postgres, "postgresql.table.seq_tup_read", "{row}", Counter, Throughput, Lower, "Live rows that sequential scans of a table read"),
    row(462, Postgres, "postgresql.table.index_scans", "{scan}", Counter, Throughput, Neither, "Scans of a table's indexes"),
    row(463, Postgres, "postgresql.table.idx_tup_fetch", "{row}", Counter, Throughput, Neither, "Live rows that index scans of a table fetched"),
    row(464, Postgres, "postgresql.rows", "{row}", Gauge, Utilisation, Neither, "The rows of a table as the statistics have them; wrong after pg_stat_reset [postgresql.state: live, dead]"),
    row(465, Postgres, "postgresql.table.estimated_rows", "{row}", Gauge, Utilisation, Neither, "The rows of a table as the planner has them (reltuples)"),
    row(466, Postgres, "postgresql.table.modified_rows", "{row}", Gauge, Saturation, Lower, "Rows of a table changed since it was analysed last"),
    row(467, Postgres, "postgresql.operations", "{row}", Counter, Throughput, Neither, "Changes of a table's rows [postgresql.operation: ins, upd, del, hot_upd; upd contains hot_upd]"),
    row(468, Postgres, "postgresql.table.size", "By", Gauge, Utilisation, Lower, "The size of a table on disk without its indexes and TOAST"),
    row(469, Postgres, "postgresql.table.vacuum.count", "{vacuum}", Counter, Throughput, Neither, "Times that a table was vacuumed or analysed [postgresql.operation: vacuum, autovacuum, analyze, autoanalyze]"),
    row(470, Postgres, "postgresql.table.vacuum.age", "s", Gauge, Saturation, Lower, "The time since a table was vacuumed last, by whomever; absent where it never was"),
    row(471, Postgres, "postgresql.table.analyze.age", "s", Gauge, Saturation, Lower, "The time since a table was analysed last, by whomever; absent where it never was"),
    row(472, Postgres, "postgresql.blocks_read", "{block}", Counter, Throughput, Lower, "Blocks read of a table [postgresql.source: heap_hit, heap_read, idx_hit, idx_read]"),
    row(473, Postgres, "postgresql.table.free_space.ratio", "1", Gauge, Utilisation, Lower, "The share of a table that is free space, by pgstattuple_approx where it is switched on"),
    row(474, Postgres, "postgresql.table.dead_space.ratio", "1", Gauge, Utilisation, Lower, "The share of a table that dead rows take, by pgstattuple_approx where it is switched on"),
    row(475, Postgres, "postgresql.table.count", "{table}", Gauge, Utilisation, Neither, "Tables of a database, those included that are not reported singly"),
    row(476, Postgres, "postgresql.table.setting", "1", Gauge, Utilisation, Neither, "A table's own storage option that is a number or a switch (1 or 0) [postgresql.setting.name]"),

    row(480, Postgres, "postgresql.index.scans", "{scan}", Counter, Throughput, Neither, "Scans of an index"),
    row(481, Postgres, "postgresql.index.tup_read", "{row}", Counter, Throughput, Neither, "Entries that scans of an index returned"),
    row(482, Postgres, "postgresql.index.size", "By", Gauge, Utilisation, Lower, "The size of an index on disk"),
    row(483, Postgres, "postgresql.index.valid", "1", Gauge, Errors, Higher, "1 where an index can be used, 0 where its build failed or is under way"),
    row(484, Postgres, "postgresql.index.required", "1", Gauge, Utilisation, Neither, "1 where an index enforces a constraint, is unique, or identifies rows for replication, so that it may not be dropped; else 0"),
    row(485, Postgres, "postgresql.index.duplicates", "{index}", Gauge, Utilisation, Lower, "Indexes of a table, this one included, with the same columns, classes, order, expressions and predicate; absent where there is but one [postgresql.index.twin: the first of them by name, the required one before others]"),
    row(486, Postgres, "postgresql.index.last_scan.age", "s", Gauge, Utilisation, Neither, "The time since an index was scanned last (from version 16); absent where it never was"),

    row(487, Postgres, "postgresql.bgwriter.checkpoint.count", "{checkpoint}", Counter, Throughput, Lower, "Checkpoints [postgresql.type: requested, scheduled]"),
    row(488, Postgres, "postgresql.bgwriter.duration", "s", Counter, Latency, Lower, "The time that checkpoints took [postgresql.type: write, sync]"),
    row(489, Postgres, "postgresql.bgwriter.buffers.writes", "{block}", Counter, Throughput, Lower, "Buffers written [postgresql.source: checkpoints, bgwriter, backend; the last one before version 17]"),
    row(490, Postgres, "postgresql.bgwriter.buffers.allocated", "{block}", Counter, Throughput, Neither, "Buffers allocated"),
    row(491, Postgres, "postgresql.bgwriter.maxwritten", "{stop}", Counter, Saturation, Lower, "Times that the background writer stopped because it had written too much"),
    row(492, Postgres, "postgresql.wal.bytes", "By", Counter, Throughput, Lower, "Bytes of write-ahead log (before version 14 the position in it)"),
    row(493, Postgres, "postgresql.wal.fpi", "{page}", Counter, Throughput, Lower, "Full-page images in the write-ahead log (from version 14)"),
    row(494, Postgres, "postgresql.wal.records", "{record}", Counter, Throughput, Neither, "Records of write-ahead log (from version 14)"),
    row(495, Postgres, "postgresql.wal.buffers_full", "{write}", Counter, Saturation, Lower, "Times that write-ahead log was written out because its buffers were full (from version 14)"),
    row(496, Postgres, "postgresql.wal.lag", "s", Gauge, Latency, Lower, "How far a standby is behind [postgresql.replication_client; postgresql.operation: write, flush, replay]; on a standby itself since the last transaction that it replayed, without the labels"),
    row(497, Postgres, "postgresql.replication.data_delay", "By", Gauge, Saturation, Lower, "Bytes of write-ahead log that a standby has not replayed [postgresql.replication_client]"),
    row(498, Postgres, "postgresql.replication.slot.retained", "By", Gauge, Saturation, Lower, "Bytes of write-ahead log that a replication slot holds back [postgresql.slot.name, postgresql.slot.active: true, false]"),
    row(499, Postgres, "postgresql.io.operations", "{operation}", Counter, Throughput, Neither, "Operations on blocks (from version 16) [postgresql.backend.type, postgresql.io.object, postgresql.io.context, postgresql.operation: reads, writes, extends, hits, evictions]"),
];
