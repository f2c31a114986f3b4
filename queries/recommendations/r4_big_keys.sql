-- id: r4_big_keys
-- kind: recommendation
-- title: Split big keys
-- component: redis
-- risk: medium
-- auto: advice
-- verify: signal_clears
-- inputs: redis/redis.key.memory?, redis/redis.key.length?
-- sources: RedisInsight (big keys, big sets and lists)
-- every: 1h
-- reads: window_series
-- why: While one client reads, copies or deletes a big key every other client waits. Keys are known by
--   a sample, so that what is not seen is not proved small. How often the key is read in whole is not
--   known, hence no time is claimed.
-- parameters:
--   bytes float = 100000.0: memory of one key [RedisInsight]
--   items float = 5000.0: items in one key [RedisInsight]
WITH patterns AS (
    SELECT
        host, label(labels, 'service.instance.id') AS target, label(labels, 'db') AS db,
        label(labels, 'pattern') AS pattern, label(labels, 'type') AS type,
        max(last) FILTER (WHERE metric = 'redis.key.memory') AS bytes,
        max(last) FILTER (WHERE metric = 'redis.key.length') AS items,
        max(n) AS n
    FROM window_series
    WHERE component = 'redis' AND metric IN ('redis.key.memory', 'redis.key.length')
    GROUP BY host, label(labels, 'service.instance.id'), label(labels, 'db'),
        label(labels, 'pattern'), label(labels, 'type')
)
SELECT
    host, target, 'db ' || db || ' ' || pattern AS subject,
    'Split ' || pattern || ' (' || type || ') into smaller keys, and delete it with UNLINK' AS advice,
    'the largest has ' || coalesce(human(bytes, 'By'), 'few bytes')
        || coalesce(' and ' || human(items, '{item}') || ' items', '') AS evidence,
    CAST(NULL AS DOUBLE) AS saved_s_per_h,
    'E4' AS saved_method,
    CAST(NULL AS DOUBLE) AS predicted,
    0.5 AS confidence,
    CAST(NULL AS VARCHAR) AS action,
    CASE WHEN bytes > $bytes THEN bytes ELSE items END AS observed,
    CASE WHEN bytes > $bytes THEN $bytes ELSE $items END AS threshold,
    CASE WHEN bytes > $bytes THEN 'By' ELSE '{item}' END AS unit
FROM patterns
WHERE n >= 2 AND (bytes > $bytes OR items > $items)
