-- id: p10_temp_files
-- kind: recommendation
-- title: Give a statement's sorts and hashes more memory
-- component: postgres
-- risk: medium
-- auto: approval
-- verify: work_per_call
-- undo: restore the recorded work_mem
-- inputs: postgres/postgresql.statement.calls, postgres/postgresql.statement.exec_time, postgres/postgresql.statement.temp_blks_written, postgres/postgresql.statement.temp_block.time?, postgres/postgresql.setting.size?, postgres/postgresql.connection.max?, events?
-- sources: own for the size; pgtune for the cap
-- every: 1h
-- reads: postgres_statements, postgres_settings, statement_texts
-- why: A sort or hash that does not fit into work_mem goes through files. More of it is not always
--   faster (a statement whose 7 MB of files for each call vanished got slower), so the effect is
--   verified and not the signal. The setting is best made for the role that runs the statement
--   (ALTER ROLE … SET work_mem): every sort of every connection may take as much, which is why the
--   proposed value is twice what was spilled, as a power of two, and at most what pgtune would give:
--   a quarter of memory is shared_buffers, and three quarters are shared among three sorts of each
--   connection. Where that is no more than is set, none is proposed. What is saved is the time of
--   the files, where the server measures it (track_io_timing).
-- parameters:
--   bytes_per_call float = 1048576.0: bytes that go through files for each call [own]
--   calls float = 30.0: fewer calls are too few to judge by [own]
--   block_size float = 8192.0: bytes of a block [PostgreSQL's default]
--   bytes_per_s float = 500000000.0: bytes in a second through files where it is not measured [own: a solid-state disk]
WITH spilling AS (
    SELECT *, temp_blks * $block_size / calls AS bytes_per_call
    FROM postgres_statements
    WHERE calls >= $calls AND temp_blks * $block_size > $bytes_per_call * calls
),
settings AS (
    SELECT
        host, target,
        max(value) FILTER (WHERE setting = 'work_mem') AS work_mem,
        max(value) FILTER (WHERE setting = 'shared_buffers')
            / nullif(max(value) FILTER (WHERE setting = 'max_connections'), 0.0) AS most
    FROM postgres_settings
    GROUP BY host, target
),
sized AS (
    SELECT
        spilling.*, settings.work_mem,
        -- The largest power of two that the cap allows, if the files ask for so much.
        least(
            power(2.0, ceil(log2(settings.work_mem + 2.0 * bytes_per_call))),
            power(2.0, floor(log2(settings.most)))
        ) AS proposed
    FROM spilling
    LEFT JOIN settings ON settings.host = spilling.host AND settings.target = spilling.target
)
SELECT
    sized.host, sized.target, sized.database || ' ' || sized.queryid AS subject,
    'Raise work_mem for role ' || role
        || CASE WHEN proposed > work_mem THEN ' to ' || human(proposed, 'By') ELSE '' END
        || ', or make this sort less: ' || coalesce(head, 'statement ' || sized.queryid) AS advice,
    human(bytes_per_call, 'By') || ' through files in each of ' || human(calls, '{call}') || ' calls'
        || coalesce(', work_mem is ' || human(work_mem, 'By'), '') AS evidence,
    CASE WHEN temp_s > 0.0 THEN temp_s ELSE 2.0 * temp_blks * $block_size / $bytes_per_s END
        / nullif(hours, 0.0) AS saved_s_per_h,
    'E4' AS saved_method,
    CAST(NULL AS DOUBLE) AS predicted,
    CASE WHEN temp_s > 0.0 THEN 0.4 ELSE 0.3 END AS confidence,
    CASE WHEN proposed > work_mem
        THEN json_object('kind', 'set_setting', 'setting', 'work_mem', 'value', proposed)
    END AS action,
    bytes_per_call AS observed, $bytes_per_call AS threshold, 'By' AS unit,
    sized.queryid AS statements
FROM sized
LEFT JOIN statement_texts
    ON statement_texts.host = sized.host AND statement_texts.target = sized.target
    AND statement_texts.queryid = sized.queryid
