-- id: network_throughput
-- kind: view
-- reads: counter_rates
-- why: What an interface carries by direction, and what it loses.
SELECT
    ts, host,
    label(labels, 'network.interface.name') AS interface,
    label(labels, 'network.io.direction') AS direction,
    max(rate_per_s) FILTER (WHERE metric = 'system.network.io') AS bytes_per_s,
    max(rate_per_s) FILTER (WHERE metric = 'system.network.packet.count') AS packets_per_s,
    max(rate_per_s) FILTER (WHERE metric = 'system.network.errors') AS errors_per_s,
    max(rate_per_s) FILTER (WHERE metric = 'system.network.packet.dropped') AS drops_per_s
FROM counter_rates
WHERE metric IN (
    'system.network.io', 'system.network.packet.count',
    'system.network.errors', 'system.network.packet.dropped'
)
GROUP BY ts, host, labels
