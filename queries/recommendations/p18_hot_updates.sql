-- id: p18_hot_updates
-- kind: recommendation
-- title: Remove the index that makes updates expensive
-- component: postgres
-- risk: medium
-- auto: approval
-- verify: work_per_call
-- undo: create the index again from its recorded definition
-- inputs: postgres/postgresql.operations, postgres/postgresql.index.scans?, postgres/postgresql.index.required?
-- sources: own, to be calibrated; a bad index on an updated column lowered HOT updates from 95 % to 0
--   and raised the blocks for each update from 6.4 to 16.2
-- every: 1h
-- reads: judged_window, postgres_tables, postgres_first_seen, window_series, history_steps
-- why: An update that changes no indexed column and finds room in its block leaves all indexes alone
--   (HOT). When such updates become rare, a new index on a changed column is the usual reason, and it
--   costs each update several times the blocks while throughput may look as before. An index that
--   appeared on the table within the seven days is named, and dropping it is prepared, unless it
--   enforces something. Without one a lower fillfactor may make room.
-- parameters:
--   hot float = 0.5: HOT updates as a part of all [own]
--   fell float = 0.3: points of percent by which that part fell against the seven days before [own]
--   updates float = 1000.0: fewer updates are too few to judge by [own]
--   update_s float = 0.00002: seconds that an update that is not HOT costs more [own: ten blocks in the cache and the log]
WITH before AS (
    SELECT
        host,
        label(labels, 'service.instance.id') AS target,
        label(labels, 'postgresql.database.name') AS database,
        label(labels, 'postgresql.schema.name') AS schema,
        label(labels, 'postgresql.table.name') AS name,
        sum(increase) FILTER (WHERE label(labels, 'postgresql.operation') = 'upd') AS updates,
        sum(increase) FILTER (WHERE label(labels, 'postgresql.operation') = 'hot_upd') AS hot_updates
    FROM history_steps
    WHERE component = 'postgres' AND metric = 'postgresql.operations'
    GROUP BY host, label(labels, 'service.instance.id'), label(labels, 'postgresql.database.name'),
        label(labels, 'postgresql.schema.name'), label(labels, 'postgresql.table.name')
),
required AS (
    SELECT
        host,
        label(labels, 'service.instance.id') AS target,
        label(labels, 'postgresql.database.name') AS database,
        label(labels, 'postgresql.schema.name') AS schema,
        label(labels, 'postgresql.index.name') AS name,
        max(last) AS required
    FROM window_series
    WHERE component = 'postgres' AND metric = 'postgresql.index.required'
    GROUP BY host, label(labels, 'service.instance.id'), label(labels, 'postgresql.database.name'),
        label(labels, 'postgresql.schema.name'), label(labels, 'postgresql.index.name')
),
-- The newest index of each table, if it came later than the table was first observed.
newest AS (
    SELECT * FROM (
        SELECT
            indexes.*,
            row_number() OVER (
                PARTITION BY indexes.host, indexes.target, indexes.database, indexes.schema, indexes.name
                ORDER BY indexes.since DESC, indexes.index_name
            ) AS place
        FROM postgres_first_seen AS indexes
        CROSS JOIN judged_window
        JOIN postgres_first_seen AS tables
            ON tables.host = indexes.host AND tables.target = indexes.target
            AND tables.database = indexes.database AND tables.schema = indexes.schema
            AND tables.name = indexes.name AND tables.index_name IS NULL
        JOIN required
            ON required.host = indexes.host AND required.target = indexes.target
            AND required.database = indexes.database AND required.schema = indexes.schema
            AND required.name = indexes.index_name
        WHERE indexes.index_name IS NOT NULL AND required.required = 0.0
            AND indexes.since > tables.since + INTERVAL '1 hour'
            AND indexes.since >= judged_window.from_ts - INTERVAL '7 days'
    )
    WHERE place = 1
),
tables AS (
    SELECT
        now.*, now.hot_updates / now.updates AS hot, before.hot_updates / before.updates AS usual
    FROM postgres_tables AS now
    JOIN before
        ON before.host = now.host AND before.target = now.target AND before.database = now.database
        AND before.schema = now.schema AND before.name = now.name
    WHERE now.updates >= $updates AND before.updates >= $updates
)
SELECT
    tables.host, tables.target,
    tables.database || '.' || tables.schema || '.' || tables.name AS subject,
    coalesce(
        'Drop index ' || index_name || ', since which updates of ' || tables.schema || '.' || tables.name
            || ' touch all indexes',
        'Find the index that updates of ' || tables.schema || '.' || tables.name
            || ' change, or lower its fillfactor'
    ) AS advice,
    human(hot, '1') || ' of ' || human(updates, '{row}') || ' updates left the indexes alone, '
        || human(usual, '1') || ' in the days before' AS evidence,
    (usual - hot) * updates * $update_s / nullif(hours, 0.0) AS saved_s_per_h,
    'E4' AS saved_method,
    CAST(NULL AS DOUBLE) AS predicted,
    CASE WHEN index_name IS NULL THEN 0.4 ELSE 0.7 END AS confidence,
    CASE WHEN index_name IS NOT NULL THEN json_object(
        'kind', 'drop_index',
        'table', named_struct('schema', tables.schema, 'name', tables.name),
        'index', index_name
    ) END AS action,
    hot AS observed, $hot AS threshold, '1' AS unit
FROM tables
LEFT JOIN newest
    ON newest.host = tables.host AND newest.target = tables.target
    AND newest.database = tables.database AND newest.schema = tables.schema
    AND newest.name = tables.name
WHERE hot < $hot AND usual - hot > $fell
