-- id: derived_series
-- kind: view
-- reads: samples, metrics, counter_rates, cpu_utilisation, disk_latency, disk_utilisation
-- why: Every series in the form in which it can be judged: gauges as they are, counters as rates,
--   and the ratios that raw counters only hint at. `headline` marks those that a person looks at
--   first. Processes are left out, because they come and go (see top_processes), and so are
--   limits, which do not measure anything.
SELECT
    ts, 'host' AS component, host, 'system.cpu.utilization' AS metric, parts.labels,
    '1' AS unit, parts.category, parts.better, parts.labels = '' AS headline,
    CASE parts.labels
        WHEN 'cpu.mode=iowait' THEN iowait_ratio
        WHEN 'cpu.mode=system' THEN system_ratio
        WHEN 'cpu.mode=user' THEN user_ratio
        ELSE utilisation
    END AS value
FROM cpu_utilisation
CROSS JOIN (
    VALUES
        ('', 'utilisation', 'lower'),
        ('cpu.mode=iowait', 'saturation', 'lower'),
        -- What the processors were busy with is neither good nor bad.
        ('cpu.mode=system', 'utilisation', 'neither'),
        ('cpu.mode=user', 'utilisation', 'neither')
) AS parts (labels, category, better)
UNION ALL
SELECT
    ts, 'host', host, 'system.disk.latency', labels,
    's', 'latency', 'lower', true, latency_s
FROM disk_latency
UNION ALL
SELECT
    ts, 'host', host, 'system.disk.utilization', labels,
    '1', 'utilisation', 'lower', true, utilisation
FROM disk_utilisation
WHERE utilisation IS NOT NULL
UNION ALL
SELECT
    rates.ts, rates.component, rates.host, rates.metric, rates.labels,
    CASE metrics.unit WHEN 's' THEN '1' ELSE metrics.unit || '/s' END,
    metrics.category, metrics.better,
    rates.metric IN (
        'system.disk.io', 'system.network.io', 'system.pressure.stall_time',
        'system.network.tcp.retransmits', 'system.paging.faults', 'system.memory.oom_kills'
    ),
    rates.rate_per_s
FROM counter_rates AS rates
JOIN metrics ON metrics.component = rates.component AND metrics.metric = rates.metric
WHERE rates.component <> 'process'
    AND rates.metric NOT IN (
        'system.cpu.time', 'system.disk.operation_time', 'system.disk.flush.operation_time',
        'system.disk.io_time'
    )
UNION ALL
SELECT
    samples.ts, samples.component, samples.host, samples.metric, samples.labels,
    metrics.unit, metrics.category, metrics.better,
    samples.metric IN (
        'system.memory.linux.available', 'system.cpu.load_average.1m',
        'system.disk.pending_operations'
    ),
    samples.value
FROM samples
JOIN metrics ON metrics.component = samples.component AND metrics.metric = samples.metric
WHERE metrics.kind = 'gauge'
    AND samples.component <> 'process'
    AND samples.metric NOT IN (
        'system.uptime', 'system.cpu.logical.count', 'system.memory.limit',
        'system.filesystem.limit', 'system.file_handle.limit', 'cgroup.memory.limit',
        'cgroup.task.limit', 'system.pressure.stall_ratio'
    )
