-- id: p13_short_sessions
-- kind: recommendation
-- title: Keep connections open between transactions
-- component: postgres
-- risk: low
-- auto: advice
-- verify: signal_clears
-- inputs: postgres/postgresql.sessions, postgres/postgresql.commits, postgres/postgresql.rollbacks
-- sources: own, to be calibrated
-- every: 1h
-- reads: window_series
-- why: Each session costs a process of the server, and for the client some round trips and the
--   check of its password, before it can ask anything. A client that opens one for every transaction
--   or two pays that each time. The server counts a transaction of its own for each session that
--   begins, which does no work of the client's and is left out. The server's own observer is one
--   session among many.
-- parameters:
--   sessions_per_transaction float = 0.5: sessions for each transaction [own]
--   sessions float = 300.0: fewer sessions are too few to judge by [own]
--   connect_s float = 0.005: seconds that opening a session takes [own]
WITH databases AS (
    SELECT
        host,
        label(labels, 'service.instance.id') AS target,
        label(labels, 'postgresql.database.name') AS database,
        max(seconds) / 3600.0 AS hours,
        max(increase) FILTER (WHERE metric = 'postgresql.sessions') AS sessions,
        greatest(
            sum(increase) FILTER (WHERE metric IN ('postgresql.commits', 'postgresql.rollbacks'))
                - max(increase) FILTER (WHERE metric = 'postgresql.sessions'),
            0.0
        ) AS transactions
    FROM window_series
    WHERE component = 'postgres'
        AND metric IN ('postgresql.sessions', 'postgresql.commits', 'postgresql.rollbacks')
    GROUP BY host, label(labels, 'service.instance.id'), label(labels, 'postgresql.database.name')
)
SELECT
    host, target, database AS subject,
    'Let the clients of ' || database || ' keep their connections, or give them a pool' AS advice,
    human(sessions, '{session}') || ' sessions for ' || human(transactions, '{transaction}')
        || ' transactions' AS evidence,
    (sessions - $sessions_per_transaction * transactions) * $connect_s / hours AS saved_s_per_h,
    'E4' AS saved_method,
    1.0 - $sessions_per_transaction * transactions / sessions AS predicted,
    0.6 AS confidence,
    CAST(NULL AS VARCHAR) AS action,
    sessions / greatest(transactions, 1.0) AS observed, $sessions_per_transaction AS threshold,
    '{session}/{transaction}' AS unit
FROM databases
WHERE sessions >= $sessions AND sessions > $sessions_per_transaction * transactions
