-- id: r2_evictions
-- kind: recommendation
-- title: Give the cache more memory
-- component: redis
-- risk: medium
-- auto: automatic
-- verify: hit_ratio
-- undo: restore the recorded maxmemory
-- inputs: redis/redis.keys.evicted, redis/redis.memory.used, redis/redis.maxmemory, host/system.memory.linux.available?, host/system.memory.limit?
-- sources: awesome-prometheus-alerts (Redis out of configured maxmemory)
-- every: 5m
-- reads: window_series
-- why: Keys that are pushed out will be missed again, some of them at once. More memory is only to be
--   had where the host has some: an action is prepared where more than a quarter of it is available
--   and the step leaves that. The host is that of the collector, which must be the server's own. At
--   most one miss for each evicted key is counted as saved.
-- parameters:
--   used float = 0.9: the part of maxmemory that is used [awesome-prometheus-alerts]
--   available float = 0.25: the part of the host's memory that must be available [own]
--   growth float = 0.25: by how much of itself maxmemory is raised [own]
--   evicted float = 10.0: fewer evicted keys in the window are too few to act upon [own]
--   miss_s float = 0.001: seconds that a miss costs its client [own: one query by a key]
WITH servers AS (
    SELECT
        host, label(labels, 'service.instance.id') AS target, max(seconds) / 3600.0 AS hours,
        max(increase) FILTER (WHERE metric = 'redis.keys.evicted') AS evicted,
        max(mean) FILTER (WHERE metric = 'redis.memory.used') AS used,
        max(last) FILTER (WHERE metric = 'redis.maxmemory') AS most
    FROM window_series
    WHERE component = 'redis'
        AND metric IN ('redis.keys.evicted', 'redis.memory.used', 'redis.maxmemory')
    GROUP BY host, label(labels, 'service.instance.id')
),
hosts AS (
    SELECT
        host,
        max(min) FILTER (WHERE metric = 'system.memory.linux.available') AS available,
        max(last) FILTER (WHERE metric = 'system.memory.limit') AS total
    FROM window_series
    WHERE component = 'host' AND metric IN ('system.memory.linux.available', 'system.memory.limit')
    GROUP BY host
),
judged AS (
    SELECT
        servers.*,
        -- Whole mebibytes, so that the action stays the same while the figures move.
        CAST(floor(most * (1.0 + $growth) / 1048576.0) AS BIGINT) * 1048576 AS wanted,
        coalesce(available - $growth * most > $available * total, false) AS room
    FROM servers
    LEFT JOIN hosts ON hosts.host = servers.host
    WHERE most > 0.0 AND used > $used * most AND evicted >= $evicted AND hours > 0.0
)
SELECT
    host, target, 'maxmemory' AS subject,
    CASE WHEN room THEN 'Raise maxmemory of ' || target || ' to ' || human(wanted, 'By')
        ELSE 'Give ' || target || ' more memory, or keep less in it: its host has none to spare, or is not known'
        END AS advice,
    human(evicted, '{key}') || ' keys evicted, ' || human(used, 'By') || ' of '
        || human(most, 'By') || ' used' AS evidence,
    evicted * $miss_s / hours AS saved_s_per_h,
    'E2' AS saved_method,
    CAST(NULL AS DOUBLE) AS predicted,
    CASE WHEN room THEN 0.6 ELSE 0.4 END AS confidence,
    CASE WHEN room THEN json_object(
        'kind', 'redis_config_set', 'parameter', 'maxmemory', 'value', CAST(wanted AS VARCHAR)
    ) END AS action,
    used / most AS observed, $used AS threshold, '1' AS unit
FROM judged
