-- id: disk_latency
-- kind: view
-- reads: counter_rates
-- why: How long a disk's operations took on average since the sample before, by direction.
--   Seconds in which there was none have no latency and no row.
WITH rates AS (
    SELECT
        ts, host, labels,
        max(rate_per_s) FILTER (WHERE metric = 'system.disk.operation_time') AS busy_s_per_s,
        max(rate_per_s) FILTER (WHERE metric = 'system.disk.operations') AS operations_per_s
    FROM counter_rates
    WHERE metric IN ('system.disk.operation_time', 'system.disk.operations')
    GROUP BY ts, host, labels
)
SELECT
    ts, host, labels,
    label(labels, 'system.device') AS device,
    label(labels, 'disk.io.direction') AS direction,
    busy_s_per_s / operations_per_s AS latency_s,
    operations_per_s
FROM rates
WHERE operations_per_s > 0 AND busy_s_per_s IS NOT NULL
