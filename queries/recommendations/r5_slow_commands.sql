-- id: r5_slow_commands
-- kind: recommendation
-- title: Replace slow commands
-- component: redis
-- risk: medium
-- auto: advice
-- verify: signal_clears
-- inputs: redis/redis.cmd.latency, redis/redis.cmd.calls, redis/redis.slowlog.slowest?
-- sources: Coroot (Redis latency)
-- every: 5m
-- reads: window_series
-- why: The server runs one command at a time, so that a slow one makes all others wait. Its latencies
--   are those since its start: they count only for commands that were called in the window. What is
--   saved is the slowest hundredth of the calls, down to the threshold.
-- parameters:
--   slow_s float = 0.005: the 99th percentile of a command's time [Coroot]
--   calls float = 100.0: fewer calls in the window are too few to judge by [own]
WITH commands AS (
    SELECT
        host, label(labels, 'service.instance.id') AS target, label(labels, 'cmd') AS cmd,
        max(last) FILTER (
            WHERE metric = 'redis.cmd.latency' AND label(labels, 'percentile') = 'p99'
        ) AS p99_s,
        max(increase) FILTER (WHERE metric = 'redis.cmd.calls') AS calls,
        max(seconds) FILTER (WHERE metric = 'redis.cmd.calls') / 3600.0 AS hours,
        max(max) FILTER (WHERE metric = 'redis.slowlog.slowest') AS slowest_s
    FROM window_series
    WHERE component = 'redis'
        AND metric IN ('redis.cmd.latency', 'redis.cmd.calls', 'redis.slowlog.slowest')
    GROUP BY host, label(labels, 'service.instance.id'), label(labels, 'cmd')
)
SELECT
    host, target, cmd AS subject,
    'Replace ' || upper(cmd) || ' of ' || target || ', for KEYS by SCAN, or let it see fewer items'
        AS advice,
    'p99 ' || human(p99_s, 's') || ' of ' || human(calls, '{call}') || ' calls'
        || coalesce(', the slowest ' || human(slowest_s, 's'), '') AS evidence,
    0.01 * calls * (p99_s - $slow_s) / hours AS saved_s_per_h,
    'E4' AS saved_method,
    1.0 - $slow_s / p99_s AS predicted,
    0.5 AS confidence,
    CAST(NULL AS VARCHAR) AS action,
    p99_s AS observed, $slow_s AS threshold, 's' AS unit
FROM commands
WHERE calls >= $calls AND hours > 0.0 AND p99_s > $slow_s
