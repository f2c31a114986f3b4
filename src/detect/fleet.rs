//! A fleet from a file: labels out of the names of its series, and what moved together as rows.

use std::fmt::Write as _;
use std::num::NonZeroUsize;

use driftline_stats::fleet::{self, Grid, Label, Options, TimedSeries};

use super::input::SeriesInput;
use super::quoted;

/// One row for each member of each event that moved, and a summary of the events on stderr.
pub(super) fn detect(series: Vec<SeriesInput>, period: Option<u32>) -> String {
    let threads = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    detect_on(threads, series, period)
}

pub(super) fn detect_on(threads: usize, series: Vec<SeriesInput>, period: Option<u32>) -> String {
    let timed = |series: SeriesInput| TimedSeries {
        labels: labels(&series.name),
        name: series.name,
        times: series.timestamps,
        values: series.values,
    };
    let grid = Grid::of(series.into_iter().map(timed).collect());
    let options = Options {
        period: period
            .map(|samples| samples as usize)
            .or_else(|| grid.per_day()),
        threads,
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
                grid.time(event.index)
            )
            .expect("a String takes everything");
        }
    }
    text
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
}
