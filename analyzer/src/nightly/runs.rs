//! The day's load runs, each against the latest one of the same scenario before it.

use arrow::array::Array as _;

use super::{Evidence, Finding, Severity, id};
use crate::columns::Columns;
use crate::compare::{
    CompareRunsError, RunCompareOptions, RunComparison, RunShift, Verdict, Window, compare_runs,
};
use crate::engine::{Engine, EngineError};

/// What the runs of a day came to.
pub(super) struct Compared {
    pub(super) judged: usize,
    pub(super) notes: Vec<String>,
    pub(super) findings: Vec<Finding>,
}

/// A run of the day and the one before it.
pub(crate) struct Pair {
    pub(crate) run: String,
    pub(crate) before: Option<String>,
    scenario: String,
    pub(crate) started_us: i64,
    /// When the one before began.
    pub(crate) before_us: Option<i64>,
}

/// Compares them; runs that are the first of their scenario are counted in a note.
pub(super) async fn find(engine: &Engine, day: Window) -> Result<Compared, CompareRunsError> {
    let mut compared = Compared {
        judged: 0,
        notes: Vec::new(),
        findings: Vec::new(),
    };
    for pair in pairs(engine, day).await? {
        let Some(before) = &pair.before else {
            compared.notes.push(format!(
                "run {} is the first of its scenario: there is nothing to compare it with",
                pair.run
            ));
            continue;
        };
        let options = RunCompareOptions::default();
        let comparison = compare_runs(engine, before, &pair.run, &options).await?;
        if comparison.verdict() == Verdict::TooLittleData {
            let why = comparison.notes.join("; ");
            compared
                .notes
                .push(format!("run {} cannot be judged: {why}", pair.run));
            continue;
        }
        compared.judged += 1;
        compared.findings.extend(finding(&pair, &comparison));
    }
    Ok(compared)
}

/// The runs that began within a stretch of time, each with the one before it.
pub(crate) async fn pairs(engine: &Engine, day: Window) -> Result<Vec<Pair>, EngineError> {
    let sql = "SELECT run, before, scenario, CAST(started AS BIGINT) AS started_us, \
                   CAST(before_started AS BIGINT) AS before_us FROM ( \
                   SELECT run, scenario, started, \
                       lag(run) OVER (PARTITION BY scenario_hash, target ORDER BY started, run) AS before, \
                       lag(started) OVER (PARTITION BY scenario_hash, target ORDER BY started, run) AS before_started \
                   FROM runs WHERE ended = 'completed' AND started < $until \
               ) WHERE started >= $from ORDER BY started, run";
    let rows = engine.collect(sql, &day.options()).await?;
    let columns = Columns::new("runs", &rows)?;
    let [run, before, scenario] = [
        columns.texts("run")?,
        columns.texts("before")?,
        columns.texts("scenario")?,
    ];
    let started_us = columns.integers("started_us")?;
    let before_us = columns.integers("before_us")?;
    let pair = |row: usize| Pair {
        run: run.value(row).to_owned(),
        before: Some(before.value(row).to_owned()).filter(|before| !before.is_empty()),
        scenario: scenario.value(row).to_owned(),
        started_us: started_us.value(row),
        before_us: before_us.is_valid(row).then(|| before_us.value(row)),
    };
    Ok((0..columns.rows()).map(pair).collect())
}

/// One finding for a run, whatever number of its endpoints moved; a run that is worse in one and
/// better in another is worse.
fn finding(pair: &Pair, comparison: &RunComparison) -> Option<Finding> {
    let wanted = comparison.verdict();
    let severity = match wanted {
        Verdict::Regression => Severity::Regression,
        Verdict::Improvement => Severity::Improvement,
        _ => return None,
    };
    let mut moved: Vec<&RunShift> = comparison
        .shifts
        .iter()
        .filter(|shift| shift.verdict == wanted)
        .collect();
    // What moved by itself comes before the sum in which it shows again.
    moved.sort_by(|a, b| {
        let size = |shift: &RunShift| shift.effect_pct.unwrap_or_default().abs();
        (a.endpoint.is_empty().cmp(&b.endpoint.is_empty()))
            .then(size(b).total_cmp(&size(a)))
            .then_with(|| (&a.endpoint, &a.metric).cmp(&(&b.endpoint, &b.metric)))
    });
    let first = moved.first()?;
    let mut endpoints: Vec<&str> = moved.iter().map(|shift| shift.endpoint.as_str()).collect();
    endpoints.retain(|endpoint| !endpoint.is_empty());
    endpoints.sort_unstable();
    endpoints.dedup();
    let scope = match endpoints[..] {
        [endpoint] => vec![
            ("scenario".to_owned(), pair.scenario.clone()),
            ("endpoint".to_owned(), endpoint.to_owned()),
        ],
        _ => vec![("scenario".to_owned(), pair.scenario.clone())],
    };
    Some(Finding {
        id: id("run", &[&comparison.run_a, &comparison.run_b]),
        severity,
        title: format!(
            "run {} against {}: {} of {} by {:+.1} %",
            comparison.run_b,
            comparison.run_a,
            first.metric,
            if first.endpoint.is_empty() {
                "all endpoints"
            } else {
                &first.endpoint
            },
            first.effect_pct.unwrap_or_default()
        ),
        onset_us: pair.started_us,
        scope,
        evidence: moved.into_iter().map(evidence).collect(),
        causes: Vec::new(),
        sql: format!(
            "SELECT * FROM run_summary WHERE run IN ('{}', '{}') ORDER BY endpoint, run",
            comparison.run_a, comparison.run_b
        ),
    })
}

fn evidence(shift: &RunShift) -> Evidence {
    Evidence {
        name: match shift.endpoint.as_str() {
            "" => shift.metric.clone(),
            endpoint => format!("{endpoint} {}", shift.metric),
        },
        unit: shift.unit.clone(),
        before: shift.median_a,
        after: shift.median_b,
        effect_pct: shift.effect_pct,
        interval_pct: shift.effect_lo_pct.zip(shift.effect_hi_pct),
        p_value: shift.p_value.unwrap_or(1.0),
    }
}
