-- id: a1_burn_rate
-- kind: recommendation
-- title: Save the error budget
-- component: http
-- risk: low
-- auto: advice
-- verify: signal_clears
-- inputs: http/http.server.requests?, http/http.server.errors?, http/http.server.slow_requests?, http/http.server.timed_requests?
-- sources: Google SRE workbook, chapter 5 (multiwindow, multi-burn-rate alerts)
-- every: 5m
-- reads: judged_window, window_steps, history_steps
-- why: An objective leaves a budget of bad requests. At 14.4 times its pace an hour eats 2 % of the
--   budget of 30 days, at 6 times six hours eat 5 %. The short window beside each long one must burn
--   as well, so that what is over is not told. The six hours are the window and the five hours
--   before it.
-- parameters:
--   objective float = 0.99: the part of the requests that is to be good [own]
--   fast float = 14.4: the burn rate over an hour and five minutes [Google SRE workbook]
--   slow float = 6.0: the burn rate over six hours and thirty minutes [Google SRE workbook]
--   requests float = 120.0: fewer requests in a long window are too few to judge by [Netdata]
--   least float = 10.0: fewer requests in a short window are too few to judge by [own]
WITH steps AS (
    SELECT host, metric, labels, ts, increase FROM window_steps WHERE component = 'http'
    UNION ALL
    SELECT host, metric, labels, ts, increase FROM history_steps WHERE component = 'http'
),
counted AS (
    SELECT
        host, label(labels, 'service.name') AS target, ts, until_ts, increase,
        CASE WHEN metric IN ('http.server.requests', 'http.server.errors')
            THEN 'availability' ELSE 'latency' END AS subject,
        metric IN ('http.server.errors', 'http.server.slow_requests') AS bad
    FROM steps
    CROSS JOIN judged_window
    WHERE metric IN (
            'http.server.requests', 'http.server.errors',
            'http.server.slow_requests', 'http.server.timed_requests'
        )
        AND ts >= until_ts - INTERVAL '6 hours'
),
sums AS (
    SELECT
        host, target, subject,
        sum(increase) FILTER (WHERE bad AND ts >= until_ts - INTERVAL '5 minutes') AS bad_5m,
        sum(increase) FILTER (WHERE NOT bad AND ts >= until_ts - INTERVAL '5 minutes') AS all_5m,
        sum(increase) FILTER (WHERE bad AND ts >= until_ts - INTERVAL '30 minutes') AS bad_30m,
        sum(increase) FILTER (WHERE NOT bad AND ts >= until_ts - INTERVAL '30 minutes') AS all_30m,
        sum(increase) FILTER (WHERE bad AND ts >= until_ts - INTERVAL '1 hour') AS bad_1h,
        sum(increase) FILTER (WHERE NOT bad AND ts >= until_ts - INTERVAL '1 hour') AS all_1h,
        sum(increase) FILTER (WHERE bad) AS bad_6h,
        sum(increase) FILTER (WHERE NOT bad) AS all_6h
    FROM counted
    GROUP BY host, target, subject
),
burns AS (
    SELECT
        *,
        CASE WHEN all_1h >= $requests AND all_5m >= $least
            THEN least(bad_1h / all_1h, bad_5m / all_5m) / (1.0 - $objective) END AS burn_fast,
        CASE WHEN all_6h >= $requests AND all_30m >= $least
            THEN least(bad_6h / all_6h, bad_30m / all_30m) / (1.0 - $objective) END AS burn_slow
    FROM sums
)
SELECT
    host, target, subject,
    'The error budget of ' || target || ' (' || subject || ') is burning: look at what changed, and '
        || 'see the other recommendations for the same time' AS advice,
    CASE WHEN burn_fast > $fast
        THEN human(bad_1h / all_1h, '1') || ' of ' || human(all_1h, '{request}') || ' requests in an hour were bad'
        ELSE human(bad_6h / all_6h, '1') || ' of ' || human(all_6h, '{request}') || ' requests in six hours were bad'
        END AS evidence,
    CAST(NULL AS DOUBLE) AS saved_s_per_h,
    CAST(NULL AS VARCHAR) AS saved_method,
    CAST(NULL AS DOUBLE) AS predicted,
    CASE WHEN burn_fast > $fast THEN 0.9 ELSE 0.7 END AS confidence,
    CAST(NULL AS VARCHAR) AS action,
    CASE WHEN burn_fast > $fast THEN burn_fast ELSE burn_slow END AS observed,
    CASE WHEN burn_fast > $fast THEN $fast ELSE $slow END AS threshold, '1' AS unit
FROM burns
WHERE burn_fast > $fast OR burn_slow > $slow
