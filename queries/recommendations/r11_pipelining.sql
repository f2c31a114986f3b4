-- id: r11_pipelining
-- kind: recommendation
-- title: Send commands in pipelines
-- component: redis
-- risk: medium
-- auto: advice
-- verify: work_per_call
-- inputs: redis/redis.commands.processed, redis/redis.net.reads
-- sources: Redis (pipelining); own for the thresholds
-- every: 1h
-- reads: window_series
-- why: A command alone in its network read costs the server a system call to read and one to answer,
--   which take longer than most commands. It also costs its client a round trip, of which nothing is
--   counted here since the clients' part is not seen.
-- parameters:
--   per_read float = 1.1: commands for each network read, below which none are sent together [own]
--   rate float = 5000.0: commands in a second that make it worth while [own]
--   calls_s float = 0.00001: seconds of the server that two system calls take [own]
WITH servers AS (
    SELECT
        host, label(labels, 'service.instance.id') AS target,
        max(increase) FILTER (WHERE metric = 'redis.commands.processed') AS commands,
        max(rate_per_s) FILTER (WHERE metric = 'redis.commands.processed') AS rate,
        max(increase) FILTER (WHERE metric = 'redis.net.reads') AS reads,
        min(n) AS n
    FROM window_series
    WHERE component = 'redis' AND metric IN ('redis.commands.processed', 'redis.net.reads')
    GROUP BY host, label(labels, 'service.instance.id')
)
SELECT
    host, target, 'commands' AS subject,
    'Let the clients of ' || target || ' send several commands at once' AS advice,
    human(rate, '{command}') || ' commands per second, ' || human(commands / reads, '{command}')
        || ' in each network read' AS evidence,
    0.5 * rate * 3600.0 * $calls_s AS saved_s_per_h,
    'E3' AS saved_method,
    CAST(NULL AS DOUBLE) AS predicted,
    0.4 AS confidence,
    CAST(NULL AS VARCHAR) AS action,
    commands / reads AS observed, $per_read AS threshold, '{command}' AS unit
FROM servers
WHERE n >= 10 AND reads > 0.0 AND rate > $rate AND commands < $per_read * reads
