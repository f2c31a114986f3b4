-- id: run_shift
-- kind: regression
-- reads: run_requests, runs
-- why: Whether load run b was slower, faster, or failed more than run a, endpoint by endpoint, by how
--   much, and how sure that is. Each run is cut into slices by when the schedule wanted its
--   requests, long enough for each slice to hold as many requests as its quantile needs; the shift
--   is between the slices of b and those of a, so that requests that wait behind one another count
--   as the few independent observations that they are. A shift counts when it is significant after
--   Benjamini and Hochberg's correction for the number of comparisons, and when even the near end of
--   its interval exceeds a minimum effect, which for shares of failures is in points of percent.
--   `detectable_pct` is the least effect that would have been seen four times out of five: the half
--   width of the interval, times (z(99.5 %) + z(80 %)) / z(99.5 %) = 1.327. Fewer than six slices on
--   a side are too little: of five and five, only the one most extreme arrangement reaches 99 %.
-- parameters:
--   run_a text: the run to compare with
--   run_b text: the run that is judged
--   confidence float = 0.99: of the interval, and 1 less the false discovery rate
--   min_effect_pct float = 2.0: changes below this part of run a's level do not count
--   min_errors_pct float = 0.1: changes of the share of failures below this do not count
--   min_slices integer = 6: fewer on either side are too little to judge
WITH operations AS (
    SELECT
        run_requests.run, endpoint, latency_ms, succeeded, answered,
        (CAST(run_requests.ts AS BIGINT) - CAST(runs.started AS BIGINT) - runs.warm_up_us) / 1000000
            AS second
    FROM run_requests
    JOIN runs ON runs.run = run_requests.run
    WHERE run_requests.run IN ($run_a, $run_b)
),
scopes AS (
    SELECT run, endpoint, second, latency_ms, succeeded, answered FROM operations
    UNION ALL
    SELECT run, '' AS endpoint, second, latency_ms, succeeded, answered FROM operations
),
-- How long a slice must be is decided by the run with fewer requests, for both alike.
paces AS (
    SELECT endpoint, min(per_second) AS per_second
    FROM (
        SELECT run, endpoint, count(*) / CAST(max(second) - min(second) + 1 AS DOUBLE) AS per_second
        FROM scopes
        GROUP BY run, endpoint
    )
    GROUP BY endpoint
    HAVING count(*) = 2
),
quantities AS (
    SELECT * FROM (VALUES
        ('p50', 0.5, 20.0, 'ms', 'lower'),
        ('p95', 0.95, 60.0, 'ms', 'lower'),
        ('p99', 0.99, 200.0, 'ms', 'lower'),
        ('error_rate', 0.0, 50.0, '1', 'lower'),
        ('rate', 0.0, 1.0, '{operation}/s', 'higher')
    ) AS quantities (metric, share, needs, unit, better)
),
slices AS (
    SELECT
        scopes.run, scopes.endpoint, metric, share, unit, better, width,
        second / width AS slice,
        array_agg(latency_ms) AS latencies,
        count(*) AS operations,
        sum(CASE WHEN succeeded THEN 0 ELSE 1 END) AS failed,
        sum(CASE WHEN answered THEN 1 ELSE 0 END) AS answered
    FROM scopes
    JOIN (
        SELECT
            endpoint, metric, share, unit, better,
            greatest(1, CAST(ceil(needs / per_second) AS BIGINT)) AS width
        FROM paces
        CROSS JOIN quantities
    ) AS widths ON widths.endpoint = scopes.endpoint
    GROUP BY scopes.run, scopes.endpoint, metric, share, unit, better, width, second / width
),
points AS (
    SELECT
        run, endpoint, metric, unit, better, slice,
        CASE metric
            WHEN 'error_rate' THEN CAST(failed AS DOUBLE) / operations
            WHEN 'rate' THEN CAST(answered AS DOUBLE) / width
            ELSE list_quantile(latencies, share)
        END AS value
    FROM slices
),
-- The last slice of a run is seldom whole.
whole AS (
    SELECT points.*
    FROM points
    JOIN (SELECT run, endpoint, metric, max(slice) AS last FROM points GROUP BY run, endpoint, metric) AS ends
        ON ends.run = points.run AND ends.endpoint = points.endpoint AND ends.metric = points.metric
    WHERE points.slice < ends.last
),
pairs AS (
    SELECT
        endpoint, metric, unit, better,
        array_agg(value ORDER BY slice) FILTER (WHERE run = $run_a) AS a,
        array_agg(value ORDER BY slice) FILTER (WHERE run = $run_b) AS b
    FROM whole
    GROUP BY endpoint, metric, unit, better
),
tested AS (
    SELECT
        *, shift(a, b, $confidence) AS s,
        list_median(a) AS median_a, list_median(b) AS median_b
    FROM pairs
),
judged AS (
    SELECT
        endpoint, metric, unit, better, median_a, median_b,
        s['shift'] AS shift, s['ci_lo'] AS ci_lo, s['ci_hi'] AS ci_hi,
        s['p_value'] AS p_raw, s['n_a'] AS n_a, s['n_b'] AS n_b,
        s['n_a'] >= $min_slices AND s['n_b'] >= $min_slices
            AND s['ci_lo'] IS NOT NULL AND s['ci_hi'] IS NOT NULL AS enough,
        CASE unit
            WHEN '1' THEN $min_errors_pct / 100.0
            ELSE $min_effect_pct / 100.0 * abs(median_a)
        END AS min_effect
    FROM tested
),
ranked AS (
    SELECT
        *, count(*) OVER () AS tests,
        row_number() OVER (ORDER BY p_raw, endpoint, metric) AS rank
    FROM judged
    WHERE enough
),
corrected AS (
    SELECT
        endpoint, metric,
        min(least(1.0, p_raw * (CAST(tests AS DOUBLE) / rank))) OVER (
            ORDER BY rank DESC ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
        ) AS p_value
    FROM ranked
)
SELECT
    judged.endpoint, judged.metric, unit, better, median_a, median_b, shift, ci_lo, ci_hi,
    corrected.p_value, n_a, n_b,
    100.0 * shift / nullif(abs(median_a), 0.0) AS effect_pct,
    100.0 * ci_lo / nullif(abs(median_a), 0.0) AS effect_lo_pct,
    100.0 * ci_hi / nullif(abs(median_a), 0.0) AS effect_hi_pct,
    100.0 * 1.327 * (ci_hi - ci_lo) / 2.0
        / nullif(CASE unit WHEN '1' THEN 1.0 ELSE abs(median_a) END, 0.0) AS detectable_pct,
    CASE
        WHEN NOT coalesce(enough, false) THEN 'too little data'
        WHEN corrected.p_value > 1.0 - $confidence THEN 'no change'
        WHEN ci_lo <= min_effect AND ci_hi >= -min_effect THEN 'no change'
        WHEN (better = 'lower') = (shift > 0.0) THEN 'regression'
        ELSE 'improvement'
    END AS verdict
FROM judged
LEFT JOIN corrected
    ON corrected.endpoint = judged.endpoint AND corrected.metric = judged.metric
ORDER BY
    judged.endpoint,
    CASE judged.metric
        WHEN 'p50' THEN 0 WHEN 'p95' THEN 1 WHEN 'p99' THEN 2 WHEN 'error_rate' THEN 3 ELSE 4
    END
