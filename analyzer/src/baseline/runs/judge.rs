//! A run held against the accepted ones before it.

use std::collections::BTreeMap;

use driftline_stats::benjamini_hochberg;
use driftline_stats::runs::{AgainstPast, LEAST_PAST_RUNS, against_past};

use super::{RunBaseline, RunLevel, Sketched, levels};
use crate::compare::{
    CompareRunsError, RunCompareOptions, RunComparison, RunShift, Verdict, doubts,
};
use crate::engine::{Engine, EngineError};

/// Of the intervals, and 1 less the expected share of false findings among a run's comparisons.
const CONFIDENCE: f64 = 0.99;
/// Changes below these do not count: in percent, and of shares of failures in points of percent.
const MIN_EFFECT_PCT: f64 = 2.0;
const MIN_ERRORS_PCT: f64 = 0.1;
/// Levels of runs are no more alike than clocks and quantiles are fine.
const LEAST_SPREAD: f64 = 0.005;

/// A run's levels, by endpoint.
pub(crate) type Levels = Vec<(String, RunLevel)>;

/// One number of a run: what it is called and counted in, the operations that it needs, and how
/// it is taken.
struct Quantity {
    metric: &'static str,
    unit: &'static str,
    needs: u64,
    of: fn(&RunLevel) -> Option<f64>,
}

/// As in `run_shift.sql`.
const QUANTITIES: [Quantity; 5] = [
    Quantity {
        metric: "p50",
        unit: "ms",
        needs: 20,
        of: |level| level.p50_ms,
    },
    Quantity {
        metric: "p95",
        unit: "ms",
        needs: 60,
        of: |level| level.p95_ms,
    },
    Quantity {
        metric: "p99",
        unit: "ms",
        needs: 200,
        of: |level| level.p99_ms,
    },
    Quantity {
        metric: "error_rate",
        unit: "1",
        needs: 50,
        of: |level| Some(level.failed as f64 / level.operations as f64),
    },
    Quantity {
        metric: "rate",
        unit: "{operation}/s",
        needs: 1,
        of: |level| Some(level.rate_per_s),
    },
];

/// Holds a run against a baseline that was kept.
///
/// # Errors
/// When there is no such run, it is part of the baseline, or the tables cannot be read.
pub async fn compare_with_baseline(
    engine: &Engine,
    baseline: &[RunBaseline],
    run: &str,
    options: &RunCompareOptions,
) -> Result<RunComparison, CompareRunsError> {
    let (scenario_hash, target, notes, trusted) = doubts(engine, run).await?;
    let own: Vec<RunBaseline> = baseline
        .iter()
        .filter(|one| one.scenario_hash == scenario_hash && one.target == target)
        .cloned()
        .collect();
    if own
        .iter()
        .flat_map(|one| &one.runs)
        .any(|past| past.run == run)
    {
        return Err(CompareRunsError::Same {
            run: run.to_owned(),
        });
    }
    let mut comparison = judge(&own, run, &now(engine, run).await?, options);
    comparison.notes.splice(0..0, notes);
    comparison.trusted = trusted;
    Ok(comparison)
}

/// What a run came to.
pub(crate) async fn now(engine: &Engine, run: &str) -> Result<Levels, EngineError> {
    let by_endpoint = levels(engine, &[run]).await?;
    let level = |(endpoint, mut by_run): (String, BTreeMap<String, Sketched>)| {
        Some((endpoint, by_run.remove(run)?.level))
    };
    Ok(by_endpoint.into_iter().filter_map(level).collect())
}

/// Holds a run's levels against a baseline of its scenario and target. All comparisons share one rate
/// of false findings (Benjamini and Hochberg).
pub(crate) fn judge(
    baseline: &[RunBaseline],
    run: &str,
    now: &Levels,
    options: &RunCompareOptions,
) -> RunComparison {
    let confidence = options.confidence.unwrap_or(CONFIDENCE);
    let min_effect_pct = options.min_effect_pct.unwrap_or(MIN_EFFECT_PCT);
    let mut shifts = Vec::new();
    for (endpoint, level) in now {
        let past = baseline.iter().find(|one| one.endpoint == *endpoint);
        let past = past.map_or(&[][..], |one| &one.runs);
        for quantity in &QUANTITIES {
            shifts.push(shift(endpoint, quantity, past, level, confidence));
        }
    }
    let known: Vec<f64> = shifts.iter().filter_map(|shift| shift.p_value).collect();
    let mut corrected = benjamini_hochberg(&known).into_iter();
    for shift in &mut shifts {
        if shift.p_value.is_some() {
            shift.p_value = corrected.next();
        }
        shift.verdict = verdict(shift, confidence, min_effect_pct);
    }
    let of_all = baseline.iter().find(|one| one.endpoint.is_empty());
    let names: Vec<&str> = of_all
        .map(|one| one.runs.iter().map(|past| past.run.as_str()).collect())
        .unwrap_or_default();
    let mut notes = Vec::new();
    if names.len() < LEAST_PAST_RUNS {
        notes.push(format!(
            "there are {} accepted runs of this scenario and target in the baseline, and {LEAST_PAST_RUNS} are needed to know what runs differ by",
            names.len()
        ));
    }
    RunComparison {
        run_a: names.join(","),
        run_b: run.to_owned(),
        notes,
        trusted: true,
        shifts,
    }
}

fn shift(
    endpoint: &str,
    quantity: &Quantity,
    past: &[RunLevel],
    now: &RunLevel,
    confidence: f64,
) -> RunShift {
    let share = quantity.unit == "1";
    let enough = |level: &&RunLevel| level.operations >= quantity.needs;
    let usable: Vec<&RunLevel> = past.iter().filter(enough).collect();
    // Shares of failures may be 0, and differ by points; everything else differs by a part.
    let scaled = |level: &RunLevel| {
        let value = (quantity.of)(level)?;
        match share {
            true => Some(value),
            false => (value > 0.0).then(|| value.ln()),
        }
    };
    let before: Vec<f64> = usable.iter().filter_map(|level| scaled(level)).collect();
    let after = Some(now).filter(enough).and_then(scaled);
    let deviation = match share {
        true => deviation_of_errors(&usable, now),
        false => LEAST_SPREAD,
    };
    let found = after.and_then(|after| against_past(&before, after, deviation, confidence));
    let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
    let mut shift = RunShift {
        endpoint: endpoint.to_owned(),
        metric: quantity.metric.to_owned(),
        unit: quantity.unit.to_owned(),
        median_a: None,
        median_b: (quantity.of)(now).filter(|value| value.is_finite()),
        shift: None,
        ci_lo: None,
        ci_hi: None,
        p_value: None,
        effect_pct: None,
        effect_lo_pct: None,
        effect_hi_pct: None,
        detectable_pct: None,
        more_runs: None,
        n_a: count(before.len()),
        n_b: 1,
        verdict: Verdict::TooLittleData,
    };
    if let Some(found) = found {
        describe(&mut shift, &found, share);
    }
    shift
}

fn describe(shift: &mut RunShift, found: &AgainstPast, share: bool) {
    let usual = if share {
        found.usual
    } else {
        found.usual.exp()
    };
    let absolute = |by: f64| if share { by } else { usual * by.exp_m1() };
    let percent = |by: f64| match share {
        true => (usual > 0.0).then(|| 100.0 * by / usual),
        false => Some(100.0 * by.exp_m1()),
    };
    shift.median_a = Some(usual);
    shift.shift = Some(absolute(found.shift));
    shift.ci_lo = Some(absolute(found.ci_lo));
    shift.ci_hi = Some(absolute(found.ci_hi));
    shift.p_value = Some(found.p_value);
    shift.effect_pct = percent(found.shift);
    shift.effect_lo_pct = percent(found.ci_lo);
    shift.effect_hi_pct = percent(found.ci_hi);
    shift.detectable_pct = Some(match share {
        true => 100.0 * found.detectable,
        false => 100.0 * found.detectable.exp_m1(),
    });
}

/// The standard deviation of a share of failures within one run, by the failures of all; half a failure
/// more, so that runs without any are not taken for sure to have none (Jeffreys' prior).
fn deviation_of_errors(past: &[&RunLevel], now: &RunLevel) -> f64 {
    let failed: u64 = past.iter().map(|level| level.failed).sum();
    let operations: u64 = past.iter().map(|level| level.operations).sum();
    let share = (failed as f64 + 0.5) / (operations as f64 + 1.0);
    (share * (1.0 - share) / now.operations.max(1) as f64).sqrt()
}

fn verdict(shift: &RunShift, confidence: f64, min_effect_pct: f64) -> Verdict {
    let (Some(lo), Some(hi), Some(p_value)) = (shift.ci_lo, shift.ci_hi, shift.p_value) else {
        return Verdict::TooLittleData;
    };
    let least = match shift.unit.as_str() {
        "1" => MIN_ERRORS_PCT / 100.0,
        _ => min_effect_pct / 100.0 * shift.median_a.unwrap_or_default(),
    };
    let rose = lo > least;
    if p_value > 1.0 - confidence || !(rose || hi < -least) {
        return Verdict::NoChange;
    }
    match rose == (shift.metric == "rate") {
        true => Verdict::Improvement,
        false => Verdict::Regression,
    }
}
