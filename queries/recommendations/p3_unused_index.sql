-- id: p3_unused_index
-- kind: recommendation
-- title: Drop an index that nothing uses
-- component: postgres
-- risk: high
-- auto: approval
-- verify: work_per_call
-- undo: create it again from its recorded definition
-- inputs: postgres/postgresql.index.scans, postgres/postgresql.index.size, postgres/postgresql.index.required, postgres/postgresql.db_size, postgres/postgresql.index.duplicates?, postgres/postgresql.index.last_scan.age?
-- sources: postgres-checkup (unused indexes)
-- every: 1d
-- reads: judged_window, window_series, postgres_first_seen, history_steps
-- why: An index costs room and work at each change of its table, and one that nothing scanned for a
--   quarter of a year is kept for nothing. It counts as unused only where no server that has an
--   index of that name, a replica too, has scanned it: replicas keep counts of their own. Those that
--   enforce a constraint are needed whatever their scans. One of several equal indexes is left to the
--   rule of duplicates: it may stand in for the one that is scanned, and both must not go. Counts begin anew when statistics are
--   reset, which is why the index must also have been observed for that long, and why a person
--   decides. How much time it would save cannot be said from here.
-- parameters:
--   unused_s float = 7776000.0: seconds for which it was not scanned, 90 days [postgres-checkup]
--   share float = 0.005: the part of the database's size that it takes at least [postgres-checkup]
WITH indexes AS (
    SELECT
        host,
        label(labels, 'service.instance.id') AS target,
        label(labels, 'postgresql.database.name') AS database,
        label(labels, 'postgresql.schema.name') AS schema,
        label(labels, 'postgresql.table.name') AS of_table,
        label(labels, 'postgresql.index.name') AS name,
        max(max) FILTER (WHERE metric = 'postgresql.index.scans') AS scans,
        max(n) FILTER (WHERE metric = 'postgresql.index.scans') AS n,
        max(last) FILTER (WHERE metric = 'postgresql.index.size') AS bytes,
        max(last) FILTER (WHERE metric = 'postgresql.index.required') AS required,
        max(last) FILTER (WHERE metric = 'postgresql.index.duplicates') AS copies,
        min(min) FILTER (WHERE metric = 'postgresql.index.last_scan.age') AS scanned_ago_s
    FROM window_series
    WHERE component = 'postgres' AND metric IN (
        'postgresql.index.scans', 'postgresql.index.size', 'postgresql.index.required',
        'postgresql.index.duplicates', 'postgresql.index.last_scan.age'
    )
    GROUP BY host, label(labels, 'service.instance.id'), label(labels, 'postgresql.database.name'),
        label(labels, 'postgresql.schema.name'), label(labels, 'postgresql.table.name'),
        label(labels, 'postgresql.index.name')
),
used_somewhere AS (
    SELECT
        database, schema, name,
        bool_or(scans > 0.0 AND coalesce(scanned_ago_s, 0.0) < $unused_s) AS used
    FROM indexes
    GROUP BY database, schema, name
),
used_before AS (
    SELECT DISTINCT
        label(labels, 'postgresql.database.name') AS database,
        label(labels, 'postgresql.schema.name') AS schema,
        label(labels, 'postgresql.index.name') AS name
    FROM history_steps
    WHERE component = 'postgres' AND metric = 'postgresql.index.scans' AND increase > 0.0
),
observed AS (
    SELECT
        host, target, database, schema, index_name AS name,
        CAST(CAST(max(until_ts) AS BIGINT) - CAST(min(since) AS BIGINT) AS DOUBLE) / 1e6 AS for_s
    FROM postgres_first_seen
    CROSS JOIN judged_window
    WHERE index_name IS NOT NULL
    GROUP BY host, target, database, schema, index_name
),
databases AS (
    SELECT
        host,
        label(labels, 'service.instance.id') AS target,
        label(labels, 'postgresql.database.name') AS database,
        max(last) AS bytes
    FROM window_series
    WHERE component = 'postgres' AND metric = 'postgresql.db_size'
    GROUP BY host, label(labels, 'service.instance.id'), label(labels, 'postgresql.database.name')
)
SELECT
    indexes.host, indexes.target,
    indexes.database || '.' || indexes.schema || '.' || indexes.name AS subject,
    'Drop index ' || indexes.name || ' of ' || indexes.schema || '.' || indexes.of_table
        || ', which nothing has scanned' AS advice,
    'no scan in ' || human(least(observed.for_s, coalesce(scanned_ago_s, observed.for_s)), 's')
        || ', ' || human(indexes.bytes, 'By') || ' or '
        || human(indexes.bytes / databases.bytes, '1') || ' of the database' AS evidence,
    CAST(NULL AS DOUBLE) AS saved_s_per_h,
    'E5' AS saved_method,
    CAST(NULL AS DOUBLE) AS predicted,
    CASE WHEN scanned_ago_s >= $unused_s THEN 0.9 ELSE 0.6 END AS confidence,
    json_object(
        'kind', 'drop_index',
        'table', named_struct('schema', indexes.schema, 'name', indexes.of_table),
        'index', indexes.name
    ) AS action,
    indexes.bytes / databases.bytes AS observed, $share AS threshold, '1' AS unit
FROM indexes
JOIN databases
    ON databases.host = indexes.host AND databases.target = indexes.target
    AND databases.database = indexes.database
JOIN observed
    ON observed.host = indexes.host AND observed.target = indexes.target
    AND observed.database = indexes.database AND observed.schema = indexes.schema
    AND observed.name = indexes.name
JOIN used_somewhere
    ON used_somewhere.database = indexes.database AND used_somewhere.schema = indexes.schema
    AND used_somewhere.name = indexes.name
LEFT JOIN used_before
    ON used_before.database = indexes.database AND used_before.schema = indexes.schema
    AND used_before.name = indexes.name
WHERE NOT used_somewhere.used AND used_before.name IS NULL AND observed.for_s >= $unused_s
    AND indexes.required = 0.0 AND coalesce(indexes.copies, 1.0) <= 1.0
    AND indexes.bytes >= $share * databases.bytes
