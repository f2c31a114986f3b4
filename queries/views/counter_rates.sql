-- id: counter_rates
-- kind: view
-- reads: samples, metrics
-- why: Counters are stored as they are read; what matters is how fast they grow. A counter that
--   starts again from zero counts from there, and one that steps back a little stands still.
SELECT ts, component, host, metric, labels, rate_per_s
FROM (
    SELECT
        ts, component, host, metric, labels,
        counter_rate(value, ts) OVER (
            PARTITION BY component, host, metric, labels ORDER BY ts
        ) AS rate_per_s
    FROM samples
    WHERE metric IN (SELECT metric FROM metrics WHERE kind = 'counter')
)
WHERE rate_per_s IS NOT NULL
