-- id: p15_regressed_statement
-- kind: recommendation
-- title: Find out why a statement does more work than it did
-- component: postgres
-- risk: medium
-- auto: approval
-- verify: work_per_call
-- undo: restore the recorded statistics targets
-- inputs: postgres/postgresql.statement.calls, postgres/postgresql.statement.exec_time, postgres/postgresql.statement.blks_hit, postgres/postgresql.statement.blks_read, events?
-- sources: own, to be calibrated; between equal windows blocks for each call stayed within 0.987 and
--   1.023 of each other, time within 0.48 and 1.59
-- every: 1h
-- reads: postgres_statements, postgres_statement_history, statement_texts
-- why: Blocks for each call do not depend on who else runs, so that twice as many as is usual are a
--   change of the statement's plan or of its table, and not noise. What is usual is the median over
--   the hours of the seven days before, of at least six hours.
-- parameters:
--   times float = 2.0: blocks for each call against what is usual [own]
--   calls float = 30.0: fewer calls are too few to judge by [own]
--   hours float = 6.0: fewer hours before say too little about what is usual [own]
--   blocks float = 10.0: fewer blocks more than usual do not matter [own]
WITH statements AS (
    SELECT
        now.host, now.target, now.database, now.role, now.queryid, now.calls, now.exec_s, now.hours,
        now.blks / now.calls AS blks_per_call,
        history.blks_per_call AS usual, history.hours_seen
    FROM postgres_statements AS now
    JOIN postgres_statement_history AS history
        ON history.host = now.host AND history.target = now.target
        AND history.database = now.database AND history.role = now.role
        AND history.queryid = now.queryid
    WHERE now.calls >= $calls AND history.hours_seen >= $hours
)
SELECT
    statements.host, statements.target,
    statements.database || ' ' || statements.queryid AS subject,
    'Look at the plan of a statement that touches ' || human(blks_per_call / greatest(usual, 1.0), '{times}')
        || ' times as many blocks as usual: ' || coalesce(head, 'statement ' || statements.queryid)
        AS advice,
    human(blks_per_call, '{block}') || ' blocks for each call against ' || human(usual, '{block}')
        || ' in the ' || human(CAST(hours_seen AS DOUBLE), '{hour}') || ' hours before, over '
        || human(calls, '{call}') || ' calls' AS evidence,
    (1.0 - usual / blks_per_call) * exec_s / nullif(hours, 0.0) AS saved_s_per_h,
    'E4' AS saved_method,
    1.0 - usual / blks_per_call AS predicted,
    0.6 AS confidence,
    CAST(NULL AS VARCHAR) AS action,
    blks_per_call / greatest(usual, 1.0) AS observed, $times AS threshold, '1' AS unit,
    statements.queryid AS statements
FROM statements
LEFT JOIN statement_texts
    ON statement_texts.host = statements.host AND statement_texts.target = statements.target
    AND statement_texts.queryid = statements.queryid
WHERE blks_per_call > $times * usual AND blks_per_call - usual >= $blocks
