-- id: h8_network_drops
-- kind: recommendation
-- title: Enlarge queues of the network that overflow
-- component: host
-- risk: medium
-- auto: approval
-- verify: signal_clears
-- undo: restore the recorded sizes of ring buffers and of the backlog
-- inputs: host/system.network.packet.dropped?, host/system.network.packet.count?, host/system.network.tcp.listen.overflows?
-- sources: Netdata (inbound_packets_dropped_ratio, 1m_tcp_accept_queue_overflows); retransmission
--   timers of RFC 6298
-- every: 5m
-- reads: window_series
-- why: Packets dropped by a full ring buffer and connections that find a full accept queue come
--   again only when a timer runs out: at least 0.2 s within a connection, one second for a new one.
-- parameters:
--   dropped float = 0.02: the part of the packets that is dropped [Netdata]
--   packets float = 10000.0: fewer are too few to judge by [Netdata]
--   overflows_per_min float = 1.0: connections in a minute that find a full queue [Netdata]
--   retransmission_s float = 0.2: seconds until a lost packet comes again [Linux, TCP_RTO_MIN]
--   connection_s float = 1.0: seconds until a lost connection request comes again [RFC 6298]
WITH interfaces AS (
    SELECT
        host, label(labels, 'network.interface.name') AS name,
        label(labels, 'network.io.direction') AS direction,
        sum(increase) FILTER (WHERE metric = 'system.network.packet.dropped') AS dropped,
        sum(increase) FILTER (WHERE metric = 'system.network.packet.count') AS packets,
        max(seconds) AS seconds
    FROM window_series
    WHERE component = 'host'
        AND metric IN ('system.network.packet.dropped', 'system.network.packet.count')
    GROUP BY host, label(labels, 'network.interface.name'), label(labels, 'network.io.direction')
),
queues AS (
    SELECT host, increase AS overflows, seconds
    FROM window_series
    WHERE component = 'host' AND metric = 'system.network.tcp.listen.overflows' AND n >= 10
)
SELECT
    host, 'host' AS target, name || ' ' || direction AS subject,
    'Enlarge the ring buffer of ' || name || ' on ' || host || ' (ethtool -G)' AS advice,
    human(dropped / (packets + dropped), '1') || ' of ' || human(packets + dropped, '{packet}')
        || ' packets dropped (' || direction || ')' AS evidence,
    dropped / seconds * 3600.0 * $retransmission_s AS saved_s_per_h,
    'E4' AS saved_method,
    1.0 - $dropped / (dropped / (packets + dropped)) AS predicted,
    0.4 AS confidence,
    CAST(NULL AS VARCHAR) AS action,
    dropped / (packets + dropped) AS observed, $dropped AS threshold, '1' AS unit
FROM interfaces
WHERE packets > $packets AND seconds > 0.0 AND dropped >= $dropped * (packets + dropped)
UNION ALL
SELECT
    host, 'host', 'accept queue',
    'Raise net.core.somaxconn and the backlog of the server on ' || host
        || ' whose accept queue overflows',
    human(overflows / seconds * 60.0, '{connection}') || ' connections per minute found a full accept queue',
    overflows / seconds * 3600.0 * $connection_s,
    'E4',
    1.0 - $overflows_per_min / (overflows / seconds * 60.0),
    0.7,
    CAST(NULL AS VARCHAR),
    overflows / seconds * 60.0, $overflows_per_min, '{connection}/min'
FROM queues
WHERE seconds > 0.0 AND overflows / seconds * 60.0 > $overflows_per_min
