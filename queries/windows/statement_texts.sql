-- id: statement_texts
-- kind: window
-- reads: events
-- why: The texts of statements, without literals and with their white space made even. A statement
--   is told once by the collector that met it, perhaps again after it was restarted.
SELECT
    host, target, database, queryid, text,
    -- Long enough to know a statement by.
    CASE WHEN character_length(text) > 80 THEN substr(text, 1, 77) || '…' ELSE text END AS head
FROM (
    SELECT
        host,
        label(attributes, 'service.instance.id') AS target,
        label(attributes, 'postgresql.database.name') AS database,
        label(attributes, 'postgresql.queryid') AS queryid,
        trim(regexp_replace(label(attributes, 'db.query.text'), '\s+', ' ', 'g')) AS text,
        row_number() OVER (
            PARTITION BY host, label(attributes, 'service.instance.id'),
                label(attributes, 'postgresql.queryid')
            ORDER BY ts DESC
        ) AS ago
    FROM events
    WHERE name = 'StatementSeen'
)
WHERE ago = 1
