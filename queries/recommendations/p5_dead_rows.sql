-- id: p5_dead_rows
-- kind: recommendation
-- title: Vacuum a table
-- component: postgres
-- risk: low
-- auto: automatic
-- verify: work_per_call
-- undo: nothing to undo; table options that were set are reset
-- inputs: postgres/postgresql.rows, postgres/postgresql.table.estimated_rows, postgres/postgresql.table.size?, postgres/postgresql.blocks_read?, postgres/postgresql.table.dead_space.ratio?, postgres/postgresql.table.vacuum.count?, postgres/postgresql.table.vacuum.age?, postgres/postgresql.xmin.age?, postgres/postgresql.transaction.duration.max?
-- sources: awesome-prometheus-alerts (Postgresql dead tuples ratio)
-- every: 1h
-- reads: postgres_tables, window_series
-- why: Dead rows fill blocks that every scan reads. The server's count of them overstates (83 % where
--   a look into the table found 16 %), so the share that pgstattuple measured goes first where it is
--   there. Live rows are the planner's estimate, because a reset of the statistics zeroes the other
--   count. Where an old snapshot holds vacuum back, a vacuum removes nothing and none is prepared:
--   the snapshot must go. That is so where the snapshot is many transactions old, and where rows
--   stayed dead although a vacuum came after the oldest transaction had begun. What is saved is the
--   dead share of the table's blocks that were read.
-- parameters:
--   dead float = 0.1: dead rows as a part of all [awesome-prometheus-alerts]
--   rows float = 10000.0: fewer dead rows are not worth a vacuum [awesome-prometheus-alerts]
--   held_back float = 1000000.0: transactions by which the oldest snapshot holds vacuum back [own]
--   hit_s float = 0.000001: seconds that a block in the cache costs [own]
--   miss_s float = 0.0001: seconds that a block from disk costs [own: one read of a solid-state disk]
WITH servers AS (
    SELECT
        host, label(labels, 'service.instance.id') AS target,
        max(last) FILTER (WHERE metric = 'postgresql.xmin.age') AS xmin_age,
        max(last) FILTER (WHERE metric = 'postgresql.transaction.duration.max') AS open_s
    FROM window_series
    WHERE component = 'postgres'
        AND metric IN ('postgresql.xmin.age', 'postgresql.transaction.duration.max')
    GROUP BY host, label(labels, 'service.instance.id')
),
tables AS (
    SELECT
        postgres_tables.*,
        coalesce(dead_ratio, dead_rows / nullif(estimated_rows + dead_rows, 0.0)) AS dead,
        coalesce(xmin_age > $held_back, false)
            OR coalesce(xmin_age > 0.0 AND vacuum_age_s < open_s, false) AS is_held_back
    FROM postgres_tables
    LEFT JOIN servers ON servers.host = postgres_tables.host AND servers.target = postgres_tables.target
)
SELECT
    host, target, database || '.' || schema || '.' || name AS subject,
    CASE WHEN is_held_back
        THEN 'End the oldest transaction of ' || target || ', which keeps vacuum from cleaning '
            || schema || '.' || name
        ELSE 'Vacuum ' || schema || '.' || name
            || CASE WHEN autovacuums > 0.0
                THEN ', and lower its autovacuum_vacuum_scale_factor: autovacuum comes too late'
                ELSE '' END
    END AS advice,
    human(dead_rows, '{row}') || ' dead rows'
        || CASE WHEN dead_ratio IS NULL THEN ', ' || human(dead, '1') || ' of all by the server''s count'
            ELSE ' by the server''s count, ' || human(dead, '1') || ' of the space as measured' END
        || coalesce(', table of ' || human(bytes, 'By'), '') AS evidence,
    (heap_hits * $hit_s + heap_reads * $miss_s) * dead / nullif(hours, 0.0) AS saved_s_per_h,
    'E5' AS saved_method,
    CASE WHEN dead_ratio IS NOT NULL THEN dead END AS predicted,
    CASE WHEN dead_ratio IS NOT NULL THEN 0.7 ELSE 0.4 END AS confidence,
    CASE WHEN NOT is_held_back
        THEN json_object('kind', 'vacuum', 'table', named_struct('schema', schema, 'name', name))
    END AS action,
    dead AS observed, $dead AS threshold, '1' AS unit
FROM tables
WHERE dead >= $dead AND dead_rows > $rows
