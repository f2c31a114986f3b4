-- id: postgres_settings
-- kind: window
-- reads: window_series
-- why: The settings of each server at the window's end, in bytes, seconds or plain numbers, and the
--   number of connections that it accepts.
SELECT
    host,
    label(labels, 'service.instance.id') AS target,
    label(labels, 'postgresql.setting.name') AS setting,
    max(last) AS value
FROM window_series
WHERE component = 'postgres' AND metric IN (
    'postgresql.setting.value', 'postgresql.setting.size', 'postgresql.setting.duration'
)
GROUP BY host, label(labels, 'service.instance.id'), label(labels, 'postgresql.setting.name')
UNION ALL
SELECT host, label(labels, 'service.instance.id'), 'max_connections', max(last)
FROM window_series
WHERE component = 'postgres' AND metric = 'postgresql.connection.max'
GROUP BY host, label(labels, 'service.instance.id')
