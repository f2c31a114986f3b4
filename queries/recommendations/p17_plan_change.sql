-- id: p17_plan_change
-- kind: recommendation
-- title: Analyse the table of a statement whose plan has changed
-- component: postgres
-- risk: medium
-- auto: approval
-- verify: work_per_call
-- undo: restore the recorded statistics targets
-- inputs: postgres/postgresql.statement.calls, postgres/postgresql.statement.exec_time, postgres/postgresql.statement.rows, postgres/postgresql.statement.blks_hit, postgres/postgresql.statement.blks_read, postgres/postgresql.table.modified_rows, postgres/postgresql.table.estimated_rows, events
-- sources: own, to be calibrated
-- every: 1h
-- reads: postgres_statements, postgres_statement_history, postgres_tables, statement_texts
-- why: A statement that returns as many rows as it always did, of a table that somebody has changed
--   since it was analysed, and touches twice the blocks for them, is executed in another way than
--   before. Plans themselves are not asked for: EXPLAIN needs SELECT on the tables, which the collector
--   has no use for, and the values, which are not kept. A generic plan does without, and is another
--   one: on PostgreSQL 15 that of `WHERE owner = $1 ORDER BY id LIMIT $2` stayed as it was while the
--   plan for an owner whom statistics took for frequent went from 22 to 8,693 blocks. New statistics
--   let the planner choose anew; columns that depend on each other may need extended statistics,
--   which a person decides on. The table is the first one in the text.
-- parameters:
--   times float = 2.0: blocks for each call against what is usual [own]
--   rows_moved float = 0.2: rows for each call may differ from what is usual by this part [own]
--   modified float = 0.05: changed rows as a part of the table, half of what autovacuum waits for [own]
--   calls float = 30.0: fewer calls are too few to judge by [own]
--   hours float = 6.0: fewer hours before say too little about what is usual [own]
--   blocks float = 10.0: fewer blocks more than usual do not matter [own]
WITH changed AS (
    SELECT
        now.host, now.target, now.database, now.queryid, now.calls, now.exec_s, now.hours, head,
        now.blks / now.calls AS blks_per_call, history.blks_per_call AS usual,
        now.result_rows / now.calls AS rows_per_call,
        -- Groups that match nothing are left out of the list, so that the first one always matches.
        regexp_match(
            text, '\b(?:from|update|into) (?:only )?((?:"?[a-z_][a-z0-9_$]*"?\.)?)"?([a-z_][a-z0-9_$]*)"?', 'i'
        ) AS parts
    FROM postgres_statements AS now
    JOIN postgres_statement_history AS history
        ON history.host = now.host AND history.target = now.target
        AND history.database = now.database AND history.role = now.role
        AND history.queryid = now.queryid
    JOIN statement_texts
        ON statement_texts.host = now.host AND statement_texts.target = now.target
        AND statement_texts.queryid = now.queryid
    WHERE now.calls >= $calls AND history.hours_seen >= $hours
        AND abs(now.result_rows / now.calls - history.rows_per_call)
            <= $rows_moved * greatest(history.rows_per_call, 1.0)
        AND now.blks / now.calls > $times * history.blks_per_call
        AND now.blks / now.calls - history.blks_per_call >= $blocks
)
SELECT
    changed.host, changed.target, changed.database || ' ' || changed.queryid AS subject,
    'Run ANALYZE on ' || schema || '.' || name || ', whose statistics led to another plan for: ' || head
        AS advice,
    human(blks_per_call, '{block}') || ' blocks for each call against ' || human(usual, '{block}')
        || ', for ' || human(rows_per_call, '{row}') || ' rows as before; '
        || human(modified_rows / greatest(estimated_rows, 1.0), '1') || ' of the table has changed'
        AS evidence,
    (1.0 - usual / blks_per_call) * exec_s / nullif(changed.hours, 0.0) AS saved_s_per_h,
    'E4' AS saved_method,
    1.0 - usual / blks_per_call AS predicted,
    0.4 AS confidence,
    json_object('kind', 'analyze', 'table', named_struct('schema', schema, 'name', name)) AS action,
    blks_per_call / greatest(usual, 1.0) AS observed, $times AS threshold, '1' AS unit,
    changed.queryid AS statements
FROM changed
JOIN postgres_tables
    ON postgres_tables.host = changed.host AND postgres_tables.target = changed.target
    AND postgres_tables.database = changed.database AND postgres_tables.name = lower(parts[2])
    AND (parts[1] = '' OR postgres_tables.schema = lower(replace(rtrim(parts[1], '.'), '"', '')))
WHERE estimated_rows IS NOT NULL AND modified_rows > $modified * greatest(estimated_rows, 1.0)
