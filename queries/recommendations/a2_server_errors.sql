-- id: a2_server_errors
-- kind: recommendation
-- title: Roll back or fix what answers with errors
-- component: http
-- risk: medium
-- auto: advice
-- verify: signal_clears
-- inputs: http/http.server.requests, http/http.server.errors
-- sources: Netdata (web log, 5xx)
-- every: 5m
-- reads: window_series
-- why: An answer of 5xx is the server's own failure. Requests are counted by endpoint, because one
--   broken endpoint drowns in a busy service. What a failure costs in time is not known.
-- parameters:
--   share float = 0.02: the part of the answers that is 5xx [Netdata, warning]
--   grave float = 0.05: the part above which confidence is high [Netdata, critical]
--   requests float = 120.0: fewer requests in the window are too few to judge by [Netdata]
WITH endpoints AS (
    SELECT
        host, label(labels, 'service.name') AS target, label(labels, 'http.route') AS route,
        label(labels, 'http.request.method') AS method,
        sum(increase) FILTER (WHERE metric = 'http.server.requests') AS requests,
        sum(increase) FILTER (WHERE metric = 'http.server.errors') AS errors
    FROM window_series
    WHERE component = 'http' AND metric IN ('http.server.requests', 'http.server.errors')
    GROUP BY host, label(labels, 'service.name'), label(labels, 'http.route'),
        label(labels, 'http.request.method')
)
SELECT
    host, target, method || ' ' || route AS subject,
    'Roll back or fix ' || method || ' ' || route || ' of ' || target AS advice,
    human(errors / requests, '1') || ' of ' || human(requests, '{request}')
        || ' requests were answered with 5xx' AS evidence,
    CAST(NULL AS DOUBLE) AS saved_s_per_h,
    CAST(NULL AS VARCHAR) AS saved_method,
    1.0 - $share / (errors / requests) AS predicted,
    CASE WHEN errors > $grave * requests THEN 0.9 ELSE 0.6 END AS confidence,
    CAST(NULL AS VARCHAR) AS action,
    errors / requests AS observed, $share AS threshold, '1' AS unit
FROM endpoints
WHERE requests > $requests AND errors > $share * requests
