-- id: a4_identical_answers
-- kind: recommendation
-- title: Cache answers that stay the same
-- component: http
-- risk: medium
-- auto: approval
-- verify: hit_ratio
-- undo: remove the caching of the endpoint
-- inputs: http/http.server.responses.compared, http/http.server.responses.identical, http/http.server.request.time?, http/http.server.timed_requests?
-- sources: own
-- every: 1h
-- reads: window_series
-- why: An endpoint that mostly answers what it answered shortly before can be cached for that long. An
--   answer is the same where its ETag is. A log without ETags knows only the size of an answer, so
--   that the same size is a proxy for the same content, and a person has to confirm that it is. What
--   is saved are the identical answers' times.
-- parameters:
--   identical float = 0.6: the part of the answers that equals the one before [own]
--   compared float = 100.0: fewer compared answers are too few to judge by [own]
WITH endpoints AS (
    SELECT
        host, label(labels, 'service.name') AS target, label(labels, 'http.route') AS route,
        sum(increase) FILTER (WHERE metric = 'http.server.responses.compared') AS compared,
        sum(increase) FILTER (WHERE metric = 'http.server.responses.identical') AS identical,
        sum(increase) FILTER (
            WHERE metric = 'http.server.request.time' AND label(labels, 'http.request.method') = 'GET'
        ) / nullif(sum(increase) FILTER (
            WHERE metric = 'http.server.timed_requests'
                AND label(labels, 'http.request.method') = 'GET'
        ), 0.0) AS mean_s,
        max(seconds) / 3600.0 AS hours
    FROM window_series
    WHERE component = 'http' AND metric IN (
        'http.server.responses.compared', 'http.server.responses.identical',
        'http.server.request.time', 'http.server.timed_requests'
    )
    GROUP BY host, label(labels, 'service.name'), label(labels, 'http.route')
)
SELECT
    host, target, 'GET ' || route AS subject,
    'Cache GET ' || route || ' of ' || target || ' with a short TTL' AS advice,
    human(identical / compared, '1') || ' of ' || human(compared, '{response}')
        || ' answers had the ETag of the one before, or its length where the log tells no ETags' AS evidence,
    identical * mean_s / hours AS saved_s_per_h,
    'E2' AS saved_method,
    identical / compared AS predicted,
    0.4 AS confidence,
    CAST(NULL AS VARCHAR) AS action,
    identical / compared AS observed, $identical AS threshold, '1' AS unit
FROM endpoints
WHERE hours > 0.0 AND compared >= $compared AND identical > $identical * compared
