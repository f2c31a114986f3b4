-- id: a3_latency_at_flat_throughput
-- kind: recommendation
-- title: Limit how many requests are served at once
-- component: http
-- risk: medium
-- auto: approval
-- verify: signal_clears
-- undo: remove the limit
-- inputs: http/http.server.duration.quantile, http/http.server.requests
-- sources: own
-- every: 5m
-- reads: window_steps
-- why: Where the latency doubles while no more requests are answered, those beyond the capacity wait
--   in a queue. A limit turns them away or lets them wait where it costs nothing. The window's halves
--   are compared by the medians of their steps. What is saved is counted for the slowest hundredth
--   of the requests alone, which is less than the queue costs.
-- parameters:
--   slower float = 2.0: the 99th percentile of the later half over that of the earlier [own]
--   flat float = 0.1: by how much the throughput may differ to count as unchanged [own]
--   steps float = 20.0: fewer steps are too few to judge by [own]
WITH steps AS (
    SELECT
        host, label(labels, 'service.name') AS target, ts,
        max(mean) FILTER (
            WHERE metric = 'http.server.duration.quantile' AND label(labels, 'quantile') = '0.99'
        ) AS p99_s,
        sum(rate_per_s) FILTER (WHERE metric = 'http.server.requests') AS rate
    FROM window_steps
    WHERE component = 'http'
        AND metric IN ('http.server.duration.quantile', 'http.server.requests')
    GROUP BY host, label(labels, 'service.name'), ts
),
halves AS (
    SELECT
        *, ntile(2) OVER (PARTITION BY host, target ORDER BY ts) AS half
    FROM steps
    WHERE p99_s IS NOT NULL AND rate > 0.0
),
services AS (
    SELECT
        host, target, count(*) AS steps,
        list_median(array_agg(p99_s) FILTER (WHERE half = 1)) AS p99_before,
        list_median(array_agg(p99_s) FILTER (WHERE half = 2)) AS p99_after,
        list_median(array_agg(rate) FILTER (WHERE half = 1)) AS rate_before,
        list_median(array_agg(rate) FILTER (WHERE half = 2)) AS rate_after
    FROM halves
    GROUP BY host, target
)
SELECT
    host, target, 'requests' AS subject,
    'Limit how many requests ' || target || ' serves at once' AS advice,
    'p99 from ' || human(p99_before, 's') || ' to ' || human(p99_after, 's') || ' at '
        || human(rate_after, '{request}') || ' requests per second' AS evidence,
    0.01 * (p99_after - p99_before) * rate_after * 3600.0 AS saved_s_per_h,
    'E3' AS saved_method,
    1.0 - p99_before / p99_after AS predicted,
    0.4 AS confidence,
    CAST(NULL AS VARCHAR) AS action,
    p99_after / p99_before AS observed, $slower AS threshold, '1' AS unit
FROM services
WHERE steps >= $steps AND p99_after > $slower * p99_before
    AND abs(rate_after - rate_before) <= $flat * rate_before
