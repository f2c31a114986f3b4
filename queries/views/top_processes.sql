-- id: top_processes
-- kind: view
-- reads: counter_rates, samples
-- why: Which processes use processors and memory. `cpu` counts processors in use, so 2 is two of
--   them. Order by what matters and limit.
WITH cpu AS (
    SELECT
        ts, host,
        label(labels, 'process.pid') AS pid,
        label(labels, 'process.executable.name') AS executable,
        CAST(sum(CAST(round(rate_per_s * 1e9) AS BIGINT)) AS DOUBLE) / 1e9 AS cpu
    FROM counter_rates
    WHERE metric = 'process.cpu.time'
    GROUP BY 1, 2, 3, 4
),
memory AS (
    SELECT
        ts, host,
        label(labels, 'process.pid') AS pid,
        label(labels, 'process.executable.name') AS executable,
        max(value) AS memory_bytes
    FROM samples
    WHERE metric = 'process.memory.usage'
    GROUP BY 1, 2, 3, 4
)
SELECT memory.ts, memory.host, memory.pid, memory.executable, cpu.cpu, memory.memory_bytes
FROM memory
LEFT JOIN cpu
    ON cpu.ts = memory.ts
    AND cpu.host = memory.host
    AND cpu.pid = memory.pid
    AND cpu.executable = memory.executable
