//! The id of a run: part of the names of its producers, hence of directories.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Longest id of a run; with `load-` before and a process number behind it names a producer.
pub const MAX_RUN_BYTES: usize = 40;
/// What `-yyyymmddthhmmssz` takes.
const TIME_BYTES: usize = 17;

/// The id of a run that nobody named: the scenario's name and the time in UTC, in the letters that
/// a producer's name may have.
pub(super) fn default_name(scenario: &str, now: SystemTime) -> String {
    let mut name = String::new();
    for letter in scenario.chars().map(|letter| letter.to_ascii_lowercase()) {
        if letter.is_ascii_lowercase() || letter.is_ascii_digit() {
            name.push(letter);
        } else if !name.is_empty() && !name.ends_with('-') {
            name.push('-');
        }
    }
    name.truncate(MAX_RUN_BYTES - TIME_BYTES);
    let name = name.trim_end_matches('-');
    let name = if name.is_empty() { "run" } else { name };
    format!("{name}-{}", utc(now))
}

/// Whether a name given by a user can be the id of a run.
pub(super) fn is_valid(name: &str) -> bool {
    let is_plain = |letter: u8| letter.is_ascii_lowercase() || letter.is_ascii_digit();
    name.len() <= MAX_RUN_BYTES
        && name.bytes().next().is_some_and(is_plain)
        && name
            .bytes()
            .all(|letter| is_plain(letter) || matches!(letter, b'.' | b'_' | b'-'))
}

fn utc(now: SystemTime) -> String {
    let seconds = now
        .duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO)
        .as_secs();
    let (year, month, day) = date(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}{month:02}{day:02}t{hour:02}{minute:02}{second:02}z")
}

/// The date of a day since 1970-01-01, by Howard Hinnant's `civil_from_days`: years begin in March,
/// so that leap days come last.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use driftline_schemas::ProducerId;
    use proptest::prelude::*;

    #[test]
    fn a_name_says_what_and_when() {
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        assert_eq!(
            default_name("Check out!", at(1_709_209_845)),
            "check-out-20240229t123045z"
        );
        assert_eq!(default_name("", at(0)), "run-19700101t000000z");
        assert_eq!(default_name("x", at(1_798_761_599)), "x-20261231t235959z");
    }

    #[test]
    fn names_that_cannot_be_directories_are_refused() {
        for name in ["", "-a", "A", "a/b", "a b", &"a".repeat(41)] {
            assert!(!is_valid(name), "{name:?} was taken");
        }
        assert!(is_valid("nightly_1.2-rc"));
    }

    proptest! {
        #[test]
        fn every_default_is_valid(scenario in ".{0,80}", seconds in 0..4_000_000_000_u64) {
            let name = default_name(&scenario, UNIX_EPOCH + Duration::from_secs(seconds));
            prop_assert!(is_valid(&name), "{name:?}");
            let producer = format!("load-{name}-12345");
            prop_assert!(ProducerId::new(&producer).is_ok());
        }
    }
}
