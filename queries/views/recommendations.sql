-- id: recommendations
-- kind: view
-- reads: events
-- why: Everything that was recommended, and what has become of it: open while its rule finds it,
--   expired when it does not, dismissed when a person does not want it. What the optimizer did with
--   it stands in events of its own. Nothing is ever erased.
WITH steps AS (
    SELECT
        id, name, ts, message, component, attributes,
        row_number() OVER (
            PARTITION BY id, name IN ('RecommendationRaised', 'RecommendationRefreshed')
            ORDER BY ts DESC, name DESC
        ) AS told_ago,
        row_number() OVER (
            PARTITION BY id, name <> 'RecommendationRefreshed' ORDER BY ts DESC, name DESC
        ) AS state_ago,
        min(ts) OVER (PARTITION BY id) AS raised
    FROM (
        SELECT *, coalesce(label(attributes, 'recommendation'), subject) AS id
        FROM events
        WHERE name IN (
            'RecommendationRaised', 'RecommendationRefreshed', 'RecommendationExpired',
            'RecommendationDismissed'
        )
    )
),
told AS (
    SELECT * FROM steps
    WHERE told_ago = 1 AND name IN ('RecommendationRaised', 'RecommendationRefreshed')
),
states AS (
    SELECT
        id, ts AS changed,
        CASE name
            WHEN 'RecommendationExpired' THEN 'expired'
            WHEN 'RecommendationDismissed' THEN 'dismissed'
            ELSE 'open'
        END AS state
    FROM steps
    WHERE state_ago = 1 AND name <> 'RecommendationRefreshed'
)
SELECT
    told.id, states.state, told.component,
    label(told.attributes, 'rule') AS rule,
    label(told.attributes, 'title') AS title,
    label(told.attributes, 'host') AS host,
    label(told.attributes, 'target') AS target,
    label(told.attributes, 'object') AS object,
    told.message AS advice,
    label(told.attributes, 'evidence') AS evidence,
    TRY_CAST(label(told.attributes, 'saved_s_per_h') AS DOUBLE) AS saved_s_per_h,
    label(told.attributes, 'saved_method') AS saved_method,
    TRY_CAST(label(told.attributes, 'predicted') AS DOUBLE) AS predicted,
    TRY_CAST(label(told.attributes, 'confidence') AS DOUBLE) AS confidence,
    TRY_CAST(label(told.attributes, 'priority') AS DOUBLE) AS priority,
    label(told.attributes, 'risk') AS risk,
    label(told.attributes, 'auto') AS auto,
    label(told.attributes, 'verify') AS verify,
    label(told.attributes, 'undo') AS undo,
    label(told.attributes, 'proposal') AS action,
    TRY_CAST(label(told.attributes, 'observed') AS DOUBLE) AS observed,
    TRY_CAST(label(told.attributes, 'threshold') AS DOUBLE) AS threshold,
    label(told.attributes, 'unit') AS unit,
    TRY_CAST(label(told.attributes, 'from_us') AS BIGINT) AS from_us,
    TRY_CAST(label(told.attributes, 'until_us') AS BIGINT) AS until_us,
    TRY_CAST(label(told.attributes, 'expires_us') AS BIGINT) AS expires_us,
    label(told.attributes, 'detail') AS detail,
    told.raised, told.ts AS told, states.changed
FROM told
JOIN states ON states.id = told.id
