//! The metrics of Redis servers. Every series carries `service.instance.id`, the server's name in
//! the configuration, beside the labels that its brief names.
//!
//! Names follow the Redis receiver of the OpenTelemetry Collector where it has one; times are in
//! seconds throughout. What Redis' own names mean is left to its documentation of `INFO`.

use super::super::Better::{Higher, Lower, Neither};
use super::super::Category::{Errors, Latency, Saturation, Throughput, Utilisation};
use super::super::Component::Redis;
use super::super::Metric;
use super::super::MetricKind::{Counter, Gauge};
use super::row;

// One row per metric, so that the list reads as the table that it is.
#[rustfmt::skip]
pub(super) const TABLE: &[Metric] = &[
    row(500, Redis, "redis.uptime", "s", Gauge, Utilisation, Neither, "The time since the server was started"),
    row(501, Redis, "redis.role", "{role}", Gauge, Utilisation, Neither, "1 for the role that the server has (role=primary or replica)"),
    row(502, Redis, "redis.server.info", "1", Gauge, Utilisation, Neither, "Always 1; the labels name version, mode and allocator"),
    row(503, Redis, "redis.setting", "1", Gauge, Utilisation, Neither, "Always 1; setting and value name one setting that matters for performance, such as maxmemory-policy"),
    row(504, Redis, "redis.loading", "1", Gauge, Saturation, Lower, "1 while the server loads its data and answers nothing else"),

    row(505, Redis, "redis.clients.connected", "{client}", Gauge, Utilisation, Neither, "Clients that are connected, replicas left out"),
    row(506, Redis, "redis.clients.blocked", "{client}", Gauge, Saturation, Neither, "Clients that wait in a blocking command"),
    row(507, Redis, "redis.clients.max", "{client}", Gauge, Utilisation, Neither, "How many clients may be connected (maxclients)"),
    row(508, Redis, "redis.clients.max_input_buffer", "By", Gauge, Saturation, Lower, "The largest input buffer among the clients of late"),
    row(509, Redis, "redis.clients.max_output_buffer", "By", Gauge, Saturation, Lower, "The largest output buffer among the clients of late"),
    row(510, Redis, "redis.clients.evicted", "{client}", Counter, Errors, Lower, "Clients disconnected because their buffers took too much memory"),
    row(511, Redis, "redis.clients.disconnected", "{client}", Counter, Errors, Lower, "Clients disconnected at the limit of a buffer (buffer=query or output)"),
    row(512, Redis, "redis.connections.received", "{connection}", Counter, Throughput, Neither, "Connections accepted"),
    row(513, Redis, "redis.connections.rejected", "{connection}", Counter, Errors, Lower, "Connections rejected at maxclients"),

    row(520, Redis, "redis.memory.used", "By", Gauge, Utilisation, Neither, "Memory that the server has allocated"),
    row(521, Redis, "redis.memory.peak", "By", Gauge, Utilisation, Neither, "The most memory that it has had allocated"),
    row(522, Redis, "redis.memory.rss", "By", Gauge, Utilisation, Neither, "Memory that the operating system has given it"),
    row(523, Redis, "redis.maxmemory", "By", Gauge, Utilisation, Neither, "The limit of memory; 0 where there is none"),
    row(524, Redis, "redis.memory.system", "By", Gauge, Utilisation, Neither, "The memory that the server's host has"),
    row(525, Redis, "redis.memory.lua", "By", Gauge, Utilisation, Neither, "Memory of the Lua engine"),
    row(526, Redis, "redis.memory.overhead", "By", Gauge, Utilisation, Lower, "Memory that manages the data: tables, buffers, the backlog"),
    row(527, Redis, "redis.memory.dataset", "By", Gauge, Utilisation, Neither, "Memory of the data"),
    row(528, Redis, "redis.memory.fragmentation_ratio", "1", Gauge, Utilisation, Lower, "What the operating system has given over what is allocated; below 1 the server is swapped out"),
    row(529, Redis, "redis.memory.fragmentation", "By", Gauge, Utilisation, Lower, "What the operating system has given less what is allocated"),
    row(530, Redis, "redis.memory.allocator", "By", Gauge, Utilisation, Neither, "The allocator's memory by state: allocated, active (in pages that hold data), resident"),
    row(531, Redis, "redis.memory.buffers", "By", Gauge, Utilisation, Lower, "Memory of buffers (buffer=client, replica, replication or aof)"),
    row(532, Redis, "redis.memory.uncounted", "By", Gauge, Utilisation, Neither, "Memory that does not count towards the limit"),
    row(533, Redis, "redis.defrag.running", "1", Gauge, Utilisation, Neither, "The part of a CPU that active defragmentation takes now"),
    row(534, Redis, "redis.defrag.moved", "{allocation}", Counter, Throughput, Neither, "Allocations that active defragmentation moved"),
    row(535, Redis, "redis.lazyfree.pending", "{object}", Gauge, Saturation, Lower, "Objects that wait to be freed in the background"),

    row(538, Redis, "redis.rdb.changes_since_last_save", "{change}", Gauge, Utilisation, Neither, "Changes since the last snapshot"),
    row(539, Redis, "redis.rdb.last_save.age", "s", Gauge, Utilisation, Neither, "The time since the last snapshot, or since the start where there was none"),
    row(540, Redis, "redis.persistence.duration", "s", Gauge, Latency, Lower, "How long the last background save took (persistence=rdb or aof)"),
    row(541, Redis, "redis.persistence.in_progress", "1", Gauge, Saturation, Neither, "1 while a background save runs (persistence=rdb or aof)"),
    row(542, Redis, "redis.persistence.failed", "1", Gauge, Errors, Lower, "1 where the last save failed (persistence=rdb, aof or aof_write)"),
    row(543, Redis, "redis.persistence.copied", "By", Gauge, Utilisation, Lower, "Memory that was copied on write during the last background save (persistence=rdb or aof)"),
    row(544, Redis, "redis.aof.size", "By", Gauge, Utilisation, Neither, "The append-only file; base=true is its size after the last rewrite"),
    row(545, Redis, "redis.aof.delayed_fsync", "{fsync}", Counter, Saturation, Lower, "Times that a write had to wait for the disk"),
    row(546, Redis, "redis.latest_fork", "s", Gauge, Latency, Lower, "How long the last fork stopped the server"),
    row(547, Redis, "redis.forks", "{fork}", Counter, Throughput, Neither, "Forks since the start"),

    row(550, Redis, "redis.commands.processed", "{command}", Counter, Throughput, Neither, "Commands processed, those of the collector included"),
    row(551, Redis, "redis.net.input", "By", Counter, Throughput, Neither, "Bytes read from clients"),
    row(552, Redis, "redis.net.output", "By", Counter, Throughput, Neither, "Bytes written to clients"),
    row(553, Redis, "redis.net.reads", "{read}", Counter, Throughput, Neither, "Reads from the network; commands per read tell whether clients pipeline"),
    row(554, Redis, "redis.net.writes", "{write}", Counter, Throughput, Neither, "Writes to the network"),
    row(555, Redis, "redis.keyspace.hits", "{lookup}", Counter, Throughput, Higher, "Lookups that found their key"),
    row(556, Redis, "redis.keyspace.misses", "{lookup}", Counter, Throughput, Lower, "Lookups that did not find their key"),
    row(557, Redis, "redis.keys.expired", "{key}", Counter, Throughput, Neither, "Keys whose time had come"),
    row(558, Redis, "redis.keys.expired.stale_ratio", "1", Gauge, Saturation, Lower, "The estimated part of the keys with a TTL that should be gone already"),
    row(559, Redis, "redis.keys.evicted", "{key}", Counter, Saturation, Lower, "Keys removed at the limit of memory"),
    row(560, Redis, "redis.eviction.exceeded_time", "s", Counter, Saturation, Lower, "The time during which more memory was used than the limit allows"),
    row(561, Redis, "redis.errors.replied", "{error}", Counter, Errors, Lower, "Error replies in all"),
    row(562, Redis, "redis.errors", "{error}", Counter, Errors, Lower, "Error replies by error.type, such as OOM, NOAUTH or WRONGTYPE"),
    row(563, Redis, "redis.pubsub.channels", "{channel}", Gauge, Utilisation, Neither, "Channels with subscribers"),
    row(564, Redis, "redis.pubsub.patterns", "{pattern}", Gauge, Utilisation, Neither, "Patterns with subscribers"),

    row(567, Redis, "redis.slaves.connected", "{replica}", Gauge, Utilisation, Neither, "Replicas that are connected"),
    row(568, Redis, "redis.replication.offset", "By", Counter, Throughput, Neither, "Bytes of the replication stream that the server has produced"),
    row(569, Redis, "redis.replication.lag", "By", Gauge, Saturation, Lower, "Bytes that a replica (replica=address:port) has yet to acknowledge"),
    row(570, Redis, "redis.replication.ack_age", "s", Gauge, Latency, Lower, "The time since a replica (replica=address:port) last acknowledged"),
    row(571, Redis, "redis.replication.link_up", "1", Gauge, Errors, Higher, "On a replica: 1 while it is connected to its primary"),
    row(572, Redis, "redis.replication.last_io", "s", Gauge, Latency, Lower, "On a replica: the time since it last heard of its primary"),
    row(573, Redis, "redis.replication.replica_offset", "By", Counter, Throughput, Neither, "On a replica: bytes of the replication stream that it has taken"),
    row(574, Redis, "redis.replication.syncs", "{sync}", Counter, Throughput, Lower, "Synchronisations of replicas (sync=full, partial or partial_refused)"),

    row(576, Redis, "redis.cpu.time", "s", Counter, Utilisation, Lower, "CPU time by state: sys, user, and the same of children and of the main thread"),

    row(578, Redis, "redis.cmd.calls", "{call}", Counter, Throughput, Neither, "Calls of a command (cmd)"),
    row(579, Redis, "redis.cmd.time", "s", Counter, Latency, Lower, "The time that a command (cmd) has taken in all"),
    row(580, Redis, "redis.cmd.latency", "s", Gauge, Latency, Lower, "The time that a command (cmd) takes, by percentile (p50, p99, p99.9), over all calls since the start"),
    row(581, Redis, "redis.cmd.errors", "{call}", Counter, Errors, Lower, "Calls of a command (cmd) that were rejected before they ran or failed while they ran (outcome)"),

    row(583, Redis, "redis.db.keys", "{key}", Gauge, Utilisation, Neither, "Keys in a database (db)"),
    row(584, Redis, "redis.db.expires", "{key}", Gauge, Utilisation, Neither, "Keys with a TTL in a database (db)"),
    row(585, Redis, "redis.db.avg_ttl", "s", Gauge, Utilisation, Neither, "The estimated mean TTL in a database (db)"),

    row(587, Redis, "redis.slowlog.entries", "{entry}", Counter, Latency, Lower, "Commands that were slower than the slow log's threshold since the start"),
    row(588, Redis, "redis.slowlog.slowest", "s", Gauge, Latency, Lower, "The slowest call of a command (cmd) among the new entries of the slow log"),

    row(589, Redis, "redis.sample.lookups", "{lookup}", Counter, Throughput, Neither, "Lookups by the collector's own sampling, which the server counts among its hits"),
    row(590, Redis, "redis.sample.keys", "{key}", Gauge, Throughput, Neither, "Keys of a database (db) that the last rounds of sampling looked at"),
    row(591, Redis, "redis.pattern.keys", "{key}", Gauge, Utilisation, Neither, "Sampled keys of a pattern (db, pattern: digits, hexadecimal numbers and UUIDs are *)"),
    row(592, Redis, "redis.pattern.expires", "{key}", Gauge, Utilisation, Neither, "Sampled keys of a pattern that have a TTL (db, pattern)"),
    row(593, Redis, "redis.pattern.ttl", "s", Gauge, Utilisation, Neither, "The mean TTL of the sampled keys of a pattern that have one (db, pattern)"),
    row(594, Redis, "redis.pattern.memory", "By", Gauge, Utilisation, Lower, "The mean memory of the sampled keys of a pattern (db, pattern)"),
    row(595, Redis, "redis.key.memory", "By", Gauge, Utilisation, Lower, "The largest key of a pattern among the big ones (db, pattern, type; key where opted in)"),
    row(596, Redis, "redis.key.length", "{item}", Gauge, Utilisation, Lower, "The items in the longest key of a pattern among the big ones (db, pattern, type; key where opted in)"),
    row(597, Redis, "redis.key.frequency", "1", Gauge, Throughput, Neither, "The logarithmic access counter, 0 to 255, of the hottest key of a pattern (db, pattern; key where opted in)"),
    row(598, Redis, "redis.key.share", "1", Gauge, Saturation, Lower, "The estimated part of all accesses to keys that the hottest key of a pattern takes (db, pattern; key where opted in)"),
];
