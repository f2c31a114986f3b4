-- id: p2_missing_index
-- kind: recommendation
-- title: Create an index
-- component: postgres
-- risk: medium
-- auto: automatic
-- verify: work_per_call
-- undo: DROP INDEX CONCURRENTLY
-- inputs: postgres/postgresql.statement.calls, postgres/postgresql.statement.exec_time, postgres/postgresql.statement.rows, postgres/postgresql.statement.blks_hit, postgres/postgresql.statement.blks_read, postgres/postgresql.sequential_scans, postgres/postgresql.table.seq_tup_read, postgres/postgresql.table.estimated_rows, postgres/postgresql.table.size, events
-- sources: own for the share of the rows; Dexter for the saving that is worth an index
-- every: 1h
-- reads: postgres_statements, postgres_tables, statement_texts
-- why: A statement that touches a good part of a large table's blocks and returns a few rows looks
--   for them one by one. Which columns it looks by is read from its text, and only where there is
--   no doubt: one table, and nothing but equalities with parameters, joined by AND. Anything else is
--   left to a person, and then no action is prepared. Every scan of a parallel plan is counted for
--   each of its workers, so that rows for each scan are too low rather than too high; rows for each
--   statement are not concerned. An index would touch about four blocks of its own and one of the
--   table for each row, of which the statement returns as many as it found; where it aggregates
--   them it finds more, so that the estimate is trusted less. A plan with a hypothetical index
--   (HypoPG) is left to whoever applies this.
-- parameters:
--   rows float = 10000.0: smaller tables need no index [own]
--   share float = 0.1: the part of a table that is read for each scan and each call [own]
--   saving float = 0.5: the part of the work that an index must save [Dexter]
--   calls float = 30.0: fewer calls are too few to judge by [own]
--   descent float = 4.0: blocks of an index that a look-up touches [own: a B-tree of 100 million rows has four levels]
--   block_size float = 8192.0: bytes of a block [PostgreSQL's default]
WITH statements AS (
    SELECT
        postgres_statements.host, postgres_statements.target, postgres_statements.database,
        postgres_statements.queryid,
        sum(calls) AS calls, sum(exec_s) AS exec_s, sum(blks) / sum(calls) AS blks_per_call,
        sum(result_rows) / sum(calls) AS rows_per_call, max(hours) AS hours,
        min(text) AS text, min(head) AS head
    FROM postgres_statements
    JOIN statement_texts
        ON statement_texts.host = postgres_statements.host
        AND statement_texts.target = postgres_statements.target
        AND statement_texts.queryid = postgres_statements.queryid
    WHERE calls > 0.0
    GROUP BY postgres_statements.host, postgres_statements.target, postgres_statements.database,
        postgres_statements.queryid
    HAVING sum(calls) >= $calls
),
-- Schema with its point, table, first column, the second condition; null where the text has another
-- shape. Groups that match nothing are left out of the list, so that each may match an empty text.
parsed AS (
    SELECT
        *,
        regexp_match(
            text,
            '^(?:select [^;]*? from|update|delete from) (?:only )?((?:"?[a-z_][a-z0-9_$]*"?\.)?)"?([a-z_][a-z0-9_$]*)"?(?: (?:as )?[a-z_][a-z0-9_]*)?(?: set [^;]*?)? where (?:[a-z_][a-z0-9_]*\.)?"?([a-z_][a-z0-9_$]*)"? = \$[0-9]+((?: and (?:[a-z_][a-z0-9_]*\.)?"?[a-z_][a-z0-9_$]*"? = \$[0-9]+)?)(?: order by [^;()]*| limit \$[0-9]+| offset \$[0-9]+| for [a-z ]+| returning [^;]*)*;?$',
            'i'
        ) AS parts,
        regexp_like(text, '\b(count|sum|avg|min|max|array_agg|string_agg|group by|distinct)\b', 'i')
            AS aggregates
    FROM statements
    -- Names in quotes keep their case; those with capitals are left to a person.
    WHERE NOT regexp_like(text, '\b(join|union|or|exists|in)\b', 'i')
        AND NOT regexp_like(text, '"[^"]*[A-Z][^"]*"')
),
named AS (
    SELECT
        *,
        lower(replace(rtrim(parts[1], '.'), '"', '')) AS of_schema,
        lower(parts[2]) AS of_table,
        lower(parts[3]) AS first_column,
        lower(regexp_replace(
            parts[4], '^ and (?:[a-z_][a-z0-9_]*\.)?"?([a-z_][a-z0-9_$]*)"? = .*$', '\1', 'i'
        )) AS next_column
    FROM parsed
    WHERE parts IS NOT NULL
),
large AS (
    SELECT
        *, bytes / $block_size AS blocks, seq_rows / nullif(seq_scans, 0.0) AS rows_per_scan,
        count(*) OVER (PARTITION BY host, target, database, name) AS of_that_name
    FROM postgres_tables
    WHERE estimated_rows > $rows
),
-- A table that is scanned, a good part of it each time.
scanned AS (
    SELECT *
    FROM large
    WHERE seq_scans > 0.0 AND rows_per_scan > $rows AND rows_per_scan > $share * estimated_rows
),
matched AS (
    SELECT
        named.host, named.target, named.database, named.queryid, named.head, named.calls,
        named.exec_s, named.hours, named.blks_per_call, named.rows_per_call, named.aggregates,
        scanned.schema, scanned.name, scanned.estimated_rows, scanned.blocks, first_column,
        CASE WHEN next_column NOT IN ('', first_column) THEN next_column END AS second_column,
        1.0 - ($descent + named.rows_per_call) / named.blks_per_call AS saving
    FROM named
    JOIN scanned
        ON scanned.host = named.host
        AND scanned.target = named.target
        AND scanned.database = named.database
        AND scanned.name = of_table
        AND (scanned.schema = of_schema OR (of_schema = '' AND scanned.of_that_name = 1))
    WHERE named.blks_per_call >= $share * scanned.blocks
),
explained AS (SELECT DISTINCT host, target, database, schema, name FROM matched),
by_index AS (
    SELECT
        host, target, database, schema, name, first_column, second_column,
        sum(exec_s * saving) / max(hours) AS saved_s_per_h,
        sum(saving * blks_per_call * calls) / sum(blks_per_call * calls) AS saving,
        sum(calls) AS calls, sum(blks_per_call * calls) / sum(calls) AS blks_per_call,
        sum(rows_per_call * calls) / sum(calls) AS rows_per_call, bool_or(aggregates) AS aggregates,
        max(estimated_rows) AS estimated_rows, min(head) AS head,
        string_agg(queryid, ',' ORDER BY queryid) AS statements
    FROM matched
    WHERE saving >= $saving
    GROUP BY host, target, database, schema, name, first_column, second_column
),
-- Tables that are scanned by statements whose text says nothing clear.
others AS (
    SELECT scanned.*
    FROM scanned
    LEFT JOIN explained
        ON explained.host = scanned.host AND explained.target = scanned.target
        AND explained.database = scanned.database AND explained.schema = scanned.schema
        AND explained.name = scanned.name
    WHERE explained.name IS NULL AND scanned.seq_scans >= $calls
)
SELECT
    host, target, database || '.' || schema || '.' || name AS subject,
    'Create an index on ' || schema || '.' || name || ' (' || first_column
        || coalesce(', ' || second_column, '') || ') for: ' || head AS advice,
    human(blks_per_call, '{block}') || ' blocks for ' || human(rows_per_call, '{row}')
        || ' rows in each of ' || human(calls, '{call}') || ' calls, of a table of '
        || human(estimated_rows, '{row}') || ' rows; an index would save about '
        || human(saving, '1') AS evidence,
    saved_s_per_h, 'E1' AS saved_method, saving AS predicted,
    CASE WHEN aggregates THEN 0.4 ELSE 0.7 END AS confidence,
    json_object(
        'kind', 'create_index',
        'table', named_struct('schema', schema, 'name', name),
        'columns', CASE WHEN second_column IS NULL THEN make_array(first_column)
            ELSE make_array(first_column, second_column) END
    ) AS action,
    saving AS observed, $saving AS threshold, '1' AS unit, statements
FROM by_index
UNION ALL
SELECT
    host, target, database || '.' || schema || '.' || name,
    'Look which statements scan ' || schema || '.' || name || ' and index what they look for',
    human(seq_scans, '{scan}') || ' scans read ' || human(rows_per_scan, '{row}') || ' rows each of '
        || human(estimated_rows, '{row}'),
    CAST(NULL AS DOUBLE), CAST(NULL AS VARCHAR), CAST(NULL AS DOUBLE), 0.3, CAST(NULL AS VARCHAR),
    rows_per_scan / estimated_rows, $share, '1', CAST(NULL AS VARCHAR)
FROM others
