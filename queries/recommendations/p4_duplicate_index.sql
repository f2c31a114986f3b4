-- id: p4_duplicate_index
-- kind: recommendation
-- title: Drop a duplicate index
-- component: postgres
-- risk: medium
-- auto: approval
-- verify: work_per_call
-- undo: create it again from its recorded definition
-- inputs: postgres/postgresql.index.duplicates, postgres/postgresql.index.size, postgres/postgresql.index.required
-- sources: PostgreSQL's documentation of CREATE INDEX: an equal index answers nothing more
-- every: 1d
-- reads: window_series
-- why: Two indexes with the same columns, classes, order, expressions and predicate answer the same
--   questions, and both are kept up to date at each change. The one that a constraint needs stays,
--   or the first by its name.
-- parameters:
--   copies float = 1.0: indexes that are equal, this one included [catalogue: more than one]
WITH indexes AS (
    SELECT
        host,
        label(labels, 'service.instance.id') AS target,
        label(labels, 'postgresql.database.name') AS database,
        label(labels, 'postgresql.schema.name') AS schema,
        label(labels, 'postgresql.table.name') AS of_table,
        label(labels, 'postgresql.index.name') AS name,
        max(label(labels, 'postgresql.index.twin')) AS twin,
        max(last) FILTER (WHERE metric = 'postgresql.index.duplicates') AS copies,
        max(last) FILTER (WHERE metric = 'postgresql.index.size') AS bytes,
        max(last) FILTER (WHERE metric = 'postgresql.index.required') AS required
    FROM window_series
    WHERE component = 'postgres' AND metric IN (
        'postgresql.index.duplicates', 'postgresql.index.size', 'postgresql.index.required'
    )
    GROUP BY host, label(labels, 'service.instance.id'), label(labels, 'postgresql.database.name'),
        label(labels, 'postgresql.schema.name'), label(labels, 'postgresql.table.name'),
        label(labels, 'postgresql.index.name')
)
SELECT
    host, target, database || '.' || schema || '.' || name AS subject,
    'Drop index ' || name || ' of ' || schema || '.' || of_table || ': ' || twin
        || ' is the same' AS advice,
    human(copies, '{index}') || ' equal indexes, this one takes ' || human(bytes, 'By') AS evidence,
    CAST(NULL AS DOUBLE) AS saved_s_per_h,
    'E5' AS saved_method,
    CAST(NULL AS DOUBLE) AS predicted,
    0.9 AS confidence,
    json_object(
        'kind', 'drop_index', 'table', named_struct('schema', schema, 'name', of_table), 'index', name
    ) AS action,
    copies AS observed, $copies AS threshold, '{index}' AS unit
FROM indexes
WHERE copies > $copies AND name <> twin AND required = 0.0
