-- id: pressure
-- kind: view
-- reads: counter_rates
-- why: The part of the time in which tasks waited for a resource, taken from the kernel's total:
--   exact over each second, where its averages look back over ten.
SELECT
    ts, host,
    label(labels, 'system.pressure.resource') AS resource,
    label(labels, 'system.pressure.type') AS type,
    rate_per_s AS stalled_ratio
FROM counter_rates
WHERE metric = 'system.pressure.stall_time'
