//! Numbers as people read them, the same in every format.

use super::{Row, Time, Times};
use crate::scenario::quantity::{human_ns, three_digits};

/// A dash for what was not measured.
pub(super) const NONE: &str = "–";

/// `≥ 183 ms` for a lower bound.
pub(super) fn time(time: Time) -> String {
    let shown = human_ns(time.ms * 1e6);
    match time.at_least {
        true => format!("≥ {shown}"),
        false => shown,
    }
}

/// Mean, p50, p95, p99, p99.9 and the longest.
pub(super) fn times(times: Option<&Times>) -> [String; 6] {
    match times {
        Some(times) => times.named().map(|(_, one)| time(one)),
        None => [NONE; 6].map(str::to_owned),
    }
}

/// A whole number in groups of three.
pub(super) fn count(count: u64) -> String {
    let digits = count.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// A number to three significant digits.
pub(super) fn number(number: f64) -> String {
    match number.abs() < 1e15 {
        true if number.abs() >= 1_000.0 => count_signed(number),
        _ => three_digits(number),
    }
}

fn count_signed(number: f64) -> String {
    let sign = if number < 0.0 { "-" } else { "" };
    format!("{sign}{}", count(number.abs().round() as u64))
}

/// `498/s`.
pub(super) fn rate(rate: Option<f64>) -> String {
    rate.map_or_else(|| NONE.to_owned(), |rate| format!("{}/s", number(rate)))
}

/// `0.12 %`.
pub(super) fn share(share: Option<f64>) -> String {
    share.map_or_else(
        || NONE.to_owned(),
        |share| format!("{} %", three_digits(share * 100.0)),
    )
}

/// `1.2 MB`.
pub(super) fn bytes(bytes: u64) -> String {
    let value = bytes as f64;
    let (value, unit) = match value {
        below if below < 1e3 => return format!("{bytes} B"),
        below if below < 999.5e3 => (value / 1e3, "kB"),
        below if below < 999.5e6 => (value / 1e6, "MB"),
        below if below < 999.5e9 => (value / 1e9, "GB"),
        _ => (value / 1e12, "TB"),
    };
    format!("{} {unit}", three_digits(value))
}

/// Seconds of a run: `90 s`.
pub(super) fn seconds(seconds: f64) -> String {
    human_ns(seconds * 1e9)
}

/// A moment in UTC: `2026-05-04 12:34:56 UTC`.
pub(super) fn moment(us: i64) -> String {
    let seconds = us.div_euclid(1_000_000);
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Howard Hinnant's days-to-civil: years that begin in March, eras of 400 years.
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

/// The columns that tables of endpoints and of stages have in common.
pub(super) const COLUMNS: [&str; 11] = [
    "operations",
    "failed",
    "dropped",
    "rate",
    "errors",
    "mean",
    "p50",
    "p95",
    "p99",
    "p99.9",
    "max",
];

/// What stands in [`COLUMNS`].
pub(super) fn cells(row: &Row) -> [String; 11] {
    let [mean, p50, p95, p99, p999, max] = times(row.latency.as_ref());
    [
        count(row.operations),
        count(row.failed),
        count(row.dropped),
        rate(row.rate_per_s),
        share(row.error_rate),
        mean,
        p50,
        p95,
        p99,
        p999,
        max,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(1_000), "1,000");
        assert_eq!(count(12_345_678), "12,345,678");
        assert_eq!(number(12_345.6), "12,346");
        assert_eq!(number(12.34), "12.3");
        assert_eq!(share(Some(0.0123)), "1.23 %");
        assert_eq!(share(None), "–");
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(1_500_000), "1.5 MB");
        assert_eq!(
            time(Time {
                ms: 183.4,
                at_least: true
            }),
            "≥ 183 ms"
        );
    }

    #[test]
    fn moments_are_in_utc() {
        assert_eq!(moment(0), "1970-01-01 00:00:00 UTC");
        assert_eq!(moment(1_709_210_096_000_000), "2024-02-29 12:34:56 UTC");
        assert_eq!(moment(-1), "1969-12-31 23:59:59 UTC");
        assert_eq!(moment(4_102_444_800_000_000), "2100-01-01 00:00:00 UTC");
    }
}
