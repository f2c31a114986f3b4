-- id: a5_retries
-- kind: recommendation
-- title: Give retries a budget
-- component: http
-- risk: medium
-- auto: approval
-- verify: signal_clears
-- undo: remove the budget
-- inputs: http/http.server.first_attempts, http/http.server.retries, http/http.server.request.time?, http/http.server.timed_requests?
-- sources: own; the budget of 10 % as in the Google SRE book, "Handling overload"
-- every: 5m
-- reads: window_series
-- why: Retries multiply the load just when a service is short of capacity. Within a budget they still
--   hide single failures. What is saved is the time of the retries above it.
-- parameters:
--   share float = 0.1: retries for each first attempt [Google SRE book]
--   attempts float = 100.0: fewer first attempts in the window are too few to judge by [own]
WITH endpoints AS (
    SELECT
        host, label(labels, 'service.name') AS target, label(labels, 'http.route') AS route,
        sum(increase) FILTER (WHERE metric = 'http.server.first_attempts') AS attempts,
        sum(increase) FILTER (WHERE metric = 'http.server.retries') AS retries,
        sum(increase) FILTER (WHERE metric = 'http.server.request.time')
            / nullif(sum(increase) FILTER (WHERE metric = 'http.server.timed_requests'), 0.0)
            AS mean_s,
        max(seconds) / 3600.0 AS hours
    FROM window_series
    WHERE component = 'http' AND metric IN (
        'http.server.first_attempts', 'http.server.retries', 'http.server.request.time',
        'http.server.timed_requests'
    )
    GROUP BY host, label(labels, 'service.name'), label(labels, 'http.route')
)
SELECT
    host, target, route AS subject,
    'Let the callers of ' || route || ' retry at most ' || human($share, '1')
        || ' of their requests, with growing and jittered pauses' AS advice,
    human(retries, '{request}') || ' retries beside ' || human(attempts, '{request}')
        || ' first attempts' AS evidence,
    (retries - $share * attempts) * mean_s / hours AS saved_s_per_h,
    'E4' AS saved_method,
    1.0 - $share / (retries / attempts) AS predicted,
    0.5 AS confidence,
    CAST(NULL AS VARCHAR) AS action,
    retries / attempts AS observed, $share AS threshold, '1' AS unit
FROM endpoints
WHERE hours > 0.0 AND attempts >= $attempts AND retries > $share * attempts
