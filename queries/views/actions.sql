-- id: actions
-- kind: view
-- reads: events
-- why: Everything that the optimizer did or tried, one row each, with what was predicted beside what
--   came. How an action stands follows from its steps, which are events of their own; a later
--   verdict, after a day or a week, stands in the place of an earlier one.
WITH steps AS (
    SELECT
        label(attributes, 'action') AS action, name, ts, component, subject, message, attributes
    FROM events
    WHERE label(attributes, 'action') IS NOT NULL
        AND name IN (
            'DryRunPassed', 'ActionApproved', 'BaselineFrozen', 'ApplyStarted', 'ApplyProgressed',
            'ApplySucceeded', 'ApplyFailed', 'WindowObserved', 'GuardBreached', 'VerdictReached',
            'RevertStarted', 'RevertSucceeded', 'RevertFailed', 'ExternalChangeDetected'
        )
),
folded AS (
    SELECT
        action,
        min(component) AS component,
        min(subject) AS subject,
        min(label(attributes, 'recommendation')) AS recommendation,
        min(label(attributes, 'rule')) AS rule,
        min(label(attributes, 'target')) AS target,
        min(label(attributes, 'kind')) AS kind,
        min(label(attributes, 'command')) AS command,
        last_value(label(attributes, 'inverse') ORDER BY ts)
            FILTER (WHERE name IN ('DryRunPassed', 'BaselineFrozen')) AS inverse,
        last_value(attributes ORDER BY ts) FILTER (WHERE name = 'VerdictReached') AS verdict,
        last_value(label(attributes, 'reason') ORDER BY ts)
            FILTER (WHERE label(attributes, 'reason') IS NOT NULL) AS reason,
        min(ts) AS begun,
        min(ts) FILTER (WHERE name = 'ApplySucceeded') AS applied,
        max(ts) FILTER (WHERE name = 'VerdictReached') AS judged,
        min(ts) FILTER (WHERE name IN ('RevertSucceeded', 'ExternalChangeDetected')) AS undone,
        max(ts) AS changed,
        bool_or(name = 'RevertSucceeded') AS reverted,
        bool_or(name = 'ExternalChangeDetected') AS superseded,
        bool_or(name IN ('RevertStarted', 'GuardBreached')) AS reverting,
        bool_or(name = 'ApplyFailed') AS failed,
        bool_or(name = 'ApplyStarted') AS started,
        bool_or(name = 'ActionApproved') AS approved
    FROM steps
    GROUP BY action
)
SELECT
    action, recommendation, rule, component, target, subject, kind, command, inverse,
    CASE
        WHEN reverted THEN 'reverted'
        WHEN superseded THEN 'superseded'
        WHEN reverting THEN 'reverting'
        WHEN failed THEN 'failed'
        WHEN label(verdict, 'outcome') = 'kept' THEN 'kept'
        WHEN applied IS NOT NULL THEN 'observing'
        WHEN started THEN 'applying'
        WHEN approved THEN 'approved'
        ELSE 'planned'
    END AS state,
    label(verdict, 'measure') AS measure,
    TRY_CAST(label(verdict, 'predicted') AS DOUBLE) AS predicted,
    TRY_CAST(label(verdict, 'actual') AS DOUBLE) AS actual,
    label(verdict, 'outcome') AS outcome,
    reason, begun, applied, judged, undone, changed
FROM folded
