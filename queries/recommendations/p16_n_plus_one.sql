-- id: p16_n_plus_one
-- kind: recommendation
-- title: Ask for many rows at once instead of one after another
-- component: postgres
-- risk: low
-- auto: advice
-- verify: work_per_call
-- inputs: postgres/postgresql.statement.calls, postgres/postgresql.statement.rows, postgres/postgresql.statement.exec_time, http/http.server.requests, events?
-- sources: own, to be calibrated
-- every: 1h
-- reads: postgres_statements, statement_texts, window_series
-- why: A statement that fetches one row and runs many times for each request is a loop that a JOIN or
--   an array of ids would replace. Each of its calls is fast (0.07 ms were measured), so that no
--   threshold of slowness sees it: what costs is the round trip. The requests are those of the
--   access logs that are read on the same host; a server elsewhere is not judged.
-- parameters:
--   calls_per_request float = 10.0: calls of the statement for each request [own]
--   requests float = 100.0: fewer requests are too few to judge by [own]
--   round_trip_s float = 0.0002: seconds of a round trip beside the statement's own time [own: within one network]
WITH requests AS (
    SELECT host, sum(increase) AS requests
    FROM window_series
    WHERE component = 'http' AND metric = 'http.server.requests'
    GROUP BY host
),
statements AS (
    SELECT
        host, target, database, queryid, sum(calls) AS calls, sum(result_rows) AS result_rows,
        sum(exec_s) AS exec_s, max(hours) AS hours
    FROM postgres_statements
    WHERE calls > 0.0
    GROUP BY host, target, database, queryid
)
SELECT
    statements.host, statements.target,
    statements.database || ' ' || statements.queryid AS subject,
    'Replace a loop of single look-ups by one statement: '
        || coalesce(head, 'statement ' || statements.queryid) AS advice,
    human(calls / requests, '{call}') || ' calls for each of ' || human(requests, '{request}')
        || ' requests, ' || human(result_rows / calls, '{row}') || ' rows each' AS evidence,
    (calls - requests) * ($round_trip_s + exec_s / calls) / nullif(hours, 0.0) AS saved_s_per_h,
    'E4' AS saved_method,
    1.0 - requests / calls AS predicted,
    0.5 AS confidence,
    CAST(NULL AS VARCHAR) AS action,
    calls / requests AS observed, $calls_per_request AS threshold, '{call}/{request}' AS unit,
    statements.queryid AS statements
FROM statements
JOIN requests ON requests.host = statements.host
LEFT JOIN statement_texts
    ON statement_texts.host = statements.host AND statement_texts.target = statements.target
    AND statement_texts.queryid = statements.queryid
WHERE requests >= $requests AND calls > $calls_per_request * requests
    AND result_rows BETWEEN 0.5 * calls AND 1.5 * calls
    -- Only what reads can be batched this way, where its text is known.
    AND (text IS NULL OR lower(text) LIKE 'select %')
