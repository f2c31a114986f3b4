-- id: runs
-- kind: view
-- reads: events
-- why: Every load run, from the events that its beginning and its end left. A run whose end is
--   missing is still under way, or its generator was killed: `ended` is then null, and its numbers
--   are not whole. `generator` and `recording` say whether its numbers can be believed, and
--   `reasons`, a JSON list, why not.
SELECT
    started.subject AS run,
    label(started.attributes, 'scenario') AS scenario,
    label(started.attributes, 'hash') AS scenario_hash,
    label(started.attributes, 'target') AS target,
    label(started.attributes, 'commit') AS commit,
    label(started.attributes, 'labels') AS labels,
    started.host,
    started.ts AS started,
    finished.ts AS finished,
    CAST(label(started.attributes, 'warm_up_ns') AS BIGINT) / 1000 AS warm_up_us,
    label(finished.attributes, 'ended') AS ended,
    label(finished.attributes, 'generator') AS generator,
    label(finished.attributes, 'recording') AS recording,
    label(finished.attributes, 'reasons') AS reasons,
    CAST(label(finished.attributes, 'operations') AS BIGINT) AS operations,
    CAST(label(finished.attributes, 'failed') AS BIGINT) AS failed,
    CAST(label(finished.attributes, 'dropped') AS BIGINT) AS dropped,
    CAST(label(finished.attributes, 'lost') AS BIGINT) AS lost
FROM (SELECT * FROM events WHERE name = 'RunStarted') AS started
LEFT JOIN (SELECT * FROM events WHERE name = 'RunFinished') AS finished
    ON finished.subject = started.subject
