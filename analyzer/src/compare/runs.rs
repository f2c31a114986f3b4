//! Comparing two load runs: which endpoints got slower, faster or failed more, and how sure that is.
//!
//! The judgement stands in `queries/regressions/run_shift.sql`; here its rows get types, and the runs
//! are held against one another first: a comparison of unequal things says so.

use datafusion::scalar::ScalarValue;

use super::Verdict;
use crate::columns::{Columns, optional};
use crate::engine::{Engine, EngineError};
use crate::rule::{built_in_named, text};

/// The query file.
const RULE: &str = "run_shift";
/// Offered loads that differ by more than this are unequal.
const UNEQUAL_LOAD: f64 = 0.05;

/// Runs that cannot be compared.
#[derive(Debug, thiserror::Error)]
pub enum CompareRunsError {
    /// The tables could not be asked.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// There is no such run.
    #[error(
        "there is no run named {run:?}; driftline query \"select run, started from runs\" lists them"
    )]
    Missing {
        /// Its name.
        run: String,
    },
    /// A run against itself.
    #[error("run {run:?} cannot be compared with itself; name each run once")]
    Same {
        /// Its name.
        run: String,
    },
    /// Too few runs on a side.
    #[error(
        "one run against one, or at least {least} on each side; name more runs, with commas between them"
    )]
    TooFew {
        /// How many there must be.
        least: usize,
    },
}

/// How strict a comparison is. The defaults stand in the query file.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct RunCompareOptions {
    /// Confidence of the intervals, between 0 and 1.
    pub confidence: Option<f64>,
    /// Changes below this percentage of the first run's level do not count.
    pub min_effect_pct: Option<f64>,
}

/// Two runs held against each other.
#[derive(Debug, Clone, PartialEq)]
pub struct RunComparison {
    /// The run that is compared with.
    pub run_a: String,
    /// The run that is judged.
    pub run_b: String,
    /// What makes the two unequal or their numbers doubtful, for people.
    pub notes: Vec<String>,
    /// Whether the numbers of both can be believed: where not, there is no overall verdict.
    pub trusted: bool,
    /// By endpoint, with `""` for all of them, and metric.
    pub shifts: Vec<RunShift>,
}

/// One metric of one endpoint in both runs.
#[derive(Debug, Clone, PartialEq)]
pub struct RunShift {
    /// The endpoint; `""` for all of them together.
    pub endpoint: String,
    /// `p50`, `p95`, `p99`, `error_rate` or `rate`.
    pub metric: String,
    /// `ms`, `1` or `{operation}/s`.
    pub unit: String,
    /// Median over the slices of the first run.
    pub median_a: Option<f64>,
    /// Median over the slices of the second run.
    pub median_b: Option<f64>,
    /// By how much the second lies higher.
    pub shift: Option<f64>,
    /// Lower bound of the shift.
    pub ci_lo: Option<f64>,
    /// Upper bound of the shift.
    pub ci_hi: Option<f64>,
    /// Corrected for the number of comparisons.
    pub p_value: Option<f64>,
    /// The shift in percent of the first run's level; `None` where that is 0.
    pub effect_pct: Option<f64>,
    /// Lower bound of the same.
    pub effect_lo_pct: Option<f64>,
    /// Upper bound of the same.
    pub effect_hi_pct: Option<f64>,
    /// The least effect that would have been seen with a probability of 80 %, in percent: for
    /// `error_rate` in points.
    pub detectable_pct: Option<f64>,
    /// How many more runs per side would probably settle it, where that can be said.
    pub more_runs: Option<usize>,
    /// Slices of the first run, or runs of the first side.
    pub n_a: i64,
    /// Slices of the second run, or runs of the second side.
    pub n_b: i64,
    /// What follows.
    pub verdict: Verdict,
}

impl RunComparison {
    /// What follows for the second run as a whole.
    pub fn verdict(&self) -> Verdict {
        let any = |verdict| self.shifts.iter().any(|shift| shift.verdict == verdict);
        let judged = self
            .shifts
            .iter()
            .any(|shift| shift.verdict != Verdict::TooLittleData);
        match () {
            () if !self.trusted || !judged => Verdict::TooLittleData,
            () if any(Verdict::Regression) => Verdict::Regression,
            () if any(Verdict::Improvement) => Verdict::Improvement,
            () => Verdict::NoChange,
        }
    }
}

/// Compares run `b` with run `a`.
pub async fn compare_runs(
    engine: &Engine,
    a: &str,
    b: &str,
    options: &RunCompareOptions,
) -> Result<RunComparison, CompareRunsError> {
    if a == b {
        return Err(CompareRunsError::Same { run: a.to_owned() });
    }
    let (notes, trusted) = notes(&known(engine, a).await?, &known(engine, b).await?);
    let rule = built_in_named(RULE).map_err(EngineError::from)?;
    let mut given = vec![("run_a".to_owned(), text(a)), ("run_b".to_owned(), text(b))];
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
    Ok(RunComparison {
        run_a: a.to_owned(),
        run_b: b.to_owned(),
        notes,
        trusted,
        shifts: read(&Columns::new(RULE, &rows)?)?,
    })
}

/// A run's scenario and target, and what stands against its numbers.
pub(crate) async fn doubts(
    engine: &Engine,
    run: &str,
) -> Result<(String, String, Vec<String>, bool), CompareRunsError> {
    let run = known(engine, run).await?;
    let (notes, trusted) = doubts_of(&run);
    Ok((run.scenario, run.target, notes, trusted))
}

/// What `runs` says of a run.
pub(super) struct Known {
    run: String,
    /// When it began, in µs since 1970.
    pub(super) started_us: i64,
    host: String,
    scenario: String,
    target: String,
    ended: String,
    generator: String,
    recording: String,
    reasons: String,
    rate: Option<f64>,
}

pub(super) async fn known(engine: &Engine, run: &str) -> Result<Known, CompareRunsError> {
    let sql = "SELECT CAST(started AS BIGINT) AS started_us, host, scenario_hash, target, ended, generator, recording, reasons, \
               CAST(operations AS DOUBLE) / nullif(date_part('epoch', finished - started), 0) AS rate \
               FROM runs WHERE run = $run";
    let options = crate::engine::QueryOptions {
        parameters: vec![("run".to_owned(), text(run))],
        timeout: None,
    };
    let rows = engine.collect(sql, &options).await?;
    let columns = Columns::new("runs", &rows)?;
    if columns.rows() == 0 {
        return Err(CompareRunsError::Missing {
            run: run.to_owned(),
        });
    }
    let word = |name| Ok::<_, EngineError>(columns.texts(name)?.value(0).to_owned());
    Ok(Known {
        run: run.to_owned(),
        started_us: columns.integers("started_us")?.value(0),
        host: word("host")?,
        scenario: word("scenario_hash")?,
        target: word("target")?,
        ended: word("ended")?,
        generator: word("generator")?,
        recording: word("recording")?,
        reasons: word("reasons")?,
        rate: optional(&columns.floats("rate")?, 0),
    })
}

/// What stands in the way of a fair comparison, and whether the numbers can be believed at all.
pub(super) fn notes(a: &Known, b: &Known) -> (Vec<String>, bool) {
    let (mut notes, mut trusted) = doubts_of(a);
    let (of_b, b_trusted) = doubts_of(b);
    notes.extend(of_b);
    trusted &= b_trusted;
    if a.host != b.host {
        notes.push(format!(
            "the runs come from different hosts: {} and {}",
            a.host, b.host
        ));
    }
    if a.scenario != b.scenario {
        notes.push("the runs have different scenarios".to_owned());
    }
    if let (Some(rate_a), Some(rate_b)) = (a.rate, b.rate)
        && (rate_a - rate_b).abs() > UNEQUAL_LOAD * rate_a.max(rate_b)
    {
        notes.push(format!("unequal load: {rate_a:.1}/s and {rate_b:.1}/s"));
    }
    (notes, trusted)
}

fn doubts_of(run: &Known) -> (Vec<String>, bool) {
    if run.ended.is_empty() {
        let doubt = format!(
            "{} has no end: it is under way, or its generator was killed",
            run.run
        );
        return (vec![doubt], false);
    }
    if matches!(run.generator.as_str(), "ok" | "imported") && run.recording == "ok" {
        return (Vec::new(), true);
    }
    let doubt = format!(
        "the numbers of {} are not to be believed: {}",
        run.run,
        reasons(&run.reasons)
    );
    (vec![doubt], false)
}

/// A JSON list of reasons as a sentence.
fn reasons(text: &str) -> String {
    match serde_json::from_str::<Vec<String>>(text) {
        Ok(reasons) if !reasons.is_empty() => reasons.join("; "),
        _ => "its generator could not keep its schedule, or could not record it".to_owned(),
    }
}

fn read(columns: &Columns) -> Result<Vec<RunShift>, EngineError> {
    let [endpoint, metric, unit, verdicts] = [
        columns.texts("endpoint")?,
        columns.texts("metric")?,
        columns.texts("unit")?,
        columns.texts("verdict")?,
    ];
    let float = |name| columns.floats(name);
    let [median_a, median_b, shift] = [float("median_a")?, float("median_b")?, float("shift")?];
    let [ci_lo, ci_hi, p_value] = [float("ci_lo")?, float("ci_hi")?, float("p_value")?];
    let [effect, effect_lo, effect_hi, detectable] = [
        float("effect_pct")?,
        float("effect_lo_pct")?,
        float("effect_hi_pct")?,
        float("detectable_pct")?,
    ];
    let (n_a, n_b) = (columns.integers("n_a")?, columns.integers("n_b")?);
    let row = |row: usize| {
        Ok(RunShift {
            endpoint: endpoint.value(row).to_owned(),
            metric: metric.value(row).to_owned(),
            unit: unit.value(row).to_owned(),
            median_a: optional(&median_a, row),
            median_b: optional(&median_b, row),
            shift: optional(&shift, row),
            ci_lo: optional(&ci_lo, row),
            ci_hi: optional(&ci_hi, row),
            p_value: optional(&p_value, row),
            effect_pct: optional(&effect, row),
            effect_lo_pct: optional(&effect_lo, row),
            effect_hi_pct: optional(&effect_hi, row),
            detectable_pct: optional(&detectable, row),
            more_runs: None,
            n_a: n_a.value(row),
            n_b: n_b.value(row),
            verdict: Verdict::parse(verdicts.value(row), RULE)?,
        })
    };
    (0..columns.rows()).map(row).collect()
}
