-- id: postgres_tables
-- kind: window
-- reads: window_series
-- why: What happened to each table in the window and how it stands at its end, one row each. The
--   rows that the planner knows (`estimated_rows`) are right even after the counters were reset.
SELECT
    host,
    label(labels, 'service.instance.id') AS target,
    label(labels, 'postgresql.database.name') AS database,
    label(labels, 'postgresql.schema.name') AS schema,
    label(labels, 'postgresql.table.name') AS name,
    max(seconds) / 3600.0 AS hours,
    max(n) AS n,
    max(increase) FILTER (WHERE metric = 'postgresql.sequential_scans') AS seq_scans,
    max(increase) FILTER (WHERE metric = 'postgresql.table.seq_tup_read') AS seq_rows,
    max(last) FILTER (WHERE metric = 'postgresql.table.estimated_rows') AS estimated_rows,
    max(last) FILTER (
        WHERE metric = 'postgresql.rows' AND label(labels, 'postgresql.state') = 'dead'
    ) AS dead_rows,
    max(last) FILTER (WHERE metric = 'postgresql.table.modified_rows') AS modified_rows,
    max(last) FILTER (WHERE metric = 'postgresql.table.size') AS bytes,
    max(increase) FILTER (
        WHERE metric = 'postgresql.operations' AND label(labels, 'postgresql.operation') = 'upd'
    ) AS updates,
    max(increase) FILTER (
        WHERE metric = 'postgresql.operations' AND label(labels, 'postgresql.operation') = 'hot_upd'
    ) AS hot_updates,
    max(increase) FILTER (
        WHERE metric = 'postgresql.blocks_read' AND label(labels, 'postgresql.source') = 'heap_hit'
    ) AS heap_hits,
    max(increase) FILTER (
        WHERE metric = 'postgresql.blocks_read' AND label(labels, 'postgresql.source') = 'heap_read'
    ) AS heap_reads,
    max(last) FILTER (WHERE metric = 'postgresql.table.free_space.ratio') AS free_ratio,
    max(last) FILTER (WHERE metric = 'postgresql.table.dead_space.ratio') AS dead_ratio,
    max(last) FILTER (WHERE metric = 'postgresql.table.analyze.age') AS analyze_age_s,
    max(last) FILTER (WHERE metric = 'postgresql.table.vacuum.age') AS vacuum_age_s,
    max(increase) FILTER (
        WHERE metric = 'postgresql.table.vacuum.count'
            AND label(labels, 'postgresql.operation') = 'autovacuum'
    ) AS autovacuums
FROM window_series
WHERE component = 'postgres' AND metric IN (
    'postgresql.sequential_scans', 'postgresql.table.seq_tup_read',
    'postgresql.table.estimated_rows', 'postgresql.rows', 'postgresql.table.modified_rows',
    'postgresql.table.size', 'postgresql.operations', 'postgresql.blocks_read',
    'postgresql.table.free_space.ratio', 'postgresql.table.dead_space.ratio',
    'postgresql.table.analyze.age', 'postgresql.table.vacuum.age', 'postgresql.table.vacuum.count'
)
GROUP BY host, label(labels, 'service.instance.id'), label(labels, 'postgresql.database.name'),
    label(labels, 'postgresql.schema.name'), label(labels, 'postgresql.table.name')
