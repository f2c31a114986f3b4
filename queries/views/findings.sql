-- id: findings
-- kind: view
-- reads: events
-- why: Everything that was found to have changed, and what has become of it. A finding is opened,
--   perhaps acknowledged, resolved as `fixed` or `accepted`, and perhaps reopened; a later analysis
--   of the same day may update it, or supersede it when it is none any more. Nothing is ever
--   erased: the events tell the whole life of a finding.
WITH steps AS (
    SELECT
        subject AS id, name, ts, attributes,
        row_number() OVER (
            PARTITION BY subject, name IN ('FindingOpened', 'FindingUpdated')
            ORDER BY ts DESC, name DESC
        ) AS told_ago,
        row_number() OVER (
            PARTITION BY subject, name <> 'FindingUpdated' ORDER BY ts DESC, name DESC
        ) AS state_ago
    FROM events
    WHERE name IN (
        'FindingOpened', 'FindingUpdated', 'FindingSuperseded', 'FindingAcknowledged',
        'FindingResolved', 'FindingReopened'
    )
),
told AS (
    SELECT * FROM steps
    WHERE told_ago = 1 AND name IN ('FindingOpened', 'FindingUpdated')
),
states AS (
    SELECT
        id, ts AS changed, label(attributes, 'by') AS changed_by,
        CASE name
            WHEN 'FindingSuperseded' THEN 'superseded'
            WHEN 'FindingAcknowledged' THEN 'acknowledged'
            WHEN 'FindingResolved' THEN label(attributes, 'as')
            ELSE 'open'
        END AS state
    FROM steps
    WHERE state_ago = 1 AND name <> 'FindingUpdated'
)
SELECT
    told.id, states.state,
    label(told.attributes, 'day') AS day,
    label(told.attributes, 'severity') AS severity,
    label(told.attributes, 'title') AS title,
    label(told.attributes, 'scope') AS scope,
    to_timestamp_micros(CAST(label(told.attributes, 'onset_us') AS BIGINT)) AS onset,
    CAST(label(told.attributes, 'effect_pct') AS DOUBLE) AS effect_pct,
    CAST(label(told.attributes, 'ci_lo_pct') AS DOUBLE) AS ci_lo_pct,
    CAST(label(told.attributes, 'ci_hi_pct') AS DOUBLE) AS ci_hi_pct,
    CAST(label(told.attributes, 'p_value') AS DOUBLE) AS p_value,
    label(told.attributes, 'evidence') AS evidence,
    label(told.attributes, 'causes') AS causes,
    label(told.attributes, 'sql') AS sql,
    label(told.attributes, 'content') AS content,
    told.ts AS analysed, states.changed, states.changed_by
FROM told
JOIN states ON states.id = told.id
