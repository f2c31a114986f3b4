-- id: h2_cpu_waiting
-- kind: recommendation
-- title: Let fewer workers run at once
-- component: host
-- risk: medium
-- auto: approval
-- verify: signal_clears
-- undo: restore the recorded number of workers
-- inputs: host/system.pressure.stall_time, host/system.cpu.load_average.1m?, host/system.cpu.logical.count?
-- sources: own for pressure, to be calibrated; awesome-prometheus-alerts for load
-- every: 5m
-- reads: window_steps, window_series
-- why: Tasks that are ready and wait for a processor are the direct measure of too many at once;
--   fewer workers finish the same work with less switching. The load average alone counts tasks
--   that wait for disks too, so it only confirms. What is saved is the time in which some task
--   waited, above the threshold.
-- parameters:
--   stalled float = 0.2: the part of the time in which some task waits for a processor [own]
--   load_per_cpu float = 2.0: load average for each processor [awesome-prometheus-alerts]
--   for_s float = 290.0: seconds that it must last, five minutes less one sample [own]
WITH stalls AS (
    SELECT
        host,
        sum(seconds) AS seconds,
        sum(increase) / nullif(sum(seconds), 0.0) AS stalled,
        sum(seconds) FILTER (WHERE rate_per_s > $stalled) AS stalled_s
    FROM window_steps
    WHERE component = 'host' AND metric = 'system.pressure.stall_time'
        AND label(labels, 'system.pressure.resource') = 'cpu'
        AND label(labels, 'system.pressure.type') = 'some'
    GROUP BY host
),
loads AS (
    SELECT
        host,
        max(mean) FILTER (WHERE metric = 'system.cpu.load_average.1m') AS load,
        max(last) FILTER (WHERE metric = 'system.cpu.logical.count') AS cpus
    FROM window_series
    WHERE component = 'host'
        AND metric IN ('system.cpu.load_average.1m', 'system.cpu.logical.count')
    GROUP BY host
)
SELECT
    stalls.host, 'host' AS target, 'host' AS subject,
    'Lower the number of workers on ' || stalls.host
        || ' that run at once: tasks wait for a processor' AS advice,
    'some task waited ' || human(stalled, '1') || ' of the time'
        || coalesce(', load ' || human(load / cpus, '1') || ' of the processors', '') AS evidence,
    3600.0 * (stalled - $stalled) AS saved_s_per_h,
    'E4' AS saved_method,
    (stalled - $stalled) / stalled AS predicted,
    CASE WHEN load / cpus > $load_per_cpu THEN 0.7 ELSE 0.5 END AS confidence,
    CAST(NULL AS VARCHAR) AS action,
    stalled AS observed, $stalled AS threshold, '1' AS unit
FROM stalls
LEFT JOIN loads ON loads.host = stalls.host
WHERE stalled > $stalled AND stalled_s >= $for_s
