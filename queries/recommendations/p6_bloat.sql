-- id: p6_bloat
-- kind: recommendation
-- title: Rewrite a bloated table
-- component: postgres
-- risk: medium
-- auto: approval
-- verify: work_per_call
-- undo: nothing to undo: the table is the same, only smaller
-- inputs: postgres/postgresql.table.free_space.ratio, postgres/postgresql.table.size, postgres/postgresql.blocks_read?
-- sources: postgres-checkup (table bloat)
-- every: 1d
-- reads: postgres_tables
-- why: Free space within a table is read by every scan and cached like the rest. Vacuum makes it
--   usable and does not give it back; pg_repack or VACUUM FULL, which locks the table, do. What is
--   saved is the free share of the table's blocks that were read.
-- parameters:
--   free float = 0.4: the part of the table that is free [postgres-checkup]
--   critical float = 0.9: the part above which it is urgent [postgres-checkup]
--   bytes float = 1048576.0: smaller tables are not worth it [postgres-checkup]
--   hit_s float = 0.000001: seconds that a block in the cache costs [own]
--   miss_s float = 0.0001: seconds that a block from disk costs [own: one read of a solid-state disk]
SELECT
    host, target, database || '.' || schema || '.' || name AS subject,
    'Rewrite ' || schema || '.' || name || ' with pg_repack, and let autovacuum come earlier' AS advice,
    human(free_ratio, '1') || ' of ' || human(bytes, 'By') || ' is free space' AS evidence,
    (heap_hits * $hit_s + heap_reads * $miss_s) * free_ratio / nullif(hours, 0.0) AS saved_s_per_h,
    'E5' AS saved_method,
    free_ratio AS predicted,
    CASE WHEN free_ratio >= $critical THEN 0.8 ELSE 0.6 END AS confidence,
    CAST(NULL AS VARCHAR) AS action,
    free_ratio AS observed, $free AS threshold, '1' AS unit
FROM postgres_tables
WHERE free_ratio >= $free AND bytes > $bytes
