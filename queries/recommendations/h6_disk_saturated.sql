-- id: h6_disk_saturated
-- kind: recommendation
-- title: Spread the work of a saturated disk
-- component: host
-- risk: medium
-- auto: advice
-- verify: signal_clears
-- inputs: host/system.disk.io_time, host/system.disk.weighted_io_time?
-- sources: Netdata (10min_disk_utilization)
-- every: 5m
-- reads: window_steps
-- why: A disk that has work all of the time lets operations queue. One that serves many at once may
--   be at 100 % and still have room, so the estimate, which is the time that operations spent beside
--   the one that was served, is little trusted.
-- parameters:
--   busy float = 0.98: the part of the time in which the disk has work [Netdata]
--   for_s float = 590.0: seconds that it must last, ten minutes less one sample [Netdata]
WITH steps AS (
    SELECT
        host, label(labels, 'system.device') AS device, ts,
        max(seconds) FILTER (WHERE metric = 'system.disk.io_time') AS seconds,
        max(increase) FILTER (WHERE metric = 'system.disk.io_time') AS busy,
        max(increase) FILTER (WHERE metric = 'system.disk.weighted_io_time') AS weighted
    FROM window_steps
    WHERE component = 'host'
        AND metric IN ('system.disk.io_time', 'system.disk.weighted_io_time')
    GROUP BY host, label(labels, 'system.device'), ts
),
disks AS (
    SELECT
        host, device,
        sum(seconds) AS seconds,
        sum(seconds) FILTER (WHERE busy > $busy * seconds) AS busy_s,
        sum(busy) FILTER (WHERE busy > $busy * seconds)
            / nullif(sum(seconds) FILTER (WHERE busy > $busy * seconds), 0.0) AS utilisation,
        sum(greatest(weighted - busy, 0.0)) FILTER (WHERE busy > $busy * seconds) AS queued_s
    FROM steps
    GROUP BY host, device
)
SELECT
    host, 'host' AS target, device AS subject,
    'Spread the work of disk ' || device || ' on ' || host || ' over others or over time' AS advice,
    device || ' had work ' || human(utilisation, '1') || ' of the time for ' || human(busy_s, 's')
        || coalesce(', with ' || human(1.0 + queued_s / (utilisation * busy_s), '{operation}')
            || ' operations in flight', '') AS evidence,
    3600.0 * queued_s / seconds AS saved_s_per_h,
    'E3' AS saved_method,
    (utilisation - $busy) / utilisation AS predicted,
    0.3 AS confidence,
    CAST(NULL AS VARCHAR) AS action,
    utilisation AS observed, $busy AS threshold, '1' AS unit
FROM disks
WHERE busy_s >= $for_s
