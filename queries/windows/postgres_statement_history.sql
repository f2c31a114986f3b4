-- id: postgres_statement_history
-- kind: window
-- reads: history_steps
-- why: Shared blocks and rows for each call of each statement, hour by hour, in the seven days before the
--   window: its middle is what is usual. Hours with a few calls say little and are left out.
SELECT
    host, target, database, role, queryid,
    count(*) AS hours_seen,
    list_median(array_agg(blks / calls)) AS blks_per_call,
    list_median(array_agg(result_rows / calls)) AS rows_per_call,
    list_median(array_agg(exec_s / calls)) AS exec_s_per_call
FROM (
    SELECT
        host,
        label(labels, 'service.instance.id') AS target,
        label(labels, 'postgresql.database.name') AS database,
        label(labels, 'postgresql.rolname') AS role,
        label(labels, 'postgresql.queryid') AS queryid,
        ts,
        max(increase) FILTER (WHERE metric = 'postgresql.statement.calls') AS calls,
        max(increase) FILTER (WHERE metric = 'postgresql.statement.exec_time') AS exec_s,
        max(increase) FILTER (WHERE metric = 'postgresql.statement.rows') AS result_rows,
        sum(increase) FILTER (
            WHERE metric IN ('postgresql.statement.blks_hit', 'postgresql.statement.blks_read')
        ) AS blks
    FROM history_steps
    WHERE component = 'postgres' AND metric IN (
        'postgresql.statement.calls', 'postgresql.statement.exec_time', 'postgresql.statement.rows',
        'postgresql.statement.blks_hit', 'postgresql.statement.blks_read'
    )
    GROUP BY host, label(labels, 'service.instance.id'),
        label(labels, 'postgresql.database.name'), label(labels, 'postgresql.rolname'),
        label(labels, 'postgresql.queryid'), ts
)
WHERE calls >= 10.0
GROUP BY host, target, database, role, queryid
