-- id: p8_long_transaction
-- kind: recommendation
-- title: Make transactions shorter
-- component: postgres
-- risk: medium
-- auto: approval
-- verify: signal_clears
-- undo: restore the recorded idle_in_transaction_session_timeout
-- inputs: postgres/postgresql.transaction.duration.max, postgres/postgresql.transaction.idle_duration.max, postgres/postgresql.sessions.blocked?, postgres/postgresql.setting.duration?
-- sources: awesome-prometheus-alerts (Postgresql long running transactions)
-- every: 5m
-- reads: window_series, postgres_settings
-- why: An open transaction holds its locks, and keeps vacuum from removing rows that died since. One
--   that idles does so for nothing, and a timeout ends it. What is saved is the time in which other
--   sessions were blocked, which need not all be its fault.
-- parameters:
--   open_s float = 120.0: seconds that a transaction may be open [awesome-prometheus-alerts]
--   timeout_s float = 300.0: the timeout of idle transactions that is proposed, in seconds [own]
WITH servers AS (
    SELECT
        host, label(labels, 'service.instance.id') AS target,
        max(max) FILTER (WHERE metric = 'postgresql.transaction.duration.max') AS open_s,
        max(n) FILTER (WHERE metric = 'postgresql.transaction.duration.max') AS n,
        max(max) FILTER (WHERE metric = 'postgresql.transaction.idle_duration.max') AS idle_s,
        max(mean) FILTER (WHERE metric = 'postgresql.sessions.blocked') AS blocked
    FROM window_series
    WHERE component = 'postgres' AND metric IN (
        'postgresql.transaction.duration.max', 'postgresql.transaction.idle_duration.max',
        'postgresql.sessions.blocked'
    )
    GROUP BY host, label(labels, 'service.instance.id')
),
timeouts AS (
    SELECT host, target, value
    FROM postgres_settings
    WHERE setting = 'idle_in_transaction_session_timeout'
)
SELECT
    servers.host, servers.target, 'transactions' AS subject,
    CASE WHEN idle_s > $open_s
        THEN 'Find what leaves transactions of ' || servers.target
            || ' open while it idles, and set idle_in_transaction_session_timeout'
        ELSE 'Split the long transactions of ' || servers.target || ' into shorter ones'
    END AS advice,
    'the oldest transaction was open for ' || human(open_s, 's')
        || coalesce(', one idled for ' || human(idle_s, 's'), '')
        || coalesce(', ' || human(blocked, '{session}') || ' sessions blocked on average', '')
        AS evidence,
    blocked * 3600.0 AS saved_s_per_h,
    'E4' AS saved_method,
    (open_s - $open_s) / open_s AS predicted,
    CASE WHEN idle_s > $open_s THEN 0.7 ELSE 0.5 END AS confidence,
    -- A timeout that is set already was chosen by somebody.
    CASE WHEN idle_s > $open_s AND timeouts.value = 0.0 THEN json_object(
        'kind', 'set_setting', 'setting', 'idle_in_transaction_session_timeout', 'value', $timeout_s
    ) END AS action,
    open_s AS observed, $open_s AS threshold, 's' AS unit
FROM servers
LEFT JOIN timeouts ON timeouts.host = servers.host AND timeouts.target = servers.target
WHERE open_s > $open_s AND n >= 3
