//! Compares the runs of a CSV `case,arm,run,value` and writes a CSV
//! `case,metric,verdict,effect_pct,ci_lo,ci_hi`, for measuring verdicts against known answers.
//!
//! `compare --mode compare --input FILE --output FILE`; a case's rows are contiguous, its arms are
//! `A` and `B`. The product's own command is `driftline compare`.

use driftline_stats::runs::{Comparison, Metric, Options, Verdict, compare};
use std::collections::BTreeMap;
use std::fmt::Write as _;

type Arms = [BTreeMap<u64, Vec<f64>>; 2];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let option = |name: &str| {
        let place = arguments.iter().position(|argument| argument == name);
        place
            .and_then(|place| arguments.get(place + 1))
            .ok_or(format!("option {name} is missing"))
    };
    let text = std::fs::read_to_string(option("--input")?)?;
    let mut output = String::from("case,metric,verdict,effect_pct,ci_lo,ci_hi\n");
    let mut current: Option<(&str, Arms)> = None;
    for (number, line) in text.lines().enumerate().skip(1) {
        let fields: Vec<&str> = line.split(',').collect();
        let [case, arm, run, value] = fields[..] else {
            return Err(format!("line {}: four columns are expected", number + 1).into());
        };
        let arm = match arm {
            "A" => 0,
            "B" => 1,
            other => return Err(format!("line {}: unknown arm {other}", number + 1).into()),
        };
        if current.as_ref().is_none_or(|(name, _)| *name != case) {
            if let Some((name, arms)) = current.take() {
                judge(name, &arms, &mut output)?;
            }
            current = Some((case, Arms::default()));
        }
        if let Some((_, arms)) = &mut current {
            arms[arm]
                .entry(run.parse()?)
                .or_default()
                .push(value.parse()?);
        }
    }
    if let Some((name, arms)) = current {
        judge(name, &arms, &mut output)?;
    }
    std::fs::write(option("--output")?, output)?;
    Ok(())
}

fn judge(case: &str, arms: &Arms, output: &mut String) -> std::fmt::Result {
    let side = |arm: usize| arms[arm].values().cloned().collect::<Vec<_>>();
    let result = compare(&side(0), &side(1), &Options::default());
    for (metric, name) in [(Metric::P50, "p50"), (Metric::P99, "p99")] {
        if let Some(found) = result.get(metric) {
            row(case, name, found, output)?;
        }
    }
    Ok(())
}

fn row(case: &str, metric: &str, found: &Comparison, output: &mut String) -> std::fmt::Result {
    let verdict = match found.verdict {
        Verdict::Regression => "regression",
        Verdict::Improvement => "improvement",
        Verdict::NoChange => "nochange",
        Verdict::TooLittleData => "too little data",
    };
    let number = |value: Option<f64>| value.map_or(String::new(), |value| value.to_string());
    writeln!(
        output,
        "{case},{metric},{verdict},{},{},{}",
        number(found.effect_pct),
        number(found.ci_lo_pct),
        number(found.ci_hi_pct)
    )
}
