//! The analysis of a day: what changed on it and lasted, what its load runs say, and what may have
//! caused it.
//!
//! It is a pure function of what the tables and the log hold: the same day analysed again gives the
//! same findings under the same ids. Telling the log, and people, is left to the caller.

pub(crate) mod cause;
pub(crate) mod changes;
mod plot;
pub(crate) mod points;
mod reopened;
pub(crate) mod runs;

use crate::calendar::Calendar;
use crate::columns::Columns;
use crate::compare::{CompareRunsError, Window};
use crate::engine::{Engine, EngineError, QueryOptions};

pub use cause::{Cause, marks};
pub use plot::{Plot, plots};
pub use points::PointSeries;
pub use reopened::reopened;

/// Points of a series at most: more cost time and find nothing more.
const MOST_POINTS: i64 = 2_016;
/// Steps that a series may be cut into, in seconds, finest first.
const STEPS_S: [i64; 4] = [60, 600, 3_600, 86_400];
/// Series at most: names and the points of a fortnight in days take about 1 KiB each, outside the
/// memory that queries are held to.
const MOST_SERIES: i64 = 400_000;

/// How a day is analysed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NightlyOptions {
    /// The day.
    pub day: Window,
    /// Where it lies in the week.
    pub calendar: Calendar,
    /// How far back before the day's start history is read, in µs.
    pub history_us: i64,
    /// Changes below this percentage of the level before do not count.
    pub min_effect_pct: f64,
    /// The expected share of false findings among all of a night.
    pub false_discovery_rate: f64,
}

/// One thing that changed, with its evidence.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// The same each time that the day is analysed.
    pub id: String,
    /// Whether it is for the worse.
    pub severity: Severity,
    /// In one sentence.
    pub title: String,
    /// When it began, in µs since 1970.
    pub onset_us: i64,
    /// What explains it: labels that its members share.
    pub scope: Vec<(String, String)>,
    /// What moved, the largest first.
    pub evidence: Vec<Evidence>,
    /// What else happened then.
    pub causes: Vec<Cause>,
    /// How to look further.
    pub sql: String,
}

/// What a finding means for whoever runs the system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It got worse.
    Regression,
    /// It moved, and neither direction is better.
    Change,
    /// It got better.
    Improvement,
}

/// One series, or one endpoint of a load run, that moved.
#[derive(Debug, Clone, PartialEq)]
pub struct Evidence {
    /// Its name, with its labels.
    pub name: String,
    /// Its unit.
    pub unit: String,
    /// Its level before.
    pub before: Option<f64>,
    /// Its level since.
    pub after: Option<f64>,
    /// The change in percent of the level before.
    pub effect_pct: Option<f64>,
    /// Bounds of the same, at 99 %.
    pub interval_pct: Option<(f64, f64)>,
    /// Corrected for everything that was looked at.
    pub p_value: f64,
}

/// A day's analysis.
#[derive(Debug, Clone, PartialEq)]
pub struct Nightly {
    /// The day.
    pub day: Window,
    /// Samples that the day held.
    pub rows: i64,
    /// Series that had enough points to be judged.
    pub series: usize,
    /// Load runs that could be compared with an earlier one.
    pub runs: usize,
    /// What could not be judged, for people.
    pub notes: Vec<String>,
    /// What changed, the worst first.
    pub findings: Vec<Finding>,
    /// What the series of the findings look like.
    pub plots: Vec<Plot>,
    /// What people and tools said that they did, over the day and its history.
    pub marks: Vec<Cause>,
}

impl Default for NightlyOptions {
    fn default() -> Self {
        Self {
            day: Window {
                from_us: 0,
                until_us: 0,
            },
            calendar: Calendar::default(),
            history_us: 14 * 86_400 * 1_000_000,
            min_effect_pct: 5.0,
            false_discovery_rate: 0.01,
        }
    }
}

impl Severity {
    /// As it stands in events and output.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Regression => "regression",
            Self::Change => "change",
            Self::Improvement => "improvement",
        }
    }

    /// Reads what [`Self::as_str`] wrote.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        [Self::Regression, Self::Change, Self::Improvement]
            .into_iter()
            .find(|known| known.as_str() == text)
    }

    /// Of a rise or fall, by which direction is better: `lower`, `higher` or `neither`.
    pub(crate) fn of(better: &str, rose: bool) -> Self {
        match (better, rose) {
            ("lower", true) | ("higher", false) => Self::Regression,
            ("lower", false) | ("higher", true) => Self::Improvement,
            _ => Self::Change,
        }
    }
}

impl Nightly {
    /// Whether anything got worse.
    pub fn has_regressions(&self) -> bool {
        let worse = |finding: &Finding| finding.severity == Severity::Regression;
        self.findings.iter().any(worse)
    }

    /// Whether there was anything to judge.
    pub fn is_empty(&self) -> bool {
        self.series == 0 && self.runs == 0
    }
}

/// Analyses a day.
pub async fn nightly(
    engine: &Engine,
    options: &NightlyOptions,
) -> Result<Nightly, CompareRunsError> {
    let whole = Window {
        from_us: options.day.from_us.saturating_sub(options.history_us),
        until_us: options.day.until_us,
    };
    let mut notes = Vec::new();
    let (step_s, all) = series(engine, whole).await?;
    let changed = changes::find(&all, step_s, options);
    if changed.judged == 0 {
        notes.push("no series has enough points on this day and before it to be judged".to_owned());
    }
    notes.extend(units(engine).await?);
    let compared = runs::find(engine, options.day).await?;
    notes.extend(compared.notes);
    let mut findings = changed.findings;
    findings.extend(compared.findings);
    let marks = cause::marks(engine, whole).await?;
    cause::suspect(&mut findings, &marks, step_s);
    findings.sort_by(|a, b| {
        let key = |finding: &Finding| (finding.severity, finding.onset_us, finding.id.clone());
        key(a).cmp(&key(b))
    });
    Ok(Nightly {
        day: options.day,
        rows: reopened::rows(engine, options.day).await?,
        series: changed.judged,
        runs: compared.judged,
        notes,
        findings,
        plots: changed.plots,
        marks,
    })
}

/// Every series of a stretch of time, and the length of a step in seconds: the finest that keeps
/// each below 2,016 points and all together below 32 million rows of rollups, else a day. Rollups
/// stand for samples where they reach far enough. More than 400,000 series are an error.
pub async fn series(
    engine: &Engine,
    whole: Window,
) -> Result<(i64, Vec<PointSeries>), EngineError> {
    let Some(held) = points::span(engine, whole).await? else {
        return Ok((STEPS_S[0], Vec::new()));
    };
    let series = points::count(engine, held).await?;
    let step_s = step_of(series, (held.until_us - held.from_us) / 1_000_000)?;
    Ok((step_s, points::read(engine, held, step_s).await?))
}

/// The step for so many series over so many seconds.
fn step_of(series: i64, span_s: i64) -> Result<i64, EngineError> {
    if series > MOST_SERIES {
        return Err(EngineError::TooManySeries {
            series,
            limit: MOST_SERIES,
        });
    }
    let fits = |step: &i64| span_s / step <= MOST_POINTS && points::are_few(series, span_s, *step);
    Ok(STEPS_S.into_iter().find(fits).unwrap_or(STEPS_S[3]))
}

/// Metrics whose unit has changed, or that hosts count in different ones, for people: each series is
/// judged by its own level, so that relative changes hold, but one name of a unit stands for all.
async fn units(engine: &Engine) -> Result<Vec<String>, EngineError> {
    let sql = "SELECT component, metric, min(unit) AS called, max(unit) AS other FROM series_rows \
               GROUP BY component, metric HAVING min(unit) <> max(unit) ORDER BY component, metric";
    let rows = engine.collect(sql, &QueryOptions::default()).await?;
    let columns = Columns::new("units", &rows)?;
    let [component, metric, called, other] =
        columns.each_text(["component", "metric", "called", "other"])?;
    let note = |row: usize| {
        format!(
            "{} of {} comes in the units {} and {}: each series is judged by its own level, and all are called {}",
            metric.value(row),
            component.value(row),
            called.value(row),
            other.value(row),
            called.value(row)
        )
    };
    Ok((0..columns.rows()).map(note).collect())
}

/// An id out of what makes a finding itself, so that a rerun gives it the same.
pub(crate) fn id(kind: &str, parts: &[&str]) -> String {
    format!("{kind}-{}", fingerprint(parts))
}

/// FNV-1a of 64 bits (Fowler, Noll, Vo; draft-eastlake-fnv), which is the same on every machine and
/// for ever.
pub(crate) fn fingerprint(parts: &[&str]) -> String {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for part in parts {
        for byte in part.bytes().chain([0x1f]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    format!("{hash:016x}")
}

#[cfg(test)]
mod tests;
