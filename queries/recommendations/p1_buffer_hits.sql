-- id: p1_buffer_hits
-- kind: recommendation
-- title: Read fewer blocks from disk: indexes first, then shared_buffers
-- component: postgres
-- risk: medium
-- auto: approval
-- verify: work_per_call
-- undo: restore the recorded shared_buffers and restart
-- inputs: postgres/postgresql.blks_hit, postgres/postgresql.blks_read, postgres/postgresql.block.time?, postgres/postgresql.setting.size?
-- sources: PGHero (cache hit rate)
-- every: 1h
-- reads: window_series, postgres_settings
-- why: Blocks that are not in the buffer cache come from the kernel or from a disk. A missing index
--   is the usual reason, and more buffers only hide it, so indexes come first. shared_buffers takes
--   effect after a restart, which is why nothing is prepared here. What is saved are the misses
--   above the threshold times what a miss cost, where the server measures that (track_io_timing).
-- parameters:
--   hit_ratio float = 0.99: the part of the blocks that is found in the cache [PGHero]
--   blocks float = 10000.0: fewer blocks in the window are too few to judge by [own]
--   miss_s float = 0.0001: seconds that a miss costs where it is not measured [own: one read of a solid-state disk]
WITH databases AS (
    SELECT
        host,
        label(labels, 'service.instance.id') AS target,
        label(labels, 'postgresql.database.name') AS database,
        max(seconds) / 3600.0 AS hours,
        max(increase) FILTER (WHERE metric = 'postgresql.blks_hit') AS hits,
        max(increase) FILTER (WHERE metric = 'postgresql.blks_read') AS misses,
        max(increase) FILTER (
            WHERE metric = 'postgresql.block.time' AND label(labels, 'disk.io.direction') = 'read'
        ) AS read_s
    FROM window_series
    WHERE component = 'postgres'
        AND metric IN ('postgresql.blks_hit', 'postgresql.blks_read', 'postgresql.block.time')
    GROUP BY host, label(labels, 'service.instance.id'), label(labels, 'postgresql.database.name')
),
judged AS (
    SELECT
        *, hits / (hits + misses) AS hit_ratio,
        CASE WHEN read_s > 0.0 THEN read_s / misses ELSE $miss_s END AS cost_s
    FROM databases
    WHERE hits + misses >= $blocks AND hours > 0.0
),
buffers AS (
    SELECT host, target, value FROM postgres_settings WHERE setting = 'shared_buffers'
)
SELECT
    judged.host, judged.target, database AS subject,
    'Find the statements of ' || database || ' that read most blocks and index what they look for; '
        || 'only then raise shared_buffers'
        || coalesce(' from ' || human(buffers.value, 'By'), '') AS advice,
    human(hit_ratio, '1') || ' of ' || human(hits + misses, '{block}')
        || ' blocks were in the cache, a miss cost ' || human(cost_s, 's')
        || CASE WHEN read_s > 0.0 THEN '' ELSE ' (assumed)' END AS evidence,
    (($hit_ratio - hit_ratio) * (hits + misses)) * cost_s / hours AS saved_s_per_h,
    'E2' AS saved_method,
    CAST(NULL AS DOUBLE) AS predicted,
    CASE WHEN read_s > 0.0 THEN 0.5 ELSE 0.3 END AS confidence,
    CAST(NULL AS VARCHAR) AS action,
    hit_ratio AS observed, $hit_ratio AS threshold, '1' AS unit
FROM judged
LEFT JOIN buffers ON buffers.host = judged.host AND buffers.target = judged.target
WHERE hit_ratio < $hit_ratio
