-- id: postgres_statements
-- kind: window
-- reads: window_series
-- why: What each statement did in the window, one row each. Statements of several roles stay apart,
--   because settings do. `blks` are the shared blocks that it touched, found or not: the measure of
--   its work that does not depend on who else runs.
SELECT
    host,
    label(labels, 'service.instance.id') AS target,
    label(labels, 'postgresql.database.name') AS database,
    label(labels, 'postgresql.rolname') AS role,
    label(labels, 'postgresql.queryid') AS queryid,
    max(seconds) / 3600.0 AS hours,
    max(increase) FILTER (WHERE metric = 'postgresql.statement.calls') AS calls,
    max(increase) FILTER (WHERE metric = 'postgresql.statement.exec_time') AS exec_s,
    max(increase) FILTER (WHERE metric = 'postgresql.statement.rows') AS result_rows,
    sum(increase) FILTER (
        WHERE metric IN ('postgresql.statement.blks_hit', 'postgresql.statement.blks_read')
    ) AS blks,
    max(increase) FILTER (WHERE metric = 'postgresql.statement.temp_blks_written') AS temp_blks,
    sum(increase) FILTER (WHERE metric = 'postgresql.statement.temp_block.time') AS temp_s
FROM window_series
WHERE component = 'postgres' AND metric IN (
    'postgresql.statement.calls', 'postgresql.statement.exec_time', 'postgresql.statement.rows',
    'postgresql.statement.blks_hit', 'postgresql.statement.blks_read',
    'postgresql.statement.temp_blks_written', 'postgresql.statement.temp_block.time'
)
GROUP BY host, label(labels, 'service.instance.id'), label(labels, 'postgresql.database.name'),
    label(labels, 'postgresql.rolname'), label(labels, 'postgresql.queryid')
