-- id: baselines
-- kind: view
-- reads: events
-- why: Every baseline that was ever taken: the window that it describes, the version of the table
--   that it came from, and how many series it holds. It is valid from when it was taken until the
--   next one is; those that are superseded stay, here and as files.
SELECT
    subject AS name, host,
    to_timestamp_micros(CAST(label(attributes, 'from_us') AS BIGINT)) AS window_from,
    to_timestamp_micros(CAST(label(attributes, 'until_us') AS BIGINT)) AS window_until,
    CAST(label(attributes, 'samples_version') AS BIGINT) AS samples_version,
    CAST(label(attributes, 'series') AS BIGINT) AS series,
    CAST(label(attributes, 'seasonal') AS BIGINT) AS seasonal,
    label(attributes, 'fingerprint') AS fingerprint,
    ts AS valid_from,
    lead(ts) OVER (PARTITION BY host ORDER BY ts, subject) AS valid_until
FROM events
WHERE name = 'BaselineTaken'
