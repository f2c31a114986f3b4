-- id: run_summary
-- kind: view
-- reads: run_requests
-- why: What each endpoint of each load run came to, with exact quantiles. Times are in milliseconds
--   from when the schedule wanted the request.
SELECT
    run,
    endpoint,
    count(*) AS operations,
    sum(CASE WHEN answered THEN 1 ELSE 0 END) AS answered,
    sum(CASE WHEN succeeded THEN 0 ELSE 1 END) AS failed,
    sum(CASE WHEN error = 'dropped' THEN 1 ELSE 0 END) AS dropped,
    CAST(sum(CAST(round(latency_ms * 1e6) AS BIGINT)) AS DOUBLE) / 1e6 / count(latency_ms) AS mean_ms,
    percentile_cont(0.5) WITHIN GROUP (ORDER BY latency_ms) AS p50_ms,
    percentile_cont(0.95) WITHIN GROUP (ORDER BY latency_ms) AS p95_ms,
    percentile_cont(0.99) WITHIN GROUP (ORDER BY latency_ms) AS p99_ms,
    max(latency_ms) AS max_ms,
    sum(bytes) AS bytes
FROM run_requests
GROUP BY run, endpoint
