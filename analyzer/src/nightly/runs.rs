//! The day's load runs, each against the accepted ones of the same scenario and target before it, or
//! against the one before where these are too few.

use arrow::array::Array as _;

use super::changes::quoted;
use super::{Evidence, Finding, Severity};
use crate::baseline::runs::{self, History, Said};
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
    pub(crate) started_us: i64,
    /// When the one before began.
    pub(crate) before_us: Option<i64>,
}

/// Judges them in order of time. A run with enough accepted ones before it is held against those, which
/// says what runs differ by; otherwise against the one before.
pub(super) async fn find(engine: &Engine, day: Window) -> Result<Compared, CompareRunsError> {
    let mut compared = Compared {
        judged: 0,
        notes: Vec::new(),
        findings: Vec::new(),
    };
    for mut history in runs::read(engine, day.until_us).await? {
        for place in 0..history.runs.len() {
            if history.runs[place].started_us >= day.from_us {
                judge(engine, &mut history, place, &mut compared).await?;
            }
        }
    }
    Ok(compared)
}

/// Judges one run. What is found of it is remembered as if it had been told already, so that the day
/// analysed again, when it has been, says the same.
async fn judge(
    engine: &Engine,
    history: &mut History,
    place: usize,
    compared: &mut Compared,
) -> Result<(), CompareRunsError> {
    let run = history.runs[place].run.clone();
    let before = place
        .checked_sub(1)
        .map(|before| history.runs[before].clone());
    let Some(before) = before else {
        compared.notes.push(format!(
            "run {run} is the first of its scenario: there is nothing to compare it with"
        ));
        return Ok(());
    };
    let options = RunCompareOptions::default();
    let pair = compare_runs(engine, &before.run, &run, &options).await?;
    let against = match history.runs[place].trusted {
        true => {
            let baseline = runs::of(engine, history, place).await?;
            let now = runs::now(engine, &run).await?;
            Some(runs::judge(&baseline, &run, &now, &options))
        }
        false => None,
    };
    let against = against.filter(|against| against.verdict() != Verdict::TooLittleData);
    if against.is_none() && pair.verdict() == Verdict::TooLittleData {
        let why = pair.notes.join("; ");
        compared
            .notes
            .push(format!("run {run} cannot be judged: {why}"));
        return Ok(());
    }
    compared.judged += 1;
    let known = against.is_some();
    let found = match &against {
        Some(against) => against_accepted(history, place, against),
        None => finding(history, place, &pair, against_one(&pair)),
    };
    let worse = found
        .as_ref()
        .is_some_and(|found| found.severity == Severity::Regression);
    // What is worse for the same reason as a run before it is told already.
    if let (true, true, Some(open)) = (known, worse, history.open(place))
        && pair.verdict() != Verdict::Regression
    {
        compared.notes.push(format!(
            "run {run} is worse than the accepted runs and no worse than {}: finding {open} is open",
            before.run
        ));
        return Ok(());
    }
    if let (true, Some(found)) = (worse && history.runs[place].said == Said::Nothing, &found) {
        history.runs[place].said = Said::Worse {
            id: found.id.clone(),
            fixed_us: None,
        };
    }
    compared.findings.extend(found);
    Ok(())
}

/// The runs that began within a stretch of time, each with the one before it.
pub(crate) async fn pairs(engine: &Engine, day: Window) -> Result<Vec<Pair>, EngineError> {
    let sql = "SELECT run, before, CAST(started AS BIGINT) AS started_us, \
                   CAST(before_started AS BIGINT) AS before_us FROM ( \
                   SELECT run, started, \
                       lag(run) OVER (PARTITION BY scenario_hash, target ORDER BY started, run) AS before, \
                       lag(started) OVER (PARTITION BY scenario_hash, target ORDER BY started, run) AS before_started \
                   FROM runs WHERE ended = 'completed' AND started < $until \
               ) WHERE started >= $from ORDER BY started, run";
    let rows = engine.collect(sql, &day.options()).await?;
    let columns = Columns::new("runs", &rows)?;
    let [run, before] = columns.each_text(["run", "before"])?;
    let started_us = columns.integers("started_us")?;
    let before_us = columns.integers("before_us")?;
    let pair = |row: usize| Pair {
        run: run.value(row).to_owned(),
        before: Some(before.value(row).to_owned()).filter(|before| !before.is_empty()),
        started_us: started_us.value(row),
        before_us: before_us.is_valid(row).then(|| before_us.value(row)),
    };
    Ok((0..columns.rows()).map(pair).collect())
}

/// What makes a finding about a run itself, and how it is told.
struct Told {
    id: String,
    against: String,
    sql: String,
}

fn against_one(pair: &RunComparison) -> Told {
    Told {
        id: runs::pair_id(&pair.run_a, &pair.run_b),
        against: pair.run_a.clone(),
        sql: summary_of([pair.run_a.as_str(), pair.run_b.as_str()]),
    }
}

fn against_accepted(history: &History, place: usize, against: &RunComparison) -> Option<Finding> {
    let names: Vec<&str> = against.run_a.split(',').collect();
    let told = Told {
        id: runs::baseline_id(&against.run_b),
        against: format!("the last {} accepted ones", names.len()),
        sql: summary_of(names.iter().copied().chain([against.run_b.as_str()])),
    };
    finding(history, place, against, told)
}

fn summary_of<'r>(runs: impl IntoIterator<Item = &'r str>) -> String {
    let runs: Vec<String> = runs
        .into_iter()
        .map(|run| format!("'{}'", quoted(run)))
        .collect();
    format!(
        "SELECT * FROM run_summary WHERE run IN ({}) ORDER BY endpoint, run",
        runs.join(", ")
    )
}

/// One finding for a run, whatever number of its endpoints moved; a run that is worse in one and
/// better in another is worse.
fn finding(
    history: &History,
    place: usize,
    comparison: &RunComparison,
    told: Told,
) -> Option<Finding> {
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
    let mut scope = vec![("scenario".to_owned(), history.scenario.clone())];
    if let [endpoint] = endpoints[..] {
        scope.push(("endpoint".to_owned(), endpoint.to_owned()));
    }
    Some(Finding {
        id: told.id,
        severity,
        title: format!(
            "run {} against {}: {} of {} by {:+.1} %",
            comparison.run_b,
            told.against,
            first.metric,
            if first.endpoint.is_empty() {
                "all endpoints"
            } else {
                &first.endpoint
            },
            first.effect_pct.unwrap_or_default()
        ),
        onset_us: history.runs[place].started_us,
        scope,
        evidence: moved.into_iter().map(evidence).collect(),
        causes: Vec::new(),
        sql: told.sql,
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
