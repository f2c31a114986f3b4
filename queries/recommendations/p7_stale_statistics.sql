-- id: p7_stale_statistics
-- kind: recommendation
-- title: Analyse a table
-- component: postgres
-- risk: low
-- auto: automatic
-- verify: work_per_call
-- undo: restore the recorded statistics targets
-- inputs: postgres/postgresql.table.modified_rows, postgres/postgresql.table.estimated_rows, postgres/postgresql.table.analyze.age?
-- sources: own, to be calibrated; twice PostgreSQL's autovacuum_analyze_scale_factor of 0.1
-- every: 1h
-- reads: postgres_tables
-- why: The planner chooses by statistics of the rows as they were. When a fifth of them has changed
--   since, it may choose badly. A table that changes so fast that a fifth is new a moment after it
--   was analysed is analysed often enough, and once more would not help. What stale statistics cost
--   shows only in the plans, so no time is claimed.
-- parameters:
--   modified float = 0.2: changed rows as a part of the table [own]
--   rows float = 1000.0: fewer changed rows do not matter [own]
--   fresh_s float = 120.0: seconds since it was analysed below which statistics are fresh [own: two of autovacuum's rounds]
SELECT
    host, target, database || '.' || schema || '.' || name AS subject,
    'Run ANALYZE on ' || schema || '.' || name AS advice,
    human(modified_rows, '{row}') || ' of ' || human(estimated_rows, '{row}')
        || ' rows have changed since it was analysed'
        || coalesce(' ' || human(analyze_age_s, 's') || ' ago', '') AS evidence,
    CAST(NULL AS DOUBLE) AS saved_s_per_h,
    CAST(NULL AS VARCHAR) AS saved_method,
    CAST(NULL AS DOUBLE) AS predicted,
    0.5 AS confidence,
    json_object('kind', 'analyze', 'table', named_struct('schema', schema, 'name', name)) AS action,
    modified_rows / greatest(estimated_rows, 1.0) AS observed, $modified AS threshold, '1' AS unit
FROM postgres_tables
WHERE estimated_rows IS NOT NULL
    AND modified_rows > $modified * greatest(estimated_rows, 1.0) AND modified_rows > $rows
    AND coalesce(analyze_age_s, $fresh_s) >= $fresh_s
