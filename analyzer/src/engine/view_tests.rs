//! Every view over rows whose answer is known.

use driftline_schemas::SampleBatch;

use crate::testing::{Row, S, T0, ask, engine, lake, samples};

/// `seconds` of rows, made from the second's number.
fn ticks<'a, const N: usize>(seconds: i64, rows: impl Fn(i64) -> [Row<'a>; N]) -> SampleBatch {
    samples((0..seconds).flat_map(rows))
}

fn at(s: i64) -> i64 {
    T0 + s * S
}

async fn answers(batch: SampleBatch, sql: &str) -> Vec<String> {
    let (_dir, lake) = lake(&[batch], &[]);
    ask(&engine(lake).await, sql).await
}

#[tokio::test]
async fn cpu_utilisation_is_the_busy_part_of_all_processors() {
    // Two processors: one 60 % user, one 20 % system and 20 % waiting for a disk; the rest idle.
    let cpu = "system.cpu.time";
    let batch = ticks(3, |s| {
        let grown = |rate: f64| rate * s as f64;
        [
            (
                cpu,
                &[("cpu.logical_number", "0"), ("cpu.mode", "user")],
                at(s),
                grown(0.6),
            ),
            (
                cpu,
                &[("cpu.logical_number", "0"), ("cpu.mode", "idle")],
                at(s),
                grown(0.4),
            ),
            (
                cpu,
                &[("cpu.logical_number", "1"), ("cpu.mode", "system")],
                at(s),
                grown(0.2),
            ),
            (
                cpu,
                &[("cpu.logical_number", "1"), ("cpu.mode", "iowait")],
                at(s),
                grown(0.2),
            ),
            (
                cpu,
                &[("cpu.logical_number", "1"), ("cpu.mode", "idle")],
                at(s),
                grown(0.6),
            ),
        ]
    });
    let sql = "SELECT round(utilisation, 6), round(user_ratio, 6), round(system_ratio, 6), \
               round(iowait_ratio, 6), steal_ratio FROM cpu_utilisation ORDER BY ts";
    assert_eq!(answers(batch, sql).await, ["0.4|0.3|0.1|0.1|0.0"; 2]);
}

#[tokio::test]
async fn disks_have_latency_throughput_and_utilisation() {
    const WRITE: &[(&str, &str)] = &[("system.device", "vda"), ("disk.io.direction", "write")];
    const DISK: &[(&str, &str)] = &[("system.device", "vda")];
    // 20 writes of 4 KiB in the second, 5 ms each; none in the last one.
    let batch = ticks(4, |s| {
        let done = s.min(2) as f64;
        [
            ("system.disk.operations", WRITE, at(s), 20.0 * done),
            ("system.disk.operation_time", WRITE, at(s), 0.1 * done),
            ("system.disk.io", WRITE, at(s), 81_920.0 * done),
            ("system.disk.io_time", DISK, at(s), 0.08 * done),
            ("system.disk.weighted_io_time", DISK, at(s), 0.1 * done),
        ]
    });
    let latency = "SELECT device, direction, round(latency_s, 6), operations_per_s FROM disk_latency ORDER BY ts";
    assert_eq!(
        answers(batch.clone(), latency).await,
        ["vda|write|0.005|20.0"; 2]
    );
    let throughput =
        "SELECT device, direction, bytes_per_s, operations_per_s FROM disk_throughput ORDER BY ts";
    let busy = "vda|write|81920.0|20.0";
    assert_eq!(
        answers(batch.clone(), throughput).await,
        [busy, busy, "vda|write|0.0|0.0"]
    );
    let utilisation = "SELECT device, round(utilisation, 6), round(queue_length, 6) FROM disk_utilisation ORDER BY ts";
    assert_eq!(
        answers(batch, utilisation).await,
        ["vda|0.08|0.1", "vda|0.08|0.1", "vda|0.0|0.0"]
    );
}

#[tokio::test]
async fn memory_network_and_pressure() {
    const RECEIVE: &[(&str, &str)] = &[
        ("network.interface.name", "eth0"),
        ("network.io.direction", "receive"),
    ];
    const STALL: &[(&str, &str)] = &[
        ("system.pressure.resource", "io"),
        ("system.pressure.type", "some"),
    ];
    let batch = ticks(2, |s| {
        [
            ("system.memory.linux.available", [].as_slice(), at(s), 2e9),
            ("system.memory.limit", &[], at(s), 8e9),
            ("system.network.io", RECEIVE, at(s), 1_000.0 * s as f64),
            (
                "system.network.packet.count",
                RECEIVE,
                at(s),
                10.0 * s as f64,
            ),
            ("system.network.errors", RECEIVE, at(s), 0.0),
            (
                "system.network.packet.dropped",
                RECEIVE,
                at(s),
                2.0 * s as f64,
            ),
            ("system.pressure.stall_time", STALL, at(s), 0.25 * s as f64),
        ]
    });
    let memory = "SELECT available_bytes, available_ratio FROM memory_available";
    assert_eq!(
        answers(batch.clone(), memory).await,
        ["2000000000.0|0.25"; 2]
    );
    let network = "SELECT interface, direction, bytes_per_s, packets_per_s, errors_per_s, drops_per_s FROM network_throughput";
    assert_eq!(
        answers(batch.clone(), network).await,
        ["eth0|receive|1000.0|10.0|0.0|2.0"]
    );
    let pressure = "SELECT resource, type, stalled_ratio FROM pressure";
    assert_eq!(answers(batch, pressure).await, ["io|some|0.25"]);
}

#[tokio::test]
async fn top_processes_add_their_modes() {
    const USER: &[(&str, &str)] = &[
        ("process.pid", "7"),
        ("process.executable.name", "postgres"),
        ("cpu.mode", "user"),
    ];
    const SYSTEM: &[(&str, &str)] = &[
        ("process.pid", "7"),
        ("process.executable.name", "postgres"),
        ("cpu.mode", "system"),
    ];
    const PLAIN: &[(&str, &str)] = &[
        ("process.pid", "7"),
        ("process.executable.name", "postgres"),
    ];
    let batch = ticks(2, |s| {
        [
            ("process.cpu.time", USER, at(s), 0.5 * s as f64),
            ("process.cpu.time", SYSTEM, at(s), 0.25 * s as f64),
            ("process.memory.usage", PLAIN, at(s), 1e6),
        ]
    });
    let sql = "SELECT pid, executable, cpu, memory_bytes FROM top_processes ORDER BY ts";
    assert_eq!(
        answers(batch, sql).await,
        ["7|postgres|null|1000000.0", "7|postgres|0.75|1000000.0"]
    );
}

#[tokio::test]
async fn gaps_are_found_by_the_clock_that_every_tick_carries() {
    let seconds = (0..10).chain(15..20);
    let rows = seconds.map(|s| ("system.uptime", [].as_slice(), at(s), s as f64));
    let sql = "SELECT host, missing_s, reason, last_ts, next_ts FROM gaps";
    let want = "h1|5.0|null|2023-11-15T00:00:09Z|2023-11-15T00:00:15Z";
    assert_eq!(answers(samples(rows), sql).await, [want]);
}

#[tokio::test]
async fn derived_series_judge_gauges_as_they_are_and_counters_as_rates() {
    const RECEIVE: &[(&str, &str)] = &[
        ("network.interface.name", "eth0"),
        ("network.io.direction", "receive"),
    ];
    const MODE: &[(&str, &str)] = &[("cpu.logical_number", "0"), ("cpu.mode", "user")];
    let batch = ticks(2, |s| {
        [
            ("system.memory.linux.available", [].as_slice(), at(s), 2e9),
            ("system.uptime", &[], at(s), s as f64),
            ("system.network.io", RECEIVE, at(s), 1_000.0 * s as f64),
            ("system.cpu.time", MODE, at(s), s as f64),
            ("process.memory.usage", &[("process.pid", "1")], at(s), 1.0),
        ]
    });
    let sql = "SELECT metric, unit, category, better, headline, count(*), max(value) \
               FROM derived_series WHERE labels NOT LIKE 'cpu.mode=%' GROUP BY 1, 2, 3, 4, 5 ORDER BY 1";
    let want = [
        "system.cpu.utilization|1|utilisation|lower|true|1|1.0",
        "system.memory.linux.available|By|utilisation|higher|true|2|2000000000.0",
        "system.network.io|By/s|throughput|neither|true|1|1000.0",
    ];
    assert_eq!(answers(batch, sql).await, want);
}
