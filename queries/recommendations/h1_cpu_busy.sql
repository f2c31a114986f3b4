-- id: h1_cpu_busy
-- kind: recommendation
-- title: Give the host more processors, or cap what uses them
-- component: host
-- risk: medium
-- auto: advice
-- verify: signal_clears
-- inputs: host/system.cpu.time, host/system.cpu.logical.count, process/process.cpu.time?
-- sources: awesome-prometheus-alerts (host high CPU load); waiting by Sakasegawa's approximation for
--   several servers, Annals of the Institute of Statistical Mathematics 29 (1977)
-- every: 5m
-- reads: window_steps, window_series
-- why: A host whose processors are busy nearly all of the time makes every task wait for its turn,
--   and the wait grows without bound towards 100 %. Waiting for a disk is not being busy. What is
--   saved is the difference in waiting between what was observed and the threshold: with rho the
--   utilisation and c the processors, each second of work waits
--   rho^(sqrt(2 (c + 1)) - 1) / (c (1 - rho)) seconds.
-- parameters:
--   busy float = 0.8: the utilisation above which tasks wait noticeably [awesome-prometheus-alerts]
--   for_s float = 290.0: seconds that it must last, five minutes less one sample [awesome-prometheus-alerts]
WITH steps AS (
    SELECT
        host, ts, max(seconds) AS seconds,
        sum(increase) FILTER (WHERE label(labels, 'cpu.mode') NOT IN ('idle', 'iowait'))
            / nullif(sum(increase), 0.0) AS utilisation
    FROM window_steps
    WHERE component = 'host' AND metric = 'system.cpu.time'
    GROUP BY host, ts
),
hosts AS (
    SELECT
        host,
        sum(seconds) FILTER (WHERE utilisation > $busy) AS busy_s,
        sum(seconds) AS seconds,
        sum(utilisation * seconds) FILTER (WHERE utilisation > $busy)
            / nullif(sum(seconds) FILTER (WHERE utilisation > $busy), 0.0) AS utilisation
    FROM steps
    GROUP BY host
),
processors AS (
    SELECT host, max(last) AS cpus
    FROM window_series
    WHERE component = 'host' AND metric = 'system.cpu.logical.count'
    GROUP BY host
),
programs AS (
    SELECT
        host, program, cpus,
        row_number() OVER (PARTITION BY host ORDER BY cpus DESC, program) AS place
    FROM (
        SELECT
            host, label(labels, 'process.executable.name') AS program,
            sum(increase) / nullif(max(seconds), 0.0) AS cpus
        FROM window_series
        WHERE component = 'process' AND metric = 'process.cpu.time'
        GROUP BY host, label(labels, 'process.executable.name')
    )
    WHERE cpus > 0.0
),
waits AS (
    SELECT
        hosts.host, utilisation, busy_s, seconds, cpus,
        least(utilisation, 0.99) AS rho,
        sqrt(2.0 * (cpus + 1.0)) - 1.0 AS exponent
    FROM hosts
    JOIN processors ON processors.host = hosts.host
    WHERE busy_s >= $for_s
)
SELECT
    waits.host, 'host' AS target, 'host' AS subject,
    waits.host || ' is short of processors: move work away, add some, or cap '
        || coalesce(programs.program, 'what uses them most (see top_processes)') AS advice,
    human(utilisation, '1') || ' busy for ' || human(busy_s, 's') || ' of ' || human(seconds, 's')
        || coalesce(', ' || programs.program || ' used ' || human(programs.cpus, '{cpu}') || ' of '
            || human(waits.cpus, '{cpu}') || ' processors', '') AS evidence,
    3600.0 * busy_s / seconds * (
        rho * power(rho, exponent) / (1.0 - rho) - $busy * power($busy, exponent) / (1.0 - $busy)
    ) AS saved_s_per_h,
    'E3' AS saved_method,
    (utilisation - $busy) / utilisation AS predicted,
    0.5 AS confidence,
    CAST(NULL AS VARCHAR) AS action,
    utilisation AS observed, $busy AS threshold, '1' AS unit
FROM waits
LEFT JOIN programs ON programs.host = waits.host AND programs.place = 1
