//! Axes of a day's charts: values between round bounds, and time by the calendar.

use driftline_analyzer::Calendar;

/// Values beyond are drawn as this, so that the ends of an axis stay finite.
const LARGEST: f64 = 1e300;
/// About so many ticks of values.
const VALUE_TICKS: f64 = 5.0;
/// At most so many ticks of time.
const TIME_TICKS: i64 = 9;
/// Steps of time in seconds that people count in.
const TIME_STEPS_S: [i64; 14] = [
    60, 300, 600, 900, 1_800, 3_600, 7_200, 10_800, 21_600, 43_200, 86_400, 172_800, 604_800,
    2_419_200,
];

/// An axis of values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Values {
    from: f64,
    until: f64,
    step: f64,
}

impl Values {
    /// Round bounds around the least and the largest of some values; around zero without any. Zero is
    /// on the axis where it is not far.
    pub(super) fn around(values: impl Iterator<Item = f64>) -> Self {
        let bounds = values
            .filter(|value| value.is_finite())
            .map(|value| value.clamp(-LARGEST, LARGEST))
            .fold(None, |bounds, value| match bounds {
                None => Some((value, value)),
                Some((least, most)) => Some((value.min(least), value.max(most))),
            });
        let (mut least, mut most) = bounds.unwrap_or((0.0, 1.0));
        let spread = most - least;
        if least > 0.0 && least < spread {
            least = 0.0;
        }
        if most < 0.0 && -most < spread {
            most = 0.0;
        }
        let spread = most - least;
        // Of a constant, a tenth of it either way.
        let spread = match spread > 0.0 && spread.is_finite() {
            true => spread,
            false => (least.abs() * 0.2).max(f64::MIN_POSITIVE.sqrt()),
        };
        let step = round_up(spread / VALUE_TICKS);
        let from = ((least - spread * 0.02) / step).floor() * step;
        let from = if least == 0.0 { 0.0 } else { from };
        let until = ((most + spread * 0.02) / step).ceil() * step;
        Self { from, until, step }
    }

    /// Between 0 and 1 over the length of the axis; what lies beyond an end stands at it.
    pub(super) fn share(&self, value: f64) -> f64 {
        let share = (value - self.from) / (self.until - self.from);
        match share.is_nan() {
            true => 0.0,
            false => share.clamp(0.0, 1.0),
        }
    }

    /// Values that are marked.
    pub(super) fn ticks(&self) -> Vec<f64> {
        let steps = ((self.until - self.from) / self.step).round().max(0.0) as u32;
        let tick = |at: u32| {
            let value = self.from + f64::from(at) * self.step;
            // What is left of zero after rounding is zero.
            if value.abs() < self.step * 1e-9 {
                0.0
            } else {
                value
            }
        };
        (0..=steps.min(2 * VALUE_TICKS as u32 + 2))
            .map(tick)
            .collect()
    }
}

/// The next of 1, 2, 2.5 and 5 times a power of ten.
fn round_up(value: f64) -> f64 {
    let decade = 10f64.powi(value.log10().floor() as i32);
    let factor = [1.0, 2.0, 2.5, 5.0]
        .into_iter()
        .find(|factor| factor * decade >= value * (1.0 - 1e-9));
    factor.unwrap_or(10.0) * decade
}

/// An axis of time, in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Time {
    pub(super) from_s: i64,
    pub(super) until_s: i64,
}

impl Time {
    pub(super) fn share(&self, at_s: i64) -> f64 {
        let length = (self.until_s - self.from_s).max(1) as f64;
        ((at_s - self.from_s) as f64 / length).clamp(0.0, 1.0)
    }

    pub(super) fn holds(&self, at_s: i64) -> bool {
        (self.from_s..=self.until_s).contains(&at_s)
    }

    /// Times that are round on the clocks of the calendar's zone, with their labels: the date at
    /// midnight, else the time of day.
    pub(super) fn ticks(&self, calendar: &Calendar) -> Vec<(i64, String)> {
        let length = self.until_s - self.from_s;
        let step = TIME_STEPS_S
            .into_iter()
            .find(|step| length / step <= TIME_TICKS)
            .unwrap_or(TIME_STEPS_S[TIME_STEPS_S.len() - 1]);
        let ahead = |at_s: i64| calendar.ahead_s(at_s.saturating_mul(1_000_000));
        let mut ticks = Vec::new();
        let mut local = (self.from_s + ahead(self.from_s)).div_euclid(step) * step;
        for _ in 0..4 * TIME_TICKS {
            // The offset of the moment itself, once more where clocks were set in between.
            let guess = local - ahead(self.from_s);
            let at_s = local - ahead(guess);
            local += step;
            if at_s > self.until_s {
                break;
            }
            if at_s < self.from_s {
                continue;
            }
            let at_us = at_s.saturating_mul(1_000_000);
            let format = match (at_s + ahead(at_s)).rem_euclid(86_400) {
                0 => "%b %-d",
                _ => "%H:%M",
            };
            ticks.push((at_s, calendar.format(at_us, format)));
        }
        ticks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stand_between_round_bounds() {
        let scale = Values::around([101.0, 148.0].into_iter());
        assert_eq!(scale.ticks(), [100.0, 110.0, 120.0, 130.0, 140.0, 150.0]);
        let from_zero = Values::around([3.0, 480.0].into_iter());
        assert_eq!(from_zero.ticks().first(), Some(&0.0));
        assert_eq!(from_zero.ticks().last(), Some(&500.0));
        let below = Values::around([-30.0, 12.0].into_iter());
        assert!(below.ticks().contains(&0.0), "{below:?}");
        for values in [
            vec![],
            vec![7.0],
            vec![0.0],
            vec![-1e300, 1e300],
            vec![5e-324],
        ] {
            let scale = Values::around(values.iter().copied());
            let ticks = scale.ticks();
            assert!((1..=12).contains(&ticks.len()), "{values:?} {scale:?}");
            for value in values.iter().chain([&f64::NAN, &f64::INFINITY]) {
                assert!((0.0..=1.0).contains(&scale.share(*value)), "{values:?}");
            }
        }
    }

    #[test]
    fn time_is_marked_where_clocks_are_round() {
        let berlin = Calendar::of("Europe/Berlin").expect("a zone");
        // 2026-03-28T23:00Z to 2026-03-30T22:00Z: two days, of which the first has 23 hours.
        let time = Time {
            from_s: 1_774_738_800,
            until_s: 1_774_738_800 + 47 * 3_600,
        };
        let labels: Vec<String> = time.ticks(&berlin).into_iter().map(|tick| tick.1).collect();
        assert_eq!(
            labels,
            [
                "Mar 29", "06:00", "12:00", "18:00", "Mar 30", "06:00", "12:00", "18:00", "Mar 31"
            ]
        );
        assert_eq!(
            (time.share(time.from_s), time.share(i64::MAX / 2)),
            (0.0, 1.0)
        );
    }
}
