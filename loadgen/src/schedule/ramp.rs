//! The exact integral of a linear rate and its inversion, in whole numbers, so that no error adds
//! up over hours and every machine gets the same times. Rates are whole numbers of 10⁻⁹ arrivals
//! per second; integrals are whole numbers of 10⁻¹⁸ arrivals, which is one unit of rate for one
//! nanosecond.

use std::time::Duration;

/// One arrival, in the unit of integrals.
pub(super) const ARRIVAL: u128 = 1_000_000_000_000_000_000;
/// One arrival per second, in the unit of rates.
const PER_SECOND: f64 = 1e9;

/// A rate that changes linearly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ramp {
    from: u64,
    to: u64,
    duration_ns: u64,
}

impl Ramp {
    /// From rates per second, which the scenario has bounded.
    pub(super) fn new(from: f64, to: f64, duration: Duration) -> Self {
        Self {
            from: (from * PER_SECOND).round() as u64,
            to: (to * PER_SECOND).round() as u64,
            duration_ns: duration.as_nanos() as u64,
        }
    }

    pub(super) fn duration_ns(&self) -> u64 {
        self.duration_ns
    }

    /// The integral over the whole.
    pub(super) fn whole(&self) -> u128 {
        self.until(self.duration_ns)
    }

    /// The integral from the beginning to a time within the duration, rounded to a whole unit.
    pub(super) fn until(&self, ns: u64) -> u128 {
        let even = u128::from(self.from) * u128::from(ns);
        let slope = u128::from(self.from.abs_diff(self.to));
        if slope == 0 || ns == 0 {
            return even;
        }
        // slope · ns² / (2 · duration), with ns² divided first: the whole product needs more than
        // 128 bits.
        let square = u128::from(ns) * u128::from(ns);
        let divisor = 2 * u128::from(self.duration_ns);
        let change = slope * (square / divisor) + slope * (square % divisor) / divisor;
        match self.to > self.from {
            true => even + change,
            false => even - change,
        }
    }

    /// The first nanosecond at which the integral has reached an amount below the whole. Floating
    /// point only guesses it; the integral decides.
    pub(super) fn reaching(&self, amount: u128) -> u64 {
        if amount == 0 {
            return 0;
        }
        let guess = self.guess(amount).min(self.duration_ns);
        let has_reached = |ns: u64| self.until(ns) >= amount;
        // Widen a bracket around the guess until it holds the first nanosecond, then halve it.
        let (mut below, mut at) = (guess, guess);
        let mut step = 1;
        while at < self.duration_ns && !has_reached(at) {
            below = at;
            at = at.saturating_add(step).min(self.duration_ns);
            step *= 2;
        }
        step = 1;
        while below > 0 && has_reached(below) {
            at = below;
            below = below.saturating_sub(step);
            step *= 2;
        }
        while at - below > 1 {
            let middle = below + (at - below) / 2;
            match has_reached(middle) {
                true => at = middle,
                false => below = middle,
            }
        }
        at
    }

    fn guess(&self, amount: u128) -> u64 {
        let amount = amount as f64;
        let from = self.from as f64;
        if self.from == self.to {
            return (amount / from).ceil() as u64;
        }
        // The root of a·t + s·t²/2 = amount, in the form that does not cancel.
        let slope = (self.to as f64 - from) / self.duration_ns as f64;
        let root = (from * from + 2.0 * slope * amount).max(0.0).sqrt();
        (2.0 * amount / (from + root)).ceil() as u64
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn constant_rates_are_exact_for_a_month() {
        let month = Duration::from_secs(30 * 24 * 3600);
        let ramp = Ramp::new(1e7, 1e7, month);
        assert_eq!(ramp.whole(), 25_920_000_000_000 * ARRIVAL);
        assert_eq!(
            ramp.reaching(25_919_999_999_999 * ARRIVAL),
            2_591_999_999_999_900
        );
        let thirds = Ramp::new(3.0, 3.0, Duration::from_secs(10));
        assert_eq!(thirds.reaching(ARRIVAL), 333_333_334);
        assert_eq!(thirds.reaching(3 * ARRIVAL), 1_000_000_000);
    }

    #[test]
    fn ramps_follow_the_square_root() {
        // From 0 to 200 per second in 1 s: 100 arrivals, the k-th at √(k/100) s.
        let up = Ramp::new(0.0, 200.0, Duration::from_secs(1));
        assert_eq!(up.whole(), 100 * ARRIVAL);
        assert_eq!(up.reaching(25 * ARRIVAL), 500_000_000);
        let down = Ramp::new(200.0, 0.0, Duration::from_secs(1));
        assert_eq!(down.whole(), 100 * ARRIVAL);
        assert_eq!(down.reaching(75 * ARRIVAL), 500_000_000);
    }

    proptest! {
        #[test]
        fn the_time_is_the_first_that_reaches_the_amount(
            from in 0.0..1e7f64,
            to in 0.0..1e7f64,
            seconds in 1u64..2_592_000,
            part in 0.0..1.0f64,
        ) {
            let ramp = Ramp::new(from, to, Duration::from_secs(seconds));
            let amount = (ramp.whole() as f64 * part) as u128;
            prop_assume!(amount > 0 && amount < ramp.whole());
            let ns = ramp.reaching(amount);
            prop_assert!(ramp.until(ns) >= amount);
            prop_assert!(ramp.until(ns - 1) < amount);
        }

        #[test]
        fn the_whole_is_the_mean_rate_times_the_duration(
            from in 0u32..10_000_000, to in 0u32..10_000_000, seconds in 1u64..2_592_000
        ) {
            let ramp = Ramp::new(f64::from(from), f64::from(to), Duration::from_secs(seconds));
            let twice = (u128::from(from) + u128::from(to)) * u128::from(seconds) * ARRIVAL;
            prop_assert_eq!(ramp.whole(), twice / 2);
        }
    }
}
