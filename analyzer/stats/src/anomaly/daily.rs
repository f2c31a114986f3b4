//! What was seen at this time of day on the last days: the envelope that a value may lie in. Other
//! periods are left to the shapes of recent patterns.

const DAY_S: i64 = 86_400;
/// Slots of half an hour.
const SLOTS: usize = 48;
/// Days remembered: a week, so that each weekday was seen.
const DAYS: usize = 7;
/// Slots to either side that count as the same time of day.
const NEAR: usize = 2;
/// Days that must have been seen at a time of day before it has an envelope; fewer tell a weekend
/// from an anomaly badly.
const MIN_DAYS: usize = 5;

/// The lowest and the highest value seen at this time of day.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Envelope {
    pub(super) low: f64,
    pub(super) high: f64,
}

const NOTHING: Envelope = Envelope {
    low: f64::INFINITY,
    high: f64::NEG_INFINITY,
};

/// Envelopes by time of day over the last days.
#[derive(Debug, Clone)]
pub(super) struct Daily {
    /// The day number that each row holds; days leave by being written over.
    days: [i64; DAYS + 1],
    slots: Vec<Envelope>,
    at: Option<(i64, usize)>,
    current: Option<Envelope>,
}

impl Daily {
    pub(super) fn new() -> Self {
        Self {
            days: [i64::MIN; DAYS + 1],
            slots: vec![NOTHING; SLOTS * (DAYS + 1)],
            at: None,
            current: None,
        }
    }

    /// The envelope of earlier days at this time of day, after which `value` belongs to today's.
    pub(super) fn envelope(&mut self, timestamp_s: i64, value: f64) -> Option<Envelope> {
        let day = timestamp_s.div_euclid(DAY_S);
        let slot = (timestamp_s.rem_euclid(DAY_S) as usize) * SLOTS / DAY_S as usize;
        if self.at != Some((day, slot)) {
            self.at = Some((day, slot));
            self.current = self.earlier(day, slot);
        }
        let row = day.rem_euclid(DAYS as i64 + 1) as usize;
        if self.days[row] != day {
            self.days[row] = day;
            self.slots[row * SLOTS..(row + 1) * SLOTS].fill(NOTHING);
        }
        let seen = &mut self.slots[row * SLOTS + slot];
        seen.low = seen.low.min(value);
        seen.high = seen.high.max(value);
        self.current
    }

    fn earlier(&self, day: i64, slot: usize) -> Option<Envelope> {
        let mut envelope = NOTHING;
        let mut days = 0;
        for back in 1..=DAYS as i64 {
            let mut seen = false;
            for offset in 0..=2 * NEAR {
                // A slot before midnight belongs to the day before.
                let place = (day.saturating_sub(back)).saturating_mul(SLOTS as i64)
                    + (slot + offset) as i64
                    - NEAR as i64;
                let (on, at) = (
                    place.div_euclid(SLOTS as i64),
                    place.rem_euclid(SLOTS as i64) as usize,
                );
                let row = on.rem_euclid(DAYS as i64 + 1) as usize;
                if self.days[row] != on {
                    continue;
                }
                let there = self.slots[row * SLOTS + at];
                if there.low <= there.high {
                    seen = true;
                    envelope.low = envelope.low.min(there.low);
                    envelope.high = envelope.high.max(there.high);
                }
            }
            days += usize::from(seen);
        }
        (days >= MIN_DAYS).then_some(envelope)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten days at five minutes of a square wave that is high from 08:00 to 18:00.
    fn wave(timestamp_s: i64) -> f64 {
        let hour = timestamp_s.rem_euclid(DAY_S) / 3_600;
        if (8..18).contains(&hour) { 10.0 } else { 1.0 }
    }

    #[test]
    fn knows_the_time_of_day_after_five_days() {
        let mut daily = Daily::new();
        for step in 0..10 * 288_i64 {
            let at = step * 300 - 3 * DAY_S;
            let envelope = daily.envelope(at, wave(at));
            // Slots to either side count, so the first of the fifth day sees only four before it.
            assert_eq!(envelope.is_some(), step >= 5 * 288 - 12, "step {step}");
        }
        let noon = daily.envelope(7 * DAY_S + 12 * 3_600, 10.0);
        assert_eq!(
            noon,
            Some(Envelope {
                low: 10.0,
                high: 10.0
            })
        );
        let edge = daily.envelope(7 * DAY_S + 8 * 3_600, 10.0);
        assert_eq!(
            edge,
            Some(Envelope {
                low: 1.0,
                high: 10.0
            })
        );
    }

    #[test]
    fn old_days_leave_and_times_may_be_anything() {
        let mut daily = Daily::new();
        for day in 0..7 {
            daily.envelope(day * DAY_S, 5.0);
        }
        assert!(daily.envelope(7 * DAY_S, 5.0).is_some());
        assert_eq!(daily.envelope(30 * DAY_S, 5.0), None);
        for at in [i64::MIN, i64::MAX, -1, 0, i64::MIN + 1] {
            assert_eq!(daily.envelope(at, 1.0), None);
        }
    }
}
