//! When a job is due: a cron expression of five fields, read in a time zone.
//!
//! Where clocks change, as Vixie cron does:
//! - a fixed time of day (one minute, one hour) that does not exist falls due at the first moment
//!   after the gap; one that occurs twice falls due once, the first time;
//! - anything that recurs within the day (a list, a range, a step or `*` for minute or hour) follows
//!   the clock on the wall: what does not exist is left out, what occurs twice is due twice.
//!
//! Both are the rules of the cron library, and held by tests here. Jitter and catching up are left
//! to the plan.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};

use super::ScheduleError;

/// Microseconds of a second.
const SECOND_US: i64 = 1_000_000;
/// Where the search for a first occurrence begins, so that whether an expression is valid does not
/// depend on the day: 2024-01-01T00:00:00Z, a leap year.
const ORIGIN_US: i64 = 1_704_067_200 * SECOND_US;
/// Occurrences over which the shortest distance is taken.
const GAPS_SEEN: usize = 200;

/// A cron expression in a time zone.
#[derive(Debug, Clone)]
pub struct Cadence {
    expression: String,
    zone: Tz,
    cron: Cron,
}

/// The latest occurrences of a span.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Newest {
    /// Ascending, in µs since the epoch.
    pub(super) times_us: Vec<i64>,
    /// Whether there are earlier ones in the span.
    pub(super) more: bool,
}

impl Cadence {
    /// Reads an expression and a time zone; `job` is named in errors.
    pub fn parse(job: &str, expression: &str, zone: &str) -> Result<Self, ScheduleError> {
        let tz: Tz = zone.parse().map_err(|_| ScheduleError::Zone {
            job: job.to_owned(),
            zone: zone.to_owned(),
        })?;
        let parser = CronParser::builder()
            .seconds(Seconds::Disallowed)
            .year(Year::Disallowed)
            .build();
        let cron = parser
            .parse(expression)
            .map_err(|error| ScheduleError::Cron {
                job: job.to_owned(),
                expression: expression.to_owned(),
                reason: error.to_string().trim_end_matches('.').to_owned(),
            })?;
        let cadence = Self {
            expression: expression.to_owned(),
            zone: tz,
            cron,
        };
        match cadence.next_after(ORIGIN_US) {
            Some(_) => Ok(cadence),
            None => Err(ScheduleError::Never {
                job: job.to_owned(),
                expression: expression.to_owned(),
            }),
        }
    }

    /// The expression as it was given.
    pub fn expression(&self) -> &str {
        &self.expression
    }

    /// The time zone's name.
    pub fn zone(&self) -> &'static str {
        self.zone.name()
    }

    /// The first occurrence after a time, both in µs since the epoch; `None` when there is none
    /// that a calendar can express.
    pub fn next_after(&self, after_us: i64) -> Option<i64> {
        let found = self
            .cron
            .find_next_occurrence(&self.local(after_us)?, false)
            .ok()?;
        Some(microseconds(&found))
    }

    /// A time on the clock of this zone; `None` outside the calendar.
    pub fn local(&self, at_us: i64) -> Option<DateTime<Tz>> {
        let seconds = at_us.div_euclid(SECOND_US);
        Some(DateTime::<Utc>::from_timestamp(seconds, 0)?.with_timezone(&self.zone))
    }

    /// The library's view of the expression.
    pub(super) fn cron(&self) -> &Cron {
        &self.cron
    }

    /// The latest occurrences after one time and until another, at most this many.
    pub(super) fn newest(&self, after_us: i64, until_us: i64, at_most: usize) -> Newest {
        let mut newest = Newest::default();
        let mut inclusive = true;
        let mut cursor = self.local(until_us);
        while let Some(from) = cursor {
            let Ok(found) = self.cron.find_previous_occurrence(&from, inclusive) else {
                break;
            };
            inclusive = false;
            let found_us = microseconds(&found);
            if found_us <= after_us {
                break;
            }
            if newest.times_us.len() == at_most {
                newest.more = true;
                break;
            }
            newest.times_us.push(found_us);
            cursor = Some(found);
        }
        newest.times_us.reverse();
        newest
    }

    /// The shortest distance between neighbours among the next few hundred occurrences, in µs.
    pub(super) fn shortest_gap_us(&self) -> i64 {
        let mut shortest = i64::MAX;
        let mut last = self.next_after(ORIGIN_US);
        for _ in 0..GAPS_SEEN {
            let Some(from) = last else { break };
            last = self.next_after(from);
            if let Some(next) = last {
                shortest = shortest.min(next - from);
            }
        }
        shortest
    }
}

fn microseconds(time: &DateTime<Tz>) -> i64 {
    time.timestamp() * SECOND_US
}

#[cfg(test)]
mod tests {
    use super::*;

    fn us(text: &str) -> i64 {
        let time = DateTime::parse_from_rfc3339(text).expect("a time");
        time.timestamp() * SECOND_US
    }

    fn text(at_us: i64) -> String {
        let time = DateTime::<Utc>::from_timestamp(at_us / SECOND_US, 0).expect("a time");
        time.format("%Y-%m-%dT%H:%M:%SZ").to_string()
    }

    fn cadence(expression: &str, zone: &str) -> Cadence {
        Cadence::parse("job", expression, zone).expect("a cadence")
    }

    fn following(cadence: &Cadence, after: &str, count: usize) -> Vec<String> {
        let mut at = us(after);
        (0..count)
            .map(|_| {
                at = cadence.next_after(at).expect("an occurrence");
                text(at)
            })
            .collect()
    }

    #[test]
    fn a_fixed_time_that_does_not_exist_falls_due_right_after_the_gap() {
        // Clocks in Berlin go from 02:00 to 03:00 on 2026-03-29, which is 01:00 in UTC.
        assert_eq!(
            following(
                &cadence("30 2 * * *", "Europe/Berlin"),
                "2026-03-27T12:00:00Z",
                3
            ),
            [
                "2026-03-28T01:30:00Z",
                "2026-03-29T01:00:00Z",
                "2026-03-30T00:30:00Z"
            ]
        );
    }

    #[test]
    fn a_fixed_time_that_occurs_twice_falls_due_once_the_first_time() {
        // Clocks in Berlin go back from 03:00 to 02:00 on 2026-10-25, which is 01:00 in UTC.
        assert_eq!(
            following(
                &cadence("30 2 * * *", "Europe/Berlin"),
                "2026-10-24T12:00:00Z",
                2
            ),
            ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]
        );
    }

    #[test]
    fn what_recurs_within_the_day_follows_the_clock_on_the_wall() {
        let half_hours = cadence("*/30 * * * *", "Europe/Berlin");
        let spring = following(&half_hours, "2026-03-29T00:00:00Z", 4);
        assert_eq!(
            spring,
            [
                "2026-03-29T00:30:00Z",
                "2026-03-29T01:00:00Z",
                "2026-03-29T01:30:00Z",
                "2026-03-29T02:00:00Z"
            ]
        );
        // A list within the missing hour is left out; within the repeated hour it is due twice.
        let list = cadence("15,45 2 * * *", "Europe/Berlin");
        assert_eq!(
            following(&list, "2026-03-28T12:00:00Z", 1),
            ["2026-03-30T00:15:00Z"]
        );
        assert_eq!(
            following(&list, "2026-10-24T12:00:00Z", 4),
            [
                "2026-10-25T00:15:00Z",
                "2026-10-25T00:45:00Z",
                "2026-10-25T01:15:00Z",
                "2026-10-25T01:45:00Z"
            ]
        );
    }

    #[test]
    fn looking_back_finds_what_looking_forward_finds() {
        let zones = [
            "UTC",
            "Europe/Berlin",
            "America/New_York",
            "Australia/Lord_Howe",
            "Asia/Kathmandu",
        ];
        let expressions = [
            "30 2 * * *",
            "15 1 * * *",
            "*/20 * * * *",
            "0,30 1-3 * * *",
            "0 0 * * *",
            "0 12 L * *",
        ];
        for zone in zones {
            for expression in expressions {
                let cadence = cadence(expression, zone);
                for month in ["2026-03-01", "2026-04-01", "2026-10-01", "2026-11-01"] {
                    let from = us(&format!("{month}T00:00:00Z"));
                    let until = from + 31 * 86_400 * SECOND_US;
                    let mut forward = Vec::new();
                    let mut at = from;
                    while let Some(next) = cadence.next_after(at).filter(|next| *next <= until) {
                        forward.push(next);
                        at = next;
                    }
                    let back = cadence.newest(from, until, 10_000);
                    assert_eq!(back.times_us, forward, "{expression} in {zone}, {month}");
                    assert!(!back.more);
                }
            }
        }
    }

    #[test]
    fn only_the_latest_are_taken_and_it_is_said_that_there_are_more() {
        let minutes = cadence("* * * * *", "UTC");
        let newest = minutes.newest(us("2020-01-01T00:00:00Z"), us("2026-01-01T00:00:30Z"), 3);
        let times: Vec<String> = newest.times_us.iter().map(|at| text(*at)).collect();
        assert_eq!(
            times,
            [
                "2025-12-31T23:58:00Z",
                "2025-12-31T23:59:00Z",
                "2026-01-01T00:00:00Z"
            ]
        );
        assert!(newest.more);
        let none = minutes.newest(us("2026-01-01T00:00:00Z"), us("2020-01-01T00:00:00Z"), 3);
        assert_eq!(none, Newest::default());
    }

    #[test]
    fn mistakes_are_told_with_what_is_expected() {
        for (expression, zone, told) in [
            ("61 2 * * *", "UTC", "such as \"30 2 * * *\""),
            ("", "UTC", "such as \"30 2 * * *\""),
            ("0 30 2 * * *", "UTC", "such as \"30 2 * * *\""),
            ("2:30", "UTC", "such as \"30 2 * * *\""),
            ("0 0 30 2 *", "UTC", "never comes to pass"),
            ("30 2 * * *", "Europe/Belin", "IANA"),
            ("30 2 * * *", "", "IANA"),
        ] {
            let error = Cadence::parse("nightly", expression, zone).expect_err(expression);
            assert!(error.to_string().contains(told), "{error}");
            assert!(error.to_string().contains("job nightly"), "{error}");
        }
        assert!(Cadence::parse("nightly", "@daily", "UTC").is_ok());
    }

    #[test]
    fn times_outside_the_calendar_are_no_occurrences() {
        let daily = cadence("0 0 * * *", "UTC");
        assert_eq!(daily.next_after(i64::MAX), None);
        assert_eq!(daily.newest(i64::MIN, i64::MAX, 3), Newest::default());
        assert_eq!(daily.shortest_gap_us(), 86_400 * SECOND_US);
    }
}
