-- id: host_window
-- kind: baseline
-- reads: derived_series
-- why: What is usual for each series over a window: its middle, its spread and its tails, all
--   exact and untouched by a few wild values.
-- parameters:
--   from timestamp: start of the window, inclusive
--   until timestamp: end of the window, exclusive
WITH windows AS (
    SELECT
        component, host, metric, labels, unit, category, better, headline,
        array_agg(value ORDER BY ts) AS points
    FROM derived_series
    WHERE ts >= $from AND ts < $until
    GROUP BY component, host, metric, labels, unit, category, better, headline
)
SELECT
    component, host, metric, labels, unit, category, better, headline,
    CAST(cardinality(points) AS BIGINT) AS n,
    list_median(points) AS median,
    list_mad(points) AS mad,
    list_quantile(points, 0.05) AS p5,
    list_quantile(points, 0.50) AS p50,
    list_quantile(points, 0.95) AS p95,
    list_quantile(points, 0.99) AS p99
FROM windows
ORDER BY component, category, metric, labels, host
