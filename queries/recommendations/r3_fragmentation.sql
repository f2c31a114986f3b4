-- id: r3_fragmentation
-- kind: recommendation
-- title: Defragment memory
-- component: redis
-- risk: medium
-- auto: approval
-- verify: signal_clears
-- undo: restore the recorded activedefrag
-- inputs: redis/redis.memory.fragmentation_ratio, redis/redis.memory.fragmentation
-- sources: Redis (MEMORY DOCTOR)
-- every: 1h
-- reads: window_series
-- why: Memory that the operating system has given and that holds no data is lost to the cache. The
--   ratio alone says nothing of a small server, so the bytes count too, less what any process takes
--   for itself: a server with next to no data has ten times as much memory as data, and nothing to
--   win back. What it costs in time cannot be said.
-- parameters:
--   ratio float = 1.4: what the system has given over what is allocated [Redis, MEMORY DOCTOR]
--   bytes float = 10485760.0: fewer bytes are not worth it [Redis, MEMORY DOCTOR]
--   process_bytes float = 16777216.0: bytes of a process beside its data [own: 11 to 12 MB were measured on small servers]
--   samples float = 10.0: fewer samples are too few to judge by [own]
WITH servers AS (
    SELECT
        host, label(labels, 'service.instance.id') AS target,
        max(mean) FILTER (WHERE metric = 'redis.memory.fragmentation_ratio') AS ratio,
        max(mean) FILTER (WHERE metric = 'redis.memory.fragmentation') - $process_bytes AS bytes,
        min(n) AS n
    FROM window_series
    WHERE component = 'redis'
        AND metric IN ('redis.memory.fragmentation_ratio', 'redis.memory.fragmentation')
    GROUP BY host, label(labels, 'service.instance.id')
)
SELECT
    host, target, 'memory' AS subject,
    'Switch on activedefrag of ' || target || ' to win back ' || human(bytes, 'By') AS advice,
    human(bytes, 'By') || ' lie between the data, ' || human(ratio, '{ratio}') || ' bytes for each that is allocated'
        AS evidence,
    CAST(NULL AS DOUBLE) AS saved_s_per_h,
    'E5' AS saved_method,
    1.0 - $ratio / ratio AS predicted,
    0.6 AS confidence,
    json_object('kind', 'redis_config_set', 'parameter', 'activedefrag', 'value', 'yes') AS action,
    ratio AS observed, $ratio AS threshold, '1' AS unit
FROM servers
WHERE n >= $samples AND ratio > $ratio AND bytes > $bytes
