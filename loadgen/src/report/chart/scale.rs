//! Scales of axes: where a value stands, and where round numbers lie.

use crate::report::figures::number;
use crate::scenario::quantity::human_ns;

/// About so many ticks, at most.
const X_TICKS: f64 = 8.0;
const Y_TICKS: f64 = 5.0;
/// Round steps of time in seconds.
const TIME_STEPS: [u64; 17] = [
    1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 10_800, 21_600, 43_200,
];
/// Up to here an axis of time is in seconds alone.
const SECONDS_ALONE: f64 = 180.0;
/// An axis of so few decades has ticks at 2 and 5 too.
const NARROW_DECADES: i32 = 2;

/// An axis.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::report) enum Scale {
    /// Seconds since the run's beginning, until a last one.
    Seconds(f64),
    /// Amounts from zero to a round number, with the step of its ticks.
    Amount { until: f64, step: f64 },
    /// Times in milliseconds between two bounds, evenly by their ratio.
    Milliseconds { from: f64, until: f64 },
    /// Quantiles, evenly by the share beyond them, up to so many nines.
    Nines(f64),
}

impl Scale {
    /// From zero to a round number that is no less than the largest amount.
    pub(in crate::report) fn amount(largest: f64) -> Self {
        let largest = largest.max(1.0);
        let step = round_up(largest / Y_TICKS).max(1.0);
        Self::Amount {
            until: (largest / step).ceil() * step,
            step,
        }
    }

    /// Round bounds around times above zero; none without any.
    pub(in crate::report) fn milliseconds(times: impl Iterator<Item = f64>) -> Option<Self> {
        let bounds = times
            .filter(|ms| *ms > 0.0)
            .fold(None, |bounds, ms| match bounds {
                None => Some((ms, ms)),
                Some((least, most)) => Some((ms.min(least), ms.max(most))),
            });
        let (least, most) = bounds?;
        let from = round_up(least * 0.4).min(least);
        let until = round_up(most).max(from * 10.0);
        Some(Self::Milliseconds { from, until })
    }

    /// Between 0 and 1 over the length of the axis; what lies beyond an end stands at it.
    pub(super) fn share(&self, value: f64) -> f64 {
        let share = match *self {
            Self::Seconds(until) => value / until,
            Self::Amount { until, .. } => value / until,
            Self::Milliseconds { from, until } => (value / from).ln() / (until / from).ln(),
            Self::Nines(nines) => -(1.0 - value).log10() / nines,
        };
        // What is not a number, such as the ratio of nothing, stands at the beginning.
        match share.is_nan() {
            true => 0.0,
            false => share.clamp(0.0, 1.0),
        }
    }

    /// Values that are marked, with their labels.
    pub(super) fn ticks(&self) -> Vec<(f64, String)> {
        match *self {
            Self::Seconds(until) => time_ticks(until),
            Self::Amount { until, step } => {
                let steps = (until / step).round() as u32;
                let values = (0..=steps).map(|at| f64::from(at) * step);
                values.map(|value| (value, number(value))).collect()
            }
            Self::Milliseconds { from, until } => time_log_ticks(from, until),
            Self::Nines(nines) => {
                let quantiles = (1..=nines.floor() as i32).map(|nines| {
                    let decimals = usize::try_from(nines - 2).unwrap_or(0);
                    let quantile = 1.0 - 10f64.powi(-nines);
                    (quantile, format!("{:.decimals$} %", quantile * 100.0))
                });
                std::iter::once((0.5, "50 %".to_owned()))
                    .chain(quantiles)
                    .collect()
            }
        }
    }

    /// What the axis of time says of its unit.
    pub(in crate::report) fn time_label(until: f64) -> &'static str {
        match until <= SECONDS_ALONE {
            true => "time since the beginning (s)",
            false if until < 3_600.0 => "time since the beginning (min:s)",
            false => "time since the beginning (h:min)",
        }
    }
}

/// The next of 1, 2 and 5 times a power of ten.
fn round_up(value: f64) -> f64 {
    let decade = 10f64.powi(value.log10().floor() as i32);
    let factor = [1.0, 2.0, 5.0]
        .into_iter()
        .find(|factor| factor * decade >= value * (1.0 - 1e-9));
    factor.unwrap_or(10.0) * decade
}

fn time_ticks(until: f64) -> Vec<(f64, String)> {
    let steps = TIME_STEPS
        .into_iter()
        .find(|step| until / *step as f64 <= X_TICKS);
    let step = steps.unwrap_or_else(|| {
        let days = (until / X_TICKS / 86_400.0).ceil();
        days as u64 * 86_400
    });
    let label = |second: u64| match until {
        until if until <= SECONDS_ALONE => second.to_string(),
        until if until < 3_600.0 => format!("{}:{:02}", second / 60, second % 60),
        _ => format!("{}:{:02}", second / 3_600, second / 60 % 60),
    };
    let seconds = (0..)
        .map(|at| at * step)
        .take_while(|second| *second as f64 <= until);
    seconds
        .map(|second| (second as f64, label(second)))
        .collect()
}

fn time_log_ticks(from: f64, until: f64) -> Vec<(f64, String)> {
    let decade = |value: f64| value.log10().floor() as i32;
    let (first, last) = (decade(from), decade(until));
    let factors: &[f64] = match last - first <= NARROW_DECADES {
        true => &[1.0, 2.0, 5.0],
        false => &[1.0],
    };
    let values = (first..=last).flat_map(|decade| {
        factors
            .iter()
            .map(move |factor| factor * 10f64.powi(decade))
    });
    values
        .filter(|value| (from * (1.0 - 1e-9)..=until * (1.0 + 1e-9)).contains(value))
        .map(|value| (value, human_ns(value * 1e6)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(scale: &Scale) -> Vec<String> {
        scale.ticks().into_iter().map(|(_, label)| label).collect()
    }

    #[test]
    fn ticks_are_round_and_few() {
        assert_eq!(
            labels(&Scale::Seconds(30.0)),
            ["0", "5", "10", "15", "20", "25", "30"]
        );
        assert_eq!(
            labels(&Scale::Seconds(300.0)),
            ["0:00", "1:00", "2:00", "3:00", "4:00", "5:00"]
        );
        assert_eq!(
            labels(&Scale::Seconds(7_200.0)).last().map(String::as_str),
            Some("2:00")
        );
        assert_eq!(
            labels(&Scale::amount(480.0)),
            ["0", "100", "200", "300", "400", "500"]
        );
        assert_eq!(labels(&Scale::amount(0.0)), ["0", "1"]);
        let narrow = Scale::milliseconds([3.0, 18.0].into_iter()).expect("it has times");
        assert_eq!(labels(&narrow), ["2 ms", "5 ms", "10 ms", "20 ms"]);
        let wide = Scale::milliseconds([0.05, 900.0].into_iter()).expect("it has times");
        assert_eq!(labels(&wide), ["100 µs", "1 ms", "10 ms", "100 ms", "1 s"]);
        assert_eq!(
            labels(&Scale::Nines(3.2)),
            ["50 %", "90 %", "99 %", "99.9 %"]
        );
        for seconds in [1.0, 59.0, 1e4, 1e6, 1e8] {
            assert!(Scale::Seconds(seconds).ticks().len() <= 10, "{seconds}");
        }
    }

    #[test]
    fn every_value_stands_on_the_axis() {
        let scales = [
            Scale::Seconds(10.0),
            Scale::amount(7.0),
            Scale::Milliseconds {
                from: 1.0,
                until: 100.0,
            },
            Scale::Nines(3.0),
        ];
        for scale in scales {
            for value in [-1.0, 0.0, 0.5, 1.0, 50.0, 1e12, f64::NAN] {
                assert!(
                    (0.0..=1.0).contains(&scale.share(value)),
                    "{scale:?} {value}"
                );
            }
        }
        assert_eq!(
            Scale::Milliseconds {
                from: 1.0,
                until: 100.0
            }
            .share(10.0),
            0.5
        );
    }
}
