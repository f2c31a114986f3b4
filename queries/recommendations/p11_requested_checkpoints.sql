-- id: p11_requested_checkpoints
-- kind: recommendation
-- title: Raise max_wal_size
-- component: postgres
-- risk: low
-- auto: automatic
-- verify: signal_clears
-- undo: restore the recorded max_wal_size
-- inputs: postgres/postgresql.bgwriter.checkpoint.count, postgres/postgresql.setting.size, postgres/postgresql.wal.fpi?, postgres/postgresql.bgwriter.duration?
-- sources: awesome-prometheus-alerts (Postgresql too many checkpoints requested)
-- every: 1h
-- reads: window_series, postgres_settings
-- why: A checkpoint that is requested rather than scheduled came because the log had grown to
--   max_wal_size. After each, the first change of every block writes the whole block into the log,
--   so that checkpoints twice as rare halve that part of the log at most; that part of their writing
--   time is what is saved. The proposed value is twice what is set.
-- parameters:
--   requested float = 0.5: requested checkpoints as a part of all [awesome-prometheus-alerts]
--   checkpoints float = 4.0: fewer requested ones are too few to judge by [own]
--   most_bytes float = 68719476736.0: no more than this is proposed, 64 GiB [own]
--   page_s float = 0.00002: seconds that writing a whole block into the log takes [own: 400 MB/s]
WITH servers AS (
    SELECT
        host, label(labels, 'service.instance.id') AS target,
        max(seconds) / 3600.0 AS hours,
        sum(increase) FILTER (
            WHERE metric = 'postgresql.bgwriter.checkpoint.count'
                AND label(labels, 'postgresql.type') = 'requested'
        ) AS requested,
        sum(increase) FILTER (WHERE metric = 'postgresql.bgwriter.checkpoint.count') AS checkpoints,
        sum(increase) FILTER (WHERE metric = 'postgresql.wal.fpi') AS pages
    FROM window_series
    WHERE component = 'postgres'
        AND metric IN ('postgresql.bgwriter.checkpoint.count', 'postgresql.wal.fpi')
    GROUP BY host, label(labels, 'service.instance.id')
),
sizes AS (
    SELECT host, target, value FROM postgres_settings WHERE setting = 'max_wal_size'
)
SELECT
    servers.host, servers.target, 'max_wal_size' AS subject,
    'Raise max_wal_size of ' || servers.target || ' from ' || human(value, 'By') || ' to '
        || human(least(2.0 * value, $most_bytes), 'By') AS advice,
    human(requested, '{checkpoint}') || ' of ' || human(checkpoints, '{checkpoint}')
        || ' checkpoints came because the log was full'
        || coalesce(', ' || human(pages, '{page}') || ' whole pages logged', '') AS evidence,
    0.5 * pages * $page_s / hours AS saved_s_per_h,
    'E5' AS saved_method,
    (requested / checkpoints - $requested) / (requested / checkpoints) AS predicted,
    0.7 AS confidence,
    json_object(
        'kind', 'set_setting', 'setting', 'max_wal_size', 'value', least(2.0 * value, $most_bytes)
    ) AS action,
    requested / checkpoints AS observed, $requested AS threshold, '1' AS unit
FROM servers
JOIN sizes ON sizes.host = servers.host AND sizes.target = servers.target
WHERE requested >= $checkpoints AND requested > $requested * checkpoints AND value < $most_bytes
