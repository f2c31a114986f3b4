-- id: live_points
-- kind: regression
-- reads: derived_series
-- why: The newest points of every series that can get worse, as one median for each step: what the
--   live look judges. `min_effect` is the least difference that counts, in the series' unit: a part of
--   the level is asked for besides (see the live look's options), and these are floors below which
--   even a tenfold change means nothing to anyone. `tells` says whether a series on its own is worth
--   a person's attention: errors, latency and saturation are, and resources that are nearly used up;
--   the others stand beside these as evidence. Driftline's own cost moves whenever the machine is
--   busy, and is left out.
-- parameters:
--   from timestamp: start, inclusive
--   until timestamp: end, exclusive
--   step_s integer = 10: length of a step in seconds
--   min_ratio float = 0.1: floor for shares of time or of a resource
--   min_seconds float = 0.005: floor for times
--   min_per_second float = 1.0: floor for counts per second
--   min_bytes float = 67108864.0: floor for memory and space
--   min_count float = 5.0: floor for everything that is counted
SELECT
    component, host, metric, labels, unit, better,
    CAST(ts AS BIGINT) / 1000000 / $step_s * $step_s AS at_s,
    list_median(array_agg(value)) AS value,
    CASE
        WHEN unit = '1' THEN $min_ratio
        WHEN unit = 's' THEN $min_seconds
        WHEN unit LIKE '%/s' THEN $min_per_second
        WHEN unit = 'By' THEN $min_bytes
        ELSE $min_count
    END AS min_effect,
    category IN ('errors', 'latency', 'saturation')
        OR category = 'utilisation' AND unit = '1' AS tells
FROM derived_series
WHERE ts >= $from AND ts < $until AND component <> 'driftline' AND better <> 'neither'
GROUP BY
    component, host, metric, labels, unit, better, category,
    CAST(ts AS BIGINT) / 1000000 / $step_s * $step_s
ORDER BY component, host, metric, labels, unit, at_s
