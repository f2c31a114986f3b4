-- id: h4_swapping
-- kind: recommendation
-- title: Add memory, or lower the limits of what uses it
-- component: host
-- risk: medium
-- auto: advice
-- verify: signal_clears
-- inputs: host/system.paging.faults, host/system.paging.usage?
-- sources: awesome-prometheus-alerts (host swap is filling up, host memory under memory pressure)
-- every: 5m
-- reads: window_steps, window_series
-- why: A major fault waits for a disk where memory was meant to answer, and a swap space that fills
--   up is the last step before processes are killed. What is saved counts each fault above the
--   threshold as one read of a fast disk, so it is a lower bound.
-- parameters:
--   faults_per_s float = 1000.0: major faults in a second [awesome-prometheus-alerts]
--   swap_used float = 0.8: the part of the swap space that is used [awesome-prometheus-alerts]
--   for_s float = 110.0: seconds that it must last, two minutes less one sample [awesome-prometheus-alerts]
--   fault_s float = 0.0001: seconds that one fault waits [own: one read of a solid-state disk]
WITH faults AS (
    SELECT
        host,
        sum(increase) / nullif(sum(seconds), 0.0) AS faults_per_s,
        sum(seconds) FILTER (WHERE rate_per_s > $faults_per_s) AS faulting_s
    FROM window_steps
    WHERE component = 'host' AND metric = 'system.paging.faults'
        AND label(labels, 'system.paging.fault.type') = 'major'
    GROUP BY host
),
swaps AS (
    SELECT
        host,
        sum(mean) FILTER (WHERE label(labels, 'system.paging.state') = 'used')
            / nullif(sum(mean), 0.0) AS used,
        max(n) AS n
    FROM window_series
    WHERE component = 'host' AND metric = 'system.paging.usage'
    GROUP BY host
),
hosts AS (
    SELECT
        faults.host, faults_per_s, used,
        faults_per_s > $faults_per_s AND faulting_s >= $for_s AS faulting,
        used > $swap_used AND n >= 10 AS filling
    FROM faults
    LEFT JOIN swaps ON swaps.host = faults.host
)
SELECT
    host, 'host' AS target, 'host' AS subject,
    'Add memory to ' || host || ' or lower the limits of what runs there: '
        || CASE WHEN faulting THEN 'it waits for pages from disk' ELSE 'its swap space fills up' END
        AS advice,
    human(faults_per_s, '{fault}') || ' major faults per second'
        || coalesce(', ' || human(used, '1') || ' of the swap space used', '') AS evidence,
    CASE WHEN faulting THEN (faults_per_s - $faults_per_s) * $fault_s * 3600.0 END AS saved_s_per_h,
    CASE WHEN faulting THEN 'E4' ELSE 'E5' END AS saved_method,
    CASE WHEN faulting THEN (faults_per_s - $faults_per_s) / faults_per_s
        ELSE (used - $swap_used) / used END AS predicted,
    CASE WHEN faulting THEN 0.6 ELSE 0.5 END AS confidence,
    CAST(NULL AS VARCHAR) AS action,
    CASE WHEN faulting THEN faults_per_s ELSE used END AS observed,
    CASE WHEN faulting THEN $faults_per_s ELSE $swap_used END AS threshold,
    CASE WHEN faulting THEN '{fault}/s' ELSE '1' END AS unit
FROM hosts
WHERE faulting OR filling
