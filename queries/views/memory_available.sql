-- id: memory_available
-- kind: view
-- reads: samples
-- why: How much memory programs can still be given without swapping. Free memory alone would
--   mislead: a healthy host fills it with caches.
WITH memory AS (
    SELECT
        ts, host,
        max(value) FILTER (WHERE metric = 'system.memory.linux.available') AS available_bytes,
        max(value) FILTER (WHERE metric = 'system.memory.limit') AS limit_bytes
    FROM samples
    WHERE metric IN ('system.memory.linux.available', 'system.memory.limit')
    GROUP BY ts, host
)
SELECT ts, host, available_bytes, limit_bytes, available_bytes / limit_bytes AS available_ratio
FROM memory
WHERE available_bytes IS NOT NULL AND limit_bytes > 0
