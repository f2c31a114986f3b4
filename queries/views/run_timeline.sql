-- id: run_timeline
-- kind: view
-- reads: run_requests
-- why: A load run second by second, by when the schedule wanted its requests: what was asked for,
--   what was answered, what failed, and how long it took.
SELECT
    run,
    date_bin(INTERVAL '1 second', ts) AS ts,
    count(*) AS operations,
    sum(CASE WHEN answered THEN 1 ELSE 0 END) AS answered,
    sum(CASE WHEN succeeded THEN 0 ELSE 1 END) AS failed,
    percentile_cont(0.5) WITHIN GROUP (ORDER BY latency_ms) AS p50_ms,
    percentile_cont(0.95) WITHIN GROUP (ORDER BY latency_ms) AS p95_ms,
    percentile_cont(0.99) WITHIN GROUP (ORDER BY latency_ms) AS p99_ms
FROM run_requests
GROUP BY run, date_bin(INTERVAL '1 second', ts)
