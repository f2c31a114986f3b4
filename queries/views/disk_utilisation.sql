-- id: disk_utilisation
-- kind: view
-- reads: counter_rates
-- why: The part of the time in which a disk had work, and how many operations were in flight on
--   average. A disk that serves many at once may be at 1 and still have room: see its latency.
SELECT
    ts, host, labels,
    label(labels, 'system.device') AS device,
    max(rate_per_s) FILTER (WHERE metric = 'system.disk.io_time') AS utilisation,
    max(rate_per_s) FILTER (WHERE metric = 'system.disk.weighted_io_time') AS queue_length
FROM counter_rates
WHERE metric IN ('system.disk.io_time', 'system.disk.weighted_io_time')
GROUP BY ts, host, labels
