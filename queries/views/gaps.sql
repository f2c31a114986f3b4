-- id: gaps
-- kind: view
-- reads: samples, events
-- why: Where a host's samples are missing, by the clock that every tick carries, and the reason
--   that the collector gave. A step of more than 2.5 times the usual one is a gap: one late tick
--   is none, one missing tick beside a late one is.
WITH steps AS (
    SELECT
        host, ts,
        lag(ts) OVER (PARTITION BY host ORDER BY ts) AS before
    FROM (SELECT DISTINCT host, ts FROM samples WHERE metric = 'system.uptime')
),
lengths AS (
    SELECT host, before, ts, CAST(ts AS BIGINT) - CAST(before AS BIGINT) AS step_us
    FROM steps
    WHERE before IS NOT NULL
),
usual AS (
    SELECT host, median(step_us) AS usual_us FROM lengths GROUP BY host
),
found AS (
    SELECT lengths.host, lengths.before, lengths.ts, step_us, usual_us
    FROM lengths JOIN usual ON usual.host = lengths.host
    WHERE step_us > 2.5 * usual_us
),
explained AS (
    SELECT
        host,
        label(attributes, 'reason') AS reason,
        CAST(label(attributes, 'from_us') AS BIGINT) AS from_us,
        CAST(label(attributes, 'until_us') AS BIGINT) AS until_us
    FROM events
    WHERE name = 'Gap'
)
SELECT
    found.host,
    found.before AS last_ts,
    found.ts AS next_ts,
    min((step_us - usual_us) / 1e6) AS missing_s,
    min(explained.reason) AS reason
FROM found
LEFT JOIN explained
    ON explained.host = found.host
    AND explained.from_us <= CAST(found.ts AS BIGINT)
    AND explained.until_us >= CAST(found.before AS BIGINT)
GROUP BY found.host, found.before, found.ts
