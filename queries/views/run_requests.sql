-- id: run_requests
-- kind: view
-- reads: requests, runs
-- why: The operations of load runs without their warm-up. `latency_ms` counts from when the schedule
--   wanted the request, `service_ms` from when it was sent: the difference is time spent waiting,
--   which a user feels and a generator that waits for answers hides. An operation that was never
--   answered has waited at least its `latency_ms`; one that was dropped has none, because nothing
--   was waited for.
SELECT
    requests.run, requests.ts, requests.host, requests.worker, requests.endpoint,
    requests.status, requests.bytes, requests.error,
    requests.error = '' AS succeeded,
    requests.error IN ('', 'status', 'body', 'slow', 'capture', 'redirects', 'close code') AS answered,
    CASE WHEN requests.error NOT IN ('dropped', 'backpressure')
        THEN CAST(requests.done_ns AS DOUBLE) / 1e6 END AS latency_ms,
    CASE WHEN requests.sent_ns >= 0
        THEN CAST(requests.done_ns - requests.sent_ns AS DOUBLE) / 1e6 END AS service_ms,
    CASE WHEN requests.first_byte_ns >= 0
        THEN CAST(requests.first_byte_ns AS DOUBLE) / 1e6 END AS first_byte_ms
FROM requests
JOIN runs ON runs.run = requests.run
WHERE CAST(requests.ts AS BIGINT) >= CAST(runs.started AS BIGINT) + runs.warm_up_us
