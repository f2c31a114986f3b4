//! The JSON of JMH: iterations become samples, one series per benchmark, parameters, mode and fork.

use std::collections::BTreeMap;
use std::io::BufRead;

use driftline_schemas::{Better, Category, Labels};
use serde::Deserialize;
use serde_json::Value;

use super::k6::reason;
use super::lines::Lines;
use super::row::{Row, SampleRow, Take};
use super::time::MAX_TIME_S;
use super::{ImportError, MAX_JMH_BYTES};

/// How far apart iterations are put.
const ITERATION_US: i64 = 1_000_000;
const NOT_FINITE: &str = "iterations without a finite score";
const NO_RAW: &str = "metrics without rawData";
const SYNTAX: &str = "import the file that `-rf json -rff FILE` wrote, when JMH has ended";

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Benchmark {
    benchmark: String,
    #[serde(default)]
    mode: String,
    #[serde(default)]
    params: BTreeMap<String, String>,
    primary_metric: Metric,
    #[serde(default)]
    secondary_metrics: BTreeMap<String, Metric>,
}

/// Scores by fork, then by iteration.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metric {
    #[serde(default)]
    score_unit: String,
    /// Numbers, or texts such as `NaN`.
    #[serde(default)]
    raw_data: Vec<Vec<Value>>,
    /// In mode `sample` instead: pairs of a value and how often it occurred.
    #[serde(default)]
    raw_data_histogram: Vec<Vec<Vec<(f64, u64)>>>,
}

/// Reads every iteration; the last one is put at `at_us`.
pub(super) fn read<R: BufRead>(
    lines: &mut Lines<'_, R>,
    at_us: Option<i64>,
    take: &mut Take<'_>,
) -> Result<(), ImportError> {
    let at_us = at_us.ok_or(ImportError::NoTime)?;
    if !(0..MAX_TIME_S * 1_000_000).contains(&at_us) {
        return Err(ImportError::Time { found: at_us });
    }
    let mut text = Vec::new();
    while lines
        .read(&mut text, MAX_JMH_BYTES)
        .map_err(|error| match error {
            ImportError::LineTooLong { .. } => ImportError::TooLarge,
            other => other,
        })?
    {}
    if text.trim_ascii().is_empty() {
        return Err(ImportError::Empty);
    }
    let benchmarks: Vec<Benchmark> =
        serde_json::from_slice(&text).map_err(|error| ImportError::Json {
            line: error.line() as u64,
            column: error.column(),
            reason: reason(&error),
            remedy: SYNTAX,
        })?;
    drop(text);
    for benchmark in &benchmarks {
        let name = format!("jmh.{}", benchmark.benchmark);
        benchmark.take(&name, &benchmark.primary_metric, at_us, take)?;
        for (key, metric) in &benchmark.secondary_metrics {
            // Profilers put a dot in the middle before their names.
            let name = format!("{name}.{}", key.trim_start_matches('·'));
            benchmark.take(&name, metric, at_us, take)?;
        }
    }
    Ok(())
}

impl Benchmark {
    fn take(
        &self,
        name: &str,
        metric: &Metric,
        at_us: i64,
        take: &mut Take<'_>,
    ) -> Result<(), ImportError> {
        let forks = metric.scores();
        let mut left: i64 = forks.iter().map(|fork| fork.len() as i64).sum();
        if left == 0 {
            return take(Row::Ignored(NO_RAW));
        }
        let meaning = meaning(&metric.score_unit);
        for (at, scores) in forks.iter().enumerate() {
            let labels = self.labels(at + 1);
            for score in scores {
                left -= 1;
                let row = match score {
                    Some(value) => Row::Sample(SampleRow {
                        metric: name,
                        labels: labels.as_str(),
                        unit: &meaning.unit,
                        category: meaning.category,
                        better: meaning.better,
                        ts_us: at_us - left * ITERATION_US,
                        value: *value,
                    }),
                    None => Row::Ignored(NOT_FINITE),
                };
                take(row)?;
            }
        }
        Ok(())
    }

    /// Labels of a fork, from 1. A parameter that is called as one of them is set apart.
    fn labels(&self, fork: usize) -> Labels {
        let fork = fork.to_string();
        let apart: Vec<(String, &str)> = self
            .params
            .iter()
            .map(|(key, value)| match key.as_str() {
                "fork" | "mode" => (format!("param_{key}"), value.as_str()),
                key => (key.to_owned(), value.as_str()),
            })
            .collect();
        let mut pairs: Vec<(&str, &str)> = apart
            .iter()
            .map(|(key, value)| (key.as_str(), *value))
            .collect();
        pairs.extend([("fork", fork.as_str()), ("mode", self.mode.as_str())]);
        Labels::new(&pairs)
    }
}

impl Metric {
    /// Scores by fork and iteration; `None` where there is no finite one.
    fn scores(&self) -> Vec<Vec<Option<f64>>> {
        if !self.raw_data.is_empty() {
            let score = |value: &Value| value.as_f64().filter(|score| score.is_finite());
            let forks = self.raw_data.iter();
            return forks.map(|fork| fork.iter().map(score).collect()).collect();
        }
        let forks = self.raw_data_histogram.iter();
        forks
            .map(|fork| fork.iter().map(|pairs| mean(pairs)).collect())
            .collect()
    }
}

fn mean(pairs: &[(f64, u64)]) -> Option<f64> {
    let count: f64 = pairs.iter().map(|(_, count)| *count as f64).sum();
    let sum: f64 = pairs
        .iter()
        .map(|(value, count)| value * *count as f64)
        .sum();
    Some(sum / count).filter(|mean| mean.is_finite())
}

/// What a unit of JMH says of a metric.
#[derive(Debug, PartialEq, Eq)]
struct Meaning {
    unit: String,
    category: Category,
    better: Better,
}

fn meaning(score_unit: &str) -> Meaning {
    let (above, below) = score_unit.split_once('/').unwrap_or((score_unit, ""));
    let (category, better) = match (above, below) {
        ("ops", _) => (Category::Throughput, Better::Higher),
        (_, "op") if ucum(above).is_some_and(|(_, is_time)| is_time) => {
            (Category::Latency, Better::Lower)
        }
        ("B", "op") => (Category::Utilisation, Better::Lower),
        _ => (Category::Utilisation, Better::Neither),
    };
    let unit = match (ucum(above), ucum(below)) {
        (Some((above, _)), None) if below.is_empty() => above.to_owned(),
        (Some((above, _)), Some((below, _))) => format!("{above}/{below}"),
        // A unit that nobody knows stays as it is, as an annotation.
        _ => {
            let plain = |letter: &char| letter.is_ascii_graphic() && !"{}".contains(*letter);
            let text: String = score_unit.chars().filter(plain).take(32).collect();
            match text.as_str() {
                "" | "---" => "1".to_owned(),
                text => format!("{{{text}}}"),
            }
        }
    };
    Meaning {
        unit,
        category,
        better,
    }
}

/// A part of JMH's units in UCUM, and whether it is a time.
fn ucum(part: &str) -> Option<(&'static str, bool)> {
    Some(match part {
        "ns" => ("ns", true),
        "us" => ("us", true),
        "ms" => ("ms", true),
        "s" | "sec" => ("s", true),
        "min" => ("min", true),
        "hr" => ("h", true),
        "day" => ("d", true),
        "op" | "ops" => ("{operation}", false),
        "B" => ("By", false),
        "KB" => ("kBy", false),
        "MB" => ("MBy", false),
        "#" | "counts" => ("{count}", false),
        "%" => ("%", false),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_of_ucum_and_know_what_is_better() {
        for (unit, ucum, better) in [
            ("ns/op", "ns/{operation}", Better::Lower),
            ("us/op", "us/{operation}", Better::Lower),
            ("ms/op", "ms/{operation}", Better::Lower),
            ("s/op", "s/{operation}", Better::Lower),
            ("ops/s", "{operation}/s", Better::Higher),
            ("ops/ms", "{operation}/ms", Better::Higher),
            ("MB/sec", "MBy/s", Better::Neither),
            ("B/op", "By/{operation}", Better::Lower),
            ("counts", "{count}", Better::Neither),
            ("ms", "ms", Better::Neither),
            ("---", "1", Better::Neither),
            ("", "1", Better::Neither),
            ("in{s}ns/x", "{insns/x}", Better::Neither),
        ] {
            let found = meaning(unit);
            assert_eq!(
                (found.unit.as_str(), found.better),
                (ucum, better),
                "{unit}"
            );
        }
    }

    #[test]
    fn histograms_count_every_value() {
        assert_eq!(mean(&[(1.0, 3), (5.0, 1)]), Some(2.0));
        assert_eq!(mean(&[]), None);
    }
}
