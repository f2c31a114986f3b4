-- id: w4_reconnects
-- kind: recommendation
-- title: Let clients reconnect with growing pauses
-- component: websocket
-- risk: medium
-- auto: approval
-- verify: signal_clears
-- undo: restore the pauses
-- inputs: websocket/websocket.server.connections.reopened
-- sources: own
-- every: 5m
-- reads: window_series, history_steps
-- why: Clients that all come back at once bring down what just came up. An opened connection counts as
--   one that comes back where another one from its address has just ended, so that a new audience does
--   not look like it. Behind a proxy all have one address: there somebody who comes while another one
--   leaves counts, too. What is usual is the median of the hours of the seven days before.
-- parameters:
--   more float = 3.0: connections that come back in a minute over the usual [own]
--   per_min float = 1.0: fewer connections in a minute are too few to judge by [own]
--   hours float = 24.0: fewer hours before do not say what is usual [own]
--   open_s float = 0.05: seconds that a server and a client spend on opening one [own: a TLS handshake]
WITH before AS (
    SELECT
        host, label(labels, 'service.name') AS target, label(labels, 'server.port') AS port,
        count(*) AS hours, list_median(array_agg(rate_per_s)) * 60.0 AS per_min
    FROM history_steps
    WHERE component = 'websocket' AND metric = 'websocket.server.connections.reopened'
        AND rate_per_s IS NOT NULL
    GROUP BY host, label(labels, 'service.name'), label(labels, 'server.port')
),
now AS (
    SELECT
        host, label(labels, 'service.name') AS target, label(labels, 'server.port') AS port,
        rate_per_s * 60.0 AS per_min
    FROM window_series
    WHERE component = 'websocket' AND metric = 'websocket.server.connections.reopened' AND n >= 10
)
SELECT
    now.host, now.target, 'port ' || now.port AS subject,
    'Let the clients of ' || now.target || ' reconnect with growing, jittered pauses' AS advice,
    human(now.per_min, '{connection}') || ' connections came back per minute, usually '
        || human(before.per_min, '{connection}') AS evidence,
    (now.per_min - before.per_min) * 60.0 * $open_s AS saved_s_per_h,
    'E4' AS saved_method,
    1.0 - before.per_min / now.per_min AS predicted,
    0.5 AS confidence,
    CAST(NULL AS VARCHAR) AS action,
    now.per_min AS observed, $more * before.per_min AS threshold, '{connection}/min' AS unit
FROM now
JOIN before
    ON before.host = now.host AND before.target = now.target AND before.port = now.port
WHERE hours >= $hours AND now.per_min > $per_min AND now.per_min > $more * before.per_min
