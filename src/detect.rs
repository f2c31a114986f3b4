//! `detect`: change points, anomalies, and what moved together, in plain CSV files or in the tables.
//!
//! Series are judged one by one and in the order of the input, on all cores; the output is the same
//! to the last byte on any number of them. The statistics are `driftline_stats`'s.

mod fleet;
mod input;
mod stream;
mod tables;

use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use driftline_analyzer::Calendar;
use driftline_collector::config::duration;
use driftline_stats::changepoint::{self, ChangePoint};
use driftline_stats::runs::{self, Metric};
use driftline_stats::{anomaly, daily};

use self::input::{CaseInput, Days, InputError, SeriesInput, SeriesReader, read_cases};
use crate::cli::{Settings, parse_time};
use crate::exit::{Outcome, UsageError};

/// Series that are in memory at a time, but for the fleet, which is judged as a whole.
const CHUNK: usize = 2_048;
const DAY_S: i64 = 86_400;

/// What is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// Lasting steps of each series
    ChangePoint,
    /// What is unusual for a series at its time, judged by its past alone
    Anomaly,
    /// Steps that several series took together, with the labels that explain them
    Fleet,
    /// Runs B against runs A
    Compare,
}

/// What is looked for, and where.
#[derive(Debug, Args)]
pub(crate) struct DetectArgs {
    /// What to look for
    #[arg(long, value_enum, default_value = "change-point")]
    mode: Mode,
    /// A CSV file, or - for stdin: series,timestamp,value, the rows of a series together and in order;
    /// to compare: case,arm,run,value [default: the tables]
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Where the CSV of what was found goes [default: stdout]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// How far back to look in the tables
    #[arg(long, value_name = "TIME", value_parser = parse_time, default_value = "24h", conflicts_with = "input")]
    last: Duration,
    /// Only this metric of the tables
    #[arg(long, value_name = "NAME", conflicts_with = "input")]
    metric: Option<String>,
    /// Rows may come mixed and at any time, as from `tail -f`: each change is written as soon as it is found
    #[arg(long, requires = "input", conflicts_with = "daily")]
    stream: bool,
    /// Hold each series of the file against its own earlier days at the same time, as is done with those of
    /// the tables: for a few hours to three weeks of evenly spaced samples
    #[arg(long, requires = "input")]
    daily: bool,
    /// Samples of a daily cycle on the fleet's grid [default: a day's]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(2..))]
    period: Option<u32>,
}

/// `driftline detect`.
pub(crate) fn run(settings: &Settings, args: &DetectArgs) -> anyhow::Result<Outcome> {
    if args.mode != Mode::ChangePoint && (args.stream || args.daily) {
        bail!(UsageError(
            "--stream and --daily are for change points".to_owned()
        ));
    }
    if let (Some(path), true) = (&args.input, args.stream) {
        return stream::detect(path, args.output.as_deref());
    }
    let text = match (&args.input, args.mode) {
        (Some(path), Mode::Compare) => compare(&read_cases(path).map_err(asked)?),
        (Some(path), Mode::Fleet) => fleet::detect(all(path)?, args.period),
        (Some(path), mode) => {
            let calendar = match args.daily {
                true => Some(settings.config.nightly.calendar()?),
                false => None,
            };
            let (text, longest) = series(path, mode, calendar)?;
            // Fewer values are no two sides of a change.
            let least = 2 * changepoint::Options::default().min_samples;
            if mode == Mode::ChangePoint && longest < least {
                eprintln!("too little data: no series has {least} values");
                write(args.output.as_deref(), &text)?;
                return Ok(Outcome::TooLittleData);
            }
            text
        }
        (None, Mode::Compare) => bail!(UsageError(
            "to compare load runs of the tables: driftline compare RUN_A RUN_B".to_owned()
        )),
        (None, mode) => {
            let series = tables::read(settings, args.last, args.metric.as_deref())?;
            if series.is_empty() {
                eprintln!(
                    "too little data: {} has a whole minute in the last {} of {}",
                    args.metric.as_ref().map_or_else(
                        || "no series".to_owned(),
                        |metric| format!("no series of {metric}")
                    ),
                    duration::format(args.last),
                    settings.data.display()
                );
                return Ok(Outcome::TooLittleData);
            }
            match mode {
                Mode::Fleet => fleet::detect(series, args.period),
                mode => header(mode) + &on_all_cores(&series, rows_of(mode)),
            }
        }
    };
    write(args.output.as_deref(), &text)?;
    Ok(Outcome::Ok)
}

fn asked(error: InputError) -> anyhow::Error {
    match error {
        InputError::Read { .. } | InputError::Open { .. } => error.into(),
        wrong => UsageError(wrong.to_string()).into(),
    }
}

fn all(path: &Path) -> anyhow::Result<Vec<SeriesInput>> {
    let mut reader = SeriesReader::open(path).map_err(asked)?;
    let mut all = Vec::new();
    while let Some(series) = reader.read().map_err(asked)? {
        all.push(series);
    }
    Ok(all)
}

/// What is found in a file, and how many values its longest series has.
fn series(path: &Path, mode: Mode, daily: Option<Calendar>) -> anyhow::Result<(String, usize)> {
    let mut reader = SeriesReader::open(path).map_err(asked)?;
    let (mut text, mut longest) = (header(mode), 0);
    let mut chunk = Vec::with_capacity(CHUNK);
    loop {
        let mut next = reader.read().map_err(asked)?;
        if let (Some(series), Some(calendar)) = (&mut next, daily) {
            series.days = Some(days(series, calendar)?);
        }
        let ended = next.is_none();
        if let Some(series) = &next {
            let there = series.values.iter().filter(|value| value.is_finite());
            longest = longest.max(there.count());
        }
        chunk.extend(next);
        if ended || chunk.len() == CHUNK {
            text.push_str(&on_all_cores(&chunk, rows_of(mode)));
            chunk.clear();
        }
        if ended {
            return Ok((text, longest));
        }
    }
}

/// What is known of a series of a file that may follow the day.
fn days(series: &SeriesInput, calendar: Calendar) -> anyhow::Result<Days> {
    let last_us = series
        .timestamps
        .last()
        .map(|at_s| at_s.saturating_mul(1_000_000));
    let uneven = || {
        UsageError(format!(
            "the samples of {} are not evenly spaced, gaps aside; without --daily, their order is all that counts",
            series.name
        ))
    };
    Ok(Days {
        step_s: series.step_s().ok_or_else(uneven)?,
        weekend: last_us.is_some_and(|last_us| calendar.is_weekend(last_us)),
    })
}

/// What is written of each series, in the order of the series.
fn on_all_cores(series: &[SeriesInput], rows: fn(&SeriesInput) -> String) -> String {
    let threads = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    on_threads(threads, series, rows)
}

fn on_threads(threads: usize, series: &[SeriesInput], rows: fn(&SeriesInput) -> String) -> String {
    // Small pieces, dealt out in turn, since series differ in length.
    let pieces: Vec<&[SeriesInput]> = series.chunks(16).collect();
    let mut texts = vec![String::new(); pieces.len()];
    thread::scope(|scope| {
        let mut workers = Vec::new();
        for first in 0..threads.min(pieces.len()) {
            let pieces = &pieces;
            workers.push(scope.spawn(move || {
                let mine = (first..pieces.len()).step_by(threads);
                mine.map(|number| {
                    let text: String = pieces[number].iter().map(rows).collect();
                    (number, text)
                })
                .collect::<Vec<_>>()
            }));
        }
        for worker in workers {
            match worker.join() {
                Ok(done) => done
                    .into_iter()
                    .for_each(|(number, text)| texts[number] = text),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
    });
    texts.concat()
}

fn header(mode: Mode) -> String {
    let header = match mode {
        Mode::Anomaly => "series,changepoint_index,timestamp,score,expected,direction",
        _ => "series,changepoint_index,effect_pct,ci_lo,ci_hi,p_value,direction,timestamp",
    };
    format!("{header}\n")
}

fn rows_of(mode: Mode) -> fn(&SeriesInput) -> String {
    match mode {
        Mode::Anomaly => anomalies,
        _ => change_points,
    }
}

fn change_points(series: &SeriesInput) -> String {
    let changes = match series.days {
        Some(days) => {
            let options = daily::Options {
                weekend: days.weekend,
                ..daily::Options::of_day(usize::try_from(DAY_S / days.step_s).unwrap_or(1))
            };
            daily::detect_at(&series.timestamps, &series.values, days.step_s, &options)
        }
        None => changepoint::detect(&series.values, &changepoint::Options::default()),
    };
    let row = |change: &ChangePoint| {
        let place = change.index as u64;
        change_point(&series.name, change, place, series.timestamps[change.index])
    };
    changes.iter().map(row).collect()
}

/// The row of a change, at a place counted from 0.
fn change_point(series: &str, change: &ChangePoint, place: u64, at_s: i64) -> String {
    let percent = |share: Option<f64>| share.map(|s| format!("{:.6}", 100.0 * s));
    let [effect, lo, hi] = [
        percent(change.relative),
        percent(change.interval.map(|(lo, _)| lo)),
        percent(change.interval.map(|(_, hi)| hi)),
    ]
    .map(Option::unwrap_or_default);
    let direction = match change.direction {
        changepoint::Direction::Up => "up",
        changepoint::Direction::Down => "down",
    };
    format!(
        "{},{place},{effect},{lo},{hi},{:.3e},{direction},{at_s}\n",
        quoted(series),
        change.p_value
    )
}

fn anomalies(series: &SeriesInput) -> String {
    let mut text = String::new();
    let options = anomaly::Options::default();
    for anomaly in anomaly::detect(&series.timestamps, &series.values, options) {
        let direction = match anomaly.direction {
            anomaly::Direction::Up => "up",
            anomaly::Direction::Down => "down",
        };
        writeln!(
            text,
            "{},{},{},{:.3},{:.6},{direction}",
            quoted(&series.name),
            anomaly.index as usize,
            series.timestamps[anomaly.index as usize],
            anomaly.score,
            anomaly.expected
        )
        .expect("a String takes everything");
    }
    text
}

fn compare(cases: &[CaseInput]) -> String {
    let mut text = "case,metric,verdict,effect_pct,ci_lo,ci_hi\n".to_owned();
    for case in cases {
        let compared = runs::compare(&case.a, &case.b, &runs::Options::default());
        for (metric, name) in [(Metric::P50, "p50"), (Metric::P99, "p99")] {
            let Some(found) = compared.get(metric) else {
                continue;
            };
            let verdict = match found.verdict {
                runs::Verdict::Regression => "regression",
                runs::Verdict::Improvement => "improvement",
                runs::Verdict::NoChange => "nochange",
                runs::Verdict::TooLittleData => "toolittledata",
            };
            let number = |value: Option<f64>| value.map(|v| v.to_string()).unwrap_or_default();
            writeln!(
                text,
                "{},{name},{verdict},{},{},{}",
                quoted(&case.name),
                number(found.effect_pct),
                number(found.ci_lo_pct),
                number(found.ci_hi_pct)
            )
            .expect("a String takes everything");
        }
    }
    text
}

/// A name as a CSV field.
fn quoted(name: &str) -> String {
    if name.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", name.replace('"', "\"\""))
    } else {
        name.to_owned()
    }
}

fn write(path: Option<&Path>, text: &str) -> anyhow::Result<()> {
    match path {
        Some(path) => {
            let cannot = || format!("cannot write {}", path.display());
            let mut file = BufWriter::new(File::create(path).with_context(cannot)?);
            file.write_all(text.as_bytes()).with_context(cannot)?;
            file.flush().with_context(cannot)
        }
        None => crate::report::print(text),
    }
}

#[cfg(test)]
mod tests {
    use driftline_stats::noise::Noise;

    use super::*;

    #[test]
    fn any_number_of_threads_writes_the_same_bytes() {
        let mut noise = Noise::new(3);
        let series = (0..70).map(|number| {
            let step = if number % 3 == 0 { 4.0 } else { 0.0 };
            let value = |at: i64| 50.0 + noise.normal() + if at >= 90 { step } else { 0.0 };
            SeriesInput {
                name: format!("s{number}"),
                timestamps: (0..120).map(|at| at * 300).collect(),
                values: (0..120).map(value).collect(),
                days: None,
            }
        });
        let series: Vec<SeriesInput> = series.collect();
        for mode in [Mode::ChangePoint, Mode::Anomaly] {
            let one = on_threads(1, &series, rows_of(mode));
            for threads in [2, 4, 100] {
                assert_eq!(on_threads(threads, &series, rows_of(mode)), one);
            }
        }
        let found = on_threads(4, &series, change_points);
        assert!(found.lines().count() >= 20, "{found}");
        let fleet = |threads| fleet::detect_on(threads, series.clone(), None);
        assert_eq!(fleet(4), fleet(1));
    }
}
