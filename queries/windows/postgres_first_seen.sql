-- id: postgres_first_seen
-- kind: window
-- reads: series
-- why: Since when each table and each of its indexes has been observed; `index_name` is null in the
--   rows of tables themselves.
SELECT
    host,
    label(labels, 'service.instance.id') AS target,
    label(labels, 'postgresql.database.name') AS database,
    label(labels, 'postgresql.schema.name') AS schema,
    label(labels, 'postgresql.table.name') AS name,
    label(labels, 'postgresql.index.name') AS index_name,
    min(first_seen) AS since
FROM series
WHERE component = 'postgres' AND metric IN ('postgresql.index.scans', 'postgresql.operations')
GROUP BY host, label(labels, 'service.instance.id'), label(labels, 'postgresql.database.name'),
    label(labels, 'postgresql.schema.name'), label(labels, 'postgresql.table.name'),
    label(labels, 'postgresql.index.name')
