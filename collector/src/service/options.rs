//! What is asked of the options of every service: names, times and counts within their ranges. Pure.
//!
//! What only one kind of service has is left to its module.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::ServiceError;
use crate::config::{MAX_INTERVAL, MIN_INTERVAL, duration};

/// The shortest interval or time-out, and the longest.
const TIMES: RangeInclusive<Duration> = MIN_INTERVAL..=MAX_INTERVAL;
/// The longest name.
const MAX_NAME_CHARS: usize = 64;

/// A section of the configuration: `collector.redis "main"`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Section<'a> {
    /// `redis`.
    pub(super) kind: &'static str,
    /// What the service is called; empty where there is only one of the kind.
    pub(super) name: &'a str,
}

impl Section<'_> {
    /// That something is wrong with this section.
    pub(super) fn refuse(self, what: &str, remedy: &str) -> ServiceError {
        let name = match self.name {
            "" => String::new(),
            name => format!(" {name:?}"),
        };
        ServiceError::Misconfigured {
            what: format!("collector.{}{name}: {what}", self.kind),
            remedy: remedy.to_owned(),
        }
    }

    /// Whether it has a name that series and events can bear.
    pub(super) fn check_name(self) -> Result<(), ServiceError> {
        if self.name.is_empty() {
            return Err(self.refuse("it has no name", "give it one"));
        }
        if self.name.chars().count() > MAX_NAME_CHARS {
            return Err(self.refuse("name is too long", "choose 1 to 64 characters"));
        }
        Ok(())
    }

    /// Whether intervals and time-outs are within their range.
    pub(super) fn check_times(self, options: &[(&str, Duration)]) -> Result<(), ServiceError> {
        let odd = options.iter().find(|(_, found)| !TIMES.contains(found));
        odd.map_or(Ok(()), |(option, found)| {
            let what = format!("{option} = {} is out of range", duration::format(*found));
            Err(self.refuse(&what, "choose 100ms to 1h"))
        })
    }

    /// Whether counts are within their ranges.
    pub(super) fn check_counts(
        self,
        options: &[(&str, usize, RangeInclusive<usize>)],
    ) -> Result<(), ServiceError> {
        let odd = options
            .iter()
            .find(|(_, found, range)| !range.contains(found));
        odd.map_or(Ok(()), |(option, found, range)| {
            let what = format!("{option} = {found} is out of range");
            let remedy = format!("choose {} to {}", range.start(), range.end());
            Err(self.refuse(&what, &remedy))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_option_that_is_out_of_range_is_named() {
        let section = Section {
            kind: "redis",
            name: "main",
        };
        let second = Duration::from_secs(1);
        for (time, is_good) in [
            (Duration::from_millis(99), false),
            (Duration::from_millis(100), true),
            (Duration::from_secs(3_600), true),
            (Duration::from_secs(3_601), false),
        ] {
            let checked = section.check_times(&[("interval", second), ("time_out", time)]);
            assert_eq!(checked.is_ok(), is_good, "{time:?}");
        }
        let zero = section.check_times(&[("interval", Duration::ZERO)]);
        assert_eq!(
            zero.expect_err("out of range").to_string(),
            "collector.redis \"main\": interval = 0s is out of range: choose 100ms to 1h"
        );
        let checked = section.check_counts(&[("top", 5, 1..=5), ("commands", 0, 1..=9)]);
        assert_eq!(
            checked.expect_err("out of range").to_string(),
            "collector.redis \"main\": commands = 0 is out of range: choose 1 to 9"
        );
        let nameless = Section {
            name: "",
            ..section
        };
        let error = nameless.check_name().expect_err("none").to_string();
        assert_eq!(error, "collector.redis: it has no name: give it one");
    }
}
