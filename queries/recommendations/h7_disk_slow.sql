-- id: h7_disk_slow
-- kind: recommendation
-- title: Move or cache what a slow disk serves
-- component: host
-- risk: medium
-- auto: advice
-- verify: signal_clears
-- inputs: host/system.disk.operation_time, host/system.disk.operations
-- sources: awesome-prometheus-alerts (host unusual disk read latency)
-- every: 5m
-- reads: window_series
-- why: Reads that take a tenth of a second each make whoever waits for them slow, whatever the
--   throughput. What is saved is the time above the threshold times the rate of the operations.
-- parameters:
--   latency_s float = 0.1: seconds that an operation takes on average [awesome-prometheus-alerts]
--   operations float = 100.0: fewer are too few to judge by [own]
WITH disks AS (
    SELECT
        host, label(labels, 'system.device') AS device,
        label(labels, 'disk.io.direction') AS direction,
        max(increase) FILTER (WHERE metric = 'system.disk.operation_time') AS busy_s,
        max(increase) FILTER (WHERE metric = 'system.disk.operations') AS operations,
        max(seconds) AS seconds
    FROM window_series
    WHERE component = 'host'
        AND metric IN ('system.disk.operation_time', 'system.disk.operations')
    GROUP BY host, label(labels, 'system.device'), label(labels, 'disk.io.direction')
)
SELECT
    host, 'host' AS target, device || ' ' || direction AS subject,
    'Move what is ' || CASE direction WHEN 'read' THEN 'read from ' ELSE 'written to ' END || device
        || ' on ' || host || ' to a faster disk, or cache it' AS advice,
    'a ' || direction || ' took ' || human(busy_s / operations, 's') || ' on average, over '
        || human(operations, '{operation}') || ' operations' AS evidence,
    (busy_s / operations - $latency_s) * operations / seconds * 3600.0 AS saved_s_per_h,
    'E4' AS saved_method,
    (busy_s / operations - $latency_s) / (busy_s / operations) AS predicted,
    0.5 AS confidence,
    CAST(NULL AS VARCHAR) AS action,
    busy_s / operations AS observed, $latency_s AS threshold, 's' AS unit
FROM disks
WHERE operations >= $operations AND seconds > 0.0 AND busy_s / operations > $latency_s
