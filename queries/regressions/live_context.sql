-- id: live_context
-- kind: regression
-- reads: minute_derived_series
-- why: Whether a level is usual at this time of day: on how many of the days before a series came as
--   far within a quarter of an hour of the same time. What a nightly backup does every night is no
--   onset.
-- parameters:
--   host text: where
--   component text: what is observed
--   metric text: the metric
--   labels text: its labels
--   from timestamp: where to begin to look, `days` and a half before the onset
--   at timestamp: the onset
--   level float: how far it went
--   up integer: 1 where it rose, 0 where it fell
--   days integer = 7: days before that are looked at
--   near_s integer = 900: how near to the same time of day
SELECT
    count(DISTINCT days_before) AS days,
    count(DISTINCT CASE
        WHEN $up = 1 AND value >= $level OR $up = 0 AND value <= $level THEN days_before
    END) AS days_as_far
FROM (
    SELECT
        value,
        (CAST($at AS BIGINT) - CAST(ts AS BIGINT) + 43200000000) / 86400000000 AS days_before,
        abs(
            (CAST($at AS BIGINT) - CAST(ts AS BIGINT) + 43200000000) % 86400000000 - 43200000000
        ) AS away_us
    FROM minute_derived_series
    WHERE host = $host AND component = $component AND metric = $metric AND labels = $labels
        AND ts < $at AND ts >= $from
)
WHERE days_before BETWEEN 1 AND $days AND away_us <= $near_s * 1000000
