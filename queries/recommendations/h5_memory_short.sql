-- id: h5_memory_short
-- kind: recommendation
-- title: Bound what uses memory
-- component: host
-- risk: high
-- auto: advice
-- verify: signal_clears
-- inputs: host/system.memory.linux.available, host/system.memory.limit, host/system.memory.oom_kills?, process/process.memory.usage?
-- sources: awesome-prometheus-alerts (host out of memory, host OOM kill detected)
-- every: 5m
-- reads: window_series
-- why: When memory runs out the kernel kills a process of its own choosing. Memory that is free says
--   little, since a healthy host fills it with caches; available memory is what counts. How much
--   time that costs cannot be said, so nothing is claimed.
-- parameters:
--   available float = 0.1: the part of the memory that is available [awesome-prometheus-alerts]
--   kills float = 0.0: processes killed because memory ran out [awesome-prometheus-alerts]
WITH hosts AS (
    SELECT
        host,
        max(mean) FILTER (WHERE metric = 'system.memory.linux.available') AS available,
        max(n) FILTER (WHERE metric = 'system.memory.linux.available') AS n,
        max(last) FILTER (WHERE metric = 'system.memory.limit') AS total,
        coalesce(sum(increase) FILTER (WHERE metric = 'system.memory.oom_kills'), 0.0) AS kills
    FROM window_series
    WHERE component = 'host'
        AND metric IN (
            'system.memory.linux.available', 'system.memory.limit', 'system.memory.oom_kills'
        )
    GROUP BY host
),
programs AS (
    SELECT
        host, program, bytes,
        row_number() OVER (PARTITION BY host ORDER BY bytes DESC, program) AS place
    FROM (
        SELECT
            host, label(labels, 'process.executable.name') AS program, sum(mean) AS bytes
        FROM window_series
        WHERE component = 'process' AND metric = 'process.memory.usage'
        GROUP BY host, label(labels, 'process.executable.name')
    )
)
SELECT
    hosts.host, 'host' AS target, 'host' AS subject,
    'Bound the memory of ' || coalesce(programs.program, 'what runs') || ' on ' || hosts.host
        || CASE WHEN kills > $kills THEN ': the kernel has killed processes' ELSE ': little is left' END
        AS advice,
    human(available, 'By') || ' of ' || human(total, 'By') || ' available'
        || CASE WHEN kills > $kills THEN ', ' || human(kills, '{process}') || ' killed' ELSE '' END
        || coalesce(', ' || programs.program || ' holds ' || human(programs.bytes, 'By'), '')
        AS evidence,
    CAST(NULL AS DOUBLE) AS saved_s_per_h,
    'E5' AS saved_method,
    CAST(NULL AS DOUBLE) AS predicted,
    CASE WHEN kills > $kills THEN 0.9 ELSE 0.6 END AS confidence,
    CAST(NULL AS VARCHAR) AS action,
    CASE WHEN kills > $kills THEN kills ELSE available / total END AS observed,
    CASE WHEN kills > $kills THEN $kills ELSE $available END AS threshold,
    CASE WHEN kills > $kills THEN '{process}' ELSE '1' END AS unit
FROM hosts
LEFT JOIN programs ON programs.host = hosts.host AND programs.place = 1
WHERE n >= 10 AND (available / total < $available OR kills > $kills)
