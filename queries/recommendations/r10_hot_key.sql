-- id: r10_hot_key
-- kind: recommendation
-- title: Keep a hot key in the clients
-- component: redis
-- risk: medium
-- auto: advice
-- verify: hit_ratio
-- inputs: redis/redis.key.share, redis/redis.commands.processed
-- sources: own
-- every: 1h
-- reads: window_series
-- why: One key that takes a large part of all accesses cannot be spread over more servers. A copy in
--   each client, for a second or with client-side caching, takes that load away. The share is an
--   estimate from the logarithmic counters of LFU, whose evenness over keys is not known.
-- parameters:
--   share float = 0.05: the part of the accesses that goes to one key [own]
--   commands float = 1000.0: fewer commands in the window are too few to judge by [own]
--   round_trip_s float = 0.0002: seconds that an access costs its client [own: a local network]
WITH servers AS (
    SELECT
        host, label(labels, 'service.instance.id') AS target, max(increase) AS commands,
        max(seconds) / 3600.0 AS hours
    FROM window_series
    WHERE component = 'redis' AND metric = 'redis.commands.processed'
    GROUP BY host, label(labels, 'service.instance.id')
),
patterns AS (
    SELECT
        host, label(labels, 'service.instance.id') AS target, label(labels, 'db') AS db,
        label(labels, 'pattern') AS pattern, max(mean) AS share
    FROM window_series
    WHERE component = 'redis' AND metric = 'redis.key.share'
    GROUP BY host, label(labels, 'service.instance.id'), label(labels, 'db'),
        label(labels, 'pattern')
)
SELECT
    patterns.host, patterns.target, 'db ' || db || ' ' || pattern AS subject,
    'Keep the hottest key of ' || pattern || ' in the clients for a second' AS advice,
    'about ' || human(share, '1') || ' of all accesses go to one key' AS evidence,
    share * commands / hours * $round_trip_s AS saved_s_per_h,
    'E2' AS saved_method,
    CAST(NULL AS DOUBLE) AS predicted,
    0.4 AS confidence,
    CAST(NULL AS VARCHAR) AS action,
    share AS observed, $share AS threshold, '1' AS unit
FROM patterns
JOIN servers ON servers.host = patterns.host AND servers.target = patterns.target
WHERE share > $share AND hours > 0.0 AND commands >= $commands
