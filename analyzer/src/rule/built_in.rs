//! The query files that the binary carries, by kind.

/// Views, baselines and regressions.
#[rustfmt::skip]
const QUERIES: &[(&str, &str)] = &[
    ("views/counter_rates.sql", include_str!("../../../queries/views/counter_rates.sql")),
    ("views/cpu_utilisation.sql", include_str!("../../../queries/views/cpu_utilisation.sql")),
    ("views/derived_series.sql", include_str!("../../../queries/views/derived_series.sql")),
    ("views/disk_latency.sql", include_str!("../../../queries/views/disk_latency.sql")),
    ("views/disk_throughput.sql", include_str!("../../../queries/views/disk_throughput.sql")),
    ("views/disk_utilisation.sql", include_str!("../../../queries/views/disk_utilisation.sql")),
    ("views/findings.sql", include_str!("../../../queries/views/findings.sql")),
    ("views/gaps.sql", include_str!("../../../queries/views/gaps.sql")),
    ("views/memory_available.sql", include_str!("../../../queries/views/memory_available.sql")),
    ("views/minute_counter_rates.sql", include_str!("../../../queries/views/minute_counter_rates.sql")),
    ("views/minute_samples.sql", include_str!("../../../queries/views/minute_samples.sql")),
    ("views/network_throughput.sql", include_str!("../../../queries/views/network_throughput.sql")),
    ("views/pressure.sql", include_str!("../../../queries/views/pressure.sql")),
    ("views/recommendations.sql", include_str!("../../../queries/views/recommendations.sql")),
    ("views/run_requests.sql", include_str!("../../../queries/views/run_requests.sql")),
    ("views/run_summary.sql", include_str!("../../../queries/views/run_summary.sql")),
    ("views/run_timeline.sql", include_str!("../../../queries/views/run_timeline.sql")),
    ("views/runs.sql", include_str!("../../../queries/views/runs.sql")),
    ("views/top_processes.sql", include_str!("../../../queries/views/top_processes.sql")),
    ("baselines/host_window.sql", include_str!("../../../queries/baselines/host_window.sql")),
    ("baselines/series_points.sql", include_str!("../../../queries/baselines/series_points.sql")),
    ("regressions/run_shift.sql", include_str!("../../../queries/regressions/run_shift.sql")),
    ("regressions/window_shift.sql", include_str!("../../../queries/regressions/window_shift.sql")),
];

/// Tables over the window, which recommendations share.
#[rustfmt::skip]
const WINDOWS: &[(&str, &str)] = &[
];

/// Recommendations about the host.
#[rustfmt::skip]
const HOST: &[(&str, &str)] = &[
];

/// Recommendations about PostgreSQL.
#[rustfmt::skip]
const POSTGRES: &[(&str, &str)] = &[
];

/// Recommendations about caches, WebSocket services and APIs.
#[rustfmt::skip]
const SERVICES: &[(&str, &str)] = &[
];

/// Every file: its path below `queries/`, and its text.
pub(super) fn files() -> impl Iterator<Item = (&'static str, &'static str)> {
    [QUERIES, WINDOWS, HOST, POSTGRES, SERVICES]
        .into_iter()
        .flatten()
        .copied()
}
