-- id: minute_samples
-- kind: view
-- reads: samples_1m
-- why: The median of each series in each minute, as samples are shaped: what has the word `samples`
--   in it can be asked over minutes too, at a sixtieth of the rows.
SELECT ts, component, host, metric, labels, sketch_quantile(sketch, 0.5) AS value
FROM samples_1m
