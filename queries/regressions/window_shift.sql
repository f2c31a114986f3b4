-- id: window_shift
-- kind: regression
-- reads: derived_series
-- why: Which series lie higher or lower in window b than in window a, by how much, and how sure
--   that is. A shift counts when it is significant after Benjamini and Hochberg's correction for
--   the number of series, and when even the near end of its interval exceeds a minimum effect:
--   a change too small to matter stays quiet however sure it is. The minimum is the larger of a
--   part of the median and of half the spread within window a (0.5 MAD is Cohen's "medium").
--   Fewer than six samples on a side are too little: of five and five, only the one most extreme
--   arrangement reaches 99 %.
-- parameters:
--   a0 timestamp: start of window a, inclusive
--   a1 timestamp: end of window a, exclusive
--   b0 timestamp: start of window b, inclusive
--   b1 timestamp: end of window b, exclusive
--   confidence float = 0.99: of the interval, and 1 less the false discovery rate
--   min_effect_pct float = 5.0: changes below this part of the larger median do not count
--   min_samples integer = 6: fewer on either side are too little to judge
WITH points AS (
    SELECT *
    FROM derived_series
    WHERE ts >= least($a0, $b0) AND ts < greatest($a1, $b1)
        AND ((ts >= $a0 AND ts < $a1) OR (ts >= $b0 AND ts < $b1))
),
pairs AS (
    SELECT
        component, host, metric, labels, unit, category, better, headline,
        array_agg(value ORDER BY ts) FILTER (WHERE ts >= $a0 AND ts < $a1) AS a,
        array_agg(value ORDER BY ts) FILTER (WHERE ts >= $b0 AND ts < $b1) AS b
    FROM points
    GROUP BY component, host, metric, labels, unit, category, better, headline
),
tested AS (
    SELECT
        *,
        shift(a, b, $confidence) AS s,
        list_median(a) AS median_a,
        list_median(b) AS median_b,
        coalesce(list_mad(a), 0.0) AS mad_a
    FROM pairs
),
judged AS (
    SELECT
        component, host, metric, labels, unit, category, better, headline,
        median_a, median_b,
        s['shift'] AS shift, s['ci_lo'] AS ci_lo, s['ci_hi'] AS ci_hi,
        s['p_value'] AS p_raw, s['n_a'] AS n_a, s['n_b'] AS n_b,
        s['n_a'] >= $min_samples AND s['n_b'] >= $min_samples
            AND s['ci_lo'] IS NOT NULL AND s['ci_hi'] IS NOT NULL AS enough,
        greatest(
            $min_effect_pct / 100.0 * greatest(abs(median_a), abs(median_b)),
            0.5 * mad_a
        ) AS min_effect
    FROM tested
),
ranked AS (
    SELECT
        *,
        count(*) OVER () AS tests,
        row_number() OVER (ORDER BY p_raw, component, metric, labels, host) AS rank
    FROM judged
    WHERE enough
),
corrected AS (
    SELECT
        component, host, metric, labels, unit,
        min(least(1.0, p_raw * (CAST(tests AS DOUBLE) / rank))) OVER (
            ORDER BY rank DESC ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
        ) AS p_value
    FROM ranked
),
verdicts AS (
    SELECT
        judged.component, judged.host, judged.metric, judged.labels, judged.unit, judged.category,
        judged.better, judged.headline, median_a, median_b, shift, ci_lo, ci_hi,
        corrected.p_value, n_a, n_b,
        100.0 * shift / nullif(abs(median_a), 0.0) AS effect_pct,
        CASE
            WHEN NOT coalesce(enough, false) THEN 'too little data'
            WHEN corrected.p_value > 1.0 - $confidence THEN 'no change'
            WHEN ci_lo <= min_effect AND ci_hi >= -min_effect THEN 'no change'
            WHEN judged.better = 'neither' THEN 'change'
            WHEN (judged.better = 'lower') = (shift > 0.0) THEN 'regression'
            ELSE 'improvement'
        END AS verdict,
        -- From 0 to 1: how much of the larger level the change is, and for ratios the change
        -- itself where that is less, since from 0.1 % to 0.4 % is no event.
        CASE
            WHEN shift IS NULL OR shift = 0.0 THEN 0.0
            WHEN judged.unit = '1' THEN least(abs(shift), 1.0)
            ELSE least(1.0, abs(shift) / greatest(abs(median_a), abs(median_b), abs(shift)))
        END AS importance
    FROM judged
    LEFT JOIN corrected
        ON corrected.component = judged.component
        AND corrected.host = judged.host
        AND corrected.metric = judged.metric
        AND corrected.labels = judged.labels
        AND corrected.unit = judged.unit
)
SELECT
    component, host, metric, labels, unit, category, better, headline,
    median_a, median_b, shift, ci_lo, ci_hi, p_value, n_a, n_b, effect_pct, verdict, importance
FROM verdicts
ORDER BY
    CASE verdict
        WHEN 'regression' THEN 0 WHEN 'improvement' THEN 1 WHEN 'change' THEN 2
        WHEN 'no change' THEN 3 ELSE 4
    END,
    headline DESC, importance DESC, p_value, component, metric, labels, host
