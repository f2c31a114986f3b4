//! Series with times of their own on the one grid that a fleet needs.

use super::{FleetSeries, Label};

const DAY_S: i64 = 86_400;
/// Longest grid: ten years of minutes. A series that jumps to the year 2500 must not fill memory.
const MOST_PLACES: i64 = 5_256_000;

/// A series with times.
#[derive(Debug, Clone, PartialEq)]
pub struct TimedSeries {
    /// What the caller calls it.
    pub name: String,
    /// Its labels.
    pub labels: Vec<Label>,
    /// Times in seconds, ascending; equal ones are allowed.
    pub times: Vec<i64>,
    /// As many values.
    pub values: Vec<f64>,
}

/// A fleet on its grid.
#[derive(Debug, Clone, PartialEq)]
pub struct Grid {
    /// The time of the first place.
    pub start: i64,
    /// Seconds from one place to the next: the median distance of neighbouring samples.
    pub step: i64,
    /// The series, in the order that they came in.
    pub series: Vec<FleetSeries>,
}

impl Grid {
    /// Of two samples at one place the later one counts; places without any are NaN.
    pub fn of(series: Vec<TimedSeries>) -> Self {
        let step = typical_step(&series).unwrap_or(1);
        let first = |series: &TimedSeries| series.times.first().copied();
        let start = series.iter().filter_map(first).min().unwrap_or(0);
        let place = |time: i64| {
            let steps = time.saturating_sub(start) / step;
            usize::try_from(steps.clamp(0, MOST_PLACES)).unwrap_or(0)
        };
        let series = series.into_iter().map(|series| {
            let length = series.times.last().map_or(0, |last| place(*last) + 1);
            let mut values = vec![f64::NAN; length];
            for (time, value) in series.times.iter().zip(&series.values) {
                values[place(*time)] = *value;
            }
            FleetSeries {
                name: series.name,
                labels: series.labels,
                values,
                weight: 1.0,
            }
        });
        Self {
            start,
            step,
            series: series.collect(),
        }
    }

    /// Places of a day, where a day holds several.
    pub fn per_day(&self) -> Option<usize> {
        let places = usize::try_from(DAY_S / self.step).ok();
        places.filter(|places| *places > 1)
    }

    /// The time of a place.
    pub fn time(&self, index: usize) -> i64 {
        let index = i64::try_from(index).unwrap_or(i64::MAX);
        self.start.saturating_add(index.saturating_mul(self.step))
    }
}

fn typical_step(series: &[TimedSeries]) -> Option<i64> {
    let distances = |series: &TimedSeries| {
        let pairs = series.times.windows(2);
        let apart = pairs.map(|pair| pair[1].saturating_sub(pair[0]));
        apart.collect::<Vec<_>>()
    };
    let mut steps: Vec<i64> = series.iter().flat_map(distances).collect();
    steps.retain(|step| *step > 0);
    let middle = steps.len() / 2;
    (!steps.is_empty()).then(|| *steps.select_nth_unstable(middle).1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timed(times: &[i64], values: &[f64]) -> TimedSeries {
        TimedSeries {
            name: "a".to_owned(),
            labels: Vec::new(),
            times: times.to_vec(),
            values: values.to_vec(),
        }
    }

    #[test]
    fn gaps_become_missing_values_and_the_later_of_two_counts() {
        let grid = Grid::of(vec![timed(
            &[10, 20, 30, 50, 50],
            &[1.0, 2.0, 2.5, 3.0, 4.0],
        )]);
        assert_eq!(
            (grid.start, grid.step, grid.per_day()),
            (10, 10, Some(8_640))
        );
        let values = &grid.series[0].values;
        assert_eq!((values[0], values[1], values[4]), (1.0, 2.0, 4.0));
        assert!(values[3].is_nan());
        assert_eq!(grid.time(4), 50);
    }

    #[test]
    fn clocks_that_jump_have_a_defined_answer() {
        let grid = Grid::of(vec![timed(&[0, 1, 2, i64::MAX], &[1.0; 4])]);
        assert_eq!(grid.series[0].values.len() as i64, MOST_PLACES + 1);
        let alone = Grid::of(vec![timed(&[7], &[1.0]), timed(&[], &[])]);
        assert_eq!((alone.step, alone.series[1].values.len()), (1, 0));
        let back = Grid::of(vec![timed(&[i64::MIN, i64::MAX], &[1.0, 2.0])]);
        assert_eq!(back.series[0].values, [1.0, 2.0]);
    }
}
