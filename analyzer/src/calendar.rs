//! Days as people count them: where each begins and ends in a time zone.

use std::str::FromStr as _;

use chrono::{
    DateTime, Datelike as _, Days, LocalResult, NaiveDate, NaiveDateTime, Offset as _, TimeDelta,
    TimeZone as _, Weekday,
};
use chrono_tz::Tz;

use crate::compare::Window;

/// The longest that a zone skips from midnight on: a whole day, where it crosses the date line.
const LONGEST_SKIP_MINUTES: i64 = 24 * 60;

/// A time zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Calendar {
    zone: Tz,
}

/// A time zone that is not known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no time zone that is known; name one as in Europe/Berlin, or UTC")]
pub struct UnknownZone(String);

impl Default for Calendar {
    fn default() -> Self {
        Self { zone: Tz::UTC }
    }
}

impl Calendar {
    /// The calendar of a time zone of the IANA database, such as `Europe/Berlin`.
    pub fn of(zone: &str) -> Result<Self, UnknownZone> {
        let known = Tz::from_str(zone);
        let zone = known.map_err(|_| UnknownZone(zone.to_owned()))?;
        Ok(Self { zone })
    }

    /// The zone's name.
    pub fn zone(&self) -> &'static str {
        self.zone.name()
    }

    /// From midnight to midnight: 23 or 25 hours on the days when clocks are set. `None` of a day that
    /// the zone skipped, and beyond the range of time.
    pub fn day(&self, date: NaiveDate) -> Option<Window> {
        let from_us = self.start_us(date)?;
        let until_us = self.start_us(date.checked_add_days(Days::new(1))?)?;
        (from_us < until_us).then_some(Window { from_us, until_us })
    }

    /// The day that a time lies on.
    pub fn date(&self, at_us: i64) -> Option<NaiveDate> {
        self.local(at_us).map(|local| local.date_naive())
    }

    /// Whether a time lies on a day that a week sets apart from the days before it: Saturday, Sunday, and
    /// the Monday after.
    pub fn is_weekend(&self, at_us: i64) -> bool {
        let day = self.local(at_us).map(|local| local.weekday());
        matches!(day, Some(Weekday::Sat | Weekday::Sun | Weekday::Mon))
    }

    /// By how much local time is ahead of UTC at a time, in seconds.
    pub fn ahead_s(&self, at_us: i64) -> i64 {
        let offset = self.local(at_us).map(|local| local.offset().fix());
        offset.map_or(0, |offset| i64::from(offset.local_minus_utc()))
    }

    /// A time as `chrono` formats it; empty beyond the range of time.
    pub fn format(&self, at_us: i64, format: &str) -> String {
        self.local(at_us)
            .map(|local| local.format(format).to_string())
            .unwrap_or_default()
    }

    fn local(&self, at_us: i64) -> Option<DateTime<Tz>> {
        let utc = DateTime::from_timestamp_micros(at_us)?;
        Some(utc.with_timezone(&self.zone))
    }

    /// Midnight, or the first moment after it where clocks are set forward over it; the earlier one
    /// where there are two.
    fn start_us(&self, date: NaiveDate) -> Option<i64> {
        let midnight: NaiveDateTime = date.and_hms_opt(0, 0, 0)?;
        let minutes = (0..=LONGEST_SKIP_MINUTES).map(TimeDelta::minutes);
        minutes
            .filter_map(|later| midnight.checked_add_signed(later))
            .find_map(|at| match self.zone.from_local_datetime(&at) {
                LocalResult::Single(at) | LocalResult::Ambiguous(at, _) => {
                    Some(at.timestamp_micros())
                }
                LocalResult::None => None,
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_US: i64 = 3_600_000_000;

    fn date(text: &str) -> NaiveDate {
        text.parse().expect("a date")
    }

    fn hours(calendar: &Calendar, day: &str) -> Option<i64> {
        let window = calendar.day(date(day))?;
        Some((window.until_us - window.from_us) / HOUR_US)
    }

    #[test]
    fn days_are_as_long_as_the_zone_makes_them() {
        let utc = Calendar::default();
        let berlin = Calendar::of("Europe/Berlin").expect("a zone");
        let new_year = utc.day(date("2026-01-01")).expect("a day");
        assert_eq!(new_year.from_us, 1_767_225_600_000_000);
        assert_eq!(hours(&utc, "2026-03-29"), Some(24));
        let berlins = berlin.day(date("2026-01-01")).expect("a day");
        assert_eq!(new_year.from_us - berlins.from_us, HOUR_US);
        assert_eq!(hours(&berlin, "2026-03-29"), Some(23));
        assert_eq!(hours(&berlin, "2026-10-25"), Some(25));
        // Clocks were set forward at midnight itself.
        let santiago = Calendar::of("America/Santiago").expect("a zone");
        assert_eq!(hours(&santiago, "2024-09-08"), Some(23));
        // Samoa went from the 29th to the 31st.
        let apia = Calendar::of("Pacific/Apia").expect("a zone");
        assert_eq!(hours(&apia, "2011-12-30"), None);
    }

    #[test]
    fn weekends_are_those_of_the_zone_and_end_with_monday() {
        let utc = Calendar::default();
        let tokyo = Calendar::of("Asia/Tokyo").expect("a zone");
        let noon = |day: &str| utc.day(date(day)).expect("a day").from_us + 12 * HOUR_US;
        let days = [
            "2026-01-02",
            "2026-01-03",
            "2026-01-04",
            "2026-01-05",
            "2026-01-06",
        ];
        let weekend = days.map(|day| utc.is_weekend(noon(day)));
        assert_eq!(weekend, [false, true, true, true, false]);
        assert!(tokyo.is_weekend(noon("2026-01-02") + 4 * HOUR_US));
        assert!(!tokyo.is_weekend(noon("2026-01-05") + 4 * HOUR_US));
    }

    #[test]
    fn days_follow_one_another_without_gap_or_overlap() {
        for zone in ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata"] {
            let calendar = Calendar::of(zone).expect("a zone");
            let mut day = date("2026-01-01");
            for _ in 0..400 {
                let window = calendar.day(day).expect("a day");
                assert_eq!(calendar.date(window.from_us), Some(day));
                assert_eq!(calendar.date(window.until_us - 1), Some(day));
                day = day.succ_opt().expect("a day");
                assert_eq!(
                    calendar.day(day).map(|next| next.from_us),
                    Some(window.until_us)
                );
            }
        }
    }

    #[test]
    fn zones_are_known_by_name() {
        let error = Calendar::of("Mars/Olympus").expect_err("no zone of this earth");
        assert!(error.to_string().contains("Mars/Olympus"), "{error}");
        let kolkata = Calendar::of("Asia/Kolkata").expect("a zone");
        assert_eq!(kolkata.ahead_s(0), 5 * 3_600 + 1_800);
        assert_eq!(kolkata.format(0, "%Y-%m-%d %H:%M"), "1970-01-01 05:30");
        assert_eq!(kolkata.zone(), "Asia/Kolkata");
    }
}
