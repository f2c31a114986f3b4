-- id: hour_counter_rates
-- kind: view
-- reads: samples_1h, metrics
-- why: Growth per second of each counter in each hour, between the hour's first sample and its last.
--   An hour in which a counter began anew has none.
SELECT
    rolled.ts, rolled.component, rolled.host, rolled.metric, rolled.labels,
    (rolled.last - rolled.first)
        / (CAST(CAST(rolled.last_ts AS BIGINT) - CAST(rolled.first_ts AS BIGINT) AS DOUBLE) / 1e6)
        AS rate_per_s
FROM samples_1h AS rolled
JOIN metrics ON metrics.component = rolled.component AND metrics.metric = rolled.metric
WHERE metrics.kind = 'counter'
    AND rolled.last_ts > rolled.first_ts
    AND rolled.min >= rolled.first
    AND rolled.max <= rolled.last
