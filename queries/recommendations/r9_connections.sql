-- id: r9_connections
-- kind: recommendation
-- title: Pool connections to Redis
-- component: redis
-- risk: low
-- auto: advice
-- verify: signal_clears
-- inputs: redis/redis.clients.connected, redis/redis.clients.max, redis/redis.connections.rejected
-- sources: awesome-prometheus-alerts (Redis too many connections, rejected connections); Netdata
-- every: 5m
-- reads: window_series
-- why: A client beyond maxclients is turned away. Raising the limit only postpones that where clients
--   do not pool. How long those wait that were turned away is not known, so no time is claimed.
-- parameters:
--   used float = 0.9: the part of maxclients that is connected [awesome-prometheus-alerts]
--   rejected float = 0.0: connections that were turned away [Netdata]
--   samples float = 10.0: fewer samples are too few to judge by [own]
WITH servers AS (
    SELECT
        host, label(labels, 'service.instance.id') AS target, min(n) AS n,
        max(mean) FILTER (WHERE metric = 'redis.clients.connected') AS connected,
        max(last) FILTER (WHERE metric = 'redis.clients.max') AS most,
        max(increase) FILTER (WHERE metric = 'redis.connections.rejected') AS rejected
    FROM window_series
    WHERE component = 'redis' AND metric IN (
        'redis.clients.connected', 'redis.clients.max', 'redis.connections.rejected'
    )
    GROUP BY host, label(labels, 'service.instance.id')
)
SELECT
    host, target, 'connections' AS subject,
    'Let the clients of ' || target || ' share connections by pools' AS advice,
    human(connected, '{client}') || ' of ' || human(most, '{client}') || ' clients connected, '
        || human(rejected, '{connection}') || ' turned away' AS evidence,
    CAST(NULL AS DOUBLE) AS saved_s_per_h,
    'E3' AS saved_method,
    CAST(NULL AS DOUBLE) AS predicted,
    CASE WHEN rejected > $rejected THEN 0.8 ELSE 0.6 END AS confidence,
    CAST(NULL AS VARCHAR) AS action,
    CASE WHEN rejected > $rejected THEN rejected ELSE connected / most END AS observed,
    CASE WHEN rejected > $rejected THEN $rejected ELSE $used END AS threshold,
    CASE WHEN rejected > $rejected THEN '{connection}' ELSE '1' END AS unit
FROM servers
WHERE n >= $samples AND most > 0.0 AND (rejected > $rejected OR connected > $used * most)
