//! A fleet from a file: labels out of the names of its series, values on a common grid, and what
//! moved together as rows.

use std::fmt::Write as _;
use std::num::NonZeroUsize;

use driftline_stats::fleet::{self, FleetSeries, Label, Options};

use super::input::SeriesInput;
use super::quoted;

const DAY_S: i64 = 86_400;
/// Longest grid: ten years of minutes. A series that jumps to the year 2500 must not fill memory.
const MOST_PLACES: i64 = 5_256_000;

/// One row for each member of each event that moved, and a summary of the events on stderr.
pub(super) fn detect(series: Vec<SeriesInput>, period: Option<u32>) -> String {
    let step = typical_step(&series).unwrap_or(1);
    let grid = on_grid(series, step);
    let options = Options {
        period: match period {
            Some(samples) => Some(samples as usize),
            None => usize::try_from(DAY_S / step)
                .ok()
                .filter(|samples| *samples > 1),
        },
        threads: std::thread::available_parallelism().map_or(1, NonZeroUsize::get),
        ..Options::default()
    };
    let mut text =
        "series,changepoint_index,effect_pct,ci_lo,ci_hi,p_value,direction,event_id,timestamp\n"
            .to_owned();
    for event in fleet::detect(&grid.series, &options) {
        let labels: Vec<String> = event
            .constraint
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        eprintln!(
            "event {} at index {}: {} by {:+.2} % ({:+.2} to {:+.2} %), {} series",
            event.rank,
            event.index,
            labels.join(" "),
            100.0 * event.effect,
            100.0 * event.ci_lo,
            100.0 * event.ci_hi,
            event.members.len()
        );
        for member in event.members.iter().filter(|member| member.moved) {
            writeln!(
                text,
                "{},{},{:.4},{:.4},{:.4},{:.3e},{},{},{}",
                quoted(&grid.series[member.series].name),
                event.index,
                100.0 * member.effect,
                100.0 * member.ci_lo,
                100.0 * member.ci_hi,
                event.p_value,
                if member.effect > 0.0 { "up" } else { "down" },
                event.rank,
                grid.start + event.index as i64 * step
            )
            .expect("a String takes everything");
        }
    }
    text
}

struct Grid {
    start: i64,
    series: Vec<FleetSeries>,
}

/// The median distance of neighbouring samples.
fn typical_step(series: &[SeriesInput]) -> Option<i64> {
    let distances = |series: &SeriesInput| {
        let pairs = series.timestamps.windows(2);
        pairs.map(|pair| pair[1] - pair[0]).collect::<Vec<_>>()
    };
    let mut steps: Vec<i64> = series
        .iter()
        .flat_map(distances)
        .filter(|s| *s > 0)
        .collect();
    let middle = steps.len() / 2;
    (!steps.is_empty()).then(|| *steps.select_nth_unstable(middle).1)
}

/// Of two samples at one place the later one counts; places without any are NaN.
fn on_grid(series: Vec<SeriesInput>, step: i64) -> Grid {
    let first = |series: &SeriesInput| series.timestamps.first().copied();
    let start = series.iter().filter_map(first).min().unwrap_or(0);
    let place = |time: i64| ((time - start) / step).min(MOST_PLACES) as usize;
    let series = series.into_iter().map(|series| {
        let length = series.timestamps.last().map_or(0, |last| place(*last) + 1);
        let mut values = vec![f64::NAN; length];
        for (time, value) in series.timestamps.iter().zip(&series.values) {
            values[place(*time)] = *value;
        }
        FleetSeries {
            labels: labels(&series.name),
            name: series.name,
            values,
            weight: 1.0,
        }
    });
    Grid {
        start,
        series: series.collect(),
    }
}

/// The labels in a series' name. Between the braces of `metric{key="value",…}` and in lists the
/// parts are split at the first of `|`, `;`, `,`, `/` that occurs; a part `key=value` names its key,
/// any other has its place as key.
fn labels(name: &str) -> Vec<Label> {
    let (head, inner) = match name.split_once('{') {
        Some((head, inner)) => (head, inner.trim_end_matches('}')),
        None => ("", name),
    };
    let mut found: Vec<Label> = Vec::new();
    if !head.is_empty() {
        found.push(("metric".to_owned(), head.to_owned()));
    }
    let separator = ['|', ';', ',', '/']
        .into_iter()
        .find(|s| inner.contains(*s));
    let parts = inner.split(separator.unwrap_or('|')).map(str::trim);
    for (place, part) in parts.enumerate().filter(|(_, part)| !part.is_empty()) {
        found.push(match part.split_once('=') {
            Some((key, value)) => {
                let value = value.trim().trim_matches('"');
                (key.trim().to_owned(), value.to_owned())
            }
            None => (format!("part{}", place + 1), part.to_owned()),
        });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_come_from_names() {
        let pairs = |name| {
            let labels = labels(name).into_iter();
            labels
                .map(|(k, v)| format!("{k}={v}"))
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(pairs("svc1|h2|cpu"), "part1=svc1 part2=h2 part3=cpu");
        assert_eq!(pairs("service=a,host=b"), "service=a host=b");
        assert_eq!(
            pairs("cpu{host=\"b\",core=\"0\"}"),
            "metric=cpu host=b core=0"
        );
        assert_eq!(pairs("a/b"), "part1=a part2=b");
    }

    #[test]
    fn gaps_become_missing_values_on_the_grid() {
        let input = SeriesInput {
            name: "a".to_owned(),
            timestamps: vec![10, 20, 30, 50, 50],
            values: vec![1.0, 2.0, 2.5, 3.0, 4.0],
        };
        assert_eq!(typical_step(std::slice::from_ref(&input)), Some(10));
        let grid = on_grid(vec![input], 10);
        let values = &grid.series[0].values;
        assert_eq!((values[0], values[1], values[4]), (1.0, 2.0, 4.0));
        assert!(values[3].is_nan());
    }
}
