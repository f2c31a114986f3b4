//! What `INFO` tells, as samples. Pure, apart from the recorder that takes them.
//!
//! A field that the server does not have (an older version, another allocator) is left out.

use driftline_schemas::metric::catalogue::id;

use super::info::{Info, figure, figure_number};
use crate::recorder::Recorder;

/// Labels that a sample can have beside the server's name.
const MAX_LABELS: usize = 7;
/// Milliseconds and microseconds, in seconds.
const MS: f64 = 1e-3;
const US: f64 = 1e-6;
const PERCENT: f64 = 0.01;

/// Takes the samples of one server.
#[derive(Debug)]
pub(super) struct Samples<'a> {
    pub(super) recorder: &'a mut Recorder,
    pub(super) instance: &'a str,
}

impl Samples<'_> {
    /// Records a value; the server's name is added to the labels.
    pub(super) fn record(&mut self, metric: u32, labels: &[(&str, &str)], value: f64) {
        let mut all = [("", ""); MAX_LABELS + 1];
        all[0] = ("service.instance.id", self.instance);
        all[1..=labels.len()].copy_from_slice(labels);
        self.recorder
            .record(metric, &mut all[..=labels.len()], value);
    }
}

/// A field that is a sample.
struct Field {
    name: &'static str,
    metric: u32,
    labels: &'static [(&'static str, &'static str)],
    scale: f64,
}

const fn field(name: &'static str, metric: &str) -> Field {
    labelled(name, metric, &[], 1.0)
}

const fn scaled(name: &'static str, metric: &str, scale: f64) -> Field {
    labelled(name, metric, &[], scale)
}

const fn labelled(
    name: &'static str,
    metric: &str,
    labels: &'static [(&'static str, &'static str)],
    scale: f64,
) -> Field {
    Field {
        name,
        metric: id(metric),
        labels,
        scale,
    }
}

#[rustfmt::skip]
const FIELDS: &[Field] = &[
    field("uptime_in_seconds", "redis.uptime"),
    field("loading", "redis.loading"),
    field("connected_clients", "redis.clients.connected"),
    field("blocked_clients", "redis.clients.blocked"),
    field("maxclients", "redis.clients.max"),
    field("client_recent_max_input_buffer", "redis.clients.max_input_buffer"),
    field("client_recent_max_output_buffer", "redis.clients.max_output_buffer"),
    field("evicted_clients", "redis.clients.evicted"),
    labelled("client_query_buffer_limit_disconnections", "redis.clients.disconnected", &[("buffer", "query")], 1.0),
    labelled("client_output_buffer_limit_disconnections", "redis.clients.disconnected", &[("buffer", "output")], 1.0),
    field("total_connections_received", "redis.connections.received"),
    field("rejected_connections", "redis.connections.rejected"),
    field("used_memory", "redis.memory.used"),
    field("used_memory_peak", "redis.memory.peak"),
    field("used_memory_rss", "redis.memory.rss"),
    field("maxmemory", "redis.maxmemory"),
    field("total_system_memory", "redis.memory.system"),
    field("used_memory_lua", "redis.memory.lua"),
    field("used_memory_overhead", "redis.memory.overhead"),
    field("used_memory_dataset", "redis.memory.dataset"),
    field("mem_fragmentation_ratio", "redis.memory.fragmentation_ratio"),
    field("mem_fragmentation_bytes", "redis.memory.fragmentation"),
    labelled("allocator_allocated", "redis.memory.allocator", &[("state", "allocated")], 1.0),
    labelled("allocator_active", "redis.memory.allocator", &[("state", "active")], 1.0),
    labelled("allocator_resident", "redis.memory.allocator", &[("state", "resident")], 1.0),
    labelled("mem_clients_normal", "redis.memory.buffers", &[("buffer", "client")], 1.0),
    labelled("mem_clients_slaves", "redis.memory.buffers", &[("buffer", "replica")], 1.0),
    labelled("mem_replication_backlog", "redis.memory.buffers", &[("buffer", "replication")], 1.0),
    labelled("mem_aof_buffer", "redis.memory.buffers", &[("buffer", "aof")], 1.0),
    field("mem_not_counted_for_evict", "redis.memory.uncounted"),
    scaled("active_defrag_running", "redis.defrag.running", PERCENT),
    field("active_defrag_hits", "redis.defrag.moved"),
    field("lazyfree_pending_objects", "redis.lazyfree.pending"),
    field("rdb_changes_since_last_save", "redis.rdb.changes_since_last_save"),
    labelled("rdb_bgsave_in_progress", "redis.persistence.in_progress", &[("persistence", "rdb")], 1.0),
    labelled("aof_rewrite_in_progress", "redis.persistence.in_progress", &[("persistence", "aof")], 1.0),
    labelled("rdb_last_cow_size", "redis.persistence.copied", &[("persistence", "rdb")], 1.0),
    labelled("aof_last_cow_size", "redis.persistence.copied", &[("persistence", "aof")], 1.0),
    labelled("aof_current_size", "redis.aof.size", &[("base", "false")], 1.0),
    labelled("aof_base_size", "redis.aof.size", &[("base", "true")], 1.0),
    field("aof_delayed_fsync", "redis.aof.delayed_fsync"),
    scaled("latest_fork_usec", "redis.latest_fork", US),
    field("total_forks", "redis.forks"),
    field("total_commands_processed", "redis.commands.processed"),
    field("total_net_input_bytes", "redis.net.input"),
    field("total_net_output_bytes", "redis.net.output"),
    field("total_reads_processed", "redis.net.reads"),
    field("total_writes_processed", "redis.net.writes"),
    field("keyspace_hits", "redis.keyspace.hits"),
    field("keyspace_misses", "redis.keyspace.misses"),
    field("expired_keys", "redis.keys.expired"),
    scaled("expired_stale_perc", "redis.keys.expired.stale_ratio", PERCENT),
    field("evicted_keys", "redis.keys.evicted"),
    scaled("total_eviction_exceeded_time", "redis.eviction.exceeded_time", MS),
    field("total_error_replies", "redis.errors.replied"),
    field("pubsub_channels", "redis.pubsub.channels"),
    field("pubsub_patterns", "redis.pubsub.patterns"),
    field("connected_slaves", "redis.slaves.connected"),
    field("master_repl_offset", "redis.replication.offset"),
    field("slave_repl_offset", "redis.replication.replica_offset"),
    labelled("sync_full", "redis.replication.syncs", &[("sync", "full")], 1.0),
    labelled("sync_partial_ok", "redis.replication.syncs", &[("sync", "partial")], 1.0),
    labelled("sync_partial_err", "redis.replication.syncs", &[("sync", "partial_refused")], 1.0),
    labelled("used_cpu_sys", "redis.cpu.time", &[("state", "sys")], 1.0),
    labelled("used_cpu_user", "redis.cpu.time", &[("state", "user")], 1.0),
    labelled("used_cpu_sys_children", "redis.cpu.time", &[("state", "sys_children")], 1.0),
    labelled("used_cpu_user_children", "redis.cpu.time", &[("state", "user_children")], 1.0),
    labelled("used_cpu_sys_main_thread", "redis.cpu.time", &[("state", "sys_main_thread")], 1.0),
    labelled("used_cpu_user_main_thread", "redis.cpu.time", &[("state", "user_main_thread")], 1.0),
];

/// Fields that are negative where there is nothing to tell yet, such as the duration of a save.
#[rustfmt::skip]
const IF_ANY: &[Field] = &[
    labelled("rdb_last_bgsave_time_sec", "redis.persistence.duration", &[("persistence", "rdb")], 1.0),
    labelled("aof_last_rewrite_time_sec", "redis.persistence.duration", &[("persistence", "aof")], 1.0),
    field("master_last_io_seconds_ago", "redis.replication.last_io"),
];

/// Fields that are `ok` or tell of a failure.
#[rustfmt::skip]
const OUTCOMES: &[Field] = &[
    labelled("rdb_last_bgsave_status", "redis.persistence.failed", &[("persistence", "rdb")], 1.0),
    labelled("aof_last_bgrewrite_status", "redis.persistence.failed", &[("persistence", "aof")], 1.0),
    labelled("aof_last_write_status", "redis.persistence.failed", &[("persistence", "aof_write")], 1.0),
];

/// Records everything but commands, latencies and errors, which are many.
pub(super) fn server(info: &Info<'_>, samples: &mut Samples<'_>) {
    for field in FIELDS {
        if let Some(value) = info.number(field.name) {
            samples.record(field.metric, field.labels, value * field.scale);
        }
    }
    for field in IF_ANY {
        if let Some(value) = info.number(field.name).filter(|value| *value >= 0.0) {
            samples.record(field.metric, field.labels, value * field.scale);
        }
    }
    for field in OUTCOMES {
        if let Some(outcome) = info.text(field.name) {
            let failed = if outcome == "ok" { 0.0 } else { 1.0 };
            samples.record(field.metric, field.labels, failed);
        }
    }
    identity(info, samples);
    last_save(info, samples);
    replication(info, samples);
    databases(info, samples);
}

fn identity(info: &Info<'_>, samples: &mut Samples<'_>) {
    let role = if info.is_replica() {
        "replica"
    } else {
        "primary"
    };
    samples.record(const { id("redis.role") }, &[("role", role)], 1.0);
    let text = |field| info.text(field).unwrap_or("unknown");
    let labels = [
        ("version", text("redis_version")),
        ("mode", text("redis_mode")),
        ("allocator", text("mem_allocator")),
    ];
    samples.record(const { id("redis.server.info") }, &labels, 1.0);
}

/// The age of the last snapshot by the server's own clock.
fn last_save(info: &Info<'_>, samples: &mut Samples<'_>) {
    let now = info.number("server_time_usec").map(|now| now * US);
    let saved = info.number("rdb_last_save_time");
    if let (Some(now), Some(saved)) = (now, saved) {
        let age = (now - saved).max(0.0);
        samples.record(const { id("redis.rdb.last_save.age") }, &[], age);
    }
}

fn replication(info: &Info<'_>, samples: &mut Samples<'_>) {
    if let Some(link) = info.text("master_link_status") {
        let up = if link == "up" { 1.0 } else { 0.0 };
        samples.record(const { id("redis.replication.link_up") }, &[], up);
    }
    let offset = info.number("master_repl_offset");
    for replica in &info.replicas {
        let address = format!(
            "{}:{}",
            figure(replica, "ip").unwrap_or_default(),
            figure(replica, "port").unwrap_or_default()
        );
        let labels = [("replica", address.as_str())];
        if let (Some(offset), Some(acknowledged)) = (offset, figure_number(replica, "offset")) {
            let lag = (offset - acknowledged).max(0.0);
            samples.record(const { id("redis.replication.lag") }, &labels, lag);
        }
        if let Some(age) = figure_number(replica, "lag").filter(|age| *age >= 0.0) {
            samples.record(const { id("redis.replication.ack_age") }, &labels, age);
        }
    }
}

fn databases(info: &Info<'_>, samples: &mut Samples<'_>) {
    for (number, figures) in &info.databases {
        let number = number.to_string();
        let labels = [("db", number.as_str())];
        let rows = [
            ("keys", const { id("redis.db.keys") }, 1.0),
            ("expires", const { id("redis.db.expires") }, 1.0),
            ("avg_ttl", const { id("redis.db.avg_ttl") }, MS),
        ];
        for (figure, metric, scale) in rows {
            if let Some(value) = figure_number(figures, figure) {
                samples.record(metric, &labels, value * scale);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Row, rows, value};

    fn recorded(text: &str) -> Vec<Row> {
        let info = Info::parse(text);
        let record = |recorder: &mut Recorder| {
            let instance = "main";
            server(&info, &mut Samples { recorder, instance });
            Ok(())
        };
        rows(record).expect("recorded")
    }

    #[test]
    fn fields_become_samples_in_base_units() {
        let rows = recorded(
            "used_memory:1024\nlatest_fork_usec:1500\nexpired_stale_perc:2.50\nrdb_last_bgsave_status:err\n\
             rdb_last_bgsave_time_sec:-1\nserver_time_usec:5000000\nrdb_last_save_time:2\nredis_version:7.0.15\n\
             db3:keys=5,expires=2,avg_ttl=1500,subexpiry=0\n",
        );
        let main = "service.instance.id=main";
        assert_eq!(value(&rows, "redis.memory.used", main), 1024.0);
        assert_eq!(value(&rows, "redis.latest_fork", main), 0.0015);
        assert_eq!(value(&rows, "redis.keys.expired.stale_ratio", main), 0.025);
        assert_eq!(value(&rows, "redis.rdb.last_save.age", main), 3.0);
        let rdb = "persistence=rdb,service.instance.id=main";
        assert_eq!(value(&rows, "redis.persistence.failed", rdb), 1.0);
        assert!(!rows.iter().any(|row| row.0 == "redis.persistence.duration"));
        let db = "db=3,service.instance.id=main";
        assert_eq!(value(&rows, "redis.db.keys", db), 5.0);
        assert_eq!(value(&rows, "redis.db.expires", db), 2.0);
        assert_eq!(value(&rows, "redis.db.avg_ttl", db), 1.5);
        let role = "role=primary,service.instance.id=main";
        assert_eq!(value(&rows, "redis.role", role), 1.0);
    }

    #[test]
    fn the_lag_of_replicas_is_told_on_both_sides() {
        let primary = recorded(
            "role:master\nmaster_repl_offset:100\n\
             slave0:ip=10.0.0.2,port=6379,state=online,offset=60,lag=1\nslave1:ip=::1,port=1,state=wait_bgsave,offset=0,lag=-1\n",
        );
        let replica = "replica=10.0.0.2:6379,service.instance.id=main";
        assert_eq!(value(&primary, "redis.replication.lag", replica), 40.0);
        assert_eq!(value(&primary, "redis.replication.ack_age", replica), 1.0);
        let ages = primary
            .iter()
            .filter(|row| row.0 == "redis.replication.ack_age");
        assert_eq!(
            ages.count(),
            1,
            "a replica that synchronises has not acknowledged"
        );
        let replica = recorded(
            "role:slave\nmaster_link_status:down\nmaster_last_io_seconds_ago:-1\nslave_repl_offset:60\n",
        );
        let main = "service.instance.id=main";
        assert_eq!(value(&replica, "redis.replication.link_up", main), 0.0);
        assert_eq!(
            value(&replica, "redis.replication.replica_offset", main),
            60.0
        );
        let role = "role=replica,service.instance.id=main";
        assert_eq!(value(&replica, "redis.role", role), 1.0);
        assert!(
            !replica
                .iter()
                .any(|row| row.0 == "redis.replication.last_io")
        );
    }
}
