-- id: p9_lock_waits
-- kind: recommendation
-- title: End or change what blocks other sessions
-- component: postgres
-- risk: high
-- auto: advice
-- verify: signal_clears
-- inputs: postgres/postgresql.sessions.blocked, postgres/postgresql.sessions.blocked_duration.max, postgres/postgresql.blocker.sessions?
-- sources: own, to be calibrated
-- every: 5m
-- reads: window_series
-- why: Sessions that wait for a lock do nothing and hold locks of their own, so that a queue grows
--   behind one statement. The blocker is named; whether its work may be lost only a person knows.
--   What is saved are the seconds that sessions were blocked.
-- parameters:
--   blocked float = 1.0: sessions that are blocked at once [own]
--   for_s float = 30.0: seconds that the longest is blocked [own]
WITH servers AS (
    SELECT
        host, label(labels, 'service.instance.id') AS target,
        max(max) FILTER (WHERE metric = 'postgresql.sessions.blocked') AS most,
        max(mean) FILTER (WHERE metric = 'postgresql.sessions.blocked') AS blocked,
        max(n) FILTER (WHERE metric = 'postgresql.sessions.blocked') AS n,
        max(max) FILTER (WHERE metric = 'postgresql.sessions.blocked_duration.max') AS longest_s
    FROM window_series
    WHERE component = 'postgres' AND metric IN (
        'postgresql.sessions.blocked', 'postgresql.sessions.blocked_duration.max'
    )
    GROUP BY host, label(labels, 'service.instance.id')
),
blockers AS (
    SELECT
        host, target, pid, role, application, state, blocks,
        row_number() OVER (PARTITION BY host, target ORDER BY blocks DESC, n DESC, pid) AS place
    FROM (
        SELECT
            host, label(labels, 'service.instance.id') AS target,
            label(labels, 'postgresql.pid') AS pid,
            max(label(labels, 'postgresql.rolname')) AS role,
            max(label(labels, 'postgresql.application_name')) AS application,
            max(label(labels, 'postgresql.state')) AS state,
            max(max) AS blocks, sum(n) AS n
        FROM window_series
        WHERE component = 'postgres' AND metric = 'postgresql.blocker.sessions'
        GROUP BY host, label(labels, 'service.instance.id'), label(labels, 'postgresql.pid')
    )
)
SELECT
    servers.host, servers.target, 'locks' AS subject,
    coalesce(
        'Look at session ' || pid || ' of ' || coalesce(role, 'an unknown role')
            || coalesce(' (' || nullif(application, '') || ')', '') || ' on ' || servers.target
            || ', which blocks others' || coalesce(' while it is ' || replace(state, '_', ' '), ''),
        'Find what holds locks on ' || servers.target || ' (pg_blocking_pids)'
    ) AS advice,
    'up to ' || human(most, '{session}') || ' sessions blocked, the longest for '
        || human(longest_s, 's')
        || coalesce(', ' || human(blocks, '{session}') || ' by session ' || pid, '') AS evidence,
    blocked * 3600.0 AS saved_s_per_h,
    'E4' AS saved_method,
    (longest_s - $for_s) / longest_s AS predicted,
    0.7 AS confidence,
    CAST(NULL AS VARCHAR) AS action,
    longest_s AS observed, $for_s AS threshold, 's' AS unit
FROM servers
LEFT JOIN blockers
    ON blockers.host = servers.host AND blockers.target = servers.target AND blockers.place = 1
WHERE most > $blocked AND longest_s >= $for_s AND n >= 3
