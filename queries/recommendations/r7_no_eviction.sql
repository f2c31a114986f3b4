-- id: r7_no_eviction
-- kind: recommendation
-- title: Let a full cache evict
-- component: redis
-- risk: medium
-- auto: approval
-- verify: hit_ratio
-- undo: restore the recorded maxmemory-policy
-- inputs: redis/redis.errors?, redis/redis.setting, redis/redis.db.keys, redis/redis.db.expires
-- sources: Redis (key eviction); own for what counts as a cache
-- every: 5m
-- reads: window_series
-- why: A server that may not evict refuses writes when it is full. In a cache that is never wanted; in
--   a store it is the only right thing. A server counts as a cache where most of its keys have a
--   TTL, which a person must confirm: keys without one could be evicted too.
-- parameters:
--   refused float = 0.0: writes refused in the window because memory was full [Redis]
--   cache float = 0.5: the part of the keys with a TTL that makes a cache [own]
WITH servers AS (
    SELECT
        host, label(labels, 'service.instance.id') AS target,
        sum(increase) FILTER (
            WHERE metric = 'redis.errors' AND label(labels, 'error.type') = 'OOM'
        ) AS refused,
        max(seconds) FILTER (WHERE metric = 'redis.errors') / 3600.0 AS hours,
        sum(last) FILTER (WHERE metric = 'redis.db.keys') AS keys,
        sum(last) FILTER (WHERE metric = 'redis.db.expires') AS expires,
        count(*) FILTER (
            WHERE metric = 'redis.setting' AND label(labels, 'setting') = 'maxmemory-policy'
                AND label(labels, 'value') = 'noeviction'
        ) AS noeviction
    FROM window_series
    WHERE component = 'redis'
        AND metric IN ('redis.errors', 'redis.setting', 'redis.db.keys', 'redis.db.expires')
    GROUP BY host, label(labels, 'service.instance.id')
)
SELECT
    host, target, 'maxmemory-policy' AS subject,
    'Let ' || target || ' evict what is asked for least: maxmemory-policy allkeys-lfu' AS advice,
    human(refused, '{error}') || ' writes refused, ' || human(expires / keys, '1')
        || ' of the keys have a TTL' AS evidence,
    CAST(NULL AS DOUBLE) AS saved_s_per_h,
    'E2' AS saved_method,
    CAST(NULL AS DOUBLE) AS predicted,
    0.5 AS confidence,
    json_object(
        'kind', 'redis_config_set', 'parameter', 'maxmemory-policy', 'value', 'allkeys-lfu'
    ) AS action,
    refused AS observed, $refused AS threshold, '{error}' AS unit
FROM servers
WHERE noeviction > 0 AND hours > 0.0 AND keys > 0.0 AND refused > $refused AND expires >= $cache * keys
