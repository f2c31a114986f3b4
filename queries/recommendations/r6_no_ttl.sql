-- id: r6_no_ttl
-- kind: recommendation
-- title: Give the keys of a cache a time to live
-- component: redis
-- risk: high
-- auto: advice
-- verify: signal_clears
-- inputs: redis/redis.db.keys, redis/redis.db.expires
-- sources: own
-- every: 1h
-- reads: window_series
-- why: What is never deleted and never expires stays until it pushes out something better. A database
--   counts as a cache where most of its keys have a TTL; the others are then likely forgotten. They
--   may be there on purpose, which is why this is advice at high risk.
-- parameters:
--   share float = 0.2: the part of the keys without a TTL [own]
--   cache float = 0.5: the part of the keys with a TTL that makes a cache [own]
--   keys float = 1000.0: fewer keys are not worth it [own]
WITH databases AS (
    SELECT
        host, label(labels, 'service.instance.id') AS target, label(labels, 'db') AS db,
        max(last) FILTER (WHERE metric = 'redis.db.keys') AS keys,
        max(last) FILTER (WHERE metric = 'redis.db.expires') AS expires,
        min(n) AS n
    FROM window_series
    WHERE component = 'redis' AND metric IN ('redis.db.keys', 'redis.db.expires')
    GROUP BY host, label(labels, 'service.instance.id'), label(labels, 'db')
)
SELECT
    host, target, 'db ' || db AS subject,
    'Give the keys in database ' || db || ' of ' || target || ' that have no TTL one' AS advice,
    human((keys - expires) / keys, '1') || ' of ' || human(keys, '{key}') || ' keys never expire'
        AS evidence,
    CAST(NULL AS DOUBLE) AS saved_s_per_h,
    'E5' AS saved_method,
    1.0 - $share / ((keys - expires) / keys) AS predicted,
    0.4 AS confidence,
    CAST(NULL AS VARCHAR) AS action,
    (keys - expires) / keys AS observed, $share AS threshold, '1' AS unit
FROM databases
WHERE n >= 2 AND keys >= $keys AND expires >= $cache * keys AND keys - expires > $share * keys
