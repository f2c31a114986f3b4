//! Comparing two windows: which series moved, by how much, and how sure that is.
//!
//! The judgement stands in `queries/regressions/window_shift.sql`; here its rows get types.

mod runs;
mod several;
mod windows;

use crate::columns::{Columns, optional};
use crate::engine::{Engine, EngineError, QueryOptions};
use crate::rule::{Binding, built_in_named, timestamp};
use datafusion::scalar::ScalarValue;

pub(crate) use runs::doubts;
pub use runs::{CompareRunsError, RunCompareOptions, RunComparison, RunShift, compare_runs};
pub use several::compare_several;
pub use windows::{
    Selector, SelectorError, WindowOptions, WindowShift, compare_canary, compare_two_windows,
};

/// The query file.
const RULE: &str = "window_shift";

/// A time span, in microseconds since 1970 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Its start, inclusive.
    pub from_us: i64,
    /// Its end, exclusive.
    pub until_us: i64,
}

impl Window {
    /// Its ends as the parameters `$from` and `$until`.
    pub(crate) fn bounds(self) -> [Binding; 2] {
        [
            ("from".to_owned(), timestamp(self.from_us)),
            ("until".to_owned(), timestamp(self.until_us)),
        ]
    }

    /// A query whose parameters are these bounds.
    pub(crate) fn options(self) -> QueryOptions {
        QueryOptions {
            parameters: self.bounds().to_vec(),
            timeout: None,
        }
    }
}

/// How strict a comparison is. The defaults stand in the query file.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct CompareOptions {
    /// Confidence of the intervals, between 0 and 1.
    pub confidence: Option<f64>,
    /// Changes below this percentage of the larger median do not count.
    pub min_effect_pct: Option<f64>,
}

/// What a comparison says of one series.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// It got worse.
    Regression,
    /// It got better.
    Improvement,
    /// It moved, and neither direction is better.
    Change,
    /// Nothing that is both sure and large enough.
    NoChange,
    /// It cannot be judged.
    TooLittleData,
}

/// One series in both windows.
#[derive(Debug, Clone, PartialEq)]
pub struct SeriesShift {
    /// What is observed.
    pub component: String,
    /// Where.
    pub host: String,
    /// The metric.
    pub metric: String,
    /// Its labels, canonical.
    pub labels: String,
    /// The unit of the values: of a counter, its unit per second.
    pub unit: String,
    /// What the metric says about a resource.
    pub category: String,
    /// Which direction is good: `lower`, `higher` or `neither`.
    pub better: String,
    /// Whether a person looks at it first.
    pub headline: bool,
    /// Median of the first window.
    pub median_a: Option<f64>,
    /// Median of the second window.
    pub median_b: Option<f64>,
    /// By how much the second lies higher.
    pub shift: Option<f64>,
    /// Lower bound of the shift.
    pub ci_lo: Option<f64>,
    /// Upper bound of the shift.
    pub ci_hi: Option<f64>,
    /// Corrected for the number of series.
    pub p_value: Option<f64>,
    /// Samples in the first window.
    pub n_a: i64,
    /// Samples in the second window.
    pub n_b: i64,
    /// The shift in percent of the first median; `None` where that is 0.
    pub effect_pct: Option<f64>,
    /// What follows.
    pub verdict: Verdict,
    /// From 0 to 1: how large the change is among changes.
    pub importance: f64,
}

impl Verdict {
    const ALL: [Self; 5] = [
        Self::Regression,
        Self::Improvement,
        Self::Change,
        Self::NoChange,
        Self::TooLittleData,
    ];

    fn parse(text: &str, rule: &str) -> Result<Self, EngineError> {
        let found = Self::ALL.into_iter().find(|v| v.as_str() == text);
        found.ok_or_else(|| EngineError::Column {
            rule: rule.to_owned(),
            column: "verdict".to_owned(),
        })
    }

    /// The words in SQL and on paper.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Regression => "regression",
            Self::Improvement => "improvement",
            Self::Change => "change",
            Self::NoChange => "no change",
            Self::TooLittleData => "too little data",
        }
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// Compares window `b` with window `a`; the most important changes come first.
pub async fn compare(
    engine: &Engine,
    a: Window,
    b: Window,
    options: &CompareOptions,
) -> Result<Vec<SeriesShift>, EngineError> {
    let rule = built_in_named(RULE)?;
    let mut given = Vec::new();
    for (name, us) in [
        ("a0", a.from_us),
        ("a1", a.until_us),
        ("b0", b.from_us),
        ("b1", b.until_us),
    ] {
        given.push((name.to_owned(), timestamp(us)));
    }
    let floats = [
        ("confidence", options.confidence),
        ("min_effect_pct", options.min_effect_pct),
    ];
    for (name, value) in floats {
        if value.is_some() {
            given.push((name.to_owned(), ScalarValue::Float64(value)));
        }
    }
    let rows = engine.collect_rule(&rule, &given).await?;
    read(&Columns::new(RULE, &rows)?)
}

fn read(columns: &Columns) -> Result<Vec<SeriesShift>, EngineError> {
    let [component, host, metric] = [
        columns.texts("component")?,
        columns.texts("host")?,
        columns.texts("metric")?,
    ];
    let [labels, unit, category] = [
        columns.texts("labels")?,
        columns.texts("unit")?,
        columns.texts("category")?,
    ];
    let (better, headline) = (columns.texts("better")?, columns.booleans("headline")?);
    let [median_a, median_b] = [columns.floats("median_a")?, columns.floats("median_b")?];
    let [shift, ci_lo, ci_hi] = [
        columns.floats("shift")?,
        columns.floats("ci_lo")?,
        columns.floats("ci_hi")?,
    ];
    let [p_value, effect_pct, importance] = [
        columns.floats("p_value")?,
        columns.floats("effect_pct")?,
        columns.floats("importance")?,
    ];
    let (n_a, n_b) = (columns.integers("n_a")?, columns.integers("n_b")?);
    let verdicts = columns.texts("verdict")?;
    let row = |row: usize| {
        Ok(SeriesShift {
            component: component.value(row).to_owned(),
            host: host.value(row).to_owned(),
            metric: metric.value(row).to_owned(),
            labels: labels.value(row).to_owned(),
            unit: unit.value(row).to_owned(),
            category: category.value(row).to_owned(),
            better: better.value(row).to_owned(),
            headline: headline.value(row),
            median_a: optional(&median_a, row),
            median_b: optional(&median_b, row),
            shift: optional(&shift, row),
            ci_lo: optional(&ci_lo, row),
            ci_hi: optional(&ci_hi, row),
            p_value: optional(&p_value, row),
            n_a: n_a.value(row),
            n_b: n_b.value(row),
            effect_pct: optional(&effect_pct, row),
            verdict: Verdict::parse(verdicts.value(row), RULE)?,
            importance: importance.value(row),
        })
    };
    (0..columns.rows()).map(row).collect()
}

#[cfg(test)]
mod run_tests;
#[cfg(test)]
mod tests;
