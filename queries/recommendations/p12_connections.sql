-- id: p12_connections
-- kind: recommendation
-- title: Share connections in a pool
-- component: postgres
-- risk: medium
-- auto: approval
-- verify: signal_clears
-- undo: let clients connect directly again
-- inputs: postgres/postgresql.connection.count, postgres/postgresql.connection.max, postgres/postgresql.backends?
-- sources: Netdata (postgres_total_connection_utilization)
-- every: 5m
-- reads: window_series
-- why: When every connection is taken the next client is refused. Most of them idle, and a pool
--   serves the same clients with a tenth of them; raising max_connections costs memory and
--   snapshots. What refused clients would cost cannot be said, so nothing is claimed.
-- parameters:
--   used float = 0.8: the part of the connections that is taken [Netdata]
--   critical float = 0.9: the part above which it is urgent [Netdata]
WITH servers AS (
    SELECT
        host, label(labels, 'service.instance.id') AS target,
        max(mean) FILTER (WHERE metric = 'postgresql.connection.count') AS taken,
        max(max) FILTER (WHERE metric = 'postgresql.connection.count') AS peak,
        max(n) FILTER (WHERE metric = 'postgresql.connection.count') AS n,
        max(last) FILTER (WHERE metric = 'postgresql.connection.max') AS most,
        sum(mean) FILTER (
            WHERE metric = 'postgresql.backends' AND label(labels, 'postgresql.state') = 'idle'
        ) AS idle
    FROM window_series
    WHERE component = 'postgres' AND metric IN (
        'postgresql.connection.count', 'postgresql.connection.max', 'postgresql.backends'
    )
    GROUP BY host, label(labels, 'service.instance.id')
)
SELECT
    host, target, 'connections' AS subject,
    'Put a connection pool in front of ' || target AS advice,
    human(taken, '{connection}') || ' of ' || human(most, '{connection}') || ' connections taken, '
        || human(peak, '{connection}') || ' at most'
        || coalesce(', ' || human(idle, '{connection}') || ' of them idle', '') AS evidence,
    CAST(NULL AS DOUBLE) AS saved_s_per_h,
    'E3' AS saved_method,
    (taken / most - $used) / (taken / most) AS predicted,
    CASE WHEN taken > $critical * most THEN 0.8 ELSE 0.6 END AS confidence,
    CAST(NULL AS VARCHAR) AS action,
    taken / most AS observed, $used AS threshold, '1' AS unit
FROM servers
WHERE n >= 3 AND most > 0.0 AND taken > $used * most
