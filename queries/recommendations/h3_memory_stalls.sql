-- id: h3_memory_stalls
-- kind: recommendation
-- title: Make caches smaller, or give the host more memory
-- component: host
-- risk: medium
-- auto: advice
-- verify: signal_clears
-- inputs: host/system.pressure.stall_time, host/system.memory.linux.available?, host/system.memory.limit?
-- sources: Coroot (memory pressure)
-- every: 5m
-- reads: window_steps, window_series
-- why: Tasks that wait for memory wait for pages to be reclaimed or read again: caches are larger
--   than what is left for them. What is saved is the time in which some task waited, above the
--   threshold.
-- parameters:
--   stalled float = 0.02: the part of the time in which some task waits for memory [Coroot]
--   for_s float = 290.0: seconds that it must last, five minutes less one sample [own]
WITH stalls AS (
    SELECT
        host,
        sum(increase) / nullif(sum(seconds), 0.0) AS stalled,
        sum(seconds) FILTER (WHERE rate_per_s > $stalled) AS stalled_s
    FROM window_steps
    WHERE component = 'host' AND metric = 'system.pressure.stall_time'
        AND label(labels, 'system.pressure.resource') = 'memory'
        AND label(labels, 'system.pressure.type') = 'some'
    GROUP BY host
),
memory AS (
    SELECT
        host,
        max(mean) FILTER (WHERE metric = 'system.memory.linux.available') AS available,
        max(last) FILTER (WHERE metric = 'system.memory.limit') AS total
    FROM window_series
    WHERE component = 'host'
        AND metric IN ('system.memory.linux.available', 'system.memory.limit')
    GROUP BY host
)
SELECT
    stalls.host, 'host' AS target, 'host' AS subject,
    'Shrink the caches on ' || stalls.host || ' or add memory: tasks wait for it' AS advice,
    'some task waited ' || human(stalled, '1') || ' of the time for memory'
        || coalesce(', ' || human(available, 'By') || ' of ' || human(total, 'By')
            || ' were available', '') AS evidence,
    3600.0 * (stalled - $stalled) AS saved_s_per_h,
    'E4' AS saved_method,
    (stalled - $stalled) / stalled AS predicted,
    0.6 AS confidence,
    CAST(NULL AS VARCHAR) AS action,
    stalled AS observed, $stalled AS threshold, '1' AS unit
FROM stalls
LEFT JOIN memory ON memory.host = stalls.host
WHERE stalled > $stalled AND stalled_s >= $for_s
