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
    ("views/baselines.sql", include_str!("../../../queries/views/baselines.sql")),
    ("views/findings.sql", include_str!("../../../queries/views/findings.sql")),
    ("views/gaps.sql", include_str!("../../../queries/views/gaps.sql")),
    ("views/hour_counter_rates.sql", include_str!("../../../queries/views/hour_counter_rates.sql")),
    ("views/hour_samples.sql", include_str!("../../../queries/views/hour_samples.sql")),
    ("views/memory_available.sql", include_str!("../../../queries/views/memory_available.sql")),
    ("views/minute_counter_rates.sql", include_str!("../../../queries/views/minute_counter_rates.sql")),
    ("views/minute_samples.sql", include_str!("../../../queries/views/minute_samples.sql")),
    ("views/network_throughput.sql", include_str!("../../../queries/views/network_throughput.sql")),
    ("views/pressure.sql", include_str!("../../../queries/views/pressure.sql")),
    ("views/actions.sql", include_str!("../../../queries/views/actions.sql")),
    ("views/recommendations.sql", include_str!("../../../queries/views/recommendations.sql")),
    ("views/run_requests.sql", include_str!("../../../queries/views/run_requests.sql")),
    ("views/run_summary.sql", include_str!("../../../queries/views/run_summary.sql")),
    ("views/run_timeline.sql", include_str!("../../../queries/views/run_timeline.sql")),
    ("views/runs.sql", include_str!("../../../queries/views/runs.sql")),
    ("views/top_processes.sql", include_str!("../../../queries/views/top_processes.sql")),
    ("baselines/host_window.sql", include_str!("../../../queries/baselines/host_window.sql")),
    ("baselines/series_points.sql", include_str!("../../../queries/baselines/series_points.sql")),
    ("baselines/series_values.sql", include_str!("../../../queries/baselines/series_values.sql")),
    ("regressions/live_context.sql", include_str!("../../../queries/regressions/live_context.sql")),
    ("regressions/live_points.sql", include_str!("../../../queries/regressions/live_points.sql")),
    ("regressions/run_shift.sql", include_str!("../../../queries/regressions/run_shift.sql")),
    ("regressions/window_shift.sql", include_str!("../../../queries/regressions/window_shift.sql")),
];

/// Tables over the window, which recommendations share.
#[rustfmt::skip]
const WINDOWS: &[(&str, &str)] = &[
    ("windows/postgres_first_seen.sql", include_str!("../../../queries/windows/postgres_first_seen.sql")),
    ("windows/postgres_settings.sql", include_str!("../../../queries/windows/postgres_settings.sql")),
    ("windows/postgres_statement_history.sql", include_str!("../../../queries/windows/postgres_statement_history.sql")),
    ("windows/postgres_statements.sql", include_str!("../../../queries/windows/postgres_statements.sql")),
    ("windows/postgres_tables.sql", include_str!("../../../queries/windows/postgres_tables.sql")),
    ("windows/statement_texts.sql", include_str!("../../../queries/windows/statement_texts.sql")),
];

/// Recommendations about the host.
#[rustfmt::skip]
const HOST: &[(&str, &str)] = &[
    ("recommendations/h1_cpu_busy.sql", include_str!("../../../queries/recommendations/h1_cpu_busy.sql")),
    ("recommendations/h2_cpu_waiting.sql", include_str!("../../../queries/recommendations/h2_cpu_waiting.sql")),
    ("recommendations/h3_memory_stalls.sql", include_str!("../../../queries/recommendations/h3_memory_stalls.sql")),
    ("recommendations/h4_swapping.sql", include_str!("../../../queries/recommendations/h4_swapping.sql")),
    ("recommendations/h5_memory_short.sql", include_str!("../../../queries/recommendations/h5_memory_short.sql")),
    ("recommendations/h6_disk_saturated.sql", include_str!("../../../queries/recommendations/h6_disk_saturated.sql")),
    ("recommendations/h7_disk_slow.sql", include_str!("../../../queries/recommendations/h7_disk_slow.sql")),
    ("recommendations/h8_network_drops.sql", include_str!("../../../queries/recommendations/h8_network_drops.sql")),
    ("recommendations/h9_file_handles.sql", include_str!("../../../queries/recommendations/h9_file_handles.sql")),
];

/// Recommendations about PostgreSQL.
#[rustfmt::skip]
const POSTGRES: &[(&str, &str)] = &[
    ("recommendations/p1_buffer_hits.sql", include_str!("../../../queries/recommendations/p1_buffer_hits.sql")),
    ("recommendations/p2_missing_index.sql", include_str!("../../../queries/recommendations/p2_missing_index.sql")),
    ("recommendations/p3_unused_index.sql", include_str!("../../../queries/recommendations/p3_unused_index.sql")),
    ("recommendations/p4_duplicate_index.sql", include_str!("../../../queries/recommendations/p4_duplicate_index.sql")),
    ("recommendations/p5_dead_rows.sql", include_str!("../../../queries/recommendations/p5_dead_rows.sql")),
    ("recommendations/p6_bloat.sql", include_str!("../../../queries/recommendations/p6_bloat.sql")),
    ("recommendations/p7_stale_statistics.sql", include_str!("../../../queries/recommendations/p7_stale_statistics.sql")),
    ("recommendations/p8_long_transaction.sql", include_str!("../../../queries/recommendations/p8_long_transaction.sql")),
    ("recommendations/p9_lock_waits.sql", include_str!("../../../queries/recommendations/p9_lock_waits.sql")),
    ("recommendations/p10_temp_files.sql", include_str!("../../../queries/recommendations/p10_temp_files.sql")),
    ("recommendations/p11_requested_checkpoints.sql", include_str!("../../../queries/recommendations/p11_requested_checkpoints.sql")),
    ("recommendations/p12_connections.sql", include_str!("../../../queries/recommendations/p12_connections.sql")),
    ("recommendations/p13_short_sessions.sql", include_str!("../../../queries/recommendations/p13_short_sessions.sql")),
    ("recommendations/p14_slow_statement.sql", include_str!("../../../queries/recommendations/p14_slow_statement.sql")),
    ("recommendations/p15_regressed_statement.sql", include_str!("../../../queries/recommendations/p15_regressed_statement.sql")),
    ("recommendations/p16_n_plus_one.sql", include_str!("../../../queries/recommendations/p16_n_plus_one.sql")),
    ("recommendations/p17_plan_change.sql", include_str!("../../../queries/recommendations/p17_plan_change.sql")),
    ("recommendations/p18_hot_updates.sql", include_str!("../../../queries/recommendations/p18_hot_updates.sql")),
];

/// Recommendations about caches, WebSocket services and APIs.
#[rustfmt::skip]
const SERVICES: &[(&str, &str)] = &[
    ("recommendations/a1_burn_rate.sql", include_str!("../../../queries/recommendations/a1_burn_rate.sql")),
    ("recommendations/a2_server_errors.sql", include_str!("../../../queries/recommendations/a2_server_errors.sql")),
    ("recommendations/a3_latency_at_flat_throughput.sql", include_str!("../../../queries/recommendations/a3_latency_at_flat_throughput.sql")),
    ("recommendations/a4_identical_answers.sql", include_str!("../../../queries/recommendations/a4_identical_answers.sql")),
    ("recommendations/a5_retries.sql", include_str!("../../../queries/recommendations/a5_retries.sql")),
    ("recommendations/r10_hot_key.sql", include_str!("../../../queries/recommendations/r10_hot_key.sql")),
    ("recommendations/r11_pipelining.sql", include_str!("../../../queries/recommendations/r11_pipelining.sql")),
    ("recommendations/r1_hit_ratio.sql", include_str!("../../../queries/recommendations/r1_hit_ratio.sql")),
    ("recommendations/r2_evictions.sql", include_str!("../../../queries/recommendations/r2_evictions.sql")),
    ("recommendations/r3_fragmentation.sql", include_str!("../../../queries/recommendations/r3_fragmentation.sql")),
    ("recommendations/r4_big_keys.sql", include_str!("../../../queries/recommendations/r4_big_keys.sql")),
    ("recommendations/r5_slow_commands.sql", include_str!("../../../queries/recommendations/r5_slow_commands.sql")),
    ("recommendations/r6_no_ttl.sql", include_str!("../../../queries/recommendations/r6_no_ttl.sql")),
    ("recommendations/r7_no_eviction.sql", include_str!("../../../queries/recommendations/r7_no_eviction.sql")),
    ("recommendations/r8_fork.sql", include_str!("../../../queries/recommendations/r8_fork.sql")),
    ("recommendations/r9_connections.sql", include_str!("../../../queries/recommendations/r9_connections.sql")),
    ("recommendations/w1_handshakes.sql", include_str!("../../../queries/recommendations/w1_handshakes.sql")),
    ("recommendations/w2_slow_consumers.sql", include_str!("../../../queries/recommendations/w2_slow_consumers.sql")),
    ("recommendations/w3_fan_out.sql", include_str!("../../../queries/recommendations/w3_fan_out.sql")),
    ("recommendations/w4_reconnects.sql", include_str!("../../../queries/recommendations/w4_reconnects.sql")),
];

/// Every file: its path below `queries/`, and its text.
pub(super) fn files() -> impl Iterator<Item = (&'static str, &'static str)> {
    [QUERIES, WINDOWS, HOST, POSTGRES, SERVICES]
        .into_iter()
        .flatten()
        .copied()
}
