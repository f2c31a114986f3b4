//! Times and durations as other tools write them.

/// Times from here on are mistakes: milliseconds taken for seconds, most often. 2200-01-01.
pub(super) const MAX_TIME_S: i64 = 7_258_118_400;
/// Longest duration of one request, 7 days in ns.
const MAX_DURATION_NS: f64 = 7.0 * 86_400.0 * 1e9;

/// Nanoseconds since 1970 UTC of a time as RFC 3339 has it, from 1970 to 2199.
pub(super) fn rfc3339_ns(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    let number = |from: usize, until: usize| -> Option<i64> {
        let digits = bytes.get(from..until)?;
        digits.iter().try_fold(0, |sum: i64, digit| {
            digit
                .is_ascii_digit()
                .then(|| sum * 10 + i64::from(digit - b'0'))
        })
    };
    let is = |at: usize, allowed: &[u8]| bytes.get(at).is_some_and(|byte| allowed.contains(byte));
    let is_formed = is(4, b"-") && is(7, b"-") && is(10, b"Tt ") && is(13, b":") && is(16, b":");
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let is_time = hour < 24 && minute < 60 && second <= 60;
    let is_date = (1970..2200).contains(&year)
        && (1..=12).contains(&month)
        && (1..=days_of(year, month)).contains(&day);
    if !(is_formed && is_time && is_date) {
        return None;
    }
    let mut at = 19;
    let mut fraction_ns = 0;
    if is(at, b".") {
        at += 1;
        let mut unit_ns = 100_000_000;
        let from = at;
        while let Some(digit) = bytes.get(at).filter(|byte| byte.is_ascii_digit()) {
            fraction_ns += i64::from(digit - b'0') * unit_ns;
            unit_ns /= 10;
            at += 1;
        }
        if at == from {
            return None;
        }
    }
    let offset_s = if is(at, b"Zz") {
        (at + 1 == bytes.len()).then_some(0)?
    } else if is(at, b"+-") && is(at + 3, b":") && at + 6 == bytes.len() {
        let (hours, minutes) = (number(at + 1, at + 3)?, number(at + 4, at + 6)?);
        let size = (hours < 24 && minutes < 60).then_some(hours * 3_600 + minutes * 60)?;
        if is(at, b"-") { -size } else { size }
    } else {
        return None;
    };
    let days = days_since_1970(year, month, day);
    let seconds = days * 86_400 + hour * 3_600 + minute * 60 + second - offset_s;
    Some(seconds * 1_000_000_000 + fraction_ns)
}

/// Microseconds since 1970 UTC of seconds written as a decimal number.
pub(super) fn seconds_us(text: &str) -> Option<i64> {
    let seconds = number(text)?;
    // Below the bound an f64 is within half a microsecond of what was written; the product of the
    // whole would not be, that of the fraction is.
    (0.0..MAX_TIME_S as f64)
        .contains(&seconds)
        .then(|| seconds.trunc() as i64 * 1_000_000 + (seconds.fract() * 1e6).round() as i64)
}

/// Nanoseconds of milliseconds, if they can be those of a request.
pub(super) fn millis_ns(millis: f64) -> Option<i64> {
    let ns = (millis * 1e6).round();
    (0.0..=MAX_DURATION_NS).contains(&ns).then_some(ns as i64)
}

/// A decimal number, `NaN` and infinities included, surrounding blanks not.
pub(super) fn number(text: &str) -> Option<f64> {
    text.parse().ok()
}

fn days_of(year: i64, month: i64) -> i64 {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 if is_leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01, by Howard Hinnant's `days_from_civil`.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn times_of_k6_are_exact() {
        assert_eq!(
            rfc3339_ns("2017-05-09T14:34:45.239531499+02:00"),
            Some(1_494_333_285_239_531_499)
        );
        assert_eq!(rfc3339_ns("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(
            rfc3339_ns("2024-02-29T23:59:59.5-00:30"),
            Some(1_709_252_999_500_000_000)
        );
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "2017-05-09",
            "2017-02-29T00:00:00Z",
            "2017-05-09T24:00:00Z",
            "2017-05-09T14:34:45",
            "2017-05-09T14:34:45.Z",
            "2017-05-09T14:34:45Zx",
            "2017-05-09T14:34:45+0200",
            "0001-01-01T00:00:00Z",
        ] {
            assert_eq!(rfc3339_ns(text), None, "{text}");
        }
    }

    #[test]
    fn seconds_keep_their_microseconds() {
        assert_eq!(seconds_us("1700000000.123456"), Some(1_700_000_000_123_456));
        assert_eq!(seconds_us("1.7e9"), Some(1_700_000_000_000_000));
        for text in ["1700000000000", "-1", "NaN", "inf", " 1", ""] {
            assert_eq!(seconds_us(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,40}") {
            rfc3339_ns(&text);
            seconds_us(&text);
        }

        #[test]
        fn microseconds_survive(us in 0..MAX_TIME_S * 1_000_000) {
            let text = format!("{}.{:06}", us / 1_000_000, us % 1_000_000);
            prop_assert_eq!(seconds_us(&text), Some(us));
        }
    }
}
