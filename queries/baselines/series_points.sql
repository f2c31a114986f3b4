-- id: series_points
-- kind: baseline
-- reads: derived_series
-- why: Every series over a stretch of time, as one median for each step of it: what lasting changes
--   are looked for in. The median, because one odd second must not move a point.
-- parameters:
--   from timestamp: start, inclusive
--   until timestamp: end, exclusive
--   step_s integer = 60: length of a step in seconds
SELECT
    component, host, metric, labels, unit, category, better,
    CAST(ts AS BIGINT) / 1000000 / $step_s * $step_s AS at_s,
    list_median(array_agg(value)) AS value
FROM derived_series
WHERE ts >= $from AND ts < $until
GROUP BY
    component, host, metric, labels, unit, category, better,
    CAST(ts AS BIGINT) / 1000000 / $step_s * $step_s
ORDER BY component, host, metric, labels, unit, at_s
