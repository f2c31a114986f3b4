-- id: w1_handshakes
-- kind: recommendation
-- title: Find out why WebSocket handshakes fail
-- component: websocket
-- risk: medium
-- auto: advice
-- verify: signal_clears
-- inputs: websocket/websocket.probe.handshakes, websocket/websocket.probe.handshake.failures
-- sources: own
-- every: 5m
-- reads: window_series
-- why: A connection that cannot be opened is tried again by every client, so that failures add to the
--   load. The kind of failure tells where to look: a status such as 403 at the authentication, a
--   time-out at the proxy.
-- parameters:
--   share float = 0.01: the part of the handshakes that fails [own]
--   handshakes float = 100.0: fewer handshakes in the window are too few to judge by [own]
WITH probes AS (
    SELECT
        host, label(labels, 'service.name') AS target,
        sum(increase) FILTER (WHERE metric = 'websocket.probe.handshakes') AS handshakes,
        sum(increase) FILTER (WHERE metric = 'websocket.probe.handshake.failures') AS failures
    FROM window_series
    WHERE component = 'websocket'
        AND metric IN ('websocket.probe.handshakes', 'websocket.probe.handshake.failures')
    GROUP BY host, label(labels, 'service.name')
),
kinds AS (
    SELECT
        host, label(labels, 'service.name') AS target, label(labels, 'error.type') AS type,
        row_number() OVER (
            PARTITION BY host, label(labels, 'service.name')
            ORDER BY increase DESC, label(labels, 'error.type')
        ) AS place
    FROM window_series
    WHERE component = 'websocket' AND metric = 'websocket.probe.handshake.failures'
        AND increase > 0.0
)
SELECT
    probes.host, probes.target, 'handshakes' AS subject,
    'Find out why handshakes with ' || probes.target || ' fail, mostly by ' || type AS advice,
    human(failures, '{handshake}') || ' of ' || human(handshakes, '{handshake}')
        || ' handshakes failed' AS evidence,
    CAST(NULL AS DOUBLE) AS saved_s_per_h,
    'E4' AS saved_method,
    1.0 - $share / (failures / handshakes) AS predicted,
    0.6 AS confidence,
    CAST(NULL AS VARCHAR) AS action,
    failures / handshakes AS observed, $share AS threshold, '1' AS unit
FROM probes
JOIN kinds ON kinds.host = probes.host AND kinds.target = probes.target AND place = 1
WHERE handshakes >= $handshakes AND failures > $share * handshakes
