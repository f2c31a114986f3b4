-- id: hour_samples
-- kind: view
-- reads: samples_1h
-- why: The median of each series in each hour, as samples are shaped: what is asked over months, or
--   over more series than minutes of them can be read.
SELECT ts, component, host, metric, labels, sketch_quantile(sketch, 0.5) AS value
FROM samples_1h
