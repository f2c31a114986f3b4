-- id: series_values
-- kind: baseline
-- reads: derived_series
-- why: Every series over a stretch of time, value by value and in no order: over rollups, whose rows
--   are as wide as a step, there is nothing left to reduce, and putting millions of rows in order in
--   SQL takes longer than gathering them by series.
-- parameters:
--   from timestamp: start, inclusive
--   until timestamp: end, exclusive
SELECT component, host, metric, labels, unit, better, CAST(ts AS BIGINT) / 1000000 AS at_s, value
FROM derived_series
WHERE ts >= $from AND ts < $until
