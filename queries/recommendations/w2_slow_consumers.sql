-- id: w2_slow_consumers
-- kind: recommendation
-- title: Coalesce messages for slow consumers, or drop them
-- component: websocket
-- risk: medium
-- auto: approval
-- verify: signal_clears
-- undo: restore the queue's bound
-- inputs: websocket/websocket.server.queue.max, websocket/websocket.server.queue.age
-- sources: own
-- every: 5m
-- reads: window_series
-- why: A client that reads slower than it is sent to fills the kernel's queue and then the server's
--   memory. Newer messages should replace older ones in its queue, or it has to go.
-- parameters:
--   bytes float = 1048576.0: queued for one connection [own]
--   age_s float = 5.0: seconds for which a connection's queue was never empty [own]
--   samples float = 10.0: fewer samples are too few to judge by [own]
WITH ports AS (
    SELECT
        host, label(labels, 'service.name') AS target, label(labels, 'server.port') AS port,
        max(mean) FILTER (
            WHERE metric = 'websocket.server.queue.max'
                AND label(labels, 'network.io.direction') = 'transmit'
        ) AS bytes,
        max(mean) FILTER (WHERE metric = 'websocket.server.queue.age') AS age_s,
        min(n) AS n
    FROM window_series
    WHERE component = 'websocket'
        AND metric IN ('websocket.server.queue.max', 'websocket.server.queue.age')
    GROUP BY host, label(labels, 'service.name'), label(labels, 'server.port')
)
SELECT
    host, target, 'port ' || port AS subject,
    'Bound what ' || target || ' queues for one connection: replace older messages, or drop the consumer'
        AS advice,
    human(bytes, 'By') || ' queued for one connection, for ' || human(age_s, 's') AS evidence,
    CAST(NULL AS DOUBLE) AS saved_s_per_h,
    'E5' AS saved_method,
    CAST(NULL AS DOUBLE) AS predicted,
    0.5 AS confidence,
    CAST(NULL AS VARCHAR) AS action,
    CASE WHEN bytes > $bytes THEN bytes ELSE age_s END AS observed,
    CASE WHEN bytes > $bytes THEN $bytes ELSE $age_s END AS threshold,
    CASE WHEN bytes > $bytes THEN 'By' ELSE 's' END AS unit
FROM ports
WHERE n >= $samples AND (bytes > $bytes OR age_s > $age_s)
