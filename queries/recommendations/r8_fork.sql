-- id: r8_fork
-- kind: recommendation
-- title: Fork less often
-- component: redis
-- risk: medium
-- auto: approval
-- verify: signal_clears
-- undo: restore the recorded schedule of snapshots
-- inputs: redis/redis.latest_fork, redis/redis.memory.used, redis/redis.forks
-- sources: Redis (LATENCY DOCTOR)
-- every: 1h
-- reads: window_series
-- why: A snapshot begins with a fork, which stops the server while its page tables are copied. How fast
--   that goes is judged by the memory in use for each second of it. Small servers fork in no time
--   whatever the rate. What is saved is what each fork takes beyond the threshold.
-- parameters:
--   bytes_per_s float = 10000000000.0: memory forked in a second, below which it is slow [Redis, LATENCY DOCTOR]
--   fork_s float = 0.01: shorter stops are not worth it [own]
WITH servers AS (
    SELECT
        host, label(labels, 'service.instance.id') AS target,
        max(last) FILTER (WHERE metric = 'redis.latest_fork') AS fork_s,
        max(mean) FILTER (WHERE metric = 'redis.memory.used') AS used,
        max(increase) FILTER (WHERE metric = 'redis.forks') AS forks,
        max(seconds) / 3600.0 AS hours
    FROM window_series
    WHERE component = 'redis'
        AND metric IN ('redis.latest_fork', 'redis.memory.used', 'redis.forks')
    GROUP BY host, label(labels, 'service.instance.id')
)
SELECT
    host, target, 'fork' AS subject,
    'Let ' || target || ' take snapshots less often, or at quiet times' AS advice,
    human(forks, '{fork}') || ' forks, the last one stopped the server for ' || human(fork_s, 's')
        || ' at ' || human(used, 'By') AS evidence,
    forks / hours * (fork_s - used / $bytes_per_s) AS saved_s_per_h,
    'E4' AS saved_method,
    CAST(NULL AS DOUBLE) AS predicted,
    0.5 AS confidence,
    CAST(NULL AS VARCHAR) AS action,
    used / fork_s AS observed, $bytes_per_s AS threshold, 'By/s' AS unit
FROM servers
WHERE hours > 0.0 AND forks > 0.0 AND fork_s >= $fork_s AND used < $bytes_per_s * fork_s
