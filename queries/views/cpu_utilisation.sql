-- id: cpu_utilisation
-- kind: view
-- reads: counter_rates
-- why: The part of a host's processors that was busy, over all of them, and with what. Waiting
--   for a disk is not being busy.
WITH nanoseconds AS (
    SELECT
        ts, host, label(labels, 'cpu.mode') AS mode,
        -- Integers, so that the sums do not depend on the order of the rows.
        CAST(round(rate_per_s * 1e9) AS BIGINT) AS ns
    FROM counter_rates
    WHERE metric = 'system.cpu.time'
),
modes AS (
    SELECT
        ts, host,
        CAST(sum(ns) AS DOUBLE) AS total,
        CAST(coalesce(sum(ns) FILTER (WHERE mode NOT IN ('idle', 'iowait')), 0) AS DOUBLE) AS busy,
        CAST(coalesce(sum(ns) FILTER (WHERE mode IN ('user', 'nice')), 0) AS DOUBLE) AS user_ns,
        CAST(coalesce(sum(ns) FILTER (WHERE mode IN ('system', 'interrupt', 'softirq')), 0) AS DOUBLE) AS system_ns,
        CAST(coalesce(sum(ns) FILTER (WHERE mode = 'iowait'), 0) AS DOUBLE) AS iowait_ns,
        CAST(coalesce(sum(ns) FILTER (WHERE mode = 'steal'), 0) AS DOUBLE) AS steal_ns
    FROM nanoseconds
    GROUP BY ts, host
)
SELECT
    ts, host,
    busy / total AS utilisation,
    user_ns / total AS user_ratio,
    system_ns / total AS system_ratio,
    iowait_ns / total AS iowait_ratio,
    steal_ns / total AS steal_ratio
FROM modes
WHERE total > 0
