-- id: disk_throughput
-- kind: view
-- reads: counter_rates
-- why: How much a disk moves, by direction, and in how many operations.
SELECT
    ts, host,
    label(labels, 'system.device') AS device,
    label(labels, 'disk.io.direction') AS direction,
    max(rate_per_s) FILTER (WHERE metric = 'system.disk.io') AS bytes_per_s,
    max(rate_per_s) FILTER (WHERE metric = 'system.disk.operations') AS operations_per_s
FROM counter_rates
WHERE metric IN ('system.disk.io', 'system.disk.operations')
GROUP BY ts, host, labels
