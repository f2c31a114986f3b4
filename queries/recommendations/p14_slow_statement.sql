-- id: p14_slow_statement
-- kind: recommendation
-- title: Tune a slow statement
-- component: postgres
-- risk: low
-- auto: advice
-- verify: work_per_call
-- inputs: postgres/postgresql.statement.calls, postgres/postgresql.statement.exec_time, postgres/postgresql.statement.blks_hit?, postgres/postgresql.statement.blks_read?, postgres/postgresql.statements.exec_time?, events?
-- sources: PGHero for the time and the calls; postgres-checkup for the share
-- every: 1h
-- reads: postgres_statements, statement_texts, window_series
-- why: A statement that is slow and frequent is the first thing to look at. A large share of the time
--   alone is no fault: a service with one statement spends all of it there. So it must be slow, and
--   either frequent or most of the load. What is saved is the time above the threshold.
-- parameters:
--   exec_s float = 0.02: seconds for each call [PGHero]
--   calls float = 100.0: calls in the window [PGHero]
--   share float = 0.3: the part of all statements' time that is worth it with fewer calls [postgres-checkup]
--   least_calls float = 5.0: fewer calls than this are too few to judge by [own]
WITH totals AS (
    SELECT host, label(labels, 'service.instance.id') AS target, sum(increase) AS exec_s
    FROM window_series
    WHERE component = 'postgres' AND metric = 'postgresql.statements.exec_time'
    GROUP BY host, label(labels, 'service.instance.id')
),
statements AS (
    SELECT
        host, target, database, queryid,
        sum(calls) AS calls, sum(exec_s) AS exec_s, sum(blks) AS blks, max(hours) AS hours
    FROM postgres_statements
    WHERE calls > 0.0
    GROUP BY host, target, database, queryid
),
judged AS (
    SELECT
        statements.*, statements.exec_s / nullif(totals.exec_s, 0.0) AS share,
        statements.exec_s / calls AS exec_s_per_call
    FROM statements
    LEFT JOIN totals ON totals.host = statements.host AND totals.target = statements.target
)
SELECT
    judged.host, judged.target, judged.database || ' ' || judged.queryid AS subject,
    'Tune: ' || coalesce(head, 'statement ' || judged.queryid) AS advice,
    human(exec_s_per_call, 's') || ' in each of ' || human(calls, '{call}') || ' calls'
        || coalesce(', ' || human(share, '1') || ' of all statements'' time', '')
        || coalesce(', ' || human(blks / calls, '{block}') || ' blocks each', '') AS evidence,
    (exec_s_per_call - $exec_s) * calls / nullif(hours, 0.0) AS saved_s_per_h,
    'E4' AS saved_method,
    (exec_s_per_call - $exec_s) / exec_s_per_call AS predicted,
    CASE WHEN share > $share THEN 0.5 ELSE 0.4 END AS confidence,
    CAST(NULL AS VARCHAR) AS action,
    exec_s_per_call AS observed, $exec_s AS threshold, 's' AS unit,
    judged.queryid AS statements
FROM judged
LEFT JOIN statement_texts
    ON statement_texts.host = judged.host AND statement_texts.target = judged.target
    AND statement_texts.queryid = judged.queryid
WHERE exec_s_per_call >= $exec_s AND calls >= $least_calls AND (calls >= $calls OR share > $share)
