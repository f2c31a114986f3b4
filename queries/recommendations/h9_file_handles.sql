-- id: h9_file_handles
-- kind: recommendation
-- title: Raise the limit of file handles, or find the leak
-- component: host
-- risk: low
-- auto: approval
-- verify: signal_clears
-- undo: restore the recorded fs.file-max
-- inputs: host/system.file_handle.count, host/system.file_handle.limit
-- sources: awesome-prometheus-alerts (host file descriptors)
-- every: 5m
-- reads: window_series
-- why: When file handles run out nothing on the host can open a file or accept a connection. A count
--   that only grows is a leak, which a higher limit puts off. What that would cost cannot be said,
--   so nothing is claimed.
-- parameters:
--   used float = 0.7: the part of the limit that is used [awesome-prometheus-alerts]
--   critical float = 0.9: the part above which it is urgent [awesome-prometheus-alerts]
WITH hosts AS (
    SELECT
        host,
        max(last) FILTER (WHERE metric = 'system.file_handle.count') AS now,
        max(first) FILTER (WHERE metric = 'system.file_handle.count') AS before,
        max(n) FILTER (WHERE metric = 'system.file_handle.count') AS n,
        max(last) FILTER (WHERE metric = 'system.file_handle.limit') AS most
    FROM window_series
    WHERE component = 'host'
        AND metric IN ('system.file_handle.count', 'system.file_handle.limit')
    GROUP BY host
)
SELECT
    host, 'host' AS target, 'host' AS subject,
    CASE WHEN now > 1.1 * before
        THEN 'Find what leaks file handles on ' || host || ', and raise fs.file-max meanwhile'
        ELSE 'Raise fs.file-max on ' || host
    END AS advice,
    human(now, '{file_handle}') || ' of ' || human(most, '{file_handle}') || ' file handles used, '
        || human(before, '{file_handle}') || ' at first' AS evidence,
    CAST(NULL AS DOUBLE) AS saved_s_per_h,
    'E5' AS saved_method,
    CAST(NULL AS DOUBLE) AS predicted,
    CASE WHEN now > $critical * most THEN 0.9 ELSE 0.6 END AS confidence,
    CAST(NULL AS VARCHAR) AS action,
    now / most AS observed, $used AS threshold, '1' AS unit
FROM hosts
WHERE n >= 10 AND most > 0.0 AND now > $used * most
