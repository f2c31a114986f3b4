//! Change points of series that grow: rows come mixed and at any time, and each change is written as
//! soon as it is found.

use std::collections::HashMap;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use anyhow::Context as _;
use driftline_stats::changepoint::{History, Options};

use super::input::RowReader;
use super::{Mode, asked, change_point, header};
use crate::exit::Outcome;

/// Samples of a series that are kept.
const MOST_SAMPLES: usize = 4_096;
/// Series at most: each keeps 64 KiB.
const MOST_SERIES: usize = 10_000;

/// A series with what was written of it.
struct Growing {
    history: History,
    /// Of the samples that are kept.
    timestamps: Vec<i64>,
    /// Places of changes that were written, counted from the first sample of all.
    told: Vec<u64>,
}

impl Growing {
    fn new() -> Self {
        Self {
            history: History::new(Options::default(), MOST_SAMPLES),
            timestamps: Vec::new(),
            told: Vec::new(),
        }
    }

    /// Whether the series was judged again.
    fn append(&mut self, at_s: i64, value: f64) -> bool {
        let before = self.history.kept().start;
        let judged = self.history.append(value);
        let forgotten = self.history.kept().start - before;
        // No more than are kept.
        self.timestamps.drain(..forgotten as usize);
        self.timestamps.push(at_s);
        judged
    }

    /// The rows of changes that were not written yet. A change whose place moves a little as more is known
    /// is the same.
    fn news(&mut self, name: &str) -> String {
        let first = self.history.kept().start;
        let near = Options::default().min_samples as u64;
        self.told.retain(|told| *told + near >= first);
        let mut text = String::new();
        for change in self.history.changes() {
            let place = first + change.index as u64;
            if self.told.iter().all(|told| told.abs_diff(place) > near) {
                self.told.push(place);
                let at_s = self.timestamps[change.index];
                text += &change_point(name, change, place, at_s);
            }
        }
        text
    }
}

/// Reads until the input ends, and judges all series once more then.
pub(super) fn detect(input: &Path, output: Option<&Path>) -> anyhow::Result<Outcome> {
    let mut rows = RowReader::open(input).map_err(asked)?;
    let mut file = match output {
        Some(path) => {
            let cannot = || format!("cannot write {}", path.display());
            Some((path, File::create(path).with_context(cannot)?))
        }
        None => None,
    };
    let mut write = |text: &str| match &mut file {
        _ if text.is_empty() => Ok(()),
        Some((path, file)) => {
            let cannot = || format!("cannot write {}", path.display());
            file.write_all(text.as_bytes()).with_context(cannot)
        }
        None => crate::report::print(text),
    };
    write(&header(Mode::ChangePoint))?;
    let mut numbers: HashMap<String, usize> = HashMap::new();
    let mut all: Vec<(String, Growing)> = Vec::new();
    while rows.advance().map_err(asked)? {
        let name = rows.series().map_err(asked)?;
        let number = match numbers.get(name) {
            Some(number) => *number,
            None if all.len() == MOST_SERIES => return Err(asked(rows.too_many(MOST_SERIES))),
            None => {
                numbers.insert(name.to_owned(), all.len());
                all.push((name.to_owned(), Growing::new()));
                all.len() - 1
            }
        };
        let (name, series) = &mut all[number];
        let last = series.timestamps.last().copied();
        let at_s = rows.timestamp(last).map_err(asked)?;
        if series.append(at_s, rows.value().map_err(asked)?) {
            write(&series.news(name))?;
        }
    }
    for (name, series) in &mut all {
        series.history.look();
        write(&series.news(name))?;
    }
    Ok(Outcome::Ok)
}

#[cfg(test)]
mod tests {
    use driftline_stats::changepoint::detect as detect_all;
    use driftline_stats::noise::Noise;

    use super::*;

    fn rows(n: usize, series: &[(&str, usize)], seed: u64) -> String {
        let mut noise = Noise::new(seed);
        let mut text = "series,timestamp,value\n".to_owned();
        for at in 0..n {
            for (name, step_at) in series {
                let level = if at < *step_at { 100.0 } else { 110.0 };
                text += &format!("{name},{at},{}\n", level + noise.normal());
            }
        }
        text
    }

    fn streamed(text: &str) -> anyhow::Result<Vec<String>> {
        let dir = tempfile::tempdir()?;
        let [input, output] = ["in.csv", "out.csv"].map(|name| dir.path().join(name));
        std::fs::write(&input, text)?;
        detect(&input, Some(&output))?;
        let written = std::fs::read_to_string(&output)?;
        Ok(written.lines().skip(1).map(str::to_owned).collect())
    }

    #[test]
    fn mixed_series_tell_each_change_once() {
        let found =
            streamed(&rows(900, &[("a", 300), ("b", 5_000), ("c", 700)], 1)).expect("a result");
        let names: Vec<&str> = found.iter().map(|row| &row[..2]).collect();
        assert_eq!(names, ["a,", "c,"], "{found:?}");
        let place = |row: &str| row.split(',').nth(1).and_then(|place| place.parse().ok());
        let places: Vec<Option<usize>> = found.iter().map(|row| place(row)).collect();
        for (place, want) in places.into_iter().zip([300, 700]) {
            assert!(
                place.is_some_and(|place| place.abs_diff(want) <= 3),
                "{found:?}"
            );
        }
    }

    #[test]
    fn places_count_from_the_first_sample_where_the_oldest_are_forgotten() {
        let step_at = 2 * MOST_SAMPLES;
        let found = streamed(&rows(step_at + 600, &[("a", step_at)], 2)).expect("a result");
        assert_eq!(found.len(), 1, "{found:?}");
        let fields: Vec<&str> = found[0].split(',').collect();
        let place: usize = fields[1].parse().expect("a place");
        assert!(place.abs_diff(step_at) <= 3, "{found:?}");
        assert_eq!(fields[7], fields[1], "the time is that of the place");
    }

    #[test]
    fn a_change_is_told_while_more_may_come() {
        let mut growing = Growing::new();
        let mut noise = Noise::new(3);
        let mut values = Vec::new();
        let told = (0..400).find(|at| {
            let level = if *at < 200 { 100.0 } else { 110.0 };
            values.push(level + noise.normal());
            growing.append(*at, values[*at as usize]) && !growing.news("a").is_empty()
        });
        assert!(told.is_some_and(|at| (205..260).contains(&at)), "{told:?}");
        assert_eq!(
            growing.history.changes(),
            detect_all(&values, &Options::default())
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        let wrong = |text: &str| streamed(text).expect_err("it is wrong").to_string();
        let back = wrong("series,timestamp,value\na,5,1\nb,1,1\na,4,1\n");
        assert!(back.contains("line 4, column timestamp"), "{back}");
        let text: String = (0..=MOST_SERIES).map(|n| format!("s{n},1,1\n")).collect();
        let many = wrong(&format!("series,timestamp,value\n{text}"));
        assert!(
            many.contains("line 10002") && many.contains("more than 10000"),
            "{many}"
        );
    }
}
