-- id: w3_fan_out
-- kind: recommendation
-- title: Spread the fan-out
-- component: websocket
-- risk: medium
-- auto: advice
-- verify: signal_clears
-- inputs: websocket/websocket.probe.fan_out.duration, websocket/websocket.probe.fan_out.deliveries
-- sources: own
-- every: 5m
-- reads: window_series, history_steps
-- why: A message that is sent to many subscribers one after the other reaches the last one late. When
--   that takes twice as long as it did, one sender no longer does. What is usual is the median of the
--   hours of the seven days before.
-- parameters:
--   slower float = 2.0: the 99th percentile over its usual value [own]
--   hours float = 24.0: fewer hours before do not say what is usual [own]
--   samples float = 10.0: fewer samples are too few to judge by [own]
WITH now AS (
    SELECT
        host, label(labels, 'service.name') AS target,
        max(mean) FILTER (
            WHERE metric = 'websocket.probe.fan_out.duration' AND label(labels, 'quantile') = '0.99'
        ) AS p99_s,
        max(n) FILTER (WHERE metric = 'websocket.probe.fan_out.duration') AS n,
        max(rate_per_s) FILTER (WHERE metric = 'websocket.probe.fan_out.deliveries') AS rate
    FROM window_series
    WHERE component = 'websocket' AND metric IN (
        'websocket.probe.fan_out.duration', 'websocket.probe.fan_out.deliveries'
    )
    GROUP BY host, label(labels, 'service.name')
),
before AS (
    SELECT
        host, label(labels, 'service.name') AS target, count(*) AS hours,
        list_median(array_agg(mean)) AS p99_s
    FROM history_steps
    WHERE component = 'websocket' AND metric = 'websocket.probe.fan_out.duration'
        AND label(labels, 'quantile') = '0.99'
    GROUP BY host, label(labels, 'service.name')
)
SELECT
    now.host, now.target, 'fan-out' AS subject,
    'Let several senders of ' || now.target || ' share the subscribers' AS advice,
    'p99 to the last subscriber ' || human(now.p99_s, 's') || ', usually ' || human(before.p99_s, 's')
        AS evidence,
    -- Of the probe's own deliveries: those of the service are not counted.
    0.01 * (now.p99_s - before.p99_s) * rate * 3600.0 AS saved_s_per_h,
    'E3' AS saved_method,
    1.0 - before.p99_s / now.p99_s AS predicted,
    0.4 AS confidence,
    CAST(NULL AS VARCHAR) AS action,
    now.p99_s / before.p99_s AS observed, $slower AS threshold, '1' AS unit
FROM now
JOIN before ON before.host = now.host AND before.target = now.target
WHERE n >= $samples AND hours >= $hours AND now.p99_s > $slower * before.p99_s
