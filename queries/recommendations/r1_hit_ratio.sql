-- id: r1_hit_ratio
-- kind: recommendation
-- title: Let the cache hit more often
-- component: redis
-- risk: low
-- auto: advice
-- verify: hit_ratio
-- inputs: redis/redis.keyspace.hits, redis/redis.keyspace.misses, redis/redis.sample.lookups?
-- sources: own
-- every: 5m
-- reads: window_series
-- why: Each miss costs a query of the backend. Which remedy is right depends on why keys are missing:
--   never loaded (warm the hottest), gone too early (longer TTL), or pushed out (more memory, which a
--   rule of its own says). The collector's own lookups are left out. Which keys to warm is known only
--   from a trace, so no action is prepared here.
-- parameters:
--   hit_ratio float = 0.8: the part of the lookups that finds its key [own]
--   lookups float = 1000.0: fewer lookups in the window are too few to judge by [own]
--   miss_s float = 0.001: seconds that a miss costs its client [own: one query by a key]
WITH servers AS (
    SELECT
        host, label(labels, 'service.instance.id') AS target, max(seconds) / 3600.0 AS hours,
        greatest(
            max(increase) FILTER (WHERE metric = 'redis.keyspace.hits')
                - coalesce(max(increase) FILTER (WHERE metric = 'redis.sample.lookups'), 0.0), 0.0
        ) AS hits,
        max(increase) FILTER (WHERE metric = 'redis.keyspace.misses') AS misses
    FROM window_series
    WHERE component = 'redis'
        AND metric IN ('redis.keyspace.hits', 'redis.keyspace.misses', 'redis.sample.lookups')
    GROUP BY host, label(labels, 'service.instance.id')
)
SELECT
    host, target, 'keyspace' AS subject,
    'Warm the hottest keys of ' || target || ', or let them live longer' AS advice,
    human(hits / (hits + misses), '1') || ' of ' || human(hits + misses, '{lookup}')
        || ' lookups found their key' AS evidence,
    ($hit_ratio * (hits + misses) - hits) * $miss_s / hours AS saved_s_per_h,
    'E2' AS saved_method,
    $hit_ratio - hits / (hits + misses) AS predicted,
    0.4 AS confidence,
    CAST(NULL AS VARCHAR) AS action,
    hits / (hits + misses) AS observed, $hit_ratio AS threshold, '1' AS unit
FROM servers
WHERE hours > 0.0 AND hits + misses >= $lookups AND hits < $hit_ratio * (hits + misses)
